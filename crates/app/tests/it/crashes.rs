//! Crashes: of this process, of the database, and of the network between them.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use test_support::{FaultProxy, PostgresServer, ServerOptions, TestDatabase};

use crate::support::{
    Answer, Caller, Connection, PATIENCE, Request, Setup, Signpost, ask_steadily, ask_together, code_of, eventually,
    in_soak, meanwhile, rounds, unique,
};

/// Within this time a redirect is answered, whatever the database does.
const REDIRECT: Duration = Duration::from_millis(1_200);
/// Within this time any other request is answered.
const API: Duration = Duration::from_millis(2_500);
/// Within this time after the database is back, the service works again.
const RECOVERY: Duration = Duration::from_secs(5);

alone_on_both_stores! { acknowledged_writes_survive_every_kill }

fn acknowledged_writes_survive_every_kill(setup: &Setup) {
    let mut server = setup.start();
    let caller = server.caller();
    for round in 0..rounds(12, 200) {
        let acknowledged = AtomicUsize::new(0);
        let writer = caller.at(&server);
        let known: Vec<Known> = thread::scope(|scope| {
            let write = || write_until_killed(&writer, &acknowledged);
            let writers: Vec<_> = (0..4).map(|_| scope.spawn(write)).collect();
            // Early or late in the work of the writers, by round.
            let enough = 5 + round % 12 * 13;
            let busy = eventually(PATIENCE, || acknowledged.load(Ordering::Relaxed) >= enough);
            server.kill9();
            assert!(busy, "no client writes");
            writers.into_iter().flat_map(|writer| writer.join().expect("no answer is wrong")).collect()
        });
        assert!(server.is_forgotten(), "its sessions do not end");
        let told = setup.run(&["check-store"]);
        assert!(told.code == Some(0) && told.out == "nothing is wrong", "{told:?}");
        server = setup.start();
        let caller = caller.at(&server);
        for known in known {
            known.is_there(&caller);
        }
    }
    // Links that were never acknowledged are there with their whole history, or not at all.
    let caller = caller.at(&server);
    let links = caller.walk("/api/v1/links?limit=100");
    assert!(!links.is_empty(), "nothing is there");
    for link in links {
        has_whole_history(&caller, &link);
    }
    assert_eq!(server.get("/health").with_status(200).json()["status"], "pass");
}

/// A link as the last answer showed it.
struct Known {
    code: String,
    state: Value,
    generation: i64,
    /// A change was sent and was not answered.
    unsure: bool,
}

impl Known {
    fn of(link: &Value) -> Self {
        let generation = link["generation"].as_i64().expect("a number");
        Self { code: code_of(link), state: link["state"].clone(), generation, unsure: false }
    }

    fn is_there(&self, caller: &Caller) {
        let link = caller.read(&self.code).with_status(200).json();
        let generation = link["generation"].as_i64().expect("a number");
        let changed = generation != self.generation;
        assert!(!changed || (self.unsure && generation == self.generation + 1), "{link}");
        assert!(changed || link["state"] == self.state, "{link}");
        has_whole_history(caller, &link);
    }
}

/// Asserts that the link has one event for each generation, and that the last one agrees with its state.
fn has_whole_history(caller: &Caller, link: &Value) {
    let history = caller.whole_history(&code_of(link));
    let generations: Vec<_> = history.iter().filter_map(|event| event["generation"].as_i64()).collect();
    let all: Vec<_> = (1..=link["generation"].as_i64().expect("a number")).collect();
    assert_eq!(generations, all, "{link}");
    let deleted = history.last().is_some_and(|event| event["event"] == "deleted");
    assert_eq!(deleted, link["state"] == "deleted", "{link}");
}

