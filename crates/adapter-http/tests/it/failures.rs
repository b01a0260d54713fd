//! The answers to callers when the store fails, hangs, panics or runs out of codes.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use domain::{
    code::CodeLength,
    ports::{RandomCodes, RepositoryErrorKind},
    service::KnownDomains,
};
use serde_json::json;
use test_support::{ScriptedCodes, SeededEntropy};

use crate::{
    server::{Answer, NoClicks, PATIENCE, RunningServer},
    troubled_store::Trouble,
};

fn random_codes() -> RandomCodes {
    RandomCodes::new(CodeLength::default(), Arc::new(SeededEntropy::new(9)))
}

fn claim(server: &RunningServer, url: &str) -> Answer {
    server.ask("POST", "/api/v1/links", Some(&json!({ "url": url })))
}

fn assert_problem(answer: &Answer, status: u16, code: &str) {
    assert_eq!(answer.status, status, "{answer:?}");
    assert_eq!(answer.header("content-type"), Some("application/problem+json"), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"), "{answer:?}");
    let problem = answer.json();
    assert_eq!(problem["code"], code, "{answer:?}");
    assert_eq!(problem["type"], format!("/docs/errors#{code}"));
    assert_eq!(problem["request_id"].as_str(), answer.header("x-request-id"));
}

#[test]
fn each_failure_of_the_store_has_its_own_answer_and_none_shows_its_cause() {
    use RepositoryErrorKind as Kind;
    let server = RunningServer::start(random_codes());
    for (kind, status, code) in [
        (Kind::Unavailable, 503, "unavailable"),
        (Kind::Indeterminate, 503, "outcome-unknown"),
        (Kind::StorageFull, 507, "storage-full"),
        (Kind::Corrupt, 500, "internal"),
        (Kind::Internal, 500, "internal"),
    ] {
        server.store.suffer(Trouble::Fails(kind));
        for answer in [claim(&server, "https://example.com/"), server.ask("GET", "/abcdef", None)] {
            assert_problem(&answer, status, code);
            assert_eq!(answer.header("retry-after").is_some(), status == 503);
            assert!(!answer.body.contains("10.0.0.7") && !answer.body.contains("SELECT"), "{answer:?}");
            let request_id = answer.header("x-request-id").expect("every answer has one");
            assert!(server.log_of(request_id).contains("10.0.0.7"), "the cause is for the log");
        }
    }
}

#[test]
fn before_short_domains_are_read_no_redirect_answers_for_the_default_one() {
    let server = RunningServer::knowing(random_codes(), Arc::new(NoClicks), KnownDomains::unread());
    server.phase.become_ready();
    for path in ["/abcdef", "/abcdef+", "/"] {
        assert_problem(&server.ask("GET", path, None), 503, "unavailable");
    }
    assert_eq!(server.ask("GET", "/livez", None).status, 200);
    assert_problem(&RunningServer::start(random_codes()).ask("GET", "/abcdef", None), 404, "not-found");
}

#[test]
fn a_store_that_hangs_costs_its_timeout_and_leaves_writes_outcome_unknown() {
    let server = RunningServer::start(random_codes());
    server.store.suffer(Trouble::Hangs);
    for (method, path, body, code) in [
        ("GET", "/abcdef", None, "unavailable"),
        ("GET", "/abcdef+", None, "unavailable"),
        ("GET", "/api/v1/links", None, "unavailable"),
        ("POST", "/api/v1/links", Some(json!({"url": "https://example.com/"})), "outcome-unknown"),
        ("DELETE", "/api/v1/links/abcdef", None, "outcome-unknown"),
    ] {
        let begun = Instant::now();
        assert_problem(&server.ask(method, path, body.as_ref()), 503, code);
        assert!(begun.elapsed() < PATIENCE * 30, "{path} hangs: {:?}", begun.elapsed());
    }
}

/// More calls than are admitted while the store serves none, and for longer than a burst may last.
#[test]
fn calls_are_rejected_while_too_many_wait_and_admitted_when_they_are_served() {
    const TOO_MANY: usize = 200;
    const FEW: usize = 60;
    let server = RunningServer::start(random_codes());
    server.store.suffer(Trouble::Hangs);
    let turned_away = |answer: &Answer| {
        let line = server.log_of(answer.header("x-request-id").expect("every answer has one"));
        answer.status == 503 && line.contains("too many calls wait for the store")
    };
    let at_once = |callers: usize| {
        thread::scope(|scope| {
            let claiming: Vec<_> =
                (0..callers).map(|_| scope.spawn(|| claim(&server, "https://example.com/"))).collect();
            claiming.into_iter().map(|claim| claim.join().expect("it is answered")).collect::<Vec<_>>()
        })
    };
    let begun = Instant::now();
    let refused = loop {
        assert!(begun.elapsed() < Duration::from_secs(20), "all are let in");
        if let Some(refused) = at_once(TOO_MANY).into_iter().find(turned_away) {
            break refused;
        }
    };
    assert_problem(&refused, 503, "unavailable");
    assert!(refused.header("retry-after").is_some());
    assert_eq!(server.ask("GET", "/livez", None).status, 200);

    server.store.suffer(Trouble::None);
    assert!(at_once(FEW).iter().all(|answer| [200, 201].contains(&answer.status)), "they are not let in again");
}

#[test]
fn a_panic_is_a_problem_and_the_worker_goes_on() {
    let server = RunningServer::start(random_codes());
    let panics = |answer: &Answer| {
        assert_problem(answer, 500, "internal");
        let line = server.log_of(answer.header("x-request-id").expect("every answer has one"));
        assert!(line.contains("\"ERRO\""), "{line}");
        assert!(line.contains("the handler panicked"), "{line}");
    };
    for _ in 0..3 {
        server.store.suffer(Trouble::Panics);
        panics(&claim(&server, "https://example.com/"));
        panics(&server.ask("GET", "/abcdef", None));
        // Where a redirect is tried without waiting.
        server.store.suffer(Trouble::PanicsAtOnce);
        panics(&server.ask("GET", "/abcdef", None));
    }
    server.store.suffer(Trouble::None);
    assert_eq!(claim(&server, "https://example.com/").status, 201);
}

#[test]
fn one_collision_is_hidden_and_counted_and_six_are_unavailable() {
    let server = RunningServer::start(ScriptedCodes::new(["aaaaaa", "aaaaaa", "bbbbbb"]));
    assert_eq!(claim(&server, "https://example.com/1").status, 201);
    let second = claim(&server, "https://example.com/2");
    assert_eq!(second.status, 201, "{second:?}");
    assert_eq!(second.json()["code"], "bbbbbb");
    let line = server.log_of(second.header("x-request-id").expect("every answer has one"));
    assert!(line.contains("\"code.collisions\":1"), "{line}");
    assert_problem(&claim(&server, "https://example.com/3"), 503, "unavailable");
    assert_eq!(server.ask("DELETE", "/api/v1/links/aaaaaa", None).status, 200);
    assert_problem(&claim(&server, "https://example.com/3"), 503, "unavailable");
}

#[test]
fn health_asks_the_store_once_however_often_it_is_asked() {
    let server = RunningServer::start(random_codes());
    let begun = Instant::now();
    for _ in 0..20 {
        assert_eq!(server.ask("GET", "/health", None).status, 200);
    }
    let most = begun.elapsed().as_secs() + 1;
    assert!(server.store.pings() <= most, "{} pings", server.store.pings());
}

#[test]
fn health_fails_with_the_store_while_life_and_readiness_do_not() {
    let server = RunningServer::starting(random_codes());
    assert_problem(&server.ask("GET", "/readyz", None), 503, "unavailable");
    server.phase.become_ready();
    server.store.suffer(Trouble::Hangs);
    let health = server.ask("GET", "/health", None);
    assert_eq!(health.status, 503);
    assert_eq!(health.header("content-type"), Some("application/health+json"));
    assert_eq!(health.json()["status"], "fail");
    assert_eq!(health.json()["checks"]["store:responseTime"][0]["status"], "fail");
    assert_eq!(server.ask("GET", "/livez", None).status, 200);
    assert_eq!(server.ask("GET", "/readyz", None).status, 200);
    server.phase.begin_draining();
    assert_problem(&server.ask("GET", "/readyz", None), 503, "unavailable");
    server.phase.become_ready();
    assert_problem(&server.ask("GET", "/readyz", None), 503, "unavailable");
}

/// A request is held until the process is ready. A client that leaves meanwhile has a line in the log, as any other.
#[test]
fn a_client_that_leaves_while_its_request_is_held_leaves_a_line() {
    let server = RunningServer::starting(random_codes());
    server.ask_and_leave("left.while.held");
    let (begun, left) = (Instant::now(), || server.log_of("left.while.held").contains("client-disconnected"));
    while !left() {
        assert!(begun.elapsed() < Duration::from_secs(10), "{}", server.log_of("left.while.held"));
        assert_eq!(server.ask("GET", "/livez", None).status, 200);
    }
}
