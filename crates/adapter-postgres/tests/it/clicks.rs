//! Clicks: what the contract does not say of PostgreSQL.

use std::{sync::Arc, time::Duration};

use adapter_postgres::PostgresOptions;
use domain::{
    click::{Day, DayCounts, DayValue, Dimension, Hour, KindCounts},
    link::Owner,
    ports::{ClickBatch, ClickRepository, RepositoryErrorKind, Shipped, StatisticsOf},
};
use test_support::{
    Direction, FaultProxy, KeptRows, PostgresServer, ServerOptions, TestDatabase,
    contract::{ClickSubject, clicks::shippers_of_the_same_links_at_once_add_up, unreadable_days_begin_anew},
};
use uuid::Uuid;

use crate::{fresh, options, store};

/// Every day that a test uses.
const DAYS: std::ops::Range<Day> = Day(0)..Day(40_000);

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn shippers_of_the_same_links_never_deadlock() {
    let (store, database) = fresh().await;
    let clicks = Arc::new(crate::store(&PostgresOptions { shipping_pool_size: 4, ..options(&database.socket_url()) }));
    shippers_of_the_same_links_at_once_add_up(ClickSubject::over(store, clicks, 7)).await;
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.sql(deadlocks).expect("the server counts deadlocks").trim(), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_commit_is_not_answered_is_counted_once() {
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let direct = Arc::new(store(&options(&database.url())));
    direct.migrate().await.expect("an empty database takes every migration");
    let address =
        database.url().split_once('@').and_then(|(_, rest)| rest.split_once('/')).expect("an address").0.parse();
    let proxy = FaultProxy::before(address.expect("an address"));
    let url = format!("postgres://signpost@{}/{}", proxy.address(), database.name());
    let impatient = PostgresOptions { statement_timeout: Duration::from_secs(1), ..options(&url) };
    let through = Arc::new(store(&impatient));
    let subject = ClickSubject::over(direct.clone(), direct.clone(), 7);
    let link = subject.link().await;
    let stream = subject.stream();
    let mut counted = 0;
    for is_delivered in [true, false] {
        let batch = batch(&subject, stream, counted, link.id);
        let commit = b"COMMIT";
        proxy.hold_requests_with(commit);
        let storing = {
            let (through, batch) = (through.clone(), batch.clone());
            tokio::spawn(async move { through.store(&batch).await })
        };
        let error = storing.await.expect("no panic").expect_err("COMMIT is not answered");
        assert_eq!(error.kind(), RepositoryErrorKind::Indeterminate);
        assert!(proxy.has_caught_something());
        if is_delivered {
            proxy.let_go();
        } else {
            proxy.cut();
            proxy.let_go();
        }
        counted += 3;
        // Repeats it, as a shipper does: at most one of both counted.
        match direct.store(&batch).await.expect("the server works") {
            Shipped::Stored { .. } => {}
            Shipped::Elsewhere { acked } => assert_eq!(acked, counted),
        }
        subject.assert_link(link.id, counted, 0).await;
    }
    proxy.hold(Direction::Replies);
    let error = through.acked(&stream).await.expect_err("nothing is answered");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
}

/// Three clicks of a link.
fn batch(subject: &ClickSubject, stream: Uuid, after: u64, link: Uuid) -> ClickBatch {
    let unknown: Arc<str> = "(unknown)".into();
    let traits = domain::click::Traits {
        kind: domain::click::ClickKind::Human,
        referrer: unknown.clone(),
        country: unknown.clone(),
        browser: unknown.clone(),
        os: unknown.clone(),
        device: unknown.clone(),
        language: unknown,
    };
    let click = domain::click::DescribedClick { at: subject.subject.now(), link, visitor: None, traits };
    subject.batch(stream, after, vec![click; 3])
}

#[tokio::test(flavor = "multi_thread")]
async fn statistics_and_shipping_have_connections_of_their_own() {
    let (store, database) = fresh().await;
    let one_each =
        PostgresOptions { shipping_pool_size: 1, statistics_pool_size: 1, ..options(&database.socket_url()) };
    let busy = Arc::new(crate::store(&one_each));
    let subject = ClickSubject::over(store, busy.clone(), 7);
    let link = subject.link().await;
    // A statement that waits for a lock keeps the only connection for statistics.
    let locked = lock(&database, "link_days");
    let waiting = {
        let (busy, of) = (busy.clone(), StatisticsOf::Link(link.id));
        tokio::spawn(async move { busy.hours(&of, Hour(0)..Hour(9)).await })
    };
    let asking = "SELECT count(*) FROM pg_locks WHERE NOT granted";
    while database.sql(asking).expect("the server works").trim() == "0" {
        tokio::task::yield_now().await;
    }
    assert_eq!(busy.acked(&link.id).await.expect("shipping goes on"), 0);
    domain::ports::LinkResolver::resolve(&*busy, &link.address()).await.expect("redirects go on");
    domain::ports::LinkRepository::find(&*busy, &link.address()).await.expect("the API goes on");
    assert!(!waiting.is_finished());
    end_locks(&database);
    locked.join().expect("no panic");
    assert!(waiting.await.expect("no panic").expect("it goes on").is_empty());
}

/// Keeps an exclusive lock on a table until [`end_locks`].
fn lock(database: &TestDatabase, table: &str) -> std::thread::JoinHandle<()> {
    let (holder, sql) = (database.clone(), format!("LOCK TABLE {table}; SELECT pg_sleep(60)"));
    let holding = std::thread::spawn(move || drop(holder.sql(&sql)));
    let is_held = "SELECT count(*) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
    while database.sql(is_held).expect("the server works").trim() == "0" {
        std::thread::yield_now();
    }
    holding
}

fn end_locks(database: &TestDatabase) {
    let ending = "SELECT pg_cancel_backend(pid) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND granted";
    database.sql(ending).expect("the test owns the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_count_that_cannot_be_read_hides_no_other() {
    let (clicks, database) = fresh().await;
    let told = Arc::<KeptRows>::default();
    clicks.tell_of_unreadable_rows(told.clone());
    let (id, another) = (Uuid::from_u128(7), Uuid::from_u128(8));
    let good = hex_of_counts();
    let rows = format!(
        "ALTER TABLE link_days DROP CONSTRAINT link_days_humans_check;
         ALTER TABLE orphans_day DROP CONSTRAINT orphans_day_reason_check;
         INSERT INTO link_totals VALUES ('{id}', 'default', 5, 0, now()), ('{another}', 'default', 5, 0, 'infinity');
         INSERT INTO link_days VALUES
            ('{id}', 1, 5, 0, '\\x{good}', '\\x00'), ('{id}', 2, 5, 0, '\\x0102', NULL), ('{id}', 3, -5, 0, '', '\\x0102');
         INSERT INTO owner_days VALUES ('default', 1, 0, 5, 0, '\\x{good}'), ('default', 2, 0, 5, 0, '\\x{good}00');
         INSERT INTO orphans_day VALUES (0, 1, 0, 5), (0, 1, 9, 5);"
    );
    database.sql(&rows).expect("the test owns the database");
    let totals = clicks.totals(&[id, another]).await.expect("bad rows are skipped");
    assert_eq!((totals[&id].humans, totals.len()), (5, 1));
    let days = clicks.days(&StatisticsOf::Link(id), DAYS).await.expect("bad rows are skipped");
    let shown: Vec<_> = days.iter().map(|count| (count.when, count.clicks)).collect();
    assert_eq!(shown, [(Day(1), 5), (Day(2), 5)]);
    for of in [StatisticsOf::Link(id), StatisticsOf::Owner(Owner::default()), StatisticsOf::Everyone] {
        let hours = clicks.hours(&of, Hour(0)..Hour(1_000)).await.expect("bad rows are skipped");
        assert_eq!(hours.iter().map(|count| (count.when, count.clicks)).collect::<Vec<_>>(), [(Hour(24), 5)]);
        let values = clicks.dimensions(&of, DAYS).await.expect("bad rows are skipped");
        let values: Vec<_> = values.iter().map(|count| (&*count.value, count.clicks)).collect();
        assert_eq!(values, [("good.example", 5), ("fri-00", 5)]);
    }
    assert!(clicks.visitors(&id, DAYS).await.expect("bad rows are skipped").is_empty());
    assert_eq!(clicks.orphans(DAYS).await.expect("bad rows are skipped").len(), 1);
    let told = told.told();
    let tables: Vec<_> = told.iter().map(|(table, _)| *table).collect();
    // Of days: the clicks, the counts and the visitors.
    let expected = ["link_days", "link_days", "link_days", "link_totals", "orphans_day", "owner_days"];
    assert_eq!(tables, expected, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_day_that_cannot_be_read_begins_anew_and_never_stops_counting() {
    let (clicks, database) = fresh().await;
    let subject = ClickSubject::over(clicks.clone(), clicks.clone(), 7);
    let told = Arc::<KeptRows>::default();
    clicks.tell_of_unreadable_rows(told.clone());
    unreadable_days_begin_anew(subject, || {
        let damage = "UPDATE link_days SET counts = '\\x09', visitors = '\\x09'; UPDATE owner_days SET counts = ''";
        database.sql(damage).expect("the test owns the database");
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
