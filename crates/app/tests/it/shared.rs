//! Sharing: several processes on one PostgreSQL and one Redis, which fails, returns, hangs and gives wrong answers.

use std::{
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use test_support::{FaultProxy, PostgresServer, RedisServer, ServerOptions};

use crate::support::{PATIENCE, Request, Setup, Signpost, ask_steadily, eventually, meanwhile, rounds, unique};

/// Within this time a change by one process is seen by all others.
const HEARD: Duration = Duration::from_secs(1);

fn sharing(setup: Setup, redis: &RedisServer) -> Setup {
    setup.set("redis.url", &redis.url()).set("log.level", "debug")
}

/// Two processes that trust what is in Redis.
fn two_processes(redis: &RedisServer) -> (Signpost, Signpost) {
    let one = sharing(Signpost::on_postgres(), redis).start();
    let other = one.another().start();
    for server in [&one, &other] {
        assert!(trusts_redis(server), "it does not use Redis: {}", server.output());
    }
    (one, other)
}

#[must_use]
fn trusts_redis(server: &Signpost) -> bool {
    let epoch = || server.events("redis.epoch").into_iter().next_back();
    let trusted = || epoch().is_some_and(|event| event["message"] == "entries in Redis are trusted");
    eventually(PATIENCE, trusted)
}

/// The source of the last answer for a code.
fn source(server: &Signpost, code: &str) -> Option<String> {
    let line = server.log().into_iter().rfind(|line| line["link.code"] == code)?;
    Some(line["cache.result"].as_str()?.to_owned())
}

#[test]
fn a_lookup_by_one_process_is_shared_with_the_others() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis);
    let caller = one.caller();
    let code = caller.code("https://example.com/shared");
    other.get(&format!("/{code}")).with_status(302);
    let written = || !redis.command(&["KEYS", &format!("*:{code}")]).is_empty();
    assert!(eventually(PATIENCE, written), "nothing is shared");
    let third = one.another().start();
    assert!(trusts_redis(&third), "it does not use Redis");
    third.get(&format!("/{code}")).with_status(302);
    assert!(eventually(PATIENCE, || source(&third, &code).as_deref() == Some("shared")), "{:?}", source(&third, &code));
}

#[test]
fn a_change_by_one_process_is_seen_by_the_other_within_a_second() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis);
    let caller = one.caller();
    for round in 0..rounds(10, 200) {
        let code = caller.code(&format!("https://example.com/{round}"));
        let redirect = Request::get(&format!("/{code}"));
        other.ask(&redirect).with_status(302);
        caller.delete(&code).with_status(200);
        one.ask(&redirect).problem(410, "gone");
        assert!(eventually(HEARD, || other.ask(&redirect).status == 410), "a deletion is not seen");
        caller.at(&other).reactivate(&code).with_status(200);
        assert!(eventually(HEARD, || one.ask(&redirect).status == 302), "a reactivation is not seen");
    }
}

/// A name, what goes wrong with Redis, and how it ends.
type Trouble<'a> = (&'a str, &'a dyn Fn(), &'a dyn Fn());

#[test]
fn a_faulty_redis_fails_no_request() {
    let redis = RedisServer::start();
    let proxy = FaultProxy::before(([127, 0, 0, 1], redis.port()).into());
    // With so small a cache, hardly any link is cached in the process.
    let setup = Signpost::on_postgres().set("cache.capacity", "100").set("log.level", "debug");
    let server = setup.set("redis.url", &format!("redis://{}", proxy.address())).start();
    let caller = server.caller();
    assert!(trusts_redis(&server), "it does not use Redis");
    let cold = |number| Request::get(&format!("/{}", caller.code(&format!("https://example.com/cold/{number}"))));
    let cold: Vec<_> = (0..1_000).map(cold).collect();
    let lasts = Duration::from_secs(u64::try_from(rounds(1, 15)).expect("a few seconds"));
    let usual = ask_steadily(&server, 500, &cold, lasts);
    let wrong_type = || {
        let keys = redis.command(&["KEYS", "signpost:*"]);
        assert!(keys.lines().count() > 100, "there is little to spoil: {keys}");
        for key in keys.lines() {
            redis.command(&["EVAL", "redis.call('DEL', KEYS[1]); return redis.call('LPUSH', KEYS[1], 'x')", "1", key]);
        }
    };
    let troubles: [Trouble<'_>; 7] = [
        ("of the wrong type", &wrong_type, &|| assert_eq!(redis.command(&["FLUSHALL"]), "OK")),
        ("frozen", &|| redis.freeze(), &|| redis.thaw()),
        ("late", &|| proxy.delay(Duration::from_millis(200)), &|| proxy.delay(Duration::ZERO)),
        ("very late", &|| proxy.delay(Duration::from_secs(2)), &|| proxy.delay(Duration::ZERO)),
        ("sliced", &|| proxy.slice(1), &|| proxy.slice(usize::MAX)),
        (
            "reset and refusing",
            &|| {
                proxy.refuse(true);
                proxy.reset();
            },
            &|| proxy.refuse(false),
        ),
        ("killed", &|| redis.kill(), &|| redis.restart()),
    ];
    for (name, begins, ends) in troubles {
        begins();
        let late = ask_steadily(&server, 500, &cold, lasts);
        late.assert_as_usual(&usual, Duration::from_millis(50), name);
        let code = caller.code(&format!("https://example.com/{}", unique("troubled")));
        caller.delete(&code).with_status(200);
        server.get(&format!("/{code}")).problem(410, "gone");
        let slow: Vec<_> = server.log().into_iter().filter(|line| line["duration_s"].as_f64() > Some(0.9)).collect();
        assert!(slow.is_empty(), "{name}: {slow:?}");
        ends();
        assert!(eventually(PATIENCE, || server.get("/health").json()["status"] == "pass"), "{name}: it does not end");
    }
    assert!(trusts_redis(&server), "it does not use Redis again");
}

