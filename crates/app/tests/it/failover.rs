//! Failover: the standby takes over, and no acknowledged write is lost.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use test_support::{PostgresServer, ServerOptions};

use crate::support::{Caller, Connection, Flag, PATIENCE, Signpost, code_of, eventually, rounds, unique};

/// Within this time after the promotion of the standby, writes succeed again.
const RECOVERY: Duration = Duration::from_secs(10);

const DATABASE: &str = "failover";

/// How the primary is lost.
#[derive(Clone, Copy, Debug)]
enum Loss {
    Killed,
    /// A clean shutdown: its sessions are told so (57P01).
    Stopped,
    /// It sends nothing more, and its connections stay open.
    Frozen,
}

/// Starts a standby that every acknowledged write waits for, in the place of a server that is gone.
fn follow(primary: &PostgresServer, port: Option<u16>) -> Arc<PostgresServer> {
    let standby = primary.start_standby(ServerOptions { durable: true, port, ..ServerOptions::default() });
    primary.wait_for_standby(&standby);
    standby
}

#[test]
fn no_acknowledged_link_is_lost_when_the_standby_takes_over() {
    let mut primary = PostgresServer::start(ServerOptions { durable: true, ..ServerOptions::default() });
    primary.sql("postgres", &format!("CREATE DATABASE {DATABASE}")).expect("the test owns the server");
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
        let over = Flag::default();
        let created: Vec<String> = thread::scope(|scope| {
            let _raised_by_a_panic_too = over.raised_at_the_end();
            let writers: Vec<_> = (0..4).map(|_| scope.spawn(|| create_until(&caller, &over))).collect();
            thread::sleep(Duration::from_millis(300));
            lose(&primary, loss);
            server.get(&format!("/{known}")).with_status(302);
            standby.promote();
            let promoted = Instant::now();
            // The promoted server does not wait for a standby of its own.
            let works = || caller.claim(&json!({"url": format!("https://example.com/{}", unique("resumed"))})).status;
            assert!(eventually(PATIENCE, || works() == 201), "writes do not go on");
            assert!(promoted.elapsed() < RECOVERY, "{loss:?}: {:?}", promoted.elapsed());
            thread::sleep(Duration::from_millis(300));
            over.raise();
            writers.into_iter().flat_map(|writer| writer.join().expect("no answer is wrong")).collect()
        });
        assert!(created.len() > 20, "{loss:?}: only {} were created", created.len());
        for code in created.iter().chain([&known]) {
            let read = caller.read(code);
            assert_eq!(read.status, 200, "round {round}, {loss:?}, one of {}: {read:?}", created.len());
        }
        let port = primary.port();
        primary.kill();
        let gone = std::mem::replace(&mut primary, standby);
        drop(gone);
        standby = follow(&primary, Some(port));
    }
}

/// Stops the primary. If it is killed or frozen, its standby receives nothing for the last tenth of a second: a write
/// acknowledged in that time was acknowledged without the standby, and is lost. A clean shutdown sends everything
/// first.
fn lose(primary: &PostgresServer, loss: Loss) {
    if matches!(loss, Loss::Killed | Loss::Frozen) {
        primary.hold_replication();
        thread::sleep(Duration::from_millis(100));
    }
    match loss {
        Loss::Killed => primary.kill(),
        Loss::Stopped => primary.stop(),
        Loss::Frozen => primary.freeze(),
    }
}

/// The codes of links whose creation was acknowledged.
fn create_until(caller: &Caller, over: &Flag) -> Vec<String> {
    let mut created = Vec::new();
    let mut connection = Connection::open(caller.address()).expect("it listens");
    while !over.is_raised() {
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
