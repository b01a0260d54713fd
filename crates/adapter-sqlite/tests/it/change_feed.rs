//! The change feed reports every committed change, of this process and of others.

use std::{sync::Arc, time::Duration};

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use domain::link::Generation;
use test_support::{
    Recorder, Told,
    contract::{Subject, a_link},
};

use crate::{migrated_file, path};

fn changed(code: &str, generation: i64) -> Told {
    Told::Changed(code.parse().expect("valid"), Generation::new(generation).expect("positive"))
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_gap_the_changes_of_all_processes_are_reported() {
    let (file, _folder) = migrated_file();
    let open = || Arc::new(file.open(Duration::from_secs(20)).expect("a migrated database opens"));
    let (one, other) = (open(), open());
    let own = Subject::over(one.clone(), 7);
    own.given(&a_link().alias("before")).await;
    let recorder = Recorder::of(one).await;
    assert_eq!(recorder.told(), [Told::Gap, Told::Synced], "nothing of before is told");

    for (subject, alias) in [(own, "own"), (Subject::over(other, 8), "other")] {
        let link = subject.given(&a_link().alias(alias)).await;
        recorder.until(&changed(alias, 1)).await;
        subject.delete(&link).await;
        recorder.until(&changed(alias, 2)).await;
    }
    assert_eq!(recorder.told().iter().filter(|told| **told == Told::Gap).count(), 1);
}

/// For example, a backup was restored under a running process.
#[tokio::test(flavor = "multi_thread")]
async fn a_history_that_became_shorter_is_a_gap() {
    let (file, folder) = migrated_file();
    let store = Arc::new(file.open(Duration::from_secs(20)).expect("a migrated database opens"));
    Subject::over(store.clone(), 7).given(&a_link().alias("lost")).await;
    let recorder = Recorder::of(store).await;
    recorder.forget();
    let mut connection = SqliteConnection::establish(path(&folder).to_str().expect("UTF-8")).expect("the file opens");
    let rewind = "PRAGMA busy_timeout = 5000; DROP TRIGGER link_events_guard_delete; DELETE FROM link_events";
    connection.batch_execute(rewind).expect("without its guard it can be rewound");
    recorder.until(&Told::Gap).await;
}