/// Claims links and changes each of them several times, until the server stops answering.
fn write_until_killed(caller: &Caller, acknowledged: &AtomicUsize) -> Vec<Known> {
    let mut known = Vec::new();
    let Ok(mut connection) = Connection::open(caller.address()) else {
        return known;
    };
    let mut sent = |request: &Request| {
        let answer: Answer = connection.send(request).ok()?;
        acknowledged.fetch_add(1, Ordering::Relaxed);
        Some(answer)
    };
    for changes in (0..4).cycle() {
        let claim = caller.claiming(&json!({"url": format!("https://example.com/{}", unique("written"))}));
        let Some(answer) = sent(&claim) else {
            return known;
        };
        let mut link = Known::of(&answer.with_status(201).json());
        let steps = [
            caller.editing(&link.code, &json!({"title": "edited"})),
            caller.deleting(&link.code),
            caller.reactivating(&link.code),
        ];
        for step in &steps[..changes] {
            let Some(answer) = sent(step) else {
                link.unsure = true;
                break;
            };
            link = Known::of(&answer.with_status(200).json());
        }
        known.push(link);
    }
    known
}

/// A PostgreSQL server for one test, which may stop, freeze or kill it.
fn own_postgres() -> (Arc<PostgresServer>, TestDatabase) {
    let postgres = PostgresServer::start(ServerOptions { durable: true, ..ServerOptions::default() });
    let database = postgres.create_database();
    (postgres, database)
}

#[test]
fn a_frozen_database_fails_only_requests_that_need_it() {
    let (postgres, database) = own_postgres();
    let server = Signpost::on_database(&database).start();
    let caller = server.caller();
    let code = caller.code("https://example.com/frozen");
    let redirect = Request::get(&format!("/{code}"));
    server.ask(&redirect).with_status(302);
    let stranger = server.another().start();

    postgres.freeze();
    for _ in 0..3 {
        // The process that has the link in its cache redirects. The one that has not cannot.
        timely(&server, &redirect, Duration::from_millis(500)).with_status(302);
        timely(&server, &Request::get(&format!("/{code}+")), Duration::from_millis(500)).with_status(200);
        is_unavailable(&stranger, &redirect, REDIRECT);
        is_unavailable(&stranger, &Request::get(&format!("/{code}+")), API);
        is_unavailable(&server, &Request::get("/zzzzzzzz"), REDIRECT);
        is_not_served(&server, &caller.claiming(&json!({"url": "https://example.com/new"})), API);
        is_unavailable(&server, &caller.deleting(&code), API);
        is_unavailable(&server, &caller.request("GET", "/api/v1/links"), API);
    }
    let health = timely(&server, &Request::get("/health"), API);
    assert_eq!(health.with_status(503).header("content-type"), Some("application/health+json"));
    assert_eq!(health.json()["checks"]["store:responseTime"][0]["status"], "fail");
    timely(&server, &Request::get("/livez"), Duration::from_millis(500)).with_status(200);
    assert!(fastest_of(20, || server.get("/livez").with_status(200).status) < Duration::from_millis(10));
    timely(&server, &Request::get("/readyz"), Duration::from_millis(500)).with_status(200);
    timely(&server, &Request::get("/docs"), Duration::from_millis(500)).with_status(200);

    postgres.thaw();
    assert!(eventually(RECOVERY, || stranger.ask(&redirect).status == 302), "it does not recover");
    assert!(eventually(RECOVERY, || caller.claim(&json!({"url": "https://example.com/new"})).status < 300));
    assert!(eventually(RECOVERY, || server.get("/health").status == 200));
    caller.read(&code).with_status(200);
}

