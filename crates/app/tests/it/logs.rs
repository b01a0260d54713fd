//! The log: one JSON line for each request, and no forbidden content.

use std::{
    collections::{BTreeMap, BTreeSet},
    io::{BufRead, BufReader, Read},
    net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream},
    process::{Child, ChildStdout, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tokio::{net::TcpSocket, runtime};

use crate::support::{Answer, Connection, PATIENCE, Request, Setup, Signpost, code_of, eventually, guardian};

/// Every field that a request line may have.
const FIELDS: [&str; 28] = [
    "timestamp",
    "level",
    "message",
    "request_id",
    "trace_id",
    "http.request.method",
    "http.route",
    "url.path",
    "http.response.status_code",
    "http.response.body.size",
    "duration_s",
    "client.address",
    "user_agent.original",
    "link.code",
    "link.domain",
    "outcome",
    "batch.created",
    "batch.existing",
    "batch.reactivated",
    "batch.failed",
    "cache.result",
    "code.collisions",
    "db.duration_s",
    "api_key.id",
    "limit.policy",
    "limit.subject",
    "error.type",
    "error.message",
];

#[test]
fn the_documented_fields_are_these() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/LOGGING.md");
    let page = std::fs::read_to_string(page).expect("docs/LOGGING.md exists");
    let (_, table) = page.split_once("<!-- fields -->").expect("the table has a beginning");
    let (table, _) = table.split_once("<!-- /fields -->").expect("the table has an end");
    let documented: BTreeSet<_> = table.lines().filter_map(|row| row.strip_prefix("| `")?.split('`').next()).collect();
    assert_eq!(documented, BTreeSet::from(FIELDS));
}

alone_on_both_stores! { every_request_logs_one_correct_line }

fn every_request_logs_one_correct_line(setup: &Setup) {
    let server = setup.start();
    let caller = server.caller();
    let code = caller.code("https://example.com/logged");
    let mut answers: Vec<(Request, Answer)> = Vec::new();
    let mut ask = |request: Request| {
        let answer = server.ask(&request);
        answers.push((request, answer));
    };
    for number in 0..20 {
        ask(Request::get(&format!("/{code}?visit={number}")));
        ask(Request::head(&format!("/{code}")));
        ask(Request::get(&format!("/missing-{number}")));
        ask(caller.claiming(&json!({"url": format!("https://example.com/{number}")})));
        ask(caller.claiming(&json!({"url": "ftp://example.com/"})));
        ask(Request::post("/api/v1/links").json(&json!({})));
        ask(Request::new("PUT", "/livez"));
        ask(caller.request("POST", "/api/v1/links").body("{}"));
        ask(caller
            .request("POST", "/api/v1/links")
            .header("Content-Type", "application/json")
            .body("x".repeat(70_000)));
        ask(Request::get("/with space"));
        ask(Request::get("/livez").header("X-Large", &"x".repeat(20_000)));
        ask(Request::get("/a/b/c"));
        ask(Request::get("/docs/errors"));
        ask(caller.request("GET", &format!("/api/v1/links/{code}/history")));
    }
    assert!(server.terminate().success());

    let mut lines: BTreeMap<String, Value> = BTreeMap::new();
    for line in server.log().into_iter().filter(|line| line.get("event.name").is_none()) {
        is_well_formed(&line);
        let id = line["request_id"].as_str().expect("a text").to_owned();
        assert!(lines.insert(id, line).is_none(), "two lines for one request");
    }
    for (request, answer) in &answers {
        let id = answer.header("x-request-id").expect("every answer names its request");
        let line = lines.remove(id).unwrap_or_else(|| panic!("no line for {request:?}: {answer:?}"));
        assert_eq!(line["http.response.status_code"], answer.status, "{line}");
        let trace = answer.header("traceparent").and_then(|parent| parent.split('-').nth(1));
        assert_eq!(line["trace_id"].as_str(), trace, "{line}");
        if let Some(length) = answer.header("content-length").filter(|_| answer.status != 204) {
            assert_eq!(line["http.response.body.size"].to_string(), length, "{line}");
        }
        if answer.status >= 400 && !answer.text().is_empty() {
            assert_eq!(line["error.type"], answer.json()["code"], "{line}");
        }
    }
    // The lines that are left belong to the setup: polling for readiness, making a key and a link.
    let others: BTreeSet<_> = lines.values().filter_map(|line| line["url.path"].as_str()).collect();
    assert_eq!(others, BTreeSet::from(["/api/v1/keys", "/api/v1/links", "/readyz"]), "{lines:?}");
}

