//! Clicks: what the contract does not say of the file they are in.

use std::{fs, path::PathBuf, sync::Arc, time::Duration};

use adapter_sqlite::{SqliteClickFile, SqliteClicks, SqliteStore};
use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use domain::{
    click::{DailySalt, Day, DayCounts, DayValue, Dimension, Hour, KindCounts},
    link::Owner,
    ports::{ClickRepository, StatisticsOf},
};
use tempfile::TempDir;
use test_support::{
    KeptRows,
    contract::{ClickSubject, unreadable_days_begin_anew},
};
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
    clicks.forget(Day(103), Hour(0)).await.expect("the store works");
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
    clicks.forget(Day(101), Hour(0)).await.expect("nothing waits for the reader");
    assert!(holds_salt(&folder));
    reading.batch_execute("ROLLBACK").expect("it was open");
    clicks.forget(Day(101), Hour(0)).await.expect("the store works");
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
    let another = Uuid::from_u128(8);
    let [id, other] = [link, another].map(|link| format!("x'{}'", link.simple()));
    let good = hex_of_counts();
    let rows = format!(
        "INSERT INTO link_totals VALUES ({id}, 'default', 5, 0, 1), ({other}, 'default', 5, 0, 9223372036854775807);
         INSERT INTO link_days VALUES
            (1, {id}, 5, 0, x'{good}', x'00'), (2, {id}, 5, 0, x'0102', NULL), (3, {id}, -5, 0, x'', x'0102');
         INSERT INTO owner_days VALUES ('default', 1, 0, 5, 0, x'{good}'), ('default', 2, 0, 5, 0, x'{good}00');
         INSERT INTO orphans_day VALUES (0, 1, 0, 5), (0, 1, 9, 5);"
    );
    unguarded(&folder).batch_execute(&rows).expect("constraints are off");
    let totals = clicks.totals(&[link, another]).await.expect("bad rows are skipped");
    assert_eq!((totals[&link].humans, totals.len()), (5, 1));
    let days = clicks.days(&StatisticsOf::Link(link), DAYS).await.expect("bad rows are skipped");
    let shown: Vec<_> = days.iter().map(|count| (count.when, count.clicks)).collect();
    assert_eq!(shown, [(Day(1), 5), (Day(2), 5)]);
    for of in [StatisticsOf::Link(link), StatisticsOf::Owner(Owner::default()), StatisticsOf::Everyone] {
        let hours = clicks.hours(&of, Hour(0)..Hour(1_000)).await.expect("bad rows are skipped");
        assert_eq!(hours.iter().map(|count| (count.when, count.clicks)).collect::<Vec<_>>(), [(Hour(24), 5)]);
        let values = clicks.dimensions(&of, DAYS).await.expect("bad rows are skipped");
        let values: Vec<_> = values.iter().map(|count| (&*count.value, count.clicks)).collect();
        assert_eq!(values, [("good.example", 5), ("fri-00", 5)]);
    }
    assert!(clicks.visitors(&link, DAYS).await.expect("bad rows are skipped").is_empty());
    assert_eq!(clicks.orphans(DAYS).await.expect("bad rows are skipped").len(), 1);
    let told = told.told();
    let tables: Vec<_> = told.iter().map(|(table, _)| *table).collect();
    // Of days: the clicks, the counts and the visitors.
    let expected = ["link_days", "link_days", "link_days", "link_totals", "orphans_day", "owner_days"];
    assert_eq!(tables, expected, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_cannot_be_read_begins_anew_and_never_stops_counting() {
    let (links, clicks, folder) = fresh().await;
    let subject = ClickSubject::over(links, clicks.clone(), 7);
    let told = Arc::<KeptRows>::default();
    clicks.tell_of_unreadable_rows(told.clone());
    unreadable_days_begin_anew(subject, || {
        let damage = "UPDATE link_days SET counts = x'09', visitors = x'09'; UPDATE owner_days SET counts = x''";
        unguarded(&folder).batch_execute(damage).expect("the test owns the file");
    })
    .await;
    let told = told.told();
    let tables: std::collections::BTreeSet<_> = told.iter().map(|(table, _)| *table).collect();
    assert_eq!(tables, ["link_days", "owner_days"].into());
}

/// The packed counts of five clicks in the first hour of a day, as hexadecimal digits.
fn hex_of_counts() -> String {
    let clicks = KindCounts { humans: 5, bots: 0 };
    let values = vec![DayValue { dimension: Dimension::Referrer, value: "good.example", clicks }];
    let mut counts = DayCounts { values, ..DayCounts::default() };
    counts.hours[0] = clicks;
    counts.to_bytes().iter().fold(String::new(), |text, byte| text + &format!("{byte:02x}"))
}
