//! When the server is frozen, gone, full or set up otherwise.

use std::time::{Duration, Instant};

use adapter_postgres::{InvalidOptions, PostgresOptions, PostgresStore};
use domain::ports::{LinkRepository, LinkResolver, Ping, RepositoryErrorKind};
use test_support::{PostgresServer, ServerOptions};

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
    let options = options("postgres://user:hunter2@host:notaport/db");
    let refused = PostgresStore::new(&options, tokio::runtime::Handle::current()).expect_err("no port");
    assert!(matches!(refused, InvalidOptions::Url(_)));
    let mut chain = format!("{refused} {refused:?} {options:?}");
    let mut cause = std::error::Error::source(&refused);
    while let Some(error) = cause {
        chain += &error.to_string();
        cause = error.source();
    }
    assert!(!chain.contains("hunter2"), "{chain}");
}