/// Cached links in an open loop, from before the freeze to after it, together with requests that need the database.
#[test]
fn a_frozen_database_does_not_slow_down_cached_redirects() {
    let (postgres, database) = own_postgres();
    let server = Signpost::on_database(&database).start();
    let caller = server.caller();
    let codes: Vec<_> = (0..50).map(|number| caller.code(&format!("https://example.com/{number}"))).collect();
    let redirects: Vec<_> = codes.iter().map(|code| Request::get(&format!("/{code}"))).collect();
    let frozen_for = Duration::from_secs(u64::try_from(rounds(3, 60)).expect("a minute at most"));
    let late = thread::scope(|scope| {
        let asking = scope.spawn(|| ask_steadily(&server, 500, &redirects, frozen_for + Duration::from_secs(2)));
        thread::sleep(Duration::from_secs(1));
        postgres.freeze();
        let begun = Instant::now();
        while begun.elapsed() < frozen_for {
            is_unavailable(&server, &Request::get(&format!("/{}", unique("cold"))), REDIRECT);
            is_not_served(&server, &caller.claiming(&json!({"url": "https://example.com/new"})), API);
        }
        postgres.thaw();
        asking.join().expect("every known redirect is answered")
    });
    assert!(late.median() < Duration::from_millis(20), "median {:?}", late.median());
    assert!(!in_soak() || late.p99() < Duration::from_millis(20), "p99 {:?}", late.p99());
}

#[test]
fn more_redirects_than_connections_are_all_answered_in_time() {
    let (postgres, database) = own_postgres();
    let server = Signpost::on_database(&database).set("store.redirect_pool_size", "4").start();
    // No link has these codes and they are not cached, so each needs a lookup.
    let ask = || {
        let requests: Vec<_> =
            (0..100).map(|_| (server.address(), Request::get(&format!("/{}", unique("cold"))))).collect();
        ask_together(&requests).into_iter().map(|answer| answer.expect("an answer").status)
    };
    // This opens every connection to the database before it freezes.
    assert!(ask().all(|status| status == 404));
    postgres.freeze();
    let begun = Instant::now();
    assert!(ask().all(|status| status == 503));
    assert!(begun.elapsed() < REDIRECT, "{:?}", begun.elapsed());
    postgres.thaw();
    assert!(eventually(RECOVERY, || ask().all(|status| status == 404)));
}

/// A server that reaches its database through a proxy.
fn behind_proxy(postgres: &PostgresServer, database: &TestDatabase) -> (FaultProxy, Signpost) {
    let proxy = FaultProxy::before(([127, 0, 0, 1], postgres.port()).into());
    let url = format!("postgres://signpost@{}/{}", proxy.address(), database.name());
    let server = Signpost::on_database(database).set("store.url", &url).start();
    (proxy, server)
}

#[test]
fn one_delayed_reply_does_not_delay_other_lookups() {
    let (postgres, database) = own_postgres();
    let (proxy, server) = behind_proxy(&postgres, &database);
    server.get("/zzzzzzzz").with_status(404);
    proxy.hold_requests_with(b"held-back");
    let mut took: Vec<Duration> = thread::scope(|scope| {
        let held = scope.spawn(|| is_unavailable(&server, &Request::get("/held-back"), REDIRECT));
        assert!(proxy.has_caught_something());
        let ask = |_| {
            let begun = Instant::now();
            server.get(&format!("/{}", unique("cold"))).with_status(404);
            begun.elapsed()
        };
        let took = (0..100).map(ask).collect();
        held.join().expect("it is refused in time");
        took
    });
    took.sort_unstable();
    let (p99, bound) = (took[98], Duration::from_millis(if in_soak() { 50 } else { 500 }));
    assert!(p99 < bound, "p99 {p99:?}");
    proxy.let_go();
    assert!(proxy.has_settled(), "the held connection goes on");
    server.get("/held-back").with_status(404);
}

