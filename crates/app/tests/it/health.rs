//! Health: a fault that makes most claims or redirects fail is shown within ten seconds, with its reason.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use test_support::{FaultProxy, PostgresServer, ServerOptions, TlsFiles, shared_server};

use crate::support::{Caller, PATIENCE, Signpost, eventually, unique};

/// How soon a fault has to show in `/health`, and how soon its end.
const SEEN: Duration = Duration::from_secs(10);

/// Keeps claiming links while `look` runs.
fn while_claiming<T>(caller: &Caller, look: impl FnOnce() -> T) -> T {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let claimed = caller.claim(&json!({"url": format!("https://example.com/{}", unique("health"))}));
                    assert!(matches!(claimed.status, 201 | 500..), "{claimed:?}");
                    thread::sleep(Duration::from_millis(50));
                }
            });
        }
        let seen = look();
        over.store(true, Ordering::SeqCst);
        seen
    })
}

/// Waits until `/health` fails with these words.
#[track_caller]
fn fails_because(server: &Signpost, words: &str) {
    let begun = Instant::now();
    let told = || server.get("/health");
    let says = |health: &Value| {
        let checks = ["store:responseTime", "changes:failed"].map(|check| health["checks"][check][0].clone());
        checks.iter().any(|check| check["status"] == "fail" && check["output"] == words)
    };
    let seen = eventually(SEEN, || {
        let answer = told();
        answer.status == 503 && says(&answer.json())
    });
    assert!(seen, "{:?}: {}", begun.elapsed(), told().text());
    let text = told().text().clone();
    for secret in ["127.0.0.1", "SELECT", "INSERT", "postgres", "signpost.db"] {
        assert!(!text.contains(secret), "{text}");
    }
}

#[track_caller]
fn recovers(server: &Signpost) {
    let well = || server.get("/health").json()["status"] == "pass";
    assert!(eventually(PATIENCE, well), "{}", server.get("/health").text());
}

#[test]
fn refused_sessions_fail_health_although_open_ones_work() {
    let few = ("max_connections".to_owned(), "12".to_owned());
    let reserved = ("superuser_reserved_connections".to_owned(), "0".to_owned());
    let postgres = PostgresServer::start(ServerOptions { extra: vec![few, reserved], ..ServerOptions::default() });
    let database = postgres.create_database();
    let server = Signpost::on_database(&database).set("store.pool_size", "4").start();
    let caller = server.caller();
    caller.code("https://example.com/before");
    recovers(&server);
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Another client takes every free session, again and again.
        for _ in 0..24 {
            scope.spawn(|| {
                while !over.load(Ordering::SeqCst) {
                    let _refused = database.sql("SELECT pg_sleep(2)");
                }
            });
        }
        while_claiming(&caller, || fails_because(&server, "too many connections: it refuses more sessions"));
        over.store(true, Ordering::SeqCst);
    });
    recovers(&server);
}

#[test]
fn a_read_only_database_fails_health() {
    let server = Signpost::on_postgres().start();
    let (database, caller) = (server.database().clone(), server.caller());
    let set = |to: &str| {
        let (name, elsewhere) = (database.name(), shared_server());
        let sql = |sql: &str| elsewhere.sql("postgres", sql).expect("the test owns the server");
        sql(&format!("ALTER DATABASE {name} SET default_transaction_read_only = {to}"));
        // Open sessions keep the setting they began with.
        sql(&format!("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE datname = '{name}'"));
    };
    caller.code("https://example.com/before");
    set("on");
    while_claiming(&caller, || fails_because(&server, "it is read-only"));
    set("off");
    recovers(&server);
}

#[test]
fn a_locked_table_fails_health_although_reading_works() {
    let server = Signpost::on_postgres().start();
    let (database, caller) = (server.database().clone(), server.caller());
    caller.code("https://example.com/before");
    thread::scope(|scope| {
        let locking = scope.spawn(|| database.sql("BEGIN; LOCK links IN EXCLUSIVE MODE; SELECT pg_sleep(9); COMMIT"));
        while_claiming(&caller, || fails_because(&server, "it is locked by others"));
        locking.join().expect("no panic").expect("the lock ends");
    });
    recovers(&server);
}

#[test]
fn a_missing_schema_fails_health() {
    let server = Signpost::on_postgres().start();
    let (database, caller) = (server.database().clone(), server.caller());
    database.sql("ALTER TABLE links RENAME TO elsewhere").expect("we own it");
    while_claiming(&caller, || fails_because(&server, "the schema is missing or not up to date"));
    database.sql("ALTER TABLE elsewhere RENAME TO links").expect("we own it");
    recovers(&server);
}

