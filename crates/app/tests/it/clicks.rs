//! Clicks: each redirect that a client received is counted once, whatever fails in between.

use std::{
    collections::BTreeMap,
    fs,
    path::Path,
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::Duration,
};

use serde_json::{Value, json};

use crate::support::{Caller, Connection, PATIENCE, Request, Setup, Signpost, eventually, meanwhile, rounds, unique};

alone_on_both_stores! {
    redirects_are_counted_and_nothing_else_is,
    no_click_is_lost_or_counted_twice_by_kills,
    clicks_of_the_last_moment_are_counted_before_the_end,
    no_file_holds_the_address_of_a_visitor,
    clients_that_opt_out_count_in_totals_only,
    what_a_killed_process_left_is_shipped_by_a_command,
    clicks_can_be_switched_off,
    clicks_of_ignored_networks_are_not_counted,
    the_clicks_of_a_link_can_be_erased,
}

const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
const IPHONE: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1";

fn following(code: &str) -> Request {
    Request::get(&format!("/{code}")).header("User-Agent", FIREFOX)
}

fn reader(server: &Signpost) -> Caller {
    server.caller_of(&unique("owner"), &["links:read", "links:write", "stats:read"])
}

/// The clicks of a link, as the API tells them now.
fn clicks(caller: &Caller, code: &str) -> Value {
    caller.get(&format!("/api/v1/links/{code}?include=clicks")).with_status(200).json()["clicks"].clone()
}

/// Waits until so many clicks are counted, and a second longer, in which no further one must come.
#[track_caller]
fn assert_counted(caller: &Caller, code: &str, expected: u64) {
    let total = || clicks(caller, code)["total"].as_u64().expect("a number");
    let reached = eventually(PATIENCE, || total() >= expected);
    assert!(reached, "{} of {expected}", total());
    // The next shipment after all clicks were stored changes nothing.
    let as_of = || stats(caller, code, "")["as_of"].as_str().expect("a time").to_owned();
    let before = as_of();
    assert!(eventually(PATIENCE, || as_of() != before), "the shipper does not go on");
    assert_eq!(total(), expected);
}

fn stats(caller: &Caller, code: &str, query: &str) -> Value {
    caller.get(&format!("/api/v1/links/{code}/stats?{query}")).with_status(200).json()
}

fn redirects_are_counted_and_nothing_else_is(setup: &Setup) {
    let server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/counted");
    server
        .ask(&following(&code).header("Referer", "https://www.Example.org/page").header("Accept-Language", "de-DE"))
        .with_status(302);
    server.ask(&Request::get(&format!("/{code}")).header("User-Agent", IPHONE)).with_status(302);
    server.ask(&Request::get(&format!("/{code}.")).header("User-Agent", FIREFOX)).with_status(302);
    server.ask(&Request::get(&format!("/{code}")).header("User-Agent", "curl/8.5.0")).with_status(302);
    server
        .ask(&Request::get(&format!("/{code}")).header("User-Agent", "Googlebot/2.1 (+http://www.google.com/bot.html)"))
        .with_status(302);
    server.ask(&Request::get(&format!("/{code}"))).with_status(302);
    server.ask(&following(&code).header("Sec-Purpose", "prefetch;prerender")).with_status(302);
    // None of these is a click.
    server.ask(&Request::head(&format!("/{code}")).header("User-Agent", FIREFOX)).with_status(302);
    server.ask(&Request::get(&format!("/{code}+")).header("User-Agent", FIREFOX)).with_status(200);
    server.ask(&Request::new("OPTIONS", &format!("/{code}"))).with_status(204);
    server.ask(&following("unknown-code")).with_status(404);
    server.ask(&following("")).with_status(200);
    let gone = caller.code("https://example.com/gone");
    caller.delete(&gone).with_status(200);
    server.ask(&following(&gone)).with_status(410);

    assert_counted(&caller, &code, 7);
    let counted = clicks(&caller, &code);
    assert_eq!((&counted["humans"], &counted["bots"]), (&json!(3), &json!(4)));
    assert!(counted["last_at"].as_str().is_some_and(|at| at.ends_with('Z')), "{counted}");
    let all = stats(&caller, &code, "bots=include");
    assert_eq!((&all["totals"]["clicks"], &all["daily_visitors"]), (&json!(7), &json!(2)));
    adds_up(&all);
    let humans = stats(&caller, &code, "");
    assert_eq!(humans["totals"]["clicks"], 3);
    adds_up(&humans);
    assert_eq!(values(&humans, "referrer"), BTreeMap::from([("(direct)", 2), ("example.org", 1)]));
    assert_eq!(values(&humans, "device"), BTreeMap::from([("desktop", 2), ("mobile", 1)]));
    assert_eq!(values(&humans, "language"), BTreeMap::from([("(unknown)", 2), ("de", 1)]));
    assert!(values(&humans, "browser").keys().any(|browser| browser.contains("Firefox")), "{humans}");

    let orphans = || server.admin().get("/api/v1/stats/orphans").with_status(200).json();
    let visits = |orphans: &Value| -> BTreeMap<String, u64> {
        let items = orphans["items"].as_array().expect("items").iter();
        let pair = |item: &Value| Some((item["reason"].as_str()?.to_owned(), item["visits"].as_u64()?));
        items.filter_map(pair).collect()
    };
    let expected =
        BTreeMap::from([("unknown", 1), ("gone", 1), ("bare", 1)].map(|(name, count)| (name.to_owned(), count)));
    assert!(eventually(PATIENCE, || visits(&orphans()) == expected), "{}", orphans());

    let told = setup.run(&["stats", &code]);
    assert!(told.code == Some(0) && told.out.contains("clicks: 3 by people, 4 by bots"), "{told:?}");
    let told = setup.run(&["spool", "status"]);
    assert!(told.code == Some(0) && told.out.ends_with("0 clicks wait for the store"), "{told:?}");
    let told = setup.run(&["spool", "check"]);
    assert!(told.code == Some(0) && told.out.ends_with(" 0 damaged"), "{told:?}");
}

