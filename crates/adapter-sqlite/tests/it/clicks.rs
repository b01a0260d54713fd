//! Clicks: what the contract does not say of the file they are in.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use adapter_sqlite::{SqliteClickFile, SqliteClicks, SqliteStore};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use domain::{
    click::{DailySalt, Day, Hour},
    ports::{ClickRepository, StatisticsOf},
};
use tempfile::TempDir;
use test_support::{KeptRows, contract::ClickSubject};
use uuid::Uuid;

const TIMEOUT: Duration = Duration::from_secs(20);
/// Every day that a test uses.
const DAYS: std::ops::Range<Day> = Day(0)..Day(40_000);

/// A repository on an empty, migrated file of its own, beside a fresh store of links.
pub(crate) async fn fresh() -> (Arc<SqliteStore>, Arc<SqliteClicks>, TempDir) {
    let (links, folder) = crate::fresh().await;
    let file = click_file(&folder);
    file.migrate().expect("a new database takes every migration");
    let clicks = file.open(links.clone(), TIMEOUT).expect("a migrated database opens");
    (links, Arc::new(clicks), folder)
}

fn click_file(folder: &TempDir) -> SqliteClickFile {
    SqliteClickFile::new(path(folder))
}

fn path(folder: &TempDir) -> PathBuf {
    folder.path().join("clicks.db")
}

/// A connection that may write rows which no store writes.
fn unguarded(folder: &TempDir) -> SqliteConnection {
    let mut raw = SqliteConnection::establish(path(folder).to_str().expect("UTF-8")).expect("the file opens");
    raw.batch_execute("PRAGMA ignore_check_constraints = ON").expect("the test owns the file");
    raw
}

/// Whether a salt stands in a file of the database. Its bytes stand in no other row.
fn holds_salt(folder: &TempDir) -> bool {
    let files = fs::read_dir(folder.path()).expect("it is a folder").flatten();
    let mut contents = files.map(|file| fs::read(file.path()).expect("the test owns the folder"));
    contents.any(|bytes| bytes.windows(DailySalt::BYTES).any(|some| some == SALT))
}

const SALT: [u8; DailySalt::BYTES] = *b"this-is-the-salt";

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_salt_is_in_no_file() {
    let (_links, clicks, folder) = fresh().await;
    for day in 100..103 {
        clicks.salt(&DailySalt::new(Day(day), SALT)).await.expect("the store works");
    }
    assert!(holds_salt(&folder));
    assert!(!clicks.forget(Day(103), Hour(0)).await.expect("the store works"));
    assert!(!holds_salt(&folder));
}