fn is_well_formed(line: &Value) {
    let fields = line.as_object().expect("a line is an object");
    let unknown: Vec<_> = fields.keys().filter(|name| !FIELDS.contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{unknown:?}: {line}");
    let text = |name: &str| line[name].as_str().unwrap_or_else(|| panic!("{name}: {line}"));
    assert!(text("timestamp").len() == 27 && text("timestamp").ends_with('Z'), "{line}");
    assert!(["info", "warning", "error"].contains(&text("level")), "{line}");
    assert!(!text("message").is_empty() && !text("request_id").is_empty(), "{line}");
    assert!(text("trace_id").len() == 32, "{line}");
    assert_eq!(text("client.address"), "127.0.0.0");
    assert!(line["duration_s"].as_f64().is_some_and(|seconds| (0.0..60.0).contains(&seconds)), "{line}");
    // A request that could not be parsed has no method and no path.
    assert_eq!(line["http.request.method"].is_string(), line["url.path"].is_string(), "{line}");
    assert!(!line["url.path"].as_str().unwrap_or_default().contains('?'), "{line}");
}

#[test]
fn a_line_has_the_route_and_the_outcome() {
    let server = Signpost::on_sqlite().start();
    let caller = server.caller();
    let claim = caller.claiming(&json!({"url": "https://example.com/told"}));
    let claim = claim.header("X-Request-Id", "claim").header("User-Agent", "told/1.0");
    let code = code_of(&server.ask(&claim).with_status(201).json());
    let line = line_of(&server, "claim");
    let mut expected = json!({
        "level": "info", "message": "request", "request_id": "claim", "http.request.method": "POST",
        "http.route": "/api/v1/links", "url.path": "/api/v1/links", "http.response.status_code": 201,
        "client.address": "127.0.0.0", "user_agent.original": "told/1.0", "link.code": code, "outcome": "created",
        "api_key.id": caller.key_id,
    });
    for varying in ["timestamp", "trace_id", "http.response.body.size", "duration_s", "db.duration_s"] {
        assert!(line.get(varying).is_some(), "{varying}: {line}");
        expected[varying] = line[varying].clone();
    }
    assert_eq!(line, expected);

    for (path, route) in [
        (format!("/{code}"), "/{code}"),
        (format!("/{code}+"), "/{code}+"),
        (format!("/api/v1/links/{code}"), "/api/v1/links/{code}"),
        (format!("/api/v1/links/{code}/history"), "/api/v1/links/{code}/history"),
        ("/livez".to_owned(), "/livez"),
    ] {
        let name = path.replace(['/', '+'], "_");
        let answer = server.ask(&caller.request("GET", &path).header("X-Request-Id", &name));
        assert!(answer.status < 400, "{answer:?}");
        let line = line_of(&server, &name);
        let told = line["http.route"].as_str().expect("a route").replace("{code:[^/+]+}", "{code}");
        assert_eq!((told.as_str(), line["url.path"].as_str()), (route, Some(path.as_str())), "{line}");
    }
    server.ask(&Request::get("/a/b").header("X-Request-Id", "nowhere")).with_status(404);
    assert_eq!(line_of(&server, "nowhere").get("http.route"), None);
}

#[test]
fn a_client_that_disconnects_early_logs_a_line() {
    let server = Signpost::on_sqlite().start();
    let caller = server.caller();
    let claim = caller.claiming(&json!({"url": "https://example.com/aborted"}));
    let claim = claim.header("Expect", "100-continue").header("X-Request-Id", "aborted");
    let bytes = claim.to_bytes();
    let mut connection = server.connect();
    let end = bytes.windows(4).position(|window| window == b"\r\n\r\n").expect("it has a head") + 4;
    connection.write(&bytes[..end]).expect("it listens");
    assert!(connection.is_asked_to_continue(), "the server does not read");
    connection.write(&bytes[end..bytes.len() - 5]).expect("it reads");
    drop(connection);
    let line = line_of(&server, "aborted");
    assert_eq!(line["url.path"], "/api/v1/links");
    assert!(line["error.type"].is_string(), "{line}");
    assert!(caller.walk("/api/v1/links").is_empty());
}

#[test]
fn no_secret_and_no_whole_address_is_logged() {
    let server = Signpost::on_sqlite().start();
    let caller = server.caller();
    let mut connection = connected_from(Ipv4Addr::new(127, 9, 8, 7), server.address());
    let target = "https://example.com/path?session=query-of-target";
    let claim = caller.claiming(&json!({"url": target, "title": "title-of-link"}));
    let code = code_of(&connection.send(&claim).expect("an answer").with_status(201).json());
    let forwarded = Request::get(&format!("/{code}?token=query-of-request")).header("X-Forwarded-For", "198.51.100.77");
    connection.send(&forwarded.header("Cookie", "cookie-of-visitor")).expect("an answer").with_status(302);
    let wrong = format!("{}x", caller.key);
    connection.send(&Request::get("/api/v1/links").key(&wrong)).expect("an answer").with_status(401);
    let plain = Request::get("/api/v1/links").header("X-API-Key", &caller.key);
    connection.send(&plain).expect("an answer").with_status(200);
    let refused = caller.claiming(&json!({"url": "https://user:password-in-url@example.com/"}));
    connection.send(&refused).expect("an answer").with_status(422);
    let admin = server.admin();
    let made = json!({"name": "name-of-key", "scopes": ["admin"]});
    let made = connection.send(&admin.request("POST", "/api/v1/keys").json(&made)).expect("an answer");
    let new_key = made.with_status(201).json()["key"].as_str().expect("a key").to_owned();
    drop(connection);
    assert!(server.terminate().success());

    let written = server.output();
    assert!(written.contains("127.9.8.0"), "{written}");
    let complaints = server.complaints();
    for secret in [
        &caller.key[16..],
        &new_key[16..],
        "127.9.8.7",
        "198.51.100",
        "query-of-target",
        "query-of-request",
        "title-of-link",
        "cookie-of-visitor",
        "password-in-url",
        "example.com",
    ] {
        assert!(!written.contains(secret) && !complaints.contains(secret), "{secret} in {written}{complaints}");
    }
    // The first key is printed for the operator who started the server, and never to the log.
    assert!(!written.contains(&admin.key[16..]), "{written}");
}

#[test]
fn an_odd_user_agent_makes_no_second_line() {
    let server = Signpost::on_sqlite().start();
    let odd = [
        "\"}\\n{\"event.name\":\"forged\"}",
        "a\tb",
        "\u{85}\u{2028}next",
        "\u{1b}[31mred",
        "{}%s$(id)`id`",
        "'; DROP TABLE links; --",
    ];
    let mut told = 0;
    for (number, agent) in odd.iter().enumerate() {
        let request =
            Request::get("/livez").header("X-Request-Id", &format!("odd-{number}")).header("User-Agent", agent);
        if server.ask(&request).status == 200 {
            let line = line_of(&server, &format!("odd-{number}"));
            assert_eq!(line["user_agent.original"], *agent);
            told += 1;
        }
    }
    assert!(told >= 4, "{told}");
    let long = "x".repeat(8_000);
    server.ask(&Request::get("/livez").header("X-Request-Id", "long").header("User-Agent", &long)).with_status(200);
    let agent = line_of(&server, "long")["user_agent.original"].as_str().expect("a text").to_owned();
    assert!(agent.len() < 1_000 && long.starts_with(&agent), "{agent}");
    let long = format!("/{}", "x".repeat(8_000));
    server.ask(&Request::get(&long).header("X-Request-Id", "path")).with_status(404);
    assert!(line_of(&server, "path")["url.path"].as_str().is_some_and(|path| path.len() < 1_000));
    assert!(server.events("forged").is_empty());
}

/// A key pasted into a path, a query, the name of a program or of a request: a reader of the log, the history or an
/// answer cannot use it.
#[test]
fn a_key_in_the_wrong_place_is_masked_everywhere() {
    for format in ["json", "text"] {
        let server = Signpost::on_sqlite().set("log.format", "json").start();
        let (caller, setup) = (server.caller(), server.setup().clone());
        let (key, secret) = (caller.key.clone(), caller.key[16..].to_owned());
        drop(server);
        let written = Written::start(&setup, format);
        let mut answers = Vec::new();
        let mut ask = |request: Request| {
            let answer =
                Connection::open(written.address).and_then(|mut to| to.send(&request)).expect("it is answered");
            answers.push(answer);
        };
        let spellings = [
            key.clone(),
            key.replace("sgn_", "%73gn_"),
            key.replace("sgn_", "sgn%5F"),
            key.replace("sgn_", "%2573gn_"),
        ];
        for spelled in &spellings {
            ask(Request::get(&format!("/{spelled}")));
            ask(Request::get(&format!("/{spelled}+")));
            ask(Request::get(&format!("/a/{spelled}/b?key={spelled}")));
            ask(Request::new("DELETE", &format!("/api/v1/keys/{spelled}")).key(&key));
            ask(Request::get(&format!("/api/v1/links/{spelled}")).key(&key));
            ask(Request::get(&format!("/api/v1/links?{spelled}=1")).key(&key));
            ask(Request::get("/livez").header("User-Agent", &format!("curl {spelled}")));
            ask(Request::get("/livez").header("X-Request-Id", spelled));
            ask(Request::get("/livez").header("traceparent", spelled));
            ask(Request::post("/api/v1/links").key(&key).json(&json!({spelled.as_str(): 1})));
            ask(Request::post("/api/v1/links")
                .key(&key)
                .json(&json!({"url": "https://example.com/", "alias": spelled})));
        }
        let named = Request::post("/api/v1/links").key(&key).header("X-Request-Id", &key);
        let named = named.json(&json!({"url": "https://example.com/named"}));
        let claiming = Connection::open(written.address).and_then(|mut to| to.send(&named));
        let claimed = claiming.expect("it is answered").with_status(201).json();
        ask(Request::get(&format!("/api/v1/links/{}/history", code_of(&claimed))).key(&key));
        for answer in answers {
            assert!(!format!("{answer:?}").contains(&secret), "{answer:?}");
        }
        let lines = written.end();
        assert!(!lines.contains(&secret), "{lines}");
        assert!(lines.contains(&format!("/sgn_{}[masked]", caller.key_id)), "{lines}");
    }
}

#[test]
fn an_untrusted_proxy_is_logged_once_with_the_setting() {
    let server = Signpost::on_sqlite().start();
    for field in ["X-Forwarded-For", "Forwarded", "X-Forwarded-For"] {
        server.ask(&Request::get("/livez").header(field, "198.51.100.77")).with_status(200);
    }
    let event = server.event("proxies.untrusted");
    assert_eq!((&event["level"], &event["client.address"]), (&json!("warning"), &json!("127.0.0.0")), "{event}");
    assert!(event["message"].as_str().is_some_and(|message| message.contains("proxies.trusted")), "{event}");
    assert!(server.terminate().success());
    assert_eq!(server.events("proxies.untrusted").len(), 1);
    assert!(!server.output().contains("198.51.100"), "{}", server.output());

    let trusting = Signpost::on_sqlite().set("proxies.trusted", "127.0.0.1").start();
    trusting.ask(&Request::get("/livez").header("X-Forwarded-For", "198.51.100.77")).with_status(200);
    assert!(trusting.terminate().success());
    assert!(trusting.events("proxies.untrusted").is_empty());
}

#[test]
fn an_alias_cannot_begin_like_a_key() {
    let server = Signpost::on_sqlite().start();
    let caller = server.caller();
    for alias in [caller.key.as_str(), "sgn_", "sgn_mine"] {
        caller.claim(&json!({"url": "https://example.com/", "alias": alias})).refuses(&[("/alias", "reserved")]);
    }
}

/// A terminal shows what a client sends, and obeys none of it, in any format.
#[test]
fn no_control_character_of_a_request_is_logged() {
    for format in ["json", "text"] {
        let setup = Signpost::on_sqlite();
        let written = Written::start(&setup, format);
        for odd in [
            "\t",
            "\u{80}",
            "\u{9b}31m",
            "\u{9d}0;title\u{9c}",
            "\u{85}",
            "\u{2028}",
            "\u{202e}",
            "\u{2066}",
            "\u{200f}",
        ] {
            let request = Request::get("/%1b%5b31m%07").header("User-Agent", &format!("a{odd}b"));
            let answer = Connection::open(written.address).and_then(|mut to| to.send(&request));
            let answer = answer.expect("it is answered");
            assert!(matches!(answer.status, 400 | 404), "{answer:?}");
        }
        let lines = written.end();
        let obeyed = |c: &char| (c.is_control() && *c != '\n') || ('\u{200b}'..='\u{206f}').contains(c);
        let found: Vec<_> = lines.chars().filter(obeyed).collect();
        assert!(found.is_empty(), "{found:?} in {lines}");
        assert!(lines.lines().count() >= 9, "{lines}");
    }
}

/// A reader that does not read, in both formats: requests are served as before, and the log says how many lines were
/// dropped.
#[test]
fn a_frozen_reader_of_the_log_blocks_no_request() {
    for format in ["json", "text"] {
        let setup = Signpost::on_sqlite();
        let mut written = Written::start_frozen(&setup, format);
        let long = "x".repeat(500);
        let path = format!("/{}", "y".repeat(500));
        let request = Request::get(&path).header("User-Agent", &long);
        let mut connection = Connection::open(written.address).expect("it listens");
        // More than the pipe and the buffer of waiting lines can hold.
        let together = request.to_bytes().repeat(100);
        for _ in 0..70 {
            connection.write(&together).expect("it is read");
            for _ in 0..100 {
                connection.read().expect("it is answered").expect("it is answered").with_status(404);
            }
        }
        written.thaw();
        let lines = written.end();
        assert!(lines.contains("log lines were dropped") && lines.contains("log.dropped"), "{format}");
    }
}

/// A server whose output only the test reads, in any format.
struct Written {
    child: Child,
    address: SocketAddr,
    out: Option<BufReader<ChildStdout>>,
    reading: Option<thread::JoinHandle<String>>,
}

impl Written {
    fn start(setup: &Setup, format: &str) -> Self {
        let mut written = Self::start_frozen(setup, format);
        written.thaw();
        written
    }

    /// Starts a server, and reads none of its output after it has begun to listen.
    fn start_frozen(setup: &Setup, format: &str) -> Self {
        let mut command = setup.clone().set("log.format", format).command();
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().expect("the binary is built");
        guardian::watch(child.id());
        let mut out = BufReader::new(child.stdout.take().expect("it is piped"));
        let mut address = None;
        while address.is_none() {
            let mut line = String::new();
            assert!(out.read_line(&mut line).expect("it writes text") > 0, "it ended");
            let told = line.split_once("listening on http://").and_then(|(_, rest)| rest.split([',', '"', ' ']).next());
            address = told.and_then(|address| address.parse().ok());
        }
        Self { child, address: address.expect("it was just found"), out: Some(out), reading: None }
    }

    /// Reads on.
    fn thaw(&mut self) {
        let mut out = self.out.take().expect("it is not read yet");
        self.reading = Some(thread::spawn(move || {
            let mut bytes = Vec::new();
            out.read_to_end(&mut bytes).expect("a pipe can be read");
            String::from_utf8(bytes).expect("lines are text")
        }));
    }

    /// Ends the server and returns all of its output.
    fn end(mut self) -> String {
        kill_process(Pid::from_child(&self.child), Signal::TERM).expect("it runs");
        assert!(self.child.wait().expect("it is our child").success());
        self.reading.take().expect("it is read").join().expect("no panic")
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        // It may have ended before.
        let _gone = self.child.kill();
        let _gone = self.child.wait();
    }
}

/// The line about the request of that name; waits for it.
#[track_caller]
fn line_of(server: &Signpost, request_id: &str) -> Value {
    line_with(server, |line| line["request_id"] == request_id)
}

#[track_caller]
fn line_with(server: &Signpost, fits: impl Fn(&Value) -> bool) -> Value {
    let mut found = None;
    let told = eventually(PATIENCE, || {
        found = server.log().into_iter().find(&fits);
        found.is_some()
    });
    assert!(told, "no such line: {}", server.output());
    found.expect("it was told")
}

/// A connection from another address of this machine.
fn connected_from(source: Ipv4Addr, server: SocketAddr) -> Connection {
    let runtime = runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let connecting = async {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::new(IpAddr::V4(source), 0))?;
        socket.connect(server).await?.into_std()
    };
    let stream: TcpStream = runtime.block_on(connecting).expect("every address of 127.0.0.0/8 is this machine");
    stream.set_nonblocking(false).expect("it is open");
    Connection::over(stream).expect("it is open")
}
