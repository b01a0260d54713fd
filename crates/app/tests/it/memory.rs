//! The cache: what one process caches, what others change, and redirects while the database is unavailable.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use test_support::{Direction, FaultProxy, PostgresServer, ServerOptions, shared_server};

use crate::support::{PATIENCE, Request, Signpost, ask_together, code_of, eventually, rounds, unique};

/// Within this time a change by one process is seen by all others.
const HEARD: Duration = Duration::from_secs(1);

/// Two processes on one database, each of which is subscribed to the change feed.
fn two_processes() -> (Signpost, Signpost) {
    let one = Signpost::on_postgres().start();
    let other = one.another().start();
    let listening = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND query LIKE 'LISTEN%'";
    let both = || one.database().sql(listening).as_deref() == Ok("2");
    assert!(eventually(PATIENCE, both), "they do not listen");
    (one, other)
}

#[test]
fn a_change_by_one_process_is_seen_by_the_other_within_a_second() {
    let (one, other) = two_processes();
    let caller = one.caller();
    for round in 0..rounds(10, 200) {
        let code = caller.code(&format!("https://example.com/{round}"));
        let redirect = Request::get(&format!("/{code}"));
        other.ask(&redirect).with_status(302);

        caller.delete(&code).with_status(200);
        one.ask(&redirect).problem(410, "gone");
        assert!(eventually(HEARD, || other.ask(&redirect).status == 410), "a deletion is not seen");

        caller.at(&other).reactivate(&code).with_status(200);
        other.ask(&redirect).with_status(302);
        assert!(eventually(HEARD, || one.ask(&redirect).status == 302), "a reactivation is not seen");

        let moved = format!("https://example.com/moved/{round}");
        caller.ask(&caller.editing(&code, &json!({"url": moved}))).with_status(200);
        let there = || other.ask(&redirect).header("location") == Some(moved.as_str());
        assert!(eventually(HEARD, there), "an edit is not seen");
    }
}

#[test]
fn a_link_claimed_at_one_process_redirects_at_every_other_at_once() {
    let (one, other) = two_processes();
    let caller = one.caller();
    for number in 0..rounds(200, 10_000) {
        let code = caller.code(&format!("https://example.com/{number}"));
        other.get(&format!("/{code}")).with_status(302);
    }
}

#[test]
fn a_code_that_was_tried_before_it_was_claimed_redirects_at_once() {
    let server = Signpost::on_sqlite().start();
    let caller = server.caller();
    for _ in 0..20 {
        let alias = unique("tried");
        server.get(&format!("/{alias}")).problem(404, "not-found");
        caller.link(&json!({"url": "https://example.com/", "alias": alias}));
        server.get(&format!("/{alias}")).with_status(302);
    }
}

#[test]
fn a_change_while_no_session_listened_is_seen() {
    let (one, other) = two_processes();
    let caller = one.caller();
    let code = caller.code("https://example.com/gap");
    let redirect = Request::get(&format!("/{code}"));
    other.ask(&redirect).with_status(302);
    // Changes the link without a notification, and ends all sessions.
    let silently = format!(
        "ALTER TABLE links DISABLE TRIGGER links_notify; \
         UPDATE links SET state = 'deleted', deleted_at = now(), generation = generation + 1 WHERE code = '{code}'; \
         INSERT INTO link_events (link_id, code, generation, kind, actor, request_id, at) \
         SELECT id, code, generation, 'deleted', 'system', 'test', now() FROM links WHERE code = '{code}'; \
         ALTER TABLE links ENABLE TRIGGER links_notify; \
         SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()"
    );
    one.database().sql(&silently).expect("the database is ours");
    assert!(eventually(Duration::from_secs(5), || other.ask(&redirect).status == 410), "it trusts its memory");
}