/// The values of a breakdown.
fn values<'a>(statistics: &'a Value, dimension: &str) -> BTreeMap<&'a str, u64> {
    let values = statistics["breakdowns"][dimension].as_array().expect("a breakdown").iter();
    values
        .map(|value| (value["value"].as_str().expect("a text"), value["clicks"].as_u64().expect("a number")))
        .collect()
}

/// Totals, series and breakdowns agree.
#[track_caller]
fn adds_up(statistics: &Value) {
    let total = statistics["totals"]["clicks"].as_u64().expect("a number");
    let series = statistics["series"].as_array().expect("a series");
    let sum: u64 = series.iter().map(|part| part["clicks"].as_u64().expect("a number")).sum();
    assert_eq!(sum, total, "{statistics}");
    let breakdowns = &statistics["breakdowns"];
    for dimension in ["referrer", "country", "browser", "os", "device", "language", "hour_of_week"] {
        let sum: u64 = values(statistics, dimension).values().sum();
        assert_eq!(sum, breakdowns["total"].as_u64().expect("a number"), "{dimension}: {statistics}");
    }
}

fn no_click_is_lost_or_counted_twice_by_kills(setup: &Setup) {
    let mut server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/killed");
    let received = AtomicUsize::new(0);
    let sent = AtomicUsize::new(0);
    for round in 0..rounds(5, 50) {
        let before = received.load(Ordering::Relaxed);
        thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    let Ok(mut connection) = Connection::open(server.address()) else { return };
                    loop {
                        sent.fetch_add(1, Ordering::Relaxed);
                        match connection.send(&following(&code)) {
                            Ok(answer) if answer.status == 302 => received.fetch_add(1, Ordering::Relaxed),
                            Ok(answer) => panic!("{answer:?}"),
                            Err(_) => return,
                        };
                    }
                });
            }
            // Before, during and after a shipment, by round.
            let enough = before + 200 + round % 7 * 400;
            let busy = eventually(PATIENCE, || received.load(Ordering::Relaxed) >= enough);
            server.kill9();
            assert!(busy, "no client is answered");
        });
        assert!(server.is_forgotten(), "its sessions do not end");
        server = setup.start();
    }
    let caller = caller.at(&server);
    let (received, sent) = (received.load(Ordering::Relaxed) as u64, sent.load(Ordering::Relaxed) as u64);
    let total = || clicks(&caller, &code)["total"].as_u64().expect("a number");
    assert!(eventually(PATIENCE, || total() >= received), "{} of {received} received", total());
    let told = || setup.run(&["spool", "status"]).out;
    assert!(eventually(PATIENCE, || told().ends_with("0 clicks wait for the store")), "{}", told());
    // A redirect may be recorded and its answer not received, at most one for each connection of a round.
    assert!((received..=sent).contains(&total()), "{} counted, {received} received, {sent} sent", total());
}

fn clicks_of_the_last_moment_are_counted_before_the_end(setup: &Setup) {
    let server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/last");
    // The first click loads the lists of bots and browsers.
    server.ask(&following(&code)).with_status(302);
    assert_counted(&caller, &code, 1);
    for _ in 0..25 {
        server.ask(&following(&code)).with_status(302);
    }
    assert!(server.terminate().success());
    let told = setup.run(&["spool", "status"]);
    assert!(told.out == "no clicks are on disk" || told.out.ends_with("0 clicks wait for the store"), "{told:?}");
    let told = setup.run(&["stats", &code]);
    assert!(told.out.contains("clicks: 26 by people, 0 by bots"), "{told:?}");
}

