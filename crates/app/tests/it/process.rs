//! The life of the process: the first start, later starts, and shutdown.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    os::unix::fs::PermissionsExt,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use rustix::{
    process::Signal,
    pty::{OpenptFlags, ioctl_tiocgptpeer, openpt, unlockpt},
};
use serde_json::json;

use crate::support::{
    Caller, Connection, PATIENCE, Request, Setup, Signpost, Store, ask_together, code_of, eventually, run, signpost,
};

alone_on_both_stores! {
    the_first_start_makes_a_key_and_the_next_keeps_it,
    a_key_in_the_file_that_is_missing_in_the_store_is_added,
    a_request_in_progress_is_finished_before_the_end,
}

fn the_first_start_makes_a_key_and_the_next_keeps_it(setup: &Setup) {
    let first = setup.start();
    let file = setup.data_dir().join("admin.key");
    let kept = fs::read_to_string(&file).expect("the first start makes it");
    let mode = fs::metadata(&file).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let key = kept.strip_suffix('\n').expect("one line");
    assert!(key.len() == 52 && key.starts_with("sgn_") && !key.contains('\n'), "{kept:?}");

    let place = file.to_str().expect("a plain path");
    assert!(eventually(PATIENCE, || first.complaints().contains(place)), "its place is not told");
    // Standard error of a service ends up in a log as well.
    assert!(!first.complaints().contains(&key[16..]), "the key is told to no terminal");
    assert!(!first.output().contains(&key[16..]), "the key is in the log");
    assert_eq!(first.event("api_key.created")["api_key.id"], &key[4..16]);
    first.admin().get("/api/v1/keys").with_status(200);
    let code = first.caller().code("https://example.com/kept");
    assert!(first.terminate().success());
    if !setup.is_on_postgres() {
        for file in ["signpost.db", "clicks.db"] {
            let log = setup.data_dir().join(format!("{file}-wal"));
            assert!(!log.exists(), "after a clean end {file} holds everything by itself");
        }
    }

    let next = setup.start();
    next.event("server.ready");
    assert_eq!(next.complaints(), "");
    assert!(next.events("api_key.created").is_empty());
    assert!(next.events("store.migrated").is_empty());
    assert_eq!(fs::read_to_string(&file).expect("it is kept"), kept);
    next.admin().read(&code).with_status(200);
    let others: Vec<_> = fs::read_dir(setup.data_dir())
        .expect("it is a folder")
        .map(|entry| entry.expect("it is listed").file_name().into_string().expect("a plain name"))
        .filter(|name| name != "admin.key" && name != "clicks")
        .filter(|name| !name.starts_with("signpost.db") && !name.starts_with("clicks.db"))
        .collect();
    assert!(others.is_empty(), "{others:?}");
}

/// The state that a process leaves that is killed between writing the file and writing the store.
fn a_key_in_the_file_that_is_missing_in_the_store_is_added(setup: &Setup) {
    let key = Signpost::on_sqlite().start().admin_key();
    fs::create_dir_all(setup.data_dir()).expect("the folder is ours");
    let file = setup.data_dir().join("admin.key");
    fs::write(&file, format!("{key}\n")).expect("the folder is ours");
    let server = setup.start();
    assert_eq!(server.admin_key(), key);
    server.admin().get("/api/v1/keys").with_status(200);
    assert_eq!(server.admin().walk("/api/v1/keys").len(), 1);
}

fn a_request_in_progress_is_finished_before_the_end(setup: &Setup) {
    let server = setup.start();
    let caller = server.caller();
    let (mut connection, rest) = half_a_claim(&server, &caller);
    server.signal(Signal::TERM);
    assert!(eventually(Duration::from_secs(5), || Connection::open(server.address()).is_err()), "it listens on");
    connection.write(rest.as_bytes()).expect("it is not cut");
    let answer = connection.read().expect("it is not cut").expect("it is answered");
    let link = answer.with_status(201).json();
    assert!(server.wait().success());
    assert_eq!(server.events("server.stopped").len(), 1);
    setup.start().admin().read(&code_of(&link)).with_status(200);
}

