//! Limits that several processes hold together, through a Redis that fails and returns.

use std::{
    thread,
    time::{Duration, Instant},
};

use serde_json::json;
use test_support::RedisServer;

use crate::support::{Answer, Caller, PATIENCE, Request, Setup, Signpost, ask_together, eventually, rounds, unique};

/// The test is the proxy that names the clients.
fn limited(redis: &RedisServer, policy: &str, per_second: &str, burst: &str) -> Setup {
    Signpost::on_postgres()
        .patient()
        .set("redis.timeout", "5s")
        .set("redis.url", &redis.url())
        .set("limits.enabled", "true")
        .set("proxies.trusted", "127.0.0.1")
        .set(&format!("limits.{policy}.per_second"), per_second)
        .set(&format!("limits.{policy}.burst"), burst)
}

/// Two processes on one Redis, each of which has counted two processes.
fn two_processes(setup: &Setup) -> (Signpost, Signpost) {
    let one = setup.start();
    let other = one.another().start();
    for server in [&one, &other] {
        assert!(eventually(PATIENCE, || count_of(server) == Some(2)), "{}", server.output());
    }
    (one, other)
}

fn count_of(server: &Signpost) -> Option<u64> {
    server.events("redis.processes").last()?["processes"].as_u64()
}

fn from(client: &str, request: Request) -> Request {
    request.header("X-Forwarded-For", client)
}

fn reading(caller: &Caller, client: &str) -> Request {
    from(client, Request::get("/api/v1/links").key(&caller.key))
}

fn is_let_in(answer: &Answer) -> bool {
    if answer.status == 429 {
        answer.problem(429, "quota-exceeded");
    }
    answer.status < 400
}

/// Sends 100 requests a second, to both processes in turn. Returns how many were admitted, and how many should have
/// been.
fn let_in_of_100_a_second(servers: [&Signpost; 2], request: &Request) -> (u128, u128) {
    const EVERY: Duration = Duration::from_millis(10);
    let seconds = u32::try_from(rounds(3, 60)).expect("a minute at most");
    let mut connections = servers.map(Signpost::connect);
    let begun = Instant::now();
    let mut let_in = 0;
    for number in 0..seconds * 100 {
        thread::sleep((begun + EVERY * number).saturating_duration_since(Instant::now()));
        let answer = connections[number as usize % 2].send(request).expect("it is answered");
        let_in += u128::from(is_let_in(&answer));
    }
    (let_in, 20 + begun.elapsed().as_millis() / 100)
}

#[test]
fn two_processes_admit_as_many_requests_as_one() {
    let redis = RedisServer::start();
    for policy in ["read", "redirect"] {
        let (one, other) = two_processes(&limited(&redis, policy, "10", "20"));
        let caller = one.caller();
        let request = match policy {
            "read" => reading(&caller, "203.0.113.7"),
            _ => from("203.0.113.7", Request::get(&format!("/{}", caller.code("https://example.com/")))),
        };
        let (let_in, expected) = let_in_of_100_a_second([&one, &other], &request);
        // A process may admit one more before it learns of the last request at the other process.
        assert!((expected - 1).abs_diff(let_in) <= 2 + expected / 50, "{policy}: {let_in} instead of {expected}");
    }
}

#[test]
fn calls_of_the_api_are_counted_exactly_however_many_come_at_once() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&limited(&redis, "read", "0.001", "20"));
    let caller = one.caller();
    let addresses = [one.address(), other.address()];
    let requests =
        |client: &str| -> Vec<_> { (0..60).map(|number| (addresses[number % 2], reading(&caller, client))).collect() };
    // Each request is charged to its address and then to its key. The key has no quota left for another address.
    for (client, expected) in [("203.0.113.7", 20), ("203.0.113.8", 0)] {
        let answers: Vec<_> = ask_together(&requests(client)).into_iter().map(Result::unwrap).collect();
        let let_in: Vec<_> = answers.iter().filter(|answer| is_let_in(answer)).collect();
        assert_eq!(let_in.len(), expected, "{client}");
        let refused = answers.iter().find(|answer| answer.status == 429).expect("some are refused");
        assert_eq!(refused.header("ratelimit-policy"), Some("\"read\";q=20;w=20000"));
        assert!(refused.header("ratelimit").is_some_and(|told| told.starts_with("\"read\";r=0;t=")), "{refused:?}");
        assert!(refused.header("retry-after").expect("told").parse::<u64>().expect("seconds") >= 900);
    }
    let lines = || {
        let of_keys = |line: &&serde_json::Value| line["limit.policy"] == "read" && line["limit.subject"] == "key";
        [&one, &other].map(|server| server.log().iter().filter(of_keys).count()).iter().sum::<usize>()
    };
    assert!(eventually(PATIENCE, || lines() > 0), "the log does not say which limit it was");
}

#[test]
fn a_refused_batch_is_charged_at_no_process() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&limited(&redis, "batch", "0.001", "1000"));
    let caller = one.caller();
    let batch = |server: &Signpost, size: usize| {
        let links: Vec<_> = (0..size).map(|n| json!({"url": format!("https://example.com/{n}")})).collect();
        let request = Request::post("/api/v1/links/batch").key(&caller.key).json(&json!({"links": links}));
        server.ask(&from("203.0.113.7", request))
    };
    batch(&one, 700).with_status(200);
    batch(&other, 301).problem(429, "quota-exceeded");
    // A charge is given back in the background, after the response.
    let fits = || batch(&other, 300).status == 200;
    assert!(eventually(PATIENCE, fits), "it was counted");
    batch(&one, 1).problem(429, "quota-exceeded");
}

