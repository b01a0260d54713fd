//! When the server is frozen, gone, full or set up otherwise.

use std::time::{Duration, Instant};

use adapter_postgres::{InvalidOptions, PostgresOptions, PostgresStore, check_url};
use domain::ports::{LinkRepository, LinkResolver, Ping, RepositoryErrorKind};
use test_support::{
    PostgresServer, ServerOptions,
    contract::{Subject, a_link},
};

use crate::{fresh, options, store};

fn impatient(url: &str) -> PostgresOptions {
    PostgresOptions {
        connect_timeout: Duration::from_millis(500),
        pool_timeout: Duration::from_millis(500),
        statement_timeout: Duration::from_secs(1),
        ..options(url)
    }
}

fn code() -> domain::code::Code {
    "abcdef".parse().expect("valid")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_costs_one_deadline_and_its_connections_never_serve_again() {
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let store = store(&impatient(&database.url()));
    store.migrate().await.expect("an empty database takes every migration");
    store.ping().await.expect("the server answers");

    server.freeze();
    for _ in 0..3 {
        let begun = Instant::now();
        let error = store.resolve(&code()).await.expect_err("nobody answers");
        assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
        assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    }
    server.thaw();
    store.resolve(&code()).await.expect("a new connection is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_gone_is_unavailable_and_is_found_again_when_it_is_back() {
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let store = store(&impatient(&database.url()));
    store.migrate().await.expect("an empty database takes every migration");
    server.kill();
    let error = store.find(&code()).await.expect_err("nobody is there");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
    server.restart();
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(error) = LinkRepository::find(&store, &code()).await {
        assert!(Instant::now() < deadline, "not back after five seconds: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_write_is_told_as_unknown_never_as_failed() {
    use domain::ports::IdempotencyRepository;
    use domain::time::Timestamp;
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let store = store(&impatient(&database.url()));
    store.migrate().await.expect("an empty database takes every migration");
    store.ping().await.expect("a connection is in the pool");
    server.freeze();
    let moment = Timestamp::from_unix_micros(0).expect("in range");
    let error = store.forget(moment).await.expect_err("nobody answers");
    server.thaw();
    assert_eq!(error.kind(), RepositoryErrorKind::Indeterminate);
}

/// Open TCP connections of this process to that port, as the kernel lists them.
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("Linux lists its connections");
    let (remote, established) = (format!(":{port:04X}"), "01");
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields[2].ends_with(&remote) && fields[3] == established).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_collects_no_connections() {
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let store = store(&PostgresOptions {
        connect_timeout: Duration::from_millis(100),
        pool_timeout: Duration::from_millis(150),
        statement_timeout: Duration::from_millis(100),
        ..options(&database.url())
    });
    store.migrate().await.expect("an empty database takes every migration");
    let busy = Instant::now() + Duration::from_secs(30);
    while store.resolve(&code()).await.is_err() {
        assert!(Instant::now() < busy, "no session in such short time, again and again");
    }
    server.freeze();
    // The first one breaks off in a statement, those after it in an attempt to connect.
    for _ in 0..20 {
        store.resolve(&code()).await.expect_err("nobody answers");
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while connections_to(server.port()) > 0 {
        assert!(Instant::now() < deadline, "{} connections are left", connections_to(server.port()));
        tokio::task::yield_now().await;
    }
    server.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_answer_costs_its_own_bound_only() {
    let (frozen, server) =
        (PostgresServer::start(ServerOptions::default()), PostgresServer::start(ServerOptions::default()));
    let url = format!("postgres://signpost@127.0.0.1:{},127.0.0.1:{}/postgres", frozen.port(), server.port());
    let store = store(&PostgresOptions { connect_timeout: Duration::from_millis(500), ..options(&url) });
    frozen.freeze();
    store.migrate().await.expect("the second host answers");
    frozen.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_timed_out_does_not_come_true_later() {
    use domain::{history::Provenance, lifecycle, ports::Applied};
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let store = std::sync::Arc::new(store(&PostgresOptions {
        pool_timeout: Duration::from_secs(5),
        ..impatient(&database.url())
    }));
    store.migrate().await.expect("an empty database takes every migration");
    let subject = Subject::over(store.clone(), 7);
    let link = subject.given(&a_link()).await;
    let now = link.created_at;
    let lifecycle::Step::Changed(change) = lifecycle::delete(&link, now) else { panic!("it is active") };
    let provenance =
        Provenance { actor: domain::history::Actor::System, request_id: "late".parse().expect("valid"), at: now };

    // Somebody holds the row, so that the change is with the server when that freezes.
    let lock = format!("SELECT 1 FROM links WHERE code = '{}' FOR UPDATE; SELECT pg_sleep(0.4)", link.code);
    let holder = database.clone();
    let holding = std::thread::spawn(move || holder.sql(&lock));
    let waits = |what: &str| database.sql(what).as_deref() == Ok("1");
    let busy = Instant::now() + Duration::from_secs(30);
    while !waits("SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep'") {
        assert!(Instant::now() < busy, "the row is not locked");
    }
    let applying = tokio::spawn({
        let (store, change, provenance) = (store.clone(), change.clone(), provenance.clone());
        async move { store.apply(&change, &provenance, None).await }
    });
    while !waits("SELECT count(*) FROM pg_locks WHERE NOT granted") {
        assert!(Instant::now() < busy, "nobody waits for the row");
        tokio::task::yield_now().await;
    }
    server.freeze();
    let error = applying.await.expect("no panic").expect_err("nobody answers");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable, "its COMMIT was never sent");
    server.thaw();
    holding.join().expect("no panic").expect("it holds the row as long as it wants");

    // A change that waits for the same row comes after it.
    let applied = store.apply(&change, &provenance, None).await.expect("the server answers again");
    assert_eq!(applied, Applied::Done, "the late one left everything as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_takes_no_writes_is_not_well() {
    let (store, database) = fresh().await;
    store.ping().await.expect("it takes writes");
    let name = database.sql("SELECT current_database()").expect("it has a name");
    database.sql(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on")).expect("we own it");
    let later = crate::store(&options(&database.socket_url()));
    let error = later.ping().await.expect_err("it is read-only, as a standby is");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn migrations_keep_the_options_of_the_url() {
    let database = crate::empty_database();
    database.sql("CREATE SCHEMA elsewhere").expect("a new database takes schemas");
    let url = format!("{}&options=-c%20search_path%3Delsewhere", database.socket_url());
    store(&options(&url)).migrate().await.expect("the schema takes every migration");
    assert_eq!(database.sql("SELECT to_regclass('elsewhere.links') IS NOT NULL"), Ok("t".to_owned()));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_its_schema_is_unavailable() {
    let database = crate::empty_database();
    let store = store(&options(&database.url()));
    let error = store.find(&code()).await.expect_err("there is no table");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_row_is_told_from_a_missing_one() {
    let (store, database) = fresh().await;
    let sql = "ALTER TABLE links DROP CONSTRAINT links_target_check; \
               INSERT INTO links VALUES (gen_random_uuid(), 'abcdef', 'default', 'gopher://x', 302, false, NULL, NULL, \
               '{}', 'active', true, decode(repeat('00', 32), 'hex'), gen_random_uuid(), 1, now(), now(), NULL, NULL)";
    database.sql(sql).expect("constraints are off");
    let error = store.find(&code()).await.expect_err("the target is none");
    assert_eq!(error.kind(), RepositoryErrorKind::Corrupt);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_url_that_is_none_is_refused_without_showing_it() {
    for url in [
        "postgres://user:hunter2@host:notaport/db",
        "postgres://user:x@y?hunter2@host/db",
        "postgres://user:hunter2@host/db?hunter2=1",
    ] {
        let options = options(url);
        let refused = PostgresStore::new(&options, tokio::runtime::Handle::current()).expect_err("it is none");
        assert!(matches!(refused, InvalidOptions::Url) && check_url(url).is_err());
        let mut chain = format!("{refused} {refused:?} {options:?}");
        let mut cause = std::error::Error::source(&refused);
        while let Some(error) = cause {
            chain += &error.to_string();
            cause = error.source();
        }
        assert!(!chain.contains("hunter2"), "{chain}");
    }
}