#[test]
fn failing_lookups_of_redirects_are_a_warning() {
    let server = Signpost::on_postgres().start();
    let database = server.database().clone();
    let over = AtomicBool::new(false);
    let warns = || {
        let health = server.get("/health").json();
        let lookups = &health["checks"]["lookups:failed"][0];
        health["status"] == "warn" && lookups["status"] == "warn" && lookups["output"].is_string()
    };
    thread::scope(|scope| {
        // The store's ping succeeds, because it reads no row.
        let hiding = "ALTER TABLE links ADD COLUMN IF NOT EXISTS broken boolean; \
                      ALTER TABLE links RENAME COLUMN target TO hidden";
        database.sql(hiding).expect("we own it");
        scope.spawn(|| {
            while !over.load(Ordering::SeqCst) {
                let followed = server.get(&format!("/{}", unique("cold")));
                assert!(matches!(followed.status, 404 | 500..), "{followed:?}");
                thread::sleep(Duration::from_millis(50));
            }
        });
        let seen = eventually(SEEN, warns);
        over.store(true, Ordering::SeqCst);
        assert!(seen, "{}", server.get("/health").text());
    });
    database.sql("ALTER TABLE links RENAME COLUMN hidden TO target").expect("we own it");
    recovers(&server);
}

#[test]
fn an_unreadable_list_of_hosts_is_a_warning_and_serving_goes_on() {
    let setup = Signpost::on_sqlite();
    let list = setup.data_dir().with_extension(unique("list"));
    fs::write(&list, "evil.example\n").expect("the folder is ours");
    let server = setup.set("targets.deny_file", list.to_str().expect("a plain path")).start();
    recovers(&server);
    fs::remove_file(&list).expect("it is there");
    let task = || {
        let health = server.get("/health").with_status(200).json();
        (health["status"].clone(), health["checks"]["tasks:lastSuccess"][5].clone())
    };
    let warns = || {
        let (status, task) = task();
        status == "warn" && task["output"] == "a list of hosts cannot be read"
    };
    assert!(eventually(PATIENCE, warns), "{:?}", task());
    let told = server.event("task.failing");
    assert_eq!((&told["level"], &told["task"]), (&json!("warning"), &json!("lists-of-hosts")));
    assert_eq!(server.caller().claim(&json!({"url": "https://evil.example/"})).status, 422);
    fs::write(&list, "evil.example\n").expect("the folder is ours");
    recovers(&server);
    server.event("task.recovered");
}

/// Opening a session takes eight round trips there, each of a tenth of a second.
#[test]
fn a_distant_database_works_with_tls_and_passwords() {
    const AWAY: Duration = Duration::from_millis(100);
    let folder = tempfile::tempdir().expect("a temporary folder");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (ca, rules) = (folder.path().join("ca.pem"), folder.path().join("pg_hba.conf"));
    fs::write(&ca, made.cert.pem()).expect("the folder is ours");
    fs::write(&rules, "local all all trust\nhostssl all all all scram-sha-256\n").expect("the folder is ours");
    for path in [folder.path(), &rules] {
        fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("the file is ours");
    }
    let tls = TlsFiles { cert_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() };
    let extra = vec![("hba_file".to_owned(), rules.to_str().expect("a plain path").to_owned())];
    let postgres = PostgresServer::start(ServerOptions { tls: Some(tls), extra, ..ServerOptions::default() });
    let database = postgres.create_database();
    let role = "CREATE ROLE app LOGIN SUPERUSER PASSWORD 'far-away'";
    database.sql(role).expect("the test owns the server");
    // Migrations have many statements and would take half a minute on this connection.
    assert_eq!(
        Signpost::on_database(&database).set("store.url", &database.socket_url()).run(&["migrate"]).code,
        Some(0)
    );
    let proxy = FaultProxy::before(([127, 0, 0, 1], postgres.port()).into());
    let url = format!("postgres://app:far-away@{}/{}", proxy.address(), database.name());
    proxy.delay(AWAY);
    let setup = Signpost::on_database(&database).set("store.url", &url).set("store.tls", "require");
    let server = setup.set("store.tls_ca_file", ca.to_str().expect("a plain path")).start();
    let caller = server.caller();
    for number in 0..5 {
        let code = caller.code(&format!("https://example.com/far/{number}"));
        caller.read(&code).with_status(200);
    }
    // These codes are not cached. A connection that takes longer to open than the first lookup waits serves a later
    // one.
    let cold = || server.get(&format!("/{}", unique("cold"))).status == 404;
    assert!(eventually(SEEN, cold), "lookups never get a connection");
    assert!((0..5).all(|_| cold()), "and then they have one");
    recovers(&server);
}