#[test]
fn two_servers_started_at_once_in_one_folder_keep_one_valid_key() {
    for _ in 0..5 {
        let setup = Store::Postgres.setup();
        let servers: Vec<_> = thread::scope(|scope| {
            let starting: Vec<_> = (0..2).map(|_| scope.spawn(|| setup.start())).collect();
            starting.into_iter().map(|server| server.join().expect("both start")).collect()
        });
        for server in &servers {
            server.event("server.ready");
            assert_eq!(server.admin().walk("/api/v1/keys").len(), 1);
        }
        let made: usize = servers.iter().map(|server| server.events("api_key.created").len()).sum();
        assert_eq!(made, 1);
    }
}

#[test]
fn only_one_of_two_servers_started_at_once_on_one_file_serves() {
    for _ in 0..5 {
        let setup = Store::Sqlite.setup();
        let mut starting = [(); 2].map(|()| {
            let mut command = setup.command();
            command.stdout(Stdio::null()).stderr(Stdio::null());
            command.spawn().expect("the binary is built before its tests")
        });
        let mut refused = || starting.iter_mut().position(|child| child.try_wait().expect("it is our child").is_some());
        assert!(eventually(PATIENCE, || refused().is_some()), "both serve");
        let first = refused().expect("it has ended");
        assert_eq!(starting[first].wait().expect("it is our child").code(), Some(1));
        let other = &mut starting[1 - first];
        assert!(eventually(PATIENCE, || setup.run(&["keys", "list"]).out.lines().count() == 2), "no key is made");
        assert!(other.try_wait().expect("it is our child").is_none(), "the other one serves");
        other.kill().expect("it runs");
        other.wait().expect("it is our child");
    }
}

