//! The change feed reports every committed change, in whatever order transactions end.

use std::sync::Arc;

use domain::{address::Address, link::Generation};
use test_support::{
    Recorder, TestDatabase, Told,
    contract::{Subject, a_link},
};
use tokio_postgres::{Client, NoTls};

use crate::{fresh, options, store};

fn changed(code: &str, generation: i64) -> Told {
    Told::Changed(code.parse().expect("valid"), Generation::new(generation).expect("positive"))
}

async fn session(database: &TestDatabase) -> Client {
    let (client, connection) = tokio_postgres::connect(&database.url(), NoTls).await.expect("the server answers");
    tokio::spawn(async move { connection.await.expect("it ends with its client") });
    client
}

fn deletion(code: &str) -> String {
    format!(
        "UPDATE links SET generation = 2, state = 'deleted', deleted_at = now() WHERE code = '{code}';
         INSERT INTO link_events (link_id, code, generation, kind, actor, request_id, at)
         SELECT id, code, 2, 'deleted', 'system', 'test', now() FROM links WHERE code = '{code}'"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_gap_the_changes_of_another_process_are_reported() {
    let (one, database) = fresh().await;
    let before = Subject::over(one.clone(), 7);
    before.given(&a_link().alias("before")).await;
    let recorder = Recorder::of(one).await;
    assert_eq!(recorder.told(), [Told::Gap, Told::Synced], "nothing of before is told");

    let other = Subject::over(Arc::new(store(&options(&database.socket_url()))), 8);
    let link = other.given(&a_link().alias("after")).await;
    recorder.until(&changed("after", 1)).await;
    let link = other.delete(&link).await;
    recorder.until(&changed("after", 2)).await;
    other.reactivate(&link).await;
    recorder.until(&changed("after", 3)).await;
    assert_eq!(recorder.told().iter().filter(|told| **told == Told::Gap).count(), 1);
}

/// Its number is lower than those of entries that were read long before.
#[tokio::test(flavor = "multi_thread")]
async fn a_transaction_that_commits_after_later_ones_is_reported() {
    let (store, database) = fresh().await;
    let subject = Subject::over(store.clone(), 7);
    subject.given(&a_link().alias("slow")).await;
    let recorder = Recorder::of(store).await;

    let slow = session(&database).await;
    slow.batch_execute(&format!("BEGIN; {}", deletion("slow"))).await.expect("no lock is in its way");
    for round in 0..3 {
        let alias = format!("fast-{round}");
        subject.given(&a_link().alias(&alias)).await;
        recorder.until(&changed(&alias, 1)).await;
        recorder.forget();
        recorder.until(&Told::Synced).await;
    }
    let slow_link: Address = "slow".parse().expect("valid");
    assert!(!recorder.told().iter().any(|told| matches!(told, Told::Changed(of, _) if *of == slow_link)), "it is open");
    slow.batch_execute("COMMIT").await.expect("it commits");
    recorder.until(&changed("slow", 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_read_loses_no_change_and_is_no_gap() {
    let (store, database) = fresh().await;
    let subject = Subject::over(store.clone(), 7);
    let recorder = Recorder::of(store).await;
    for round in 0..3 {
        recorder.forget();
        recorder.until(&Told::Synced).await;
        let end = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                   WHERE query LIKE '%pg_snapshot_xip%' AND pid <> pg_backend_pid() AND datname = current_database()";
        assert_eq!(database.sql(end).expect("the test is a superuser"), "t", "one session reads the history");
        let alias = format!("meanwhile-{round}");
        subject.given(&a_link().alias(&alias)).await;
        recorder.until(&changed(&alias, 1)).await;
        assert!(!recorder.told().contains(&Told::Gap), "{:?}", recorder.told());
    }
}

/// A restored dump carries transaction numbers of another server.
#[tokio::test(flavor = "multi_thread")]
async fn entries_with_numbers_of_another_server_are_not_reported_again() {
    let (store, database) = fresh().await;
    let subject = Subject::over(store.clone(), 7);
    subject.given(&a_link().alias("restored")).await;
    database
        .sql("ALTER TABLE link_events DISABLE TRIGGER ALL; UPDATE link_events SET xact = '1000000000'")
        .expect("the test is a superuser");
    let recorder = Recorder::of(store).await;
    subject.given(&a_link().alias("new")).await;
    recorder.until(&changed("new", 1)).await;
    assert!(!recorder.told().contains(&changed("restored", 1)), "{:?}", recorder.told());
}

/// A pooler that shares sessions delivers no notifications. The history must be read without them.
#[tokio::test(flavor = "multi_thread")]
async fn without_notifications_the_history_is_read_every_second() {
    let (store, database) = fresh().await;
    let subject = Subject::over(store.clone(), 7);
    let link = subject.given(&a_link().alias("silent")).await;
    database.sql("DROP TRIGGER links_notify ON links").expect("the test is a superuser");
    let recorder = Recorder::of(store).await;
    subject.delete(&link).await;
    recorder.until(&changed("silent", 2)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn more_entries_than_one_read_holds_are_a_gap() {
    let (store, database) = fresh().await;
    Subject::over(store.clone(), 7).given(&a_link().alias("many")).await;
    let recorder = Recorder::of(store).await;
    recorder.forget();
    let many = "INSERT INTO link_events (link_id, code, generation, kind, actor, request_id, at)
                SELECT id, code, n, 'edited', 'system', 'test', now() FROM links, generate_series(2, 100002) n";
    database.sql(many).expect("the history accepts the entries");
    recorder.until(&Told::Gap).await;
}
