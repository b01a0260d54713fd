//! Behaviour when the server is frozen, down, read-only or misconfigured.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use adapter_postgres::{InvalidOptions, PostgresOptions, PostgresStore, check_url};
use domain::{
    actor::Actor,
    history::Provenance,
    lifecycle::{self, Resolution},
    ports::{Applied, FailureReason, LinkRepository, LinkResolver, Ping, RepositoryErrorKind},
};
use test_support::{
    Direction, FaultProxy, PostgresServer, ServerOptions,
    contract::{Subject, a_link},
    shared_server,
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

fn address() -> domain::address::Address {
    "abcdef".parse().expect("valid")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_frozen_server_costs_one_timeout_and_its_connections_are_not_reused() {
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let store = store(&impatient(&database.url()));
    store.migrate().await.expect("an empty database takes every migration");
    store.ping().await.expect("the server answers");

    server.freeze();
    for _ in 0..3 {
        let begun = Instant::now();
        let error = store.resolve(&address()).await.expect_err("the server does not answer");
        assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
        assert!(begun.elapsed() < Duration::from_millis(2_500), "{:?}", begun.elapsed());
    }
    server.thaw();
    store.resolve(&address()).await.expect("a new connection is made");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_server_is_unavailable_and_is_used_again_after_a_restart() {
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let store = store(&impatient(&database.url()));
    store.migrate().await.expect("an empty database takes every migration");
    server.kill();
    let error = store.find(&address()).await.expect_err("the server is down");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
    server.restart();
    let deadline = Instant::now() + Duration::from_secs(5);
    while let Err(error) = LinkRepository::find(&store, &address()).await {
        assert!(Instant::now() < deadline, "not back after five seconds: {error:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_write_that_timed_out_is_indeterminate() {
    use domain::ports::IdempotencyRepository;
    use domain::time::Timestamp;
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let store = store(&impatient(&database.url()));
    store.migrate().await.expect("an empty database takes every migration");
    store.find(&address()).await.expect("a connection is in the pool");
    server.freeze();
    let moment = Timestamp::from_unix_micros(0).expect("in range");
    let error = store.forget(moment).await.expect_err("the server does not answer");
    server.thaw();
    assert_eq!(error.kind(), RepositoryErrorKind::Indeterminate);
}

/// Open TCP connections to that port, as the kernel lists them. Only this test knows the server.
fn connections_to(port: u16) -> usize {
    let table = std::fs::read_to_string("/proc/self/net/tcp").expect("Linux lists its connections");
    let (remote, established) = (format!(":{port:04X}"), "01");
    let fields = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    fields.filter(|fields| fields[2].ends_with(&remote) && fields[3] == established).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_a_frozen_server_are_closed() {
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    let patient = store(&options(&database.url()));
    patient.migrate().await.expect("an empty database takes every migration");
    drop(patient);
    let store = store(&PostgresOptions {
        connect_timeout: Duration::from_millis(100),
        pool_timeout: Duration::from_millis(150),
        statement_timeout: Duration::from_millis(100),
        ..options(&database.url())
    });
    let busy = Instant::now() + Duration::from_secs(30);
    while store.resolve(&address()).await.is_err() {
        assert!(Instant::now() < busy, "no session in such short time, again and again");
    }
    server.freeze();
    // The first call times out in a statement, the later ones while connecting.
    for _ in 0..20 {
        store.resolve(&address()).await.expect_err("the server does not answer");
    }
    let deadline = Instant::now() + Duration::from_secs(5);
    while connections_to(server.port()) > 0 {
        assert!(Instant::now() < deadline, "{} connections are left", connections_to(server.port()));
        tokio::task::yield_now().await;
    }
    server.thaw();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_silent_host_costs_only_its_own_connect_timeout() {
    let (_, database) = fresh().await;
    let live = ([127, 0, 0, 1], shared_server().port()).into();
    let silent = FaultProxy::before(live);
    silent.hold(Direction::Replies);
    let url = format!("postgres://signpost@{},{live}/{}", silent.address(), database.name());
    let store = store(&PostgresOptions { connect_timeout: Duration::from_millis(500), ..options(&url) });
    store.resolve(&address()).await.expect("the second host answers");
    assert_eq!(silent.connections_made(), 1);
    store.migrate().await.expect("it answers migrations too");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_to_connect_names_each_host_and_its_error() {
    let refused = std::net::TcpListener::bind("127.0.0.1:0").expect("some port is free").local_addr().expect("bound");
    let silent = FaultProxy::before(([127, 0, 0, 1], shared_server().port()).into());
    silent.hold(Direction::Replies);
    let url = format!("postgres://signpost@{refused},{}/postgres", silent.address());
    let store = store(&PostgresOptions { connect_timeout: Duration::from_millis(100), ..impatient(&url) });
    let error = store.resolve(&address()).await.expect_err("the server does not answer");
    let mut told = String::new();
    let mut cause: Option<&dyn std::error::Error> = Some(&error);
    while let Some(error) = cause {
        told += &format!("{error}\n");
        cause = error.source();
    }
    assert!(told.contains(&format!("{refused}: ")) && told.contains("refused"), "{told}");
    assert!(told.contains(&format!("{}: no session in time", silent.address())), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_late_reply_never_reaches_another_lookup() {
    let (migrated, database) = fresh().await;
    let subject = Subject::over(migrated, 7);
    let one = subject.given(&a_link().to("https://example.com/one")).await;
    let other = subject.given(&a_link().to("https://example.com/other")).await;

    let proxy = FaultProxy::before(([127, 0, 0, 1], shared_server().port()).into());
    let url = format!("postgres://signpost@{}/{}", proxy.address(), database.name());
    let store = store(&PostgresOptions { redirect_pool_size: 1, ..impatient(&url) });
    store.resolve(&one.address()).await.expect("there is a connection to use");
    let made = proxy.connections_made();
    proxy.hold(Direction::Replies);
    let error = store.resolve(&one.address()).await.expect_err("its reply is held");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
    proxy.let_go();
    for _ in 0..50 {
        for link in [&other, &one] {
            let resolved = store.resolve(&link.address()).await.expect("the server answers again");
            assert_eq!(resolved.resolution.as_deref(), Some(&Resolution::from(link)));
        }
    }
    assert_eq!(proxy.connections_made(), made + 1, "the old connection serves no call, and one new one serves all");
}

/// The statement of the change reaches the server after the caller has given up.
#[tokio::test(flavor = "multi_thread")]
async fn a_change_that_timed_out_does_not_take_effect_later() {
    let (migrated, database) = fresh().await;
    let link = Subject::over(migrated, 7).given(&a_link()).await;
    let lifecycle::Step::Changed(change) = lifecycle::delete(&link, link.created_at) else { panic!("it is active") };
    let request_id = "a-late-change".parse().expect("valid");
    let provenance = Provenance { actor: Actor::System, request_id, at: link.created_at };

    let proxy = FaultProxy::before(([127, 0, 0, 1], shared_server().port()).into());
    let url = format!("postgres://signpost@{}/{}", proxy.address(), database.name());
    let store = store(&PostgresOptions { pool_size: 1, ..impatient(&url) });
    store.find(&address()).await.expect("there is a connection to use");
    proxy.hold_requests_with(b"a-late-change");
    let error = store.apply(&change, &provenance, None).await.expect_err("the server does not answer");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable, "its COMMIT was never sent");
    assert!(proxy.has_caught_something());

    proxy.let_go();
    assert!(proxy.has_settled(), "the server goes on with it");
    assert_eq!(store.find(&link.address()).await.expect("the server answers again"), Some(link.clone()));
    let applied = store.apply(&change, &provenance, None).await.expect("the server answers again");
    assert_eq!(applied, Applied::Done, "the late one left everything as it was");
}

#[tokio::test(flavor = "multi_thread")]
async fn ping_fails_if_the_server_accepts_no_writes() {
    let (store, database) = fresh().await;
    store.ping().await.expect("the server accepts writes");
    let name = database.sql("SELECT current_database()").expect("the database has a name");
    database
        .sql(&format!("ALTER DATABASE {name} SET default_transaction_read_only = on"))
        .expect("the test owns the database");
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
    let error = store.find(&address()).await.expect_err("there is no table");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_corrupt_row_is_told_from_a_missing_one() {
    let (store, database) = fresh().await;
    let sql = "ALTER TABLE links DROP CONSTRAINT links_target_check; \
               INSERT INTO links VALUES (gen_random_uuid(), 'abcdef', 'default', 'gopher://x', 302, false, NULL, NULL, \
               '{}', 'active', true, decode(repeat('00', 32), 'hex'), gen_random_uuid(), 1, now(), now(), NULL, NULL)";
    database.sql(sql).expect("constraints are off");
    let error = store.find(&address()).await.expect_err("the target is invalid");
    assert_eq!(error.kind(), RepositoryErrorKind::Corrupt);
}

/// Many codes are looked up in one statement.
#[tokio::test(flavor = "multi_thread")]
async fn an_unreadable_row_fails_only_its_own_lookup() {
    let (migrated, database) = fresh().await;
    let subject = Subject::over(migrated, 7);
    let strange = subject.given(&a_link().to("https://example.com/strange")).await;
    let good = subject.given(&a_link().to("https://example.com/good")).await;
    let code = strange.code.as_str();
    database
        .sql(&format!(
            "ALTER TABLE links DISABLE TRIGGER USER; UPDATE links SET expires_at = 'infinity' WHERE code = '{code}'"
        ))
        .expect("the test owns the database");
    let store = Arc::new(store(&PostgresOptions { redirect_pool_size: 1, ..options(&database.url()) }));
    let asking: Vec<_> = (0..40)
        .map(|number| {
            let (store, link) = (Arc::clone(&store), if number % 4 == 0 { strange.clone() } else { good.clone() });
            tokio::spawn(async move { store.resolve(&link.address()).await.map_err(|error| error.kind()) })
        })
        .collect();
    for (number, answer) in asking.into_iter().enumerate() {
        let answer = answer.await.expect("no panic");
        assert_eq!(answer.is_err(), number % 4 == 0, "{answer:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_url_is_rejected_without_showing_it() {
    for url in [
        "postgres://user:hunter2@host:notaport/db",
        "postgres://user:x@y?hunter2@host/db",
        "postgres://user:hunter2@host/db?hunter2=1",
    ] {
        let options = options(url);
        let refused = PostgresStore::new(&options, tokio::runtime::Handle::current()).expect_err("the URL is invalid");
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

#[tokio::test(flavor = "multi_thread")]
async fn each_failure_to_connect_has_its_own_reason() {
    use FailureReason as Reason;
    let server = PostgresServer::start(ServerOptions::default());
    let database = server.create_database();
    server
        .sql("postgres", "CREATE ROLE sleeper NOLOGIN; CREATE ROLE single LOGIN CONNECTION LIMIT 0")
        .expect("the test owns the server");
    let at = |user: &str, port: u16, name: &str| format!("postgres://{user}@127.0.0.1:{port}/{name}");
    let (port, name) = (server.port(), database.name());
    let nothing_listens = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port").local_addr().expect("bound");
    for (url, reason) in [
        (at("signpost", nothing_listens.port(), name), Reason::ConnectionRefused),
        (at("signpost", port, "elsewhere"), Reason::DatabaseMissing),
        (at("sleeper", port, name), Reason::AuthenticationFailed),
        (at("single", port, name), Reason::SessionsRefused),
        (at("signpost", port, name).replace("127.0.0.1", "no-such-host.invalid"), Reason::Unreachable),
        (at("signpost", port, name), Reason::SchemaMissing),
    ] {
        let tls = adapter_postgres::TlsPolicy::Never;
        let store = store(&PostgresOptions { tls, connect_timeout: Duration::from_secs(5), ..options(&url) });
        let error = store.ping().await.expect_err("the server cannot be used");
        assert_eq!(error.reason(), reason, "{url}: {error:?}");
    }
    let store = store(&impatient(&database.url()));
    server.freeze();
    assert_eq!(store.ping().await.expect_err("the server does not answer").reason(), Reason::ConnectTimedOut);
    server.thaw();
}
