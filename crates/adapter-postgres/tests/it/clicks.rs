//! Clicks: what the contract does not say of PostgreSQL.

use std::{sync::Arc, time::Duration};

use adapter_postgres::PostgresOptions;
use domain::{
    click::{Day, Hour},
    ports::{ClickBatch, ClickRepository, RepositoryErrorKind, Shipped, StatisticsOf},
};
use test_support::{
    Direction, FaultProxy, KeptRows, PostgresServer, ServerOptions, TestDatabase,
    contract::{ClickSubject, clicks::shippers_of_the_same_links_at_once_add_up},
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
    let locked = lock(&database, "link_hours");
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
    let id = Uuid::from_u128(7);
    let rows = format!(
        "ALTER TABLE link_totals DROP CONSTRAINT link_totals_kind_check;
         ALTER TABLE link_hours DROP CONSTRAINT link_hours_kind_check, DROP CONSTRAINT link_hours_clicks_check;
         ALTER TABLE link_days DROP CONSTRAINT link_days_kind_check;
         ALTER TABLE link_dimensions_day DROP CONSTRAINT link_dimensions_day_kind_check;
         ALTER TABLE orphans_day DROP CONSTRAINT orphans_day_reason_check;
         INSERT INTO link_totals VALUES ('{id}', 0, 'default', 5, now()), ('{id}', 1, 'default', 5, 'infinity');
         INSERT INTO link_hours VALUES ('{id}', 24, 0, 5), ('{id}', 24, 7, 5), ('{id}', 25, 0, -5);
         INSERT INTO link_days VALUES ('{id}', 1, 0, 5), ('{id}', 1, 7, 5);
         INSERT INTO dimension_values OVERRIDING SYSTEM VALUE VALUES (1, 1, 'good.example'), (2, 99, 'no dimension');
         INSERT INTO link_dimensions_day VALUES
            ('{id}', 1, 1, 0, 1, 5), ('{id}', 1, 1, 0, 2, 5), ('{id}', 1, 1, 0, 3, 5), ('{id}', 1, 1, 7, 1, 5);
         INSERT INTO link_visitors_day VALUES ('{id}', 1, '\\x00'), ('{id}', 2, '\\x0102');
         INSERT INTO orphans_day VALUES (0, 1, 0, 5), (0, 1, 9, 5);"
    );
    database.sql(&rows).expect("the test owns the database");
    let of = StatisticsOf::Link(id);
    let totals = clicks.totals(&[id]).await.expect("bad rows are skipped");
    assert_eq!((totals[&id].humans, totals[&id].bots), (5, 0));
    let hours = clicks.hours(&of, Hour(0)..Hour(1_000)).await.expect("bad rows are skipped");
    assert_eq!(hours.iter().map(|count| (count.when, count.clicks)).collect::<Vec<_>>(), [(Hour(24), 5)]);
    let days = clicks.days(&of, DAYS).await.expect("bad rows are skipped");
    assert_eq!(days.iter().map(|count| (count.when, count.clicks)).collect::<Vec<_>>(), [(Day(1), 5)]);
    // The month is not whole, so that the days are read.
    let values = clicks.dimensions(&of, Day(0)..Day(3)).await.expect("bad rows are skipped");
    assert_eq!(values.iter().map(|count| (&*count.value, count.clicks)).collect::<Vec<_>>(), [("good.example", 5)]);
    assert!(clicks.visitors(&id, DAYS).await.expect("bad rows are skipped").is_empty());
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