#[tokio::test(flavor = "multi_thread")]
async fn salts_in_the_log_are_forgotten_by_a_later_call_while_another_connection_reads_it() {
    let (links, clicks, folder) = fresh().await;
    clicks.salt(&DailySalt::new(Day(100), SALT)).await.expect("the store works");
    drop(clicks);
    let clicks = click_file(&folder).open(links, TIMEOUT).expect("a migrated database opens");
    let mut reading = unguarded(&folder);
    reading.batch_execute("BEGIN; SELECT count(*) FROM visitor_salts").expect("the test owns the file");
    assert!(!clicks.forget(Day(101), Hour(0)).await.expect("nothing waits for the reader"));
    assert!(holds_salt(&folder));
    reading.batch_execute("ROLLBACK").expect("it was open");
    assert!(!clicks.forget(Day(101), Hour(0)).await.expect("the store works"));
    assert!(!holds_salt(&folder));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_file_holds_all_clicks_without_a_log() {
    let (links, clicks, folder) = fresh().await;
    let subject = ClickSubject::over(links.clone(), clicks.clone(), 7);
    let stream = subject.stream();
    let batch = domain::ports::ClickBatch { until: 3, ..subject.batch(stream, 0, Vec::new()) };
    let _stored = clicks.store(&batch).await.expect("the store works");
    clicks.close();
    assert!(clicks.acked(&stream).await.is_err());
    let names = fs::read_dir(folder.path()).expect("it is a folder").flatten().map(|entry| entry.file_name());
    assert!(!names.into_iter().any(|name| name == "clicks.db-wal"));
    let again = click_file(&folder).open(links, TIMEOUT).expect("it opens again");
    assert_eq!(again.acked(&stream).await.expect("the store works"), 3);
}

#[test]
fn every_migration_of_clicks_can_be_taken_back_and_applied_again() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = click_file(&folder);
    assert!(file.migrations().expect("readable").iter().all(|status| !status.applied));
    assert!(!path(&folder).exists(), "looking creates no file");
    let names = file.migrate().expect("a new database takes every migration");
    assert!(file.migrations().expect("readable").iter().all(|status| status.applied));
    for name in names.iter().rev() {
        assert_eq!(file.revert().expect("down.sql works").as_ref(), Some(name));
    }
    assert_eq!(file.revert().expect("nothing to do"), None);
    assert_eq!(file.migrate().expect("up.sql works again"), names);
    assert_eq!(file.damage().expect("it opens"), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_cannot_be_read_hides_no_other() {
    let (_links, clicks, folder) = fresh().await;
    let told = Arc::<KeptRows>::default();
    clicks.tell_of_unreadable_rows(told.clone());
    let link = Uuid::from_u128(7);
    let id = format!("x'{}'", link.simple());
    let rows = format!(
        "INSERT INTO link_totals VALUES ({id}, 0, 'default', 5, 1), ({id}, 1, 'default', 5, 9223372036854775807);
         INSERT INTO link_hours VALUES ({id}, 24, 0, 5), ({id}, 24, 7, 5), ({id}, 25, 0, -5);
         INSERT INTO link_days VALUES ({id}, 1, 0, 5), ({id}, 1, 7, 5);
         INSERT INTO dimension_values VALUES (1, 1, 'good.example'), (2, 99, 'no dimension');
         INSERT INTO link_dimensions_day VALUES
            ({id}, 1, 1, 0, 1, 5), ({id}, 1, 1, 0, 2, 5), ({id}, 1, 1, 0, 3, 5), ({id}, 1, 1, 7, 1, 5);
         INSERT INTO link_visitors_day VALUES ({id}, 1, x'00'), ({id}, 2, x'0102');
         INSERT INTO orphans_day VALUES (0, 1, 0, 5), (0, 1, 9, 5);"
    );
    unguarded(&folder).batch_execute(&rows).expect("constraints are off");
    let of = StatisticsOf::Link(link);
    let totals = clicks.totals(&[link]).await.expect("bad rows are skipped");
    assert_eq!((totals[&link].humans, totals[&link].bots), (5, 0));
    let hours = clicks.hours(&of, Hour(0)..Hour(1_000)).await.expect("bad rows are skipped");
    assert_eq!(hours.iter().map(|count| (count.when, count.clicks)).collect::<Vec<_>>(), [(Hour(24), 5)]);
    let days = clicks.days(&of, DAYS).await.expect("bad rows are skipped");
    assert_eq!(days.iter().map(|count| (count.when, count.clicks)).collect::<Vec<_>>(), [(Day(1), 5)]);
    // The month is not whole, so that the days are read.
    let values = clicks.dimensions(&of, Day(0)..Day(3)).await.expect("bad rows are skipped");
    assert_eq!(values.iter().map(|count| (&*count.value, count.clicks)).collect::<Vec<_>>(), [("good.example", 5)]);
    assert!(clicks.visitors(&link, DAYS).await.expect("bad rows are skipped").is_empty());
    assert_eq!(clicks.orphans(DAYS).await.expect("bad rows are skipped").len(), 1);
    let told = told.told();
    let tables: Vec<_> = told.iter().map(|(table, _)| *table).collect();
    let expected = [
        "link_days",
        "link_dimensions_day",
        "link_dimensions_day",
        "link_dimensions_day",
        "link_hours",
        "link_hours",
        "link_totals",
        "link_visitors_day",
        "orphans_day",
    ];
    assert_eq!(tables, expected, "{told:?}");
}