#[test]
fn a_file_that_holds_no_key_is_not_overwritten() {
    let setup = Signpost::on_sqlite();
    fs::create_dir_all(setup.data_dir()).expect("the folder is ours");
    let file = setup.data_dir().join("admin.key");
    fs::write(&file, "sgn_precious but damaged\n").expect("the folder is ours");
    let told = setup.run(&["serve"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains("holds no API key") && !told.err.contains("precious"), "{told:?}");
    assert_eq!(fs::read_to_string(&file).expect("it is kept"), "sgn_precious but damaged\n");
}

#[test]
fn the_start_names_the_address_and_the_store() {
    let server = Signpost::on_sqlite().start();
    let event = server.event("server.listening");
    assert_eq!(event["server.address"], server.address().to_string());
    assert!(event["message"].as_str().is_some_and(|text| text.ends_with("ops listener off")), "{event}");
    assert_eq!(event["public_url"], "http://sho.test");
    let file = server.setup().data_dir().join("signpost.db");
    assert_eq!(event["store"], format!("sqlite:{}", file.display()));
    assert!(event["message"].as_str().is_some_and(|text| text.contains(&server.address().to_string())), "{event}");
    server.event("server.ready");

    let server = Signpost::on_postgres().start();
    assert_eq!(server.event("server.listening")["store"], "postgres://[redacted]");
}

#[test]
fn both_signals_end_an_idle_server_at_once() {
    for signal in [Signal::TERM, Signal::INT] {
        let server = Signpost::on_sqlite().start();
        let mut idle = server.connect();
        idle.send(&Request::get("/livez")).expect("an answer").with_status(200);
        let _silent = server.connect();
        let begun = Instant::now();
        server.signal(signal);
        assert_eq!(server.wait().code(), Some(0));
        assert!(begun.elapsed() < Duration::from_secs(3), "{signal:?}: {:?}", begun.elapsed());
        assert!(idle.ends());
        let events: Vec<_> =
            server.log().iter().filter_map(|line| line["event.name"].as_str().map(str::to_owned)).collect();
        assert!(events.ends_with(&["server.draining".to_owned(), "server.stopped".to_owned()]), "{events:?}");
    }
}

#[test]
fn a_second_server_on_one_file_is_refused_with_the_name_of_the_first() {
    let setup = Signpost::on_sqlite();
    let server = setup.start();
    let second = setup.run(&["--bind", "127.0.0.1:0", "serve"]);
    assert_eq!(second.code, Some(1), "{second:?}");
    let first = format!(", listening on {}", server.address());
    assert!(second.err.contains("is served by another process already: ") && second.err.contains(&first), "{second:?}");
    let listed = setup.run(&["keys", "list"]);
    assert_eq!(listed.code, Some(0), "commands work beside a server: {listed:?}");
    server.kill9();
    drop(server);
    setup.start().get("/livez").with_status(200);
}

#[test]
fn a_draining_server_keeps_serving_but_is_not_ready() {
    let server = Signpost::on_sqlite().set("http.drain", "2s").start();
    let caller = server.caller();
    let mut open = server.connect();
    open.send(&Request::get("/readyz")).expect("an answer").with_status(200);
    let begun = Instant::now();
    server.signal(Signal::TERM);
    assert!(eventually(PATIENCE, || server.get("/readyz").status == 503));
    let unready = open.send(&Request::get("/readyz")).expect("an answer");
    assert_eq!(unready.header("connection"), Some("close"), "a proxy has to know that nothing else is answered there");
    assert!(unready.problem(503, "unavailable")["detail"].as_str().is_some_and(|why| why.contains("draining")));
    assert!(unready.header("retry-after").is_some());
    server.get("/livez").with_status(200);
    assert_eq!(server.get("/health").with_status(200).json()["phase"], "draining");
    // No request is refused during the drain.
    let mut served = 0;
    while begun.elapsed() < Duration::from_millis(1_500) {
        let code = caller.code(&format!("https://example.com/{served}"));
        let redirect = server.get(&format!("/{code}"));
        assert_eq!(redirect.with_status(302).header("connection"), Some("close"));
        served += 1;
    }
    assert!(served > 0);
    assert_eq!(server.wait().code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(2), "{:?}", begun.elapsed());
}

/// A request that began before the drain ends during it. Its answer closes the connection.
#[test]
fn an_answer_during_the_drain_closes_its_connection() {
    let server = Signpost::on_sqlite().patient().set("http.drain", "5s").start();
    let caller = server.caller();
    let bytes = caller.claiming(&json!({"url": "https://example.com/half"})).to_bytes();
    let (first, last) = bytes.split_at(bytes.len() - 5);
    let mut connection = server.connect();
    connection.write(first).expect("it reads");
    // Once both workers have answered these requests, one of them is receiving the claim.
    for _ in 0..4 {
        server.get("/livez").with_status(200);
    }
    server.signal(Signal::TERM);
    assert!(eventually(PATIENCE, || server.get("/readyz").status == 503));
    connection.write(last).expect("it reads on");
    let answer = connection.read().expect("it answers").expect("it answers");
    assert_eq!(answer.with_status(201).header("connection"), Some("close"));
    server.ask(&Request::new("OPTIONS", "/")).problem(503, "unavailable");
}

/// Callers that connect shortly before the end are answered or refused: none is left without an answer.
#[test]
fn the_last_callers_are_answered_or_refused() {
    let server = Signpost::on_sqlite().patient().set("http.drain", "1s").start();
    server.signal(Signal::TERM);
    assert!(eventually(PATIENCE, || server.get("/readyz").status == 503));
    let ask = || {
        let mut answered = 0_u32;
        // A connection may be refused. A request on an open connection is answered.
        while let Ok(mut connection) = Connection::open(server.address()) {
            let answer = connection.send(&Request::get("/livez")).expect("an answer, having been let in");
            assert_eq!(answer.with_status(200).header("connection"), Some("close"));
            answered += 1;
        }
        answered
    };
    let answered: u32 = thread::scope(|scope| {
        let callers: Vec<_> = (0..16).map(|_| scope.spawn(ask)).collect();
        callers.into_iter().map(|caller| caller.join().expect("all are answered")).sum()
    });
    assert!(answered > 16, "{answered}");
    assert_eq!(server.wait().code(), Some(0));
}

/// A proxy without probes sends requests as soon as the port is open.
#[test]
fn requests_during_a_start_wait_until_the_server_is_ready() {
    let setup = Signpost::on_postgres().patient();
    let first = setup.start();
    let code = first.caller().code("https://example.com/early");
    assert!(first.terminate().success());
    for _ in 0..3 {
        let server = setup.launch();
        server.get(&format!("/{code}")).with_status(302);
        assert!(server.terminate().success());
    }
}

/// Right after a start the filter of existing codes is empty. Visitors at one address wait for it, instead of being
/// rejected as clients that try codes. Clients that do try codes wait too, but only a bounded number of requests,
/// because each of them polls.
#[test]
fn a_crowd_of_visitors_from_one_address_is_served_right_after_a_start() {
    let setup = Signpost::on_postgres().patient().set("limits.enabled", "true").set("proxies.trusted", "127.0.0.1");
    let first = setup.start();
    let caller = first.caller();
    let claims: Vec<_> = (0..60).map(|number| json!({"url": format!("https://example.com/{number}")})).collect();
    let made = caller.batch(&claims).with_status(200).json();
    let codes: Vec<_> = made["results"].as_array().expect("results").iter().map(|one| code_of(&one["link"])).collect();
    assert!(first.terminate().success());
    // Reading that many codes takes some time.
    let many = format!(
        "ALTER TABLE links DISABLE TRIGGER USER;
         INSERT INTO links SELECT (json_populate_record(l, json_build_object('id', gen_random_uuid(), 'code', 'many-' || n,
            'deduplicated', false))).* FROM links l, generate_series(1, 60000) n WHERE code = '{}';
         ALTER TABLE links ENABLE TRIGGER USER",
        codes[0]
    );
    setup.database().sql(&many).expect("we own it");

    let server = setup.launch();
    let ask = |path: String, from: &str| (server.address(), Request::get(&path).header("X-Forwarded-For", from));
    let visitors: Vec<_> = codes.iter().map(|code| ask(format!("/{code}"), "192.0.2.1")).collect();
    let strangers: Vec<_> = (0..400).map(|number| ask(format!("/none{number:04}"), "198.51.100.1")).collect();
    for answer in ask_together(&visitors) {
        answer.expect("it answers").with_status(302);
    }
    let refused =
        ask_together(&strangers).into_iter().filter(|answer| matches!(answer, Ok(answer) if answer.status == 429));
    assert!(refused.count() >= 370);
}

/// A link keeps its address although a later release has a path of that name, even before the server knows this.
#[test]
fn a_link_whose_code_became_a_path_redirects_right_after_a_start() {
    let setup = Signpost::on_postgres().patient();
    let first = setup.start();
    let code = first.caller().code("https://example.com/word");
    let database = setup.database();
    database.sql("ALTER TABLE links DISABLE TRIGGER USER").expect("we own it");
    database.sql(&format!("UPDATE links SET code = 'docs' WHERE code = '{code}'")).expect("we own it");
    database.sql("ALTER TABLE links ENABLE TRIGGER USER").expect("we own it");
    assert!(first.terminate().success());
    let server = setup.launch();
    let answer = server.get("/docs");
    assert_eq!(answer.with_status(302).header("location"), Some("https://example.com/word"));
}

/// At a terminal the first key is printed, and an interrupt skips the drain, because no proxy sends traffic.
#[test]
fn at_a_terminal_the_key_is_printed_and_an_interrupt_skips_the_drain() {
    let setup = Signpost::on_sqlite().set("http.drain", "15s");
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).expect("a terminal");
    unlockpt(&terminal).expect("the terminal is ours");
    let opened = ioctl_tiocgptpeer(&terminal, OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("its other end");
    // `--ctty` makes it the controlling terminal, so that its keys send signals. Then setsid becomes the server.
    let mut server = Command::new("setsid")
        .args(["--ctty", env!("CARGO_BIN_EXE_signpost")])
        .args(setup.flags().split(' '))
        .stdin(opened.try_clone().expect("a second handle"))
        .stdout(opened.try_clone().expect("a third handle"))
        .stderr(opened)
        .spawn()
        .expect("it comes with Debian");
    let mut terminal = BufReader::new(File::from(terminal));
    let mut shown = String::new();
    while !shown.contains("ready") {
        terminal.read_line(&mut shown).expect("the server shows text");
    }
    let key = fs::read_to_string(setup.data_dir().join("admin.key")).expect("the first start makes it");
    assert!(shown.contains(key.trim_end()), "{shown}");

    let begun = Instant::now();
    terminal.get_mut().write_all(b"\x03").expect("it takes keys");
    // Reading fails with EIO once no process has the other end open.
    while terminal.read_line(&mut shown).is_ok_and(|length| length > 0) {}
    let status = server.wait().expect("it is our child");
    assert!(status.success(), "{status}: {shown}");
    assert!(begun.elapsed() < Duration::from_secs(12), "it drains: {shown}");
}

#[test]
fn a_second_signal_ends_the_drain_at_once() {
    let server = Signpost::on_sqlite().set("http.drain", "15s").start();
    let begun = Instant::now();
    server.signal(Signal::TERM);
    assert!(eventually(Duration::from_secs(5), || server.get("/readyz").status == 503));
    server.signal(Signal::INT);
    assert_eq!(server.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[test]
fn a_second_signal_aborts_open_requests() {
    let server = Signpost::on_sqlite().start();
    let caller = server.caller();
    let (mut connection, _) = half_a_claim(&server, &caller);
    let begun = Instant::now();
    server.signal(Signal::TERM);
    assert!(eventually(Duration::from_secs(5), || Connection::open(server.address()).is_err()), "it listens on");
    assert!(!server.has_ended(), "a request is in progress");
    server.signal(Signal::TERM);
    assert_eq!(server.wait().code(), Some(0));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(connection.ends());
}

#[test]
fn open_requests_are_aborted_after_the_shutdown_timeout() {
    let server = Signpost::on_sqlite().set("http.shutdown_timeout", "1s").start();
    let caller = server.caller();
    let (mut connection, _) = half_a_claim(&server, &caller);
    let begun = Instant::now();
    assert_eq!(server.terminate().code(), Some(0));
    assert!(begun.elapsed() >= Duration::from_secs(1), "{:?}", begun.elapsed());
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    assert!(connection.ends());
}

#[test]
fn an_address_in_use_ends_the_start_with_a_message() {
    let server = Signpost::on_sqlite().start();
    let address = server.address().to_string();
    let told = Signpost::on_sqlite().set("http.bind", &address).run(&["serve"]);
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.contains(&format!("cannot listen on {address} (http.bind)")), "{told:?}");
    assert!(!told.out.contains("server.listening"), "{told:?}");
    server.get("/livez").with_status(200);
}

#[test]
fn a_folder_that_cannot_be_created_ends_the_start_with_a_message() {
    let told = run(signpost().args(["--data-dir", "/dev/null/data", "--bind", "127.0.0.1:0", "serve"]));
    assert_eq!(told.code, Some(1), "{told:?}");
    assert!(told.err.starts_with("signpost: "), "{told:?}");
}

/// A claim of which a worker has received a part, and the rest of it.
fn half_a_claim(server: &Signpost, caller: &Caller) -> (Connection, String) {
    let claim = caller.claiming(&json!({"url": "https://example.com/slow"})).header("Expect", "100-continue");
    let text = String::from_utf8(claim.to_bytes()).expect("the test sends text");
    let (head, body) = text.split_at(text.find("\r\n\r\n").expect("it has a head") + 4);
    let (half, rest) = body.split_at(body.len() - 5);
    let mut connection = server.connect();
    connection.write(head.as_bytes()).expect("it listens");
    assert!(connection.is_asked_to_continue(), "the server does not read");
    connection.write(half.as_bytes()).expect("it reads");
    (connection, rest.to_owned())
}
