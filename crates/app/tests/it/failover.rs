//! Failover: the database moves to its standby, and nothing that was acknowledged stays behind.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use test_support::{PostgresServer, ServerOptions};

use crate::support::{Caller, Connection, PATIENCE, Signpost, code_of, eventually, rounds, unique};

/// Within which writes go on after the standby was promoted.
const RECOVERY: Duration = Duration::from_secs(10);

const DATABASE: &str = "failover";

/// How a primary is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Killed,
    /// In order: its sessions are told so (57P01).
    Stopped,
    /// It says nothing more, and its connections stay open.
    Frozen,
}

/// A standby of which every acknowledged write waits, in the place of a server that is gone.
fn follow(primary: &PostgresServer, port: Option<u16>) -> Arc<PostgresServer> {
    let standby = primary.start_standby(ServerOptions { durable: true, port, ..ServerOptions::default() });
    let sql = |sql| primary.sql("postgres", sql).expect("it is the primary");
    sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'");
    sql("SELECT pg_reload_conf()");
    let is_synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
    assert!(eventually(PATIENCE, || sql(is_synchronous) == "1"), "the standby does not follow");
    standby
}

#[test]
fn no_acknowledged_link_is_lost_when_the_standby_takes_over() {
    let mut primary = PostgresServer::start(ServerOptions { durable: true, ..ServerOptions::default() });
    primary.sql("postgres", &format!("CREATE DATABASE {DATABASE}")).expect("it is ours");
    let mut standby = follow(&primary, None);
    let url = format!(
        "postgres://signpost@127.0.0.1:{},127.0.0.1:{}/{DATABASE}?target_session_attrs=read-write",
        primary.port(),
        standby.port()
    );
    let server = Signpost::on_database(&primary.database(DATABASE)).set("store.url", &url).start();
    let caller = server.caller();
    for round in 0..rounds(3, 10) {
        let loss = [Loss::Killed, Loss::Stopped, Loss::Frozen][round % 3];
        let known = caller.code(&format!("https://example.com/known/{round}"));
        let over = AtomicBool::new(false);
        let created: Vec<String> = thread::scope(|scope| {
            let writers: Vec<_> = (0..4).map(|_| scope.spawn(|| create_until(&caller, &over))).collect();
            thread::sleep(Duration::from_millis(300));
            match loss {
                Loss::Killed => primary.kill(),
                Loss::Stopped => primary.stop(),
                Loss::Frozen => primary.freeze(),
            }
            server.get(&format!("/{known}")).with_status(302);
            standby.promote();
            let promoted = Instant::now();
            // No longer waits for a standby of its own.
            let works = || caller.claim(&json!({"url": format!("https://example.com/{}", unique("resumed"))})).status;
            assert!(eventually(PATIENCE, || works() == 201), "writes do not go on");
            assert!(promoted.elapsed() < RECOVERY, "{loss:?}: {:?}", promoted.elapsed());
            thread::sleep(Duration::from_millis(300));
            over.store(true, Ordering::SeqCst);
            writers.into_iter().flat_map(|writer| writer.join().expect("no answer is wrong")).collect()
        });
        assert!(created.len() > 20, "{loss:?}: only {} were created", created.len());
        for code in &created {
            caller.read(code).with_status(200);
        }
        let port = primary.port();
        primary.kill();
        let gone = std::mem::replace(&mut primary, standby);
        drop(gone);
        standby = follow(&primary, Some(port));
    }
}

/// The codes of links whose creation was acknowledged.
fn create_until(caller: &Caller, over: &AtomicBool) -> Vec<String> {
    let mut created = Vec::new();
    let mut connection = Connection::open(caller.address()).expect("it listens");
    while !over.load(Ordering::SeqCst) {
        let claim = caller.claiming(&json!({"url": format!("https://example.com/{}", unique("moved"))}));
        let answer = connection.send(&claim).expect("it answers");
        match answer.status {
            201 => created.push(code_of(&answer.json())),
            503 => {}
            other => panic!("{other}: {}", answer.text()),
        }
    }
    created
}