/// Whether a file below `folder` holds these bytes.
fn is_below(folder: &Path, wanted: &[u8]) -> bool {
    fs::read_dir(folder).expect("a folder").any(|entry| {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            return is_below(&path, wanted);
        }
        // A file may be removed meanwhile.
        let bytes = fs::read(&path).unwrap_or_default();
        bytes.windows(wanted.len()).any(|window| window == wanted)
    })
}

fn no_file_holds_the_address_of_a_visitor(setup: &Setup) {
    let setup = setup.clone().set("proxies.trusted", "127.0.0.1");
    let server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/private");
    let addresses = ["203.0.113.77", "2001:db8:1234:5678:9abc:def0:1234:5678"];
    for address in addresses {
        server.ask(&following(&code).header("X-Forwarded-For", address)).with_status(302);
    }
    assert_counted(&caller, &code, 2);
    assert_eq!(stats(&caller, &code, "")["daily_visitors"], 2);
    let output = server.output();
    assert!(server.terminate().success());
    let mut forms: Vec<Vec<u8>> = Vec::new();
    for address in addresses {
        forms.push(address.as_bytes().to_vec());
        forms.push(match address.parse().expect("an address") {
            std::net::IpAddr::V4(address) => address.octets().to_vec(),
            std::net::IpAddr::V6(address) => address.octets().to_vec(),
        });
    }
    for form in forms {
        assert!(!is_below(&setup.data_dir(), &form), "{form:?}");
        assert!(!output.as_bytes().windows(form.len()).any(|window| window == form), "{form:?}");
        if setup.is_on_postgres() {
            let hex = form.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            assert_eq!(rows_with(&setup, &hex), "0", "{hex}");
        }
    }
    if setup.is_on_postgres() {
        for address in addresses {
            assert_eq!(rows_with(&setup, address), "0", "{address}");
        }
        // The search finds what is there.
        assert_ne!(rows_with(&setup, "example.com/private"), "0");
    }
}

/// How many rows of all tables hold the text. Bytes are shown in hexadecimal.
fn rows_with(setup: &Setup, text: &str) -> String {
    let tables = "SELECT string_agg(format('SELECT t::text AS row FROM %I t', tablename), ' UNION ALL ') \
                  FROM pg_tables WHERE schemaname = current_schema()";
    let all = setup.database().sql(tables).expect("we own it");
    let count = format!("SELECT count(*) FROM ({all}) AS every WHERE position('{text}' IN row) > 0");
    setup.database().sql(&count).expect("we own it")
}

fn clients_that_opt_out_count_in_totals_only(setup: &Setup) {
    let server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/opt-out");
    for field in ["Sec-GPC", "DNT"] {
        server.ask(&following(&code).header(field, "1").header("Referer", "https://secret.example/")).with_status(302);
    }
    server.ask(&following(&code).header("DNT", "0")).with_status(302);
    assert_counted(&caller, &code, 3);
    let found = stats(&caller, &code, "");
    assert_eq!((&found["totals"]["clicks"], &found["daily_visitors"]), (&json!(3), &json!(1)));
    assert_eq!(values(&found, "referrer"), BTreeMap::from([("(direct)", 1), ("(not recorded)", 2)]));
    adds_up(&found);
}