/// Retries are counted as connections that arrive at the proxy.
#[test]
fn retries_stay_within_their_budget_while_everything_fails() {
    const REDIRECTS: usize = 400;
    const CLAIMS: usize = 100;
    let (postgres, database) = own_postgres();
    let (proxy, server) = behind_proxy(&postgres, &database);
    let caller = server.caller();
    let begun = Instant::now();
    let tries = |what: &dyn Fn(usize)| {
        let before = proxy.connections_made();
        let cutting = || {
            proxy.cut();
            thread::yield_now();
        };
        meanwhile(cutting, || (0..).take(REDIRECTS.max(CLAIMS)).for_each(what));
        proxy.connections_made() - before
    };
    let redirects = tries(&|number| {
        if number < REDIRECTS {
            let status = server.get(&format!("/{}", unique("cold"))).status;
            assert!([404, 503].contains(&status), "{status}");
        }
    });
    let claims = tries(&|number| {
        if number < CLAIMS {
            let claim = caller.claiming(&json!({"url": format!("https://example.com/{}", unique("once"))}));
            let status = server.ask(&claim).status;
            assert!([201, 503].contains(&status), "{status}");
        }
    });
    // The change feed reconnects twice a second, on two connections.
    let listening = usize::try_from(begun.elapsed().as_secs()).expect("it is short") * 4 + 4;
    let saved_up = 10;
    assert!(redirects <= REDIRECTS * 11 / 10 + saved_up + listening, "{redirects} for {REDIRECTS} redirects");
    // The lookup of the API key may be retried as well.
    assert!(claims <= 2 * CLAIMS + listening, "{claims} for {CLAIMS} claims");
}

/// The deletion reaches the database after its caller has timed out, and after the link was reactivated.
#[test]
fn a_late_deletion_does_not_undo_a_later_reactivation() {
    let (postgres, database) = own_postgres();
    let proxy = FaultProxy::before(([127, 0, 0, 1], postgres.port()).into());
    let url = format!("postgres://signpost@{}/{}", proxy.address(), database.name());
    // The statement timeout ends first, even on a busy machine.
    let server = Signpost::on_database(&database).set("store.url", &url).set("http.request_timeout", "5s").start();
    let caller = server.caller();
    let code = caller.code("https://example.com/ghost");
    let delete = caller.deleting(&code).header("If-Match", "\"1\"").header("X-Request-Id", "a-late-deletion");

    proxy.hold_requests_with(b"a-late-deletion");
    let deletion = server.ask(&delete);
    deletion.problem(503, "unavailable");
    assert!(deletion.header("retry-after").is_some() && proxy.has_caught_something());

    // The link is still active, so this writes nothing that could make the late deletion fail.
    caller.reactivate(&code).with_status(200);
    proxy.let_go();
    assert!(proxy.has_settled(), "the database goes on with it");
    let link = caller.read(&code).with_status(200).json();
    assert_eq!((link["state"].as_str(), link["generation"].as_i64()), (Some("active"), Some(1)));
    has_whole_history(&caller, &link);
    server.get(&format!("/{code}")).with_status(302);
}

#[test]
fn a_write_that_timed_out_is_settled_by_a_later_read() {
    let (postgres, database) = own_postgres();
    let server = Signpost::on_database(&database).start();
    let caller = server.caller();
    let code = caller.code("https://example.com/settled");
    let delete = caller.deleting(&code).header("If-Match", "\"1\"");
    postgres.freeze();
    let refused = timely(&server, &delete, API);
    assert!(refused.with_status(503).header("retry-after").is_some());
    postgres.thaw();
    assert!(eventually(RECOVERY, || caller.reactivate(&code).status == 200));
    for _ in 0..10 {
        assert_eq!(caller.read(&code).with_status(200).json()["state"], "active");
    }
}

#[test]
fn a_server_reconnects_to_a_database_that_was_killed() {
    let (postgres, database) = own_postgres();
    let server = Signpost::on_database(&database).start();
    let caller = server.caller();
    let code = caller.code("https://example.com/kept");
    postgres.kill();
    server.get(&format!("/{code}")).with_status(302);
    is_unavailable(&server, &Request::get("/zzzzzzzz"), REDIRECT);
    is_not_served(&server, &caller.claiming(&json!({"url": "https://example.com/lost"})), API);
    server.get("/readyz").with_status(200);
    server.get("/health").with_status(503);

    postgres.restart();
    let claim = json!({"url": "https://example.com/first"});
    assert!(eventually(RECOVERY, || caller.claim(&claim).status < 300), "it does not recover");
    assert_eq!(server.get(&format!("/{code}")).with_status(302).header("location"), Some("https://example.com/kept"));
    assert!(!server.has_ended());
}