#[test]
fn many_lookups_of_one_cold_code_are_one_query() {
    let (one, other) = two_processes();
    let code = one.caller().code("https://example.com/cold");
    let (database, held) = (one.database(), "SELECT count(*) FROM pg_locks WHERE NOT granted");
    let holding = {
        let database = database.clone();
        thread::spawn(move || database.sql("LOCK TABLE links; SELECT pg_sleep(0.4)"))
    };
    let locked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()";
    assert!(eventually(PATIENCE, || database.sql(locked).as_deref() == Ok("1")), "the table is not locked");
    let requests = vec![(other.address(), Request::get(&format!("/{code}"))); 200];
    thread::scope(|scope| {
        let asking = scope.spawn(|| ask_together(&requests));
        assert!(eventually(PATIENCE, || database.sql(held).as_deref() == Ok("1")), "no session waits");
        while !holding.is_finished() {
            let waiting = database.sql(held).expect("the server answers");
            assert!(["0", "1"].contains(&waiting.as_str()), "{waiting} wait");
        }
        let answers = asking.join().expect("no panic");
        assert!(answers.into_iter().all(|answer| answer.expect("an answer").status == 302));
    });
    holding.join().expect("no panic").expect("the table can be locked");
}

#[test]
fn without_the_database_active_links_redirect_and_deleted_ones_do_not() {
    let postgres = PostgresServer::start(ServerOptions::default());
    let database = postgres.create_database();
    let server = Signpost::on_database(&database).set("cache.ttl", "300ms").start();
    let caller = server.caller();
    let active = caller.code("https://example.com/active");
    let gone = caller.code("https://example.com/gone");
    let short = code_of(&caller.link(&json!({"url": "https://example.com/short", "expires_in": "2s"})));
    let expiring = Instant::now() + Duration::from_secs(2);
    for code in [&active, &gone, &short] {
        server.get(&format!("/{code}")).with_status(302);
    }
    caller.delete(&gone).with_status(200);

    postgres.freeze();
    let stale = || server.get(&format!("/{active}")).header("cache-status") == Some("signpost; hit; fwd=stale");
    assert!(eventually(PATIENCE, stale), "it does not answer from memory");
    let answer = server.get(&format!("/{active}"));
    assert_eq!(answer.with_status(302).header("location"), Some("https://example.com/active"));
    assert_eq!(answer.header("cache-control"), Some("private, max-age=0"));
    for _ in 0..3 {
        assert_ne!(server.get(&format!("/{gone}")).status, 302, "it is known as deleted");
    }
    assert!(eventually(PATIENCE, || Instant::now() > expiring && server.get(&format!("/{short}")).status != 302));
    assert!(server.log().iter().any(|line| line["cache.result"] == "stale"));
    assert!(!server.events("store.circuit_opened").is_empty());

    postgres.thaw();
    let fresh = || server.get(&format!("/{active}")).header("cache-status").is_none();
    assert!(eventually(Duration::from_secs(5), fresh), "it goes on answering from memory alone");
    assert!(eventually(PATIENCE, || !server.events("store.circuit_closed").is_empty()));
}

/// No request arrives while the process is cut off, nor when it is connected again.
#[test]
fn a_link_deleted_while_a_process_was_cut_off_does_not_redirect_again() {
    let one = Signpost::on_postgres().start();
    let proxy = FaultProxy::before(([127, 0, 0, 1], shared_server().port()).into());
    let url = format!("postgres://signpost@{}/{}", proxy.address(), one.database().name());
    let other = one.another().set("store.url", &url).set("cache.ttl", "300ms").start();
    let caller = one.caller();
    let code = caller.code("https://example.com/cut-off");
    let redirect = Request::get(&format!("/{code}"));
    other.ask(&redirect).with_status(302);

    proxy.hold(Direction::Requests);
    proxy.hold(Direction::Replies);
    let stale =
        || other.ask(&redirect).header("cache-status").is_some() && !other.events("store.circuit_opened").is_empty();
    assert!(eventually(PATIENCE, stale), "it does not answer from memory");
    caller.delete(&code).with_status(200);
    proxy.let_go();
    assert!(eventually(PATIENCE, || !other.events("store.circuit_closed").is_empty()), "it does not ask by itself");
    other.ask(&redirect).problem(410, "gone");
}