fn what_a_killed_process_left_is_shipped_by_a_command(setup: &Setup) {
    let server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/left");
    for _ in 0..10 {
        server.ask(&following(&code)).with_status(302);
    }
    server.kill9();
    assert!(server.is_forgotten(), "its sessions do not end");
    let told = setup.run(&["spool", "ship"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    let told = setup.run(&["stats", &code]);
    assert!(told.out.contains("clicks: 10 by people, 0 by bots"), "{told:?}");
    let told = setup.run(&["spool", "ship"]);
    assert!(told.out.starts_with("0 clicks counted"), "{told:?}");
}

fn clicks_can_be_switched_off(setup: &Setup) {
    let setup = setup.clone().set("clicks.enabled", "false");
    let server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/off");
    server.ask(&following(&code)).with_status(302);
    assert_eq!(clicks(&caller, &code)["total"], 0);
    assert!(!setup.data_dir().join("clicks").exists());
}

fn clicks_of_ignored_networks_are_not_counted(setup: &Setup) {
    let setup = setup.clone().set("proxies.trusted", "127.0.0.1").set("clicks.ignore_networks", "192.0.2.0/24");
    let server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/monitored");
    server.ask(&following(&code).header("X-Forwarded-For", "192.0.2.9")).with_status(302);
    server.ask(&following(&code).header("X-Forwarded-For", "198.51.100.9")).with_status(302);
    assert_counted(&caller, &code, 1);
}

fn the_clicks_of_a_link_can_be_erased(setup: &Setup) {
    let server = setup.start();
    let caller = reader(&server);
    let [code, other] = ["erased", "kept"].map(|name| caller.code(&format!("https://example.com/{name}")));
    for code in [&code, &other] {
        server.ask(&following(code)).with_status(302);
        assert_counted(&caller, code, 1);
    }
    let told = setup.run(&["stats", &code, "--erase"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert_eq!((&clicks(&caller, &code)["total"], &clicks(&caller, &other)["total"]), (&json!(0), &json!(1)));
    let found = stats(&caller, &code, "");
    assert_eq!((&found["totals"]["clicks"], &found["breakdowns"]["total"]), (&json!(0), &json!(0)));
}

/// While the database does not answer, redirects go on and clicks wait on the disk.
#[test]
fn clicks_wait_on_the_disk_while_the_database_is_gone() {
    let server = test_support::PostgresServer::start(test_support::ServerOptions::default());
    let setup = Signpost::on_database(&server.create_database());
    let signpost = setup.start();
    let caller = reader(&signpost);
    let code = caller.code("https://example.com/frozen");
    signpost.ask(&following(&code)).with_status(302);
    assert_counted(&caller, &code, 1);
    server.freeze();
    for _ in 0..50 {
        signpost.ask(&following(&code)).with_status(302);
    }
    let failing = || signpost.get("/health").json()["checks"].to_string().contains("click-shipper");
    assert!(eventually(PATIENCE, failing), "the shipper is not shown");
    server.thaw();
    assert_counted(&caller, &code, 51);
}

/// A stream that cannot be read is named, and holds up no other one.
#[test]
fn a_stream_that_cannot_be_read_does_not_stop_the_counting() {
    let setup = Signpost::on_sqlite();
    let stream = setup.data_dir().join("clicks/0198c5b2-0000-7000-8000-000000000001");
    fs::create_dir_all(stream.join("00000001.clicks")).expect("a folder in the place of a segment");
    fs::write(stream.join("lock"), "").expect("it can be written");
    let server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/beside");
    server.ask(&following(&code)).with_status(302);
    assert_counted(&caller, &code, 1);
    let event = server.event("clicks.unreadable");
    assert!(event["error.message"].as_str().is_some_and(|text| text.contains("0198c5b2")), "{event}");
    assert!(server.get("/health").json()["checks"].to_string().contains("cannot be read"), "health says nothing");
}

/// A folder that cannot be written costs the counting, not the redirects.
#[test]
fn a_spool_that_cannot_be_opened_only_switches_counting_off() {
    let setup = Signpost::on_sqlite();
    fs::create_dir_all(setup.data_dir()).expect("a folder");
    fs::write(setup.data_dir().join("clicks"), "a file").expect("it can be written");
    let server = setup.start();
    let caller = reader(&server);
    let code = caller.code("https://example.com/no-spool");
    server.ask(&following(&code)).with_status(302);
    let event = server.event("clicks.disabled");
    assert_eq!(event["level"], "warning", "{event}");
}

/// Several processes on one database count the same link.
#[test]
fn two_processes_count_one_link() {
    let setup = Signpost::on_postgres();
    let first = setup.start();
    let second = first.another().start();
    let caller = reader(&first);
    let code = caller.code("https://example.com/shared");
    let counted = AtomicUsize::new(0);
    let follow = |server: &Signpost| {
        for _ in 0..rounds(300, 5_000) {
            server.ask(&following(&code)).with_status(302);
            counted.fetch_add(1, Ordering::Relaxed);
        }
    };
    thread::scope(|scope| {
        scope.spawn(|| follow(&first));
        scope.spawn(|| follow(&second));
    });
    let total = counted.load(Ordering::Relaxed) as u64;
    assert!(eventually(PATIENCE, || clicks(&caller, &code)["total"] == total), "{}", clicks(&caller, &code));
    // The next shipments of both change nothing.
    assert_counted(&caller, &code, total);
    assert_counted(&caller.at(&second), &code, total);
}

/// Load on one link does not keep back the clicks of another one. The time is bounded loosely: other tests run beside.
#[test]
fn clicks_are_counted_within_seconds_under_load() {
    let server = Signpost::on_sqlite().start();
    let caller = reader(&server);
    let [busy, probe] = ["busy", "probe"].map(|name| caller.code(&format!("https://example.com/{name}")));
    let mut connection = server.connect();
    let mut load = || {
        connection.send(&following(&busy)).expect("it is answered").with_status(302);
    };
    meanwhile(&mut load, || {
        for round in 1..=3_u64 {
            server.ask(&following(&probe)).with_status(302);
            let fresh = eventually(Duration::from_secs(10), || clicks(&caller, &probe)["total"] == round);
            assert!(fresh, "round {round}: {}", clicks(&caller, &probe));
        }
    });
}
