//! Limits: how many requests one client and one key may send, and what the answers say about it.

use std::{
    net::TcpStream,
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;
use serde_json::json;
use test_support::{PostgresServer, ServerOptions};

use crate::support::{Answer, Connection, PATIENCE, Request, Setup, Signpost, eventually, in_soak, rounds, unique};

/// The test is the proxy that names the clients.
fn limited(policy: &str, per_second: &str, burst: &str) -> Setup {
    Signpost::on_sqlite()
        .patient()
        .set("limits.enabled", "true")
        .set("proxies.trusted", "127.0.0.1")
        .set(&format!("limits.{policy}.per_second"), per_second)
        .set(&format!("limits.{policy}.burst"), burst)
}

fn from(client: &str, request: Request) -> Request {
    request.header("X-Forwarded-For", client)
}

fn number(answer: &Answer, header: &str) -> u64 {
    let value = answer.header(header).unwrap_or_else(|| panic!("no {header}: {answer:?}"));
    value.parse().unwrap_or_else(|_| panic!("{header}: {value}"))
}

/// A parameter of a Structured Field (RFC 9651) with one item.
fn parameter(answer: &Answer, header: &str, name: &str) -> u64 {
    let value = answer.header(header).unwrap_or_else(|| panic!("no {header}: {answer:?}"));
    let of_name = |part: &str| part.strip_prefix(name)?.strip_prefix('=')?.parse().ok();
    value.split(';').find_map(of_name).unwrap_or_else(|| panic!("{header}: {value}"))
}

/// Sends 100 requests a second, and counts the admitted ones.
#[test]
fn as_many_requests_are_admitted_as_the_quota_allows() {
    const EVERY: Duration = Duration::from_millis(10);
    let server = limited("read", "10", "20").start();
    let caller = server.caller();
    let seconds = u64::try_from(rounds(3, 60)).expect("a minute at most");
    // The connections may be on different workers; the limit is the same.
    let mut connections = [(); 4].map(|()| Connection::open(server.address()).expect("it listens"));
    let request = from("203.0.113.7", Request::get("/api/v1/links").key(&caller.key));
    let begun = Instant::now();
    let mut accepted = 0;
    for number in 0..u32::try_from(seconds * 100).expect("the count fits") {
        thread::sleep((begun + EVERY * number).saturating_duration_since(Instant::now()));
        let connection = &mut connections[number as usize % 4];
        let answer = connection.send(&request).expect("it is answered");
        match answer.status {
            200 => accepted += 1,
            429 => drop(answer.problem(429, "quota-exceeded")),
            other => panic!("{other}"),
        }
    }
    let expected = 20 + begun.elapsed().as_millis() / 100;
    assert!((expected - 1).abs_diff(accepted) <= 1 + expected / 50, "{accepted} instead of {expected}");
}

#[test]
fn answers_say_how_much_quota_is_left_and_when_it_refills() {
    let server = limited("claim", "2", "3").start();
    let caller = server.caller();
    let claim = || from("203.0.113.7", caller.claiming(&json!({"url": "https://example.com/"})));
    for remaining in [2, 1, 0] {
        let answer = server.ask(&claim());
        assert!(answer.status < 300, "{answer:?}");
        assert_eq!(answer.header("ratelimit-policy"), Some("\"claim\";q=3;w=2"));
        assert_eq!(parameter(&answer, "ratelimit", "r"), remaining);
        assert_eq!(number(&answer, "x-ratelimit-remaining"), remaining);
        assert_eq!(number(&answer, "x-ratelimit-limit"), 3);
        assert!(parameter(&answer, "ratelimit", "t") <= 2);
        assert_eq!(parameter(&answer, "ratelimit", "t"), number(&answer, "x-ratelimit-reset"));
    }
    let refused = server.ask(&claim());
    refused.problem(429, "quota-exceeded");
    assert_eq!(refused.header("cache-control"), Some("no-store"));
    assert_eq!(refused.header("ratelimit-policy"), Some("\"claim\";q=3;w=2"));
    assert_eq!(parameter(&refused, "ratelimit", "r"), 0);
    assert_eq!(number(&refused, "retry-after"), 1);
    assert_eq!((parameter(&refused, "ratelimit", "t"), number(&refused, "x-ratelimit-reset")), (1, 1));
    // Failed requests are charged too, and say so.
    let other = server.ask(&from("203.0.113.8", Request::post("/api/v1/links")));
    other.problem(401, "unauthenticated");
    assert_eq!(parameter(&other, "ratelimit", "r"), 2);
}

#[test]
fn a_client_that_waits_for_retry_after_is_admitted() {
    let server = limited("read", "1.5", "1").start();
    let caller = server.caller();
    let request = |round| from(&format!("203.0.113.{round}"), Request::get("/api/v1/links").key(&caller.key));
    for round in 0..rounds(2, 100) {
        while server.ask(&request(round)).status == 200 {}
        let refused = server.ask(&request(round));
        refused.problem(429, "quota-exceeded");
        thread::sleep(Duration::from_secs(number(&refused, "retry-after")));
        server.ask(&request(round)).with_status(200);
    }
}

#[test]
fn redirects_are_limited_and_have_no_limit_fields() {
    let server = limited("redirect", "1", "3").start();
    let caller = server.caller();
    let code = caller.code("https://example.com/");
    let follow = || server.ask(&from("203.0.113.7", Request::get(&format!("/{code}"))));
    for _ in 0..3 {
        let answer = follow();
        answer.with_status(302);
        assert!(!answer.header_names().any(|name| name.to_ascii_lowercase().contains("ratelimit")), "{answer:?}");
    }
    let refused = follow();
    refused.problem(429, "quota-exceeded");
    assert_eq!(refused.header("ratelimit-policy"), Some("\"redirect\";q=3;w=3"));
    // A 304 is a read that was not modified. It has no limit fields either.
    let read = Request::get(&format!("/api/v1/links/{code}")).key(&caller.key);
    let unchanged = server.ask(&from("203.0.113.9", read.header("If-None-Match", "\"1\"")));
    unchanged.with_status(304);
    assert_eq!(unchanged.header("ratelimit"), None);
}

#[test]
fn health_is_never_limited() {
    let server = limited("redirect", "1", "1").start();
    for path in ["/livez", "/readyz", "/health"] {
        for _ in 0..20 {
            server.ask(&from("203.0.113.7", Request::get(path))).with_status(200);
        }
    }
}

#[test]
fn a_key_is_limited_over_all_addresses_and_an_address_over_all_keys() {
    let server = limited("read", "0.001", "5").start();
    let (one, other) = (server.caller(), server.caller());
    let read = |client: &str, key: &str| server.ask(&from(client, Request::get("/api/v1/links").key(key))).status;
    for client in 0..5 {
        assert_eq!(read(&format!("198.51.100.{client}"), &one.key), 200);
    }
    assert_eq!(read("198.51.100.77", &one.key), 429);
    assert_eq!(read("198.51.100.77", &other.key), 200);
    // A request that is refused for its key was charged to its address before, because the key was not known yet.
    for (key, status) in [(&one.key, 429), (&other.key, 200), (&one.key, 429), (&other.key, 200), (&other.key, 200)] {
        assert_eq!(read("203.0.113.7", key), status);
    }
    assert_eq!(read("203.0.113.7", &server.caller().key), 429);
    // Invalid keys have no quota of their own.
    for _ in 0..5 {
        assert_eq!(read("203.0.113.9", &format!("sgn_{}", unique("none"))), 401);
    }
    assert_eq!(read("203.0.113.9", &format!("sgn_{}", unique("none"))), 429);
}

/// The router decodes escapes that are not needed, so the limiter has to decode them too.
#[test]
fn escapes_in_a_path_do_not_evade_the_limit() {
    let server = limited("claim", "0.001", "3").start();
    let caller = server.caller();
    let claim = |path: &str| {
        let request = Request::post(path).key(&caller.key).json(&json!({"url": "https://example.com/"}));
        server.ask(&from("203.0.113.7", request))
    };
    for path in ["/api/v1/links", "/%61pi/v1/links", "/api/v1/%6cinks"] {
        assert!(claim(path).status < 300, "{path}");
    }
    for path in ["/%61pi/v1/links", "/api/%761/links", "/api/v1/links"] {
        let refused = claim(path);
        refused.problem(429, "quota-exceeded");
        assert_eq!(refused.header("ratelimit-policy"), Some("\"claim\";q=3;w=3000"), "{path}");
    }
}

/// A client that hangs up gets no answer, but the result is cached, and it could ask for it from another address.
#[test]
fn a_client_that_hangs_up_is_charged() {
    let postgres = PostgresServer::start(ServerOptions::default());
    let database = postgres.create_database();
    let limited = Signpost::on_database(&database).patient().set("limits.enabled", "true");
    let server = limited.set("proxies.trusted", "127.0.0.1").set("limits.unknown.per_second", "0.001").start();
    let try_one = || from("203.0.113.7", Request::get(&format!("/{}", unique("tried"))));
    postgres.freeze();
    for _ in 0..20 {
        let stream = TcpStream::connect(server.address()).expect("it listens");
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("a socket can be reset");
        let mut connection = Connection::over(stream).expect("it is open");
        connection.write(&try_one().to_bytes()).expect("it is sent");
        thread::sleep(Duration::from_millis(20));
    }
    let left = || server.log().iter().filter(|line| line["error.type"] == "client-disconnected").count() == 20;
    assert!(eventually(PATIENCE, left), "they did not come and go");
    postgres.thaw();
    server.ask(&try_one()).problem(429, "quota-exceeded");
}

#[test]
fn every_claim_of_a_batch_counts() {
    let server = limited("batch", "0.001", "1000").start();
    let caller = server.caller();
    let batch = |size: usize| {
        let links: Vec<_> = (0..size).map(|n| json!({"url": format!("https://example.com/{n}")})).collect();
        let request = Request::post("/api/v1/links/batch").key(&caller.key).json(&json!({"links": links}));
        server.ask(&from("203.0.113.7", request))
    };
    let answer = batch(700);
    answer.with_status(200);
    assert_eq!(parameter(&answer, "ratelimit", "r"), 300);
    batch(301).problem(429, "quota-exceeded");
    // A refused batch is not charged.
    let answer = batch(300);
    answer.with_status(200);
    assert_eq!(parameter(&answer, "ratelimit", "r"), 0);
}

/// Of 100 processes that share nothing, each allows a burst of ten. A larger batch is admitted later.
#[test]
fn a_batch_larger_than_the_share_of_a_process_is_admitted_after_retry_after() {
    let server = limited("batch", "500", "1000").set("limits.processes", "100").start();
    let caller = server.caller();
    let links: Vec<_> = (0..28).map(|n| json!({"url": format!("https://example.com/{n}")})).collect();
    let request = Request::post("/api/v1/links/batch").key(&caller.key).json(&json!({"links": links}));
    let batch = || server.ask(&from("203.0.113.7", request.clone()));
    batch().with_status(200);
    // The size of a batch is unknown until its body is read: it may be refused before that, and again after it with a
    // longer wait.
    for _ in 0..2 {
        let refused = batch();
        refused.problem(429, "quota-exceeded");
        thread::sleep(Duration::from_secs(number(&refused, "retry-after")));
    }
    batch().with_status(200);
}

#[test]
fn forged_forwarding_fields_do_not_evade_the_limit() {
    let server = limited("redirect", "0.001", "5").set("proxies.trusted", "192.0.2.1").start();
    let statuses: Vec<_> = (0..20)
        .map(|number| {
            let request = Request::get("/docs/errors").header("Forwarded", &format!("for=198.51.100.{number}"));
            server.ask(&from(&format!("203.0.113.{number}"), request)).status
        })
        .collect();
    assert_eq!(statuses.iter().filter(|status| **status == 200).count(), 5, "{statuses:?}");
}

#[test]
fn an_ipv6_network_of_64_bits_is_one_client_and_one_of_48_has_four_quotas() {
    let server = limited("redirect", "0.001", "5").start();
    let ask = |client: &str| server.ask(&from(client, Request::get("/docs/errors"))).status;
    let accepted = |clients: &mut dyn Iterator<Item = String>| clients.filter(|client| ask(client) == 200).count();
    assert_eq!(accepted(&mut (0..20).map(|host| format!("2001:db8:1:1::{host:x}"))), 5);
    assert_eq!(accepted(&mut (0..100).map(|network| format!("2001:db8:2:{network:x}::1"))), 20);
    assert_eq!(accepted(&mut (0..10).map(|host| format!("2001:db8:3:1::{host:x}"))), 5);
}

#[test]
fn a_client_over_the_quota_of_unknown_codes_is_rejected_without_a_lookup() {
    let server = limited("unknown", "0.3334", "20").start();
    let caller = server.caller();
    let (known, other) = (caller.code("https://example.com/known"), caller.code("https://example.com/other"));
    let follow = |client: &str, code: &str| server.ask(&from(client, Request::get(&format!("/{code}"))));
    follow("198.51.100.1", &known).with_status(302);
    // Existing links are not charged, cached or not. Deleted links exist.
    caller.delete(&other).with_status(200);
    for _ in 0..30 {
        follow("203.0.113.7", &known).with_status(302);
        follow("203.0.113.7", &other).problem(410, "gone");
    }
    let tried = unique("tried");
    for round in 0..20 {
        // Half of them are cached as unknown.
        let code = if round % 2 == 0 { tried.clone() } else { unique("tried") };
        follow("203.0.113.7", &code).problem(404, "not-found");
    }
    for code in [tried, unique("tried")] {
        let refused = follow("203.0.113.7", &code);
        refused.problem(429, "quota-exceeded");
        assert_eq!(refused.header("ratelimit-policy"), Some("\"unknown\";q=20;w=60"));
        assert_eq!(number(&refused, "retry-after"), 3);
        let refused = || {
            let is_it =
                |line: &serde_json::Value| line["link.code"] == code && line["http.response.status_code"] == 429;
            server.log().into_iter().find(is_it)
        };
        assert!(eventually(PATIENCE, || refused().is_some()), "there is no line");
        assert_eq!(refused().expect("there is one").get("db.duration_s"), None);
    }
    let preview = server.ask(&from("203.0.113.7", Request::get(&format!("/{}+", unique("tried")))));
    preview.problem(429, "quota-exceeded");
    // Cached links still redirect, and other clients are not affected.
    follow("203.0.113.7", &known).with_status(302);
    follow("203.0.113.8", &unique("tried")).problem(404, "not-found");
}

/// The time of an answer must not show whether a link exists.
#[test]
fn existing_and_missing_links_take_the_same_time() {
    // With so small a cache, the first links are evicted.
    let server = Signpost::on_sqlite().set("cache.capacity", "100").start();
    let caller = server.caller();
    let count = rounds(400, 2_000);
    let codes: Vec<_> = (0..count).map(|n| caller.code(&format!("https://example.com/{n}"))).collect();
    let mut connection = server.connect();
    let mut timed = |path: &str, status: u16| {
        let request = Request::get(path);
        let begun = Instant::now();
        connection.send(&request).expect("it is answered").with_status(status);
        begun.elapsed()
    };
    let (mut hits, mut misses) = (Vec::new(), Vec::new());
    for code in &codes {
        hits.push(timed(&format!("/{code}"), 302));
        misses.push(timed(&format!("/{}", unique("missing")), 404));
    }
    let [hit, miss] = [&mut hits, &mut misses].map(|times| {
        times.sort_unstable();
        times[times.len() / 2]
    });
    let bound = if in_soak() { 1.1 } else { 3.0 };
    let ratio = hit.as_secs_f64().max(miss.as_secs_f64()) / hit.as_secs_f64().min(miss.as_secs_f64());
    assert!(ratio < bound, "a hit takes {hit:?} and a miss {miss:?}");
}

#[test]
fn the_log_shows_the_network_that_a_proxy_names_and_never_the_address() {
    let server = limited("redirect", "100", "100").start();
    server.ask(&from("1.1.1.1, 203.0.113.77", Request::get("/docs/errors"))).with_status(200);
    let asked = |line: &serde_json::Value| line["url.path"] == "/docs/errors";
    assert!(eventually(PATIENCE, || server.log().iter().any(asked)), "there is no line");
    assert!(server.log().iter().filter(|line| asked(line)).all(|line| line["client.address"] == "203.0.113.0"));
    assert!(!server.output().contains("203.0.113.77"));
}

/// Behind a proxy that is not in `proxies.trusted`, all visitors have one address.
#[test]
fn an_existing_link_redirects_after_others_at_the_address_used_up_the_quota() {
    let setup = Signpost::on_postgres().patient().set("limits.enabled", "true");
    let setup = setup.set("limits.unknown.per_second", "0.001").set("limits.unknown.burst", "20");
    let first = setup.start();
    let caller = first.caller();
    let codes: Vec<_> = (0..30).map(|number| caller.code(&format!("https://example.com/{number}"))).collect();
    // This process has none of them in its cache.
    let server = first.another().start();
    server.event("codes.loaded");
    let asked = |path: &str| server.get(path).status;
    let refused = (0..60).filter(|number| asked(&format!("/unknown-{number}")) == 429).count();
    assert_eq!(refused, 40);
    for code in &codes {
        let visitor = server.get(&format!("/{code}"));
        assert_eq!(visitor.status, 302, "{visitor:?}");
    }
    // This holds for links that are claimed later, too.
    let new = caller.code("https://example.com/new");
    assert!(eventually(Duration::from_secs(2), || asked(&format!("/{new}")) == 302), "{:?}", server.get(&new));
    assert_eq!(asked("/unknown-again"), 429);
}
