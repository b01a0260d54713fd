//! Metrics: the ops listener, and whether what it tells is true, bounded and documented.

use std::{
    collections::{BTreeMap, BTreeSet},
    env,
    io::Write,
    net::{SocketAddr, TcpListener},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::json;
use test_support::RedisServer;

use crate::{
    documents::read,
    support::{Answer, Connection, PATIENCE, Request, Setup, Signpost, ask, code_of, eventually, meanwhile, rounds},
};

alone_on_both_stores!(
    requests_are_counted_as_their_client_counts_them,
    clients_add_no_series,
    every_click_is_in_one_place_at_every_scrape,
    claims_and_changes_are_counted_by_their_outcome,
);

fn with_metrics(setup: &Setup) -> Setup {
    setup.clone().set("ops.bind", "127.0.0.1:0")
}

impl Signpost {
    /// Asks the ops listener, which has to answer with this status.
    #[track_caller]
    fn ask_ops(&self, request: &Request, status: u16) -> Answer {
        let address = self.ops_address().expect("it has an ops listener");
        let answer = ask(address, request).unwrap_or_else(|error| panic!("{request:?}: {error}"));
        answer.with_status(status);
        answer
    }

    #[track_caller]
    fn scrape(&self) -> Scrape {
        Scrape::of(&self.ask_ops(&Request::get("/metrics"), 200).text())
    }
}

/// The samples of a scrape, by their series.
#[derive(Clone, Debug)]
struct Scrape(BTreeMap<String, f64>);

impl Scrape {
    fn of(text: &str) -> Self {
        let samples = text.lines().filter(|line| !line.starts_with('#'));
        let split = |line: &str| {
            let (series, value) = line.rsplit_once(' ').expect("a sample has a value");
            (series.to_owned(), value.parse().expect("a number"))
        };
        let samples: Vec<_> = samples.map(split).collect();
        let all = samples.len();
        let scrape = Self(samples.into_iter().collect());
        assert_eq!(scrape.0.len(), all, "no series is there twice");
        scrape
    }

    #[track_caller]
    fn get(&self, series: &str) -> f64 {
        *self.0.get(series).unwrap_or_else(|| panic!("no {series} in {:#?}", self.0.keys()))
    }

    /// Whether a gauge of 0 or 1 is 1.
    #[track_caller]
    fn is_true(&self, series: &str) -> bool {
        self.get(series) > 0.5
    }

    fn series(&self) -> BTreeSet<&str> {
        self.0.keys().map(String::as_str).collect()
    }

    /// The names of the metrics, without the suffixes of histograms.
    fn names(&self) -> BTreeSet<String> {
        let name = |series: &String| series.split('{').next().expect("there is a name").to_owned();
        let is_histogram = |name: &str| self.0.keys().any(|series| series.starts_with(&format!("{name}_bucket")));
        let base = |name: String| {
            let stem = ["_bucket", "_sum", "_count"].iter().find_map(|suffix| name.strip_suffix(suffix));
            stem.filter(|stem| is_histogram(stem)).map_or(name.clone(), str::to_owned)
        };
        self.0.keys().map(name).map(base).collect()
    }

    /// What has changed since `before`, of the series with this name.
    fn since(&self, before: &Self, name: &str) -> BTreeMap<String, u64> {
        let ours = |series: &&String| series.split('{').next() == Some(name);
        let changed = self.0.keys().filter(ours).map(|series| {
            let grown = self.0[series] - before.0.get(series).copied().unwrap_or(0.0);
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter of a test")]
            (series.clone(), grown as u64)
        });
        changed.filter(|(_, grown)| *grown > 0).collect()
    }
}

fn requests(route: &str, method: &str, status: &str) -> String {
    format!(
        "signpost_http_requests_total{{http_route=\"{route}\",http_request_method=\"{method}\",status_class=\"{status}\"}}"
    )
}

fn requests_are_counted_as_their_client_counts_them(setup: &Setup) {
    let server = with_metrics(setup).start();
    let caller = server.caller();
    let code = caller.code("https://example.com/counted");
    let before = server.scrape();
    let mut expected = BTreeMap::new();
    let mut send = |times: usize, route: &str, request: &Request, status: u16| {
        let class = format!("{}xx", status / 100);
        let method = request.method();
        let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"].contains(&method);
        *expected.entry(requests(route, if known { method } else { "_OTHER" }, &class)).or_default() += times as u64;
        let mut connection = server.connect();
        for _ in 0..times {
            assert_eq!(connection.send(request).expect("it answers").status, status, "{request:?}");
        }
    };
    send(100, "redirect", &Request::get(&format!("/{code}")), 302);
    send(7, "redirect", &Request::head(&format!("/{code}")), 302);
    send(3, "redirect", &Request::get("/unknown1"), 404);
    send(2, "redirect", &Request::new("BREW", &format!("/{code}")), 405);
    send(4, "preview", &Request::get(&format!("/{code}+")), 200);
    send(1, "qr", &Request::get(&format!("/{code}.qr")), 200);
    send(5, "read", &caller.request("GET", &format!("/api/v1/links/{code}")), 200);
    send(2, "read", &caller.request("GET", &format!("/api/v1/links/{code}/history")), 200);
    send(3, "list", &caller.request("GET", "/api/v1/links"), 200);
    send(2, "claim", &caller.claiming(&json!({"url": "https://example.com/counted"})), 200);
    send(1, "claim", &caller.claiming(&json!({"url": "nonsense"})), 422);
    send(1, "batch", &caller.request("POST", "/api/v1/links/batch").json(&json!({"links": []})), 422);
    send(2, "change", &caller.editing(&code, &json!({"url": "https://example.com/edited"})), 200);
    send(1, "stats", &caller.request("GET", "/api/v1/stats"), 403);
    send(1, "keys", &caller.request("GET", "/api/v1/keys"), 403);
    send(1, "blocks", &caller.request("GET", "/api/v1/blocks"), 403);
    send(2, "docs", &Request::get("/openapi.json"), 200);
    send(2, "site", &Request::get("/robots.txt"), 200);
    send(6, "health", &Request::get("/livez"), 200);
    send(1, "other", &Request::get("/no/such/path"), 404);
    let mut broken = server.connect();
    broken.write(b"GET /a b HTTP/1.1\r\n\r\n").expect("it reads");
    assert_eq!(broken.read().expect("it answers").expect("an answer").status, 400);
    expected.insert(requests("rejected", "_OTHER", "4xx"), 1);

    let after = server.scrape();
    assert_eq!(after.since(&before, "signpost_http_requests_total"), expected);
    let all: u64 = expected.values().sum();
    let timed: u64 = after.since(&before, "http_server_request_duration_seconds_count").values().sum();
    assert_eq!(timed, all, "each request has a duration");
    let redirects = after.since(&before, "signpost_redirects_total");
    let result = |result: &str| format!("signpost_redirects_total{{cache_result=\"{result}\"}}");
    assert_eq!(
        redirects,
        [("hit", 107), ("miss", 1), ("negative", 2)].map(|(name, count)| (result(name), count)).into()
    );
    let rejected = after.since(&before, "signpost_connection_rejections_total");
    assert_eq!(rejected.into_values().collect::<Vec<_>>(), [1]);
    assert!(eventually(PATIENCE, || server.scrape().get("http_server_active_requests") == 0.0));
}

fn claims_and_changes_are_counted_by_their_outcome(setup: &Setup) {
    let server = with_metrics(setup).start();
    let caller = server.caller();
    let before = server.scrape();
    let link = caller.link(&json!({"url": "https://example.com/one"}));
    caller.claim(&json!({"url": "https://example.com/one"})).with_status(200);
    caller.claim(&json!({"url": "ftp://example.com"})).with_status(422);
    let code = code_of(&link);
    caller.delete(&code).with_status(200);
    caller.claim(&json!({"url": "https://example.com/one"})).with_status(200);
    caller.edit(&code, &json!({"url": "https://example.com/two"})).with_status(200);
    let claims = [
        json!({"url": "https://example.com/three"}),
        json!({"url": "https://example.com/four"}),
        json!({"url": "https://example.com/three"}),
        json!({"url": "nonsense"}),
    ];
    assert!(caller.batch(&claims).status < 300);
    let after = server.scrape();
    let of = |name: &str, label: &str, counts: &[(&str, u64)]| {
        let expected: BTreeMap<_, _> =
            counts.iter().map(|(value, count)| (format!("{name}{{{label}=\"{value}\"}}"), *count)).collect();
        assert_eq!(after.since(&before, name), expected);
    };
    of("signpost_claims_total", "outcome", &[("created", 3), ("existing", 2), ("reactivated", 1), ("failed", 2)]);
    of("signpost_link_changes_total", "event", &[("edit", 1), ("delete", 1)]);
}

/// Codes, paths, methods and hosts that clients make up.
fn clients_add_no_series(setup: &Setup) {
    let server = with_metrics(setup).start();
    let before = server.scrape();
    let mut connection = server.connect();
    for number in 0..rounds(1_500, 250_000) {
        let host = format!("host-{number}.example");
        for request in [
            Request::get(&format!("/code{number}")),
            Request::get(&format!("/path/{number}/below")),
            Request::new(&format!("M{number}"), "/api/v1/links"),
            Request::post(&format!("/api/v1/links/code{number}/reactivate")).header("X-Forwarded-Host", &host),
        ] {
            assert!(connection.send(&request).expect("it answers").status >= 400);
        }
    }
    let after = server.scrape();
    let fresh: Vec<_> = after.series().difference(&before.series()).map(ToString::to_string).collect();
    // Tasks succeed for the first time meanwhile, and the codes are read.
    let of_time = ["signpost_task_last_success_timestamp_seconds", "signpost_known_codes"];
    let of_clients: Vec<_> =
        fresh.iter().filter(|series| !of_time.iter().any(|name| series.starts_with(name))).collect();
    assert!(of_clients.is_empty(), "{of_clients:?}");
    assert!(after.0.len() < 2_000, "{} series", after.0.len());
}

/// The balance of clicks, while they flow.
fn every_click_is_in_one_place_at_every_scrape(setup: &Setup) {
    let server = with_metrics(setup).start();
    let code = server.caller().code("https://example.com/clicked");
    let redirect = Request::get(&format!("/{code}"));
    let address = server.address();
    let mut followed = 0_u32;
    let balance = |scrape: &Scrape| {
        let get = |name: &str| scrape.get(&format!("signpost_clicks_{name}"));
        let dropped = get("dropped_total{reason=\"no-space\"}") + get("dropped_total{reason=\"over-limit\"}");
        let (come, gone) =
            (get("accepted_total") + get("adopted_total"), get("stored_total") + dropped + get("damaged_total"));
        (come, gone + get("spooled"), get("stored_total"))
    };
    let follow = || {
        let mut connection = Connection::open(address).expect("it listens");
        for _ in 0..200 {
            assert_eq!(connection.send(&redirect).expect("it answers").status, 302);
            followed += 1;
        }
    };
    meanwhile(follow, || {
        let begun = Instant::now();
        let (mut scrapes, mut stored_at) = (0, BTreeSet::new());
        // Until several shipments were seen in between.
        while scrapes < 50 || stored_at.len() < 4 {
            assert!(begun.elapsed() < 3 * PATIENCE, "no clicks are stored");
            let scrape = server.scrape();
            let (come, found, stored) = balance(&scrape);
            assert!((come - found).abs() < 0.5, "{come} came, {found} are there");
            scrapes += 1;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a counter of a test")]
            stored_at.insert(stored as u64);
        }
    });
    let all_stored = || server.scrape().get("signpost_clicks_stored_total") >= f64::from(followed);
    assert!(eventually(PATIENCE, all_stored), "{followed} followed, {:?}", balance(&server.scrape()));
    let scrape = server.scrape();
    assert!((scrape.get("signpost_clicks_accepted_total") - f64::from(followed)).abs() < 0.5);
    assert!(scrape.get("signpost_clicks_lag_seconds") < 20.0);
}

/// The values of each label, by metric and label.
type LabelValues = BTreeMap<(String, String), BTreeSet<String>>;

/// The names of docs/METRICS.md that a process of this kind has, and the values of each label.
fn documented(without: &[&str]) -> (BTreeSet<String>, LabelValues) {
    let page = read("docs/METRICS.md");
    let (_, rest) = page.split_once("<!-- metrics -->").expect("the table has a begin");
    let (metrics, labels) = rest.split_once("## Labels").expect("labels are listed");
    let name = |cell: &str| cell.trim().trim_matches('`').to_owned();
    let rows = metrics.lines().filter(|line| line.starts_with("| `"));
    let names = rows.filter(|row| !without.iter().any(|kind| row.contains(kind)));
    let names = names.map(|row| name(row.split('|').nth(1).expect("a name"))).collect();
    let values = labels.lines().filter(|line| line.starts_with("| `")).map(|row| {
        let cells: Vec<_> = row.split('|').collect();
        ((name(cells[1]), name(cells[2])), cells[3].split(',').map(name).collect())
    });
    (names, values.collect())
}

#[track_caller]
fn has_exactly_what_is_documented(server: &Signpost, without: &[&str]) {
    let (names, values) = documented(without);
    // Some come with the first success of what they tell.
    let complete = eventually(PATIENCE, || server.scrape().names() == names);
    let scrape = server.scrape();
    let found = scrape.names();
    assert!(
        complete,
        "only documented: {:?}; only found: {:?}",
        names.difference(&found).collect::<Vec<_>>(),
        found.difference(&names).collect::<Vec<_>>()
    );
    for series in scrape.series() {
        let Some((metric, labels)) = series.split_once('{') else {
            continue;
        };
        let metric = ["_bucket", "_sum", "_count"]
            .iter()
            .find_map(|suffix| metric.strip_suffix(suffix).filter(|stem| names.contains(*stem)))
            .unwrap_or(metric);
        for label in labels.trim_end_matches('}').split(',') {
            let (label, value) = label.split_once('=').expect("a label has a value");
            let key = (metric.to_owned(), label.to_owned());
            let is_free = label == "le" || label == "version";
            assert!(is_free || values[&key].contains(value.trim_matches('"')), "{series}");
        }
    }
}

#[test]
fn a_process_on_sqlite_has_exactly_the_documented_metrics() {
    let server = with_metrics(&Signpost::on_sqlite()).start();
    has_exactly_what_is_documented(&server, &["(on PostgreSQL)", "(with Redis)"]);
}

#[test]
fn a_process_on_postgres_and_redis_has_exactly_the_documented_metrics() {
    let redis = RedisServer::start();
    let server = with_metrics(&Signpost::on_postgres()).set("redis.url", &redis.url()).start();
    has_exactly_what_is_documented(&server, &["(on SQLite)"]);
    assert!(eventually(PATIENCE, || server.scrape().is_true("signpost_redis_epoch_trusted")));
    assert!(server.scrape().get("signpost_store_pool_wait_seconds_count{pool=\"api\"}") > 0.0);
}

#[test]
fn the_ops_listener_has_metrics_and_health_and_the_main_listener_no_metrics() {
    let server = with_metrics(&Signpost::on_sqlite()).start();
    for path in ["/livez", "/readyz", "/health", "/metrics"] {
        let answer = server.ask_ops(&Request::get(path), 200);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        let head = server.ask_ops(&Request::head(path), 200);
        assert!(head.text().is_empty() && head.header("content-type") == answer.header("content-type"));
        let refused = server.ask_ops(&Request::post(path).body("x"), 405);
        assert_eq!(
            (refused.header("allow"), refused.header("content-type")),
            (Some("GET, HEAD"), Some("application/problem+json"))
        );
    }
    for path in ["/", "/api/v1/links", "/metrics/", "/metrics/x", "/unknown1"] {
        assert_eq!(server.ask_ops(&Request::get(path), 404).json()["code"], "not-found");
    }
    for path in ["/metrics", "/metrics?a=1"] {
        assert_eq!(server.get(path).with_status(404).json()["code"], "not-found");
    }
    let mut broken = Connection::open(server.ops_address().expect("it has one")).expect("it listens");
    broken.write(b"GET /a b HTTP/1.1\r\n\r\n").expect("it reads");
    assert_eq!(broken.read().expect("it answers").expect("an answer").status, 400);
}

#[test]
fn prometheus_gets_open_metrics_and_others_the_older_format() {
    let server = with_metrics(&Signpost::on_sqlite()).start();
    let accept = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
    let open = server.ask_ops(&Request::get("/metrics").header("Accept", accept), 200);
    assert_eq!(open.header("content-type"), Some("application/openmetrics-text; version=1.0.0; charset=utf-8"));
    assert!(open.text().ends_with("# EOF\n") && open.text().contains("# UNIT signpost_spool_bytes bytes\n"));
    let older = server.ask_ops(&Request::get("/metrics"), 200);
    assert_eq!(older.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert!(older.text().contains("# TYPE signpost_claims_total counter\n") && !older.text().contains("# EOF"));
    let names = |answer: &Answer| Scrape::of(&answer.text()).names();
    assert_eq!(names(&open), names(&older));
}

#[test]
fn without_an_address_there_is_no_ops_listener() {
    let server = Signpost::on_sqlite().start();
    assert_eq!(server.ops_address(), None);
    assert_eq!(server.event("server.listening")["ops.address"], "off");
}

#[test]
fn a_taken_address_ends_the_start_if_it_was_set_and_is_a_warning_if_not() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = taken.local_addr().expect("it is bound").to_string();
    let told = Signpost::on_sqlite().set("ops.bind", &address).run(&[]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains(&format!("cannot listen on {address} (ops.bind)")), "{told:?}");

    // If this fails, another process has taken it, which is as good.
    let _taken = TcpListener::bind("127.0.0.1:9464");
    let server = Signpost::on_sqlite().unset("ops.bind").start();
    let event = server.event("ops.bind_failed");
    assert_eq!((&event["level"], &event["server.address"]), (&json!("warning"), &json!("127.0.0.1:9464")), "{event}");
    assert_eq!(server.ops_address(), None);
}

#[test]
fn metrics_answer_until_the_process_has_drained() {
    let server = with_metrics(&Signpost::on_sqlite()).set("http.drain", "2s").start();
    let address = server.ops_address().expect("it has one");
    let metrics =
        |address: SocketAddr| ask(address, &Request::get("/metrics")).map(|answer| Scrape::of(&answer.text()));
    server.signal(rustix::process::Signal::TERM);
    server.event("server.draining");
    let drains = |scrape: &Scrape| scrape.is_true("signpost_phase{phase=\"draining\"}");
    let begun = Instant::now();
    let mut last = begun;
    while let Ok(scrape) = metrics(address) {
        assert!(drains(&scrape));
        last = Instant::now();
    }
    assert!(last - begun > Duration::from_millis(1_800), "{:?}", last - begun);
    assert!(server.wait().success());
}

#[test]
fn what_the_process_uses_is_told() {
    let server = with_metrics(&Signpost::on_sqlite()).start();
    let (scrape, resident) = (server.scrape(), server.resident_bytes());
    #[expect(clippy::cast_precision_loss, reason = "megabytes")]
    let ratio = scrape.get("process_resident_memory_bytes") / resident as f64;
    assert!((0.7..1.4).contains(&ratio), "{ratio}");
    let open = (0..50).map(|_| server.connect()).collect::<Vec<_>>();
    let more = || server.scrape().get("signpost_connections_open") >= 50.0;
    assert!(eventually(PATIENCE, more));
    assert!(server.scrape().get("process_open_fds") >= scrape.get("process_open_fds") + 45.0);
    drop(open);
    assert!(eventually(PATIENCE, || server.scrape().get("signpost_connections_open") < 10.0));
    assert!(server.scrape().get("process_cpu_seconds_total") > scrape.get("process_cpu_seconds_total"));
}

/// `$SIGNPOST_TEST_PROMTOOL`, else the one that `.ci/provision` unpacked, else the one on the `PATH`.
fn promtool() -> PathBuf {
    let chosen = env::var_os("SIGNPOST_TEST_PROMTOOL").filter(|path| !path.is_empty()).map(PathBuf::from);
    let unpacked = concat!(env!("CARGO_MANIFEST_DIR"), "/../../target/tools/prometheus/bin/promtool");
    chosen.unwrap_or_else(|| if Path::new(unpacked).is_file() { unpacked.into() } else { "promtool".into() })
}

/// Prometheus' own check of names, types, units and help texts.
#[test]
fn promtool_finds_no_fault() {
    let redis = RedisServer::start();
    let on_postgres = with_metrics(&Signpost::on_postgres()).set("redis.url", &redis.url()).start();
    let on_sqlite = with_metrics(&Signpost::on_sqlite()).start();
    for server in [on_postgres, on_sqlite] {
        let checking =
            Command::new(promtool()).args(["check", "metrics"]).stdin(Stdio::piped()).stderr(Stdio::piped()).spawn();
        let mut checking =
            checking.expect("these tests need promtool: run `just setup`, or name it in SIGNPOST_TEST_PROMTOOL");
        let text = server.ask_ops(&Request::get("/metrics"), 200).text();
        checking.stdin.take().expect("it is piped").write_all(text.as_bytes()).expect("it reads");
        let told = checking.wait_with_output().expect("it ends");
        let complaints = String::from_utf8_lossy(&told.stderr);
        assert!(told.status.success() && complaints.is_empty(), "{complaints}");
    }
}