#[test]
fn a_server_may_start_before_its_database() {
    let (postgres, database) = own_postgres();
    postgres.stop();
    let server = Signpost::on_database(&database).launch();
    server.get("/livez").with_status(200);
    for _ in 0..3 {
        let unready = server.get("/readyz");
        assert!(unready.problem(503, "unavailable")["detail"].as_str().is_some_and(|why| why.contains("starting")));
        assert!(unready.header("retry-after").is_some());
        is_unavailable(&server, &Request::get("/zzzzzzzz"), REDIRECT);
        server.get("/health").with_status(503);
    }
    assert!(!server.setup().data_dir().join("admin.key").exists());

    postgres.restart();
    assert!(eventually(RECOVERY, || server.get("/readyz").status == 200), "{:?}", server.log());
    server.caller().code("https://example.com/first");
    let told = || server.complaints().contains("admin.key");
    assert!(eventually(RECOVERY, told), "the first key is not told of");
}

#[test]
fn two_servers_that_start_at_once_on_an_empty_database_both_serve() {
    let (_postgres, database) = own_postgres();
    let setups = [Signpost::on_database(&database), Signpost::on_database(&database)];
    let servers: Vec<_> = thread::scope(|scope| {
        let starting: Vec<_> = setups.iter().map(|setup| scope.spawn(move || setup.start())).collect();
        starting.into_iter().map(|server| server.join().expect("both start")).collect()
    });
    let migrated = |server: &Signpost| {
        server.event("server.ready");
        server.events("store.migrated").len()
    };
    let migrated: Vec<_> = servers.iter().map(migrated).collect();
    let known = setups[0].run(&["migrate", "status"]).out.lines().count();
    assert!(known > 0);
    assert!(migrated == [known, 0] || migrated == [0, known], "{migrated:?} of {known}");

    let (with_key, without): (Vec<_>, Vec<_>) =
        servers.iter().partition(|server| server.setup().data_dir().join("admin.key").exists());
    assert_eq!((with_key.len(), without.len()), (1, 1), "one makes the first key");
    let caller = with_key[0].caller();
    let code = caller.code("https://example.com/both");
    caller.at(without[0]).read(&code).with_status(200);
}

/// The shortest time of several attempts: the time of the service, without delays of the machine.
fn fastest_of<T>(attempts: usize, ask: impl Fn() -> T) -> Duration {
    let once = |_| {
        let begun = Instant::now();
        ask();
        begun.elapsed()
    };
    (0..attempts).map(once).min().expect("at least one attempt")
}

#[track_caller]
fn is_unavailable(server: &Signpost, request: &Request, limit: Duration) {
    let answer = timely(server, request, limit);
    answer.problem(503, "unavailable");
    is_honest(&answer);
}

/// Like `is_unavailable`, for a write whose outcome may be unknown.
#[track_caller]
fn is_not_served(server: &Signpost, request: &Request, limit: Duration) {
    let answer = timely(server, request, limit);
    let code = answer.with_status(503).json()["code"].clone();
    assert!(["unavailable", "outcome-unknown"].map(Value::from).contains(&code), "{answer:?}");
    is_honest(&answer);
}

/// Asserts that the answer says when to retry, and shows nothing of the internals.
#[track_caller]
fn is_honest(answer: &Answer) {
    let problem = answer.json();
    let wait = answer.header("retry-after").and_then(|wait| wait.parse::<u32>().ok());
    assert!(wait.is_some_and(|seconds| seconds >= 1), "{answer:?}");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    for inside in ["postgres", "127.0.0.1", "connect", "timed out", "deadline"] {
        assert!(!problem.to_string().to_lowercase().contains(inside), "{inside}: {problem}");
    }
}

/// The answer, which has to come within `limit`.
#[track_caller]
fn timely(server: &Signpost, request: &Request, limit: Duration) -> Answer {
    let begun = Instant::now();
    let answer = server.ask(request);
    assert!(begun.elapsed() < limit, "{:?} for {request:?}", begun.elapsed());
    answer
}