#[test]
fn unknown_codes_tried_at_one_process_are_charged_at_the_other() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&limited(&redis, "unknown", "0.001", "20"));
    let try_at = |server: &Signpost| server.ask(&from("203.0.113.7", Request::get(&format!("/{}", unique("tried")))));
    for _ in 0..20 {
        try_at(&one).problem(404, "not-found");
    }
    // The other process admits the first one, and then learns of the charges.
    let refused = || try_at(&other).status == 429;
    assert!(eventually(PATIENCE, refused), "it never hears of it");
    let followed = (0..20).filter(|_| try_at(&other).status == 404).count();
    assert_eq!(followed, 0);
    // Existing links are not charged.
    let code = one.caller().code("https://example.com/");
    for _ in 0..30 {
        other.ask(&from("203.0.113.9", Request::get(&format!("/{code}")))).with_status(302);
    }
    try_at(&one).problem(429, "quota-exceeded");
}

#[test]
fn without_redis_each_process_allows_its_share() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&limited(&redis, "read", "0.001", "20"));
    let (caller, admin) = (one.caller(), one.caller());
    let let_in = |server: &Signpost, caller: &Caller, client: &str| {
        (0..30).filter(|_| is_let_in(&server.ask(&reading(caller, client)))).count()
    };
    // Five requests at each process use up ten of the quota, whichever process counted them.
    for server in [&one, &other] {
        for _ in 0..5 {
            server.ask(&reading(&admin, "203.0.113.9")).with_status(200);
        }
    }
    redis.kill();
    for server in [&one, &other] {
        server.event("redis.disconnected");
        assert_eq!(server.event("redis.disconnected")["processes"], 2);
    }
    assert_eq!(let_in(&one, &caller, "203.0.113.7"), 10);
    let told = one.ask(&reading(&caller, "203.0.113.7"));
    assert_eq!(told.header("ratelimit-policy"), Some("\"read\";q=10;w=20000"));
    assert_eq!(let_in(&other, &caller, "203.0.113.7"), 10);
    let before = let_in(&one, &admin, "203.0.113.9") + let_in(&other, &admin, "203.0.113.9");
    assert!(before <= 15, "{before}");

    redis.restart();
    for server in [&one, &other] {
        assert!(eventually(PATIENCE, || server.events("redis.connected").len() == 2), "{}", server.output());
    }
    let caller = one.caller();
    let answer = one.ask(&reading(&caller, "203.0.113.77"));
    assert_eq!(answer.header("ratelimit-policy"), Some("\"read\";q=20;w=20000"));
    let all = 1 + let_in(&one, &caller, "203.0.113.77") + let_in(&other, &caller, "203.0.113.77");
    assert_eq!(all, 20);
}

#[test]
fn a_redis_that_hangs_fails_no_request_and_every_request_is_charged() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&limited(&redis, "read", "0.001", "20").set("redis.timeout", "1s"));
    let caller = one.caller();
    redis.freeze();
    // The request is charged to the address and then to the key, but waits for Redis only once.
    let begun = Instant::now();
    let mut let_in = usize::from(is_let_in(&one.ask(&reading(&caller, "203.0.113.7"))));
    assert!(begun.elapsed() < Duration::from_millis(1_900), "it waits twice: {:?}", begun.elapsed());
    for _ in 0..30 {
        for server in [&one, &other] {
            let answer = server.ask(&reading(&caller, "203.0.113.7"));
            assert!(answer.status == 200 || answer.status == 429, "{answer:?}");
            let_in += usize::from(is_let_in(&answer));
        }
    }
    assert_eq!(let_in, 20);
    redis.thaw();
}

#[test]
fn without_redis_limits_processes_sets_the_share_of_a_process() {
    let server = Signpost::on_sqlite()
        .set("limits.enabled", "true")
        .set("limits.processes", "4")
        .set("limits.redirect.per_second", "0.001")
        .set("limits.redirect.burst", "8")
        .start();
    let let_in = (0..10).filter(|_| is_let_in(&server.get("/docs/errors"))).count();
    assert_eq!(let_in, 2);
    let refused = server.get("/docs/errors");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"redirect\";q=2;w=8000"));
}

#[test]
fn no_address_is_written_to_redis() {
    let redis = RedisServer::start();
    // A slow refill, because Redis drops the key of a client whose quota is full again.
    let slow = limited(&redis, "redirect", "0.001", "20").set("limits.read.per_second", "0.001");
    let (one, _) = two_processes(&slow);
    let caller = one.caller();
    for _ in 0..5 {
        one.ask(&reading(&caller, "203.0.113.77")).with_status(200);
        one.ask(&from("203.0.113.77", Request::get("/docs/errors"))).with_status(200);
    }
    let all = || redis.command(&["KEYS", "*:quota:*"]);
    assert!(eventually(PATIENCE, || all().lines().count() >= 3), "{}", all());
    let number = format!("{:x}", u32::from_be_bytes([203, 0, 113, 77]));
    for key in all().lines() {
        let held = redis.command(&["GET", key]);
        for text in [key, held.as_str()] {
            assert!(!text.contains("203.0.113.77") && !text.contains(&number), "{text}");
        }
    }
}