#[test]
fn a_frozen_redis_delays_only_a_few_cold_redirects() {
    let redis = RedisServer::start();
    let server = sharing(Signpost::on_postgres(), &redis).start();
    let caller = server.caller();
    assert!(trusts_redis(&server), "it does not use Redis");
    let cold: Vec<_> = (0..200).map(|number| caller.code(&format!("https://example.com/cold/{number}"))).collect();
    redis.freeze();
    for code in &cold {
        server.get(&format!("/{code}")).with_status(302);
    }
    assert!(eventually(PATIENCE, || !server.events("redis.disconnected").is_empty()));
    let waited = server.log().into_iter().filter(|line| line["duration_s"].as_f64() > Some(0.045)).count();
    assert!(waited < 20, "{waited} of 200 waited");
    assert_eq!(server.get("/health").with_status(200).json()["status"], "warn");
    redis.thaw();
    assert!(eventually(PATIENCE, || server.get("/health").json()["status"] == "pass"), "it does not come back");
}

#[test]
fn without_database_and_redis_active_links_redirect_and_deleted_ones_do_not() {
    let (postgres, redis) = (PostgresServer::start(ServerOptions::default()), RedisServer::start());
    let database = postgres.create_database();
    let server = sharing(Signpost::on_database(&database), &redis).set("cache.ttl", "300ms").start();
    let caller = server.caller();
    assert!(trusts_redis(&server), "it does not use Redis");
    let (active, gone) = (caller.code("https://example.com/active"), caller.code("https://example.com/gone"));
    for code in [&active, &gone] {
        server.get(&format!("/{code}")).with_status(302);
    }
    caller.delete(&gone).with_status(200);
    postgres.freeze();
    redis.freeze();
    let stale = || server.get(&format!("/{active}")).header("cache-status") == Some("signpost; hit; fwd=stale");
    assert!(eventually(PATIENCE, stale), "it does not answer from memory");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        server.get(&format!("/{active}")).with_status(302);
        assert_ne!(server.get(&format!("/{gone}")).status, 302, "it is known as deleted");
    }
    redis.thaw();
    postgres.thaw();
    let fresh = || server.get(&format!("/{active}")).header("cache-status").is_none();
    assert!(eventually(PATIENCE, fresh), "it goes on answering from memory alone");
}

/// Redis hangs and goes on, again and again, during deletions and reactivations by two processes.
#[test]
fn a_deleted_link_does_not_redirect_whatever_redis_does() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis);
    let caller = one.caller();
    let code = Arc::new(caller.code("https://example.com/back-and-forth"));
    let redirect = Request::get(&format!("/{code}"));
    let trouble = || {
        redis.freeze();
        thread::sleep(Duration::from_millis(300));
        redis.thaw();
        thread::sleep(Duration::from_millis(700));
    };
    meanwhile(trouble, || {
        for _ in 0..rounds(20, 200) {
            caller.delete(&code).with_status(200);
            one.ask(&redirect).problem(410, "gone");
            assert!(eventually(HEARD, || other.ask(&redirect).status == 410), "a deletion is not seen");
            let begun = Instant::now();
            while begun.elapsed() < Duration::from_millis(200) {
                for server in [&one, &other] {
                    server.ask(&redirect).problem(410, "gone");
                }
            }
            caller.at(&other).reactivate(&code).with_status(200);
            assert!(eventually(HEARD, || one.ask(&redirect).status == 302), "a reactivation is not seen");
        }
    });
}

#[test]
fn redis_is_not_used_on_sqlite() {
    let redis = RedisServer::start();
    let server = sharing(Signpost::on_sqlite(), &redis).start();
    server.event("redis.ignored");
    let code = server.caller().code("https://example.com/");
    server.get(&format!("/{code}")).with_status(302);
    assert_eq!(redis.command(&["DBSIZE"]), "0");
}
