//! Crowds: many slow sockets, many clients, long lists. A few here, and as many as are promised in `just soak`.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{net::TcpSocket, runtime};

use crate::support::{
    Caller, Connection, PATIENCE, Request, Signpost, ask_steadily, eventually, meanwhile, rounds, unique,
};

/// What slow clients send: first `first`, whose answer they wait for; then `then`; then a byte each second.
struct Slow {
    name: &'static str,
    first: Option<Vec<u8>>,
    then: Vec<u8>,
}

fn slow_clients(caller: &Caller) -> [Slow; 3] {
    let good = Request::get("/livez").to_bytes();
    let body = caller.request("POST", "/api/v1/links").header("Content-Type", "application/json");
    let body = String::from_utf8(body.body("").to_bytes()).expect("a head is text");
    let body = body.replace("Content-Length: 0", "Content-Length: 60000");
    let half = b"GET /livez HTTP/1.1\r\nHost: slow.example\r\nX-Slow: ".to_vec();
    [
        Slow { name: "half a head", first: None, then: half.clone() },
        Slow { name: "half a second head", first: Some(good), then: half },
        Slow { name: "a body at a trickle", first: None, then: body.into_bytes() },
    ]
}

/// The three forms of slowloris: each is disconnected in time, and other clients do not wait longer.
#[test]
fn slow_clients_are_disconnected_and_others_do_not_wait() {
    let count = rounds(200, 5_000);
    // The default is ten seconds.
    let (timeout, lasts) = (rounds(1, 10), Duration::from_secs(rounds(1, 8) as u64));
    let (bound, timeout) = (Duration::from_secs(timeout as u64 + 5), format!("{timeout}s"));
    let server = Signpost::on_sqlite().set("http.head_timeout", &timeout).set("http.body_timeout", &timeout).start();
    let caller = server.caller();
    let per_second = u32::try_from(rounds(100, 500)).expect("a few hundred");
    let known = [Request::get(&format!("/{}", caller.code("https://example.com/")))];
    // The sockets of the test cost time too, on the same cores: the baseline has as many that trickle to a listener
    // outside Signpost.
    let (mut elsewhere, theirs) = sockets_to_nobody(count);
    let usual = meanwhile(|| trickle(&mut elsewhere), || ask_steadily(&server, per_second, &known, lasts));
    drop((elsewhere, theirs));
    for Slow { name, first, then } in slow_clients(&caller) {
        let begun = Instant::now();
        let mut sockets = Vec::with_capacity(count);
        for _ in 0..count {
            let mut connection = Connection::open(server.address()).expect("it listens");
            if let Some(first) = &first {
                connection.write(first).expect("it is sent");
                connection.read().expect("it is answered").expect("it is answered").with_status(200);
            }
            connection.write(&then).expect("it is sent");
            let stream = connection.into_stream();
            stream.set_nonblocking(true).expect("the socket is open");
            sockets.push(stream);
        }
        let opened = begun.elapsed();
        assert!(opened < Duration::from_secs(10), "{name}: opening takes {opened:?}");
        let waiting = meanwhile(|| trickle(&mut sockets), || ask_steadily(&server, per_second, &known, lasts));
        // A redirect that waits for a worker cannot be distinguished from one that waits for the test.
        waiting.assert_as_usual(&usual, Duration::from_millis(20), name);
        while !sockets.is_empty() && begun.elapsed() < opened + bound {
            trickle(&mut sockets);
        }
        assert!(sockets.is_empty(), "{name}: {} of {count} are still open", sockets.len());
        server.ask(&known[0]).with_status(302);
    }
}

/// Connections to a listener that never reads: the client ends and the server ends.
fn sockets_to_nobody(count: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let connect = || {
        let ours = TcpStream::connect(address).expect("it listens");
        ours.set_nonblocking(true).expect("the socket is open");
        (ours, listener.accept().expect("it was connected").0)
    };
    (0..count).map(|_| connect()).unzip()
}

/// Writes one more byte to each socket, spread evenly over a second, and drops closed sockets.
fn trickle(sockets: &mut Vec<TcpStream>) {
    const SLICES: usize = 1_000;
    let slice = sockets.len().div_ceil(SLICES).max(1);
    let slices = u32::try_from(sockets.len().div_ceil(slice).max(1)).expect("the count fits");
    let pause = Duration::from_secs(1) / slices;
    let mut number = 0;
    sockets.retain_mut(|socket| {
        number += 1;
        if number % slice == 0 {
            thread::sleep(pause);
        }
        let mut told = [0; 1_024];
        let is_open = loop {
            match socket.read(&mut told) {
                Ok(0) => break false,
                Ok(_) => {}
                Err(error) => break error.kind() == io::ErrorKind::WouldBlock,
            }
        };
        is_open && socket.write(b"x").is_ok()
    });
}

/// The limiter keeps the state of each client until its quota has refilled, in bounded memory.
#[test]
fn many_clients_take_bounded_memory() {
    const TOGETHER: usize = 100;
    let count = rounds(20_000, 2_000_000);
    let setup = Signpost::on_sqlite().set("limits.enabled", "true").set("proxies.trusted", "127.0.0.1");
    // The lists that the first click loads would be counted too.
    let setup = setup.set("clicks.enabled", "false");
    let server = setup.set("limits.redirect.per_second", "0.001").set("limits.redirect.burst", "20").start();
    let code = server.caller().code("https://example.com/");
    let asking = |client: usize| {
        let address = Ipv4Addr::from_bits(u32::try_from(client).expect("the count fits") + 0x0100_0000);
        let request = Request::get(&format!("/{code}")).header("X-Forwarded-For", &address.to_string());
        String::from_utf8(request.to_bytes()).expect("a head is text")
    };
    let before = server.resident_bytes();
    let mut connection = server.connect();
    for first in (0..count).step_by(TOGETHER) {
        let requests: String = (first..first + TOGETHER).map(asking).collect();
        connection.write(requests.as_bytes()).expect("it is sent");
        for _ in 0..TOGETHER {
            connection.read().expect("it is answered").expect("it is answered").with_status(302);
        }
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < (count as u64) * 120 + (16 << 20), "{count} clients take {grown} bytes");
    // Other clients are still served.
    server.get(&format!("/{code}")).with_status(302);
}

#[test]
fn a_list_of_millions_of_hosts_is_read_and_takes_eight_bytes_each() {
    let count = rounds(50_000, 5_000_000);
    let setup = Signpost::on_sqlite().patient();
    let file = setup.data_dir().with_extension("list");
    fs::write(&file, "none.example.com\n").expect("the folder is ours");
    let server = setup.set("targets.deny_file", file.to_str().expect("a plain path")).start();
    let caller = server.caller();
    let before = server.resident_bytes();
    let list: Vec<_> = (0..count).map(|number| format!("||host-{number}.bad.example.com^")).collect();
    fs::write(file.with_extension("new"), list.join("\n")).expect("the folder is ours");
    fs::rename(file.with_extension("new"), &file).expect("the folder is ours");
    let read = || server.events("targets.loaded").iter().any(|event| event["hosts.refused"] == count);
    assert!(eventually(PATIENCE, read), "it is not read: {}", server.output());
    for (number, refused) in [(0, true), (count - 1, true), (count, false)] {
        let claimed = caller.claim(&json!({"url": format!("https://www.host-{number}.bad.example.com/")}));
        assert_eq!(claimed.status == 422, refused, "{claimed:?}");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < (count as u64) * 16 + (32 << 20), "{count} hosts take {grown} bytes");
}

/// Answers that are large, or may be, with the names of their kinds.
fn answers_of_all_kinds(server: &Signpost) -> Vec<(&'static str, Request)> {
    let caller = server.caller();
    let long = |number: usize| format!("https://example.com/{number}/{}", "x".repeat(1_900));
    let claims: Vec<Value> = (0..100).map(|number| json!({"url": long(number)})).collect();
    let claimed = caller.batch(&claims).with_status(200).json();
    let code = claimed["results"][0]["link"]["code"].as_str().expect("it was claimed").to_owned();
    let many: Vec<Value> = (0..100).map(|number| json!({"url": long(number)})).collect();
    let unknown: Vec<_> = (0..1_000).map(|number| format!("\"{}-{number}\":0", "x".repeat(40))).collect();
    let wrong = format!("{{{},\"url\":0}}", unknown.join(","));
    let page = "text/html,*/*;q=0.1";
    vec![
        ("an asset", Request::get("/docs/assets/swagger-ui-bundle.js")),
        (
            "an asset that is compressed",
            Request::get("/docs/assets/swagger-ui-es-bundle.js").header("Accept-Encoding", "gzip"),
        ),
        ("the document", Request::get("/openapi.json")),
        ("a page of links", caller.request("GET", "/api/v1/links?limit=100")),
        ("a batch", caller.request("POST", "/api/v1/links/batch").json(&json!({"links": many}))),
        ("a preview", Request::get(&format!("/{code}+"))),
        ("a problem", caller.request("POST", "/api/v1/links").header("Content-Type", "application/json").body(wrong)),
        ("a problem for people", Request::get("/no-such-code").header("Accept", page)),
    ]
}

/// Most memory that slow readers may hold, for any kind of answer and any number of clients.
const HELD_BY_SLOW_READERS: u64 = 64 << 20;

/// Each client reads a kilobyte a second, with the smallest window that it can set.
#[test]
fn slow_readers_hold_little_memory_and_others_do_not_wait() {
    let (count, lasts) = (rounds(400, 2_000), Duration::from_secs(rounds(1, 8) as u64));
    let server = Signpost::on_sqlite().patient().set("http.max_connections", "5000").start();
    let caller = server.caller();
    let kinds = answers_of_all_kinds(&server);
    let per_second = u32::try_from(rounds(100, 500)).expect("a few hundred");
    let known = [Request::get(&format!("/{}", caller.code("https://example.com/")))];
    let before = server.resident_bytes();
    for (name, request) in kinds {
        let usual = ask_steadily(&server, per_second, &known, lasts);
        let mut sockets = Vec::with_capacity(count);
        while sockets.len() < count {
            // A few at a time, or they would be rejected.
            let asking: Vec<_> = (0..8).map(|_| ask_and_take_nothing(&server, &request)).collect();
            sockets.extend(asking.into_iter().map(|stream| begin_to_take(stream, name)));
        }
        let mut most = server.resident_bytes();
        let waiting = meanwhile(|| take_slowly(&mut sockets), || ask_steadily(&server, per_second, &known, lasts));
        most = most.max(server.resident_bytes());
        let grown = most.saturating_sub(before);
        assert!(grown < HELD_BY_SLOW_READERS, "{name}: {count} clients hold {grown} bytes");
        waiting.assert_as_usual(&usual, Duration::from_millis(20), name);
        server.ask(&known[0]).with_status(302);
    }
}

/// The body of a page request has no meaning. Its end does not come, and the answer waits for it.
#[test]
fn answers_that_wait_for_a_body_hold_little_memory() {
    let count = rounds(400, 2_000);
    let setup = Signpost::on_sqlite().patient().set("http.max_connections", "5000");
    let server = setup.set("http.body_timeout", "60s").start();
    let (_, page) = answers_of_all_kinds(&server).swap_remove(3);
    assert!(server.ask(&page).with_status(200).text().len() > 150_000, "it is a page of links");
    let before = server.resident_bytes();
    let asked = page.header("Content-Length", "1").to_bytes();
    let mut sockets = Vec::with_capacity(count);
    let mut most = before;
    while sockets.len() < count {
        let mut socket = server.connect();
        socket.write(&asked).expect("the server reads");
        sockets.push(socket);
        if sockets.len() % 16 == 0 {
            // This answer comes after those before it: by then most of theirs are made.
            server.get("/health").with_status(200);
            most = most.max(server.resident_bytes());
        }
    }
    let grown = most.saturating_sub(before);
    assert!(grown < HELD_BY_SLOW_READERS, "{count} answers hold {grown} bytes");
}

/// Sends the request on a connection whose window is small.
fn ask_and_take_nothing(server: &Signpost, request: &Request) -> TcpStream {
    let runtime = runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
    let connecting = async {
        let socket = TcpSocket::new_v4()?;
        socket.set_recv_buffer_size(8_192)?;
        socket.connect(server.address()).await?.into_std()
    };
    let mut stream: TcpStream = runtime.block_on(connecting).expect("it listens");
    stream.set_nonblocking(false).expect("it is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("the socket is open");
    stream.write_all(&request.to_bytes()).expect("the server reads");
    stream
}

/// Reads the beginning of the answer, so that all of it has been made.
fn begin_to_take(mut stream: TcpStream, name: &str) -> TcpStream {
    let mut begun = [0; 12];
    stream.read_exact(&mut begun).expect("it is answered");
    assert!(!begun.ends_with(b"503"), "{name}: it is not served");
    stream.set_nonblocking(true).expect("the socket is open");
    stream
}

/// Reads a kilobyte from each socket, spread over a second, and drops closed sockets.
fn take_slowly(sockets: &mut Vec<TcpStream>) {
    const SLICES: usize = 200;
    let (slice, mut number) = (sockets.len().div_ceil(SLICES).max(1), 0);
    sockets.retain_mut(|socket| {
        number += 1;
        if number % slice == 0 {
            thread::sleep(Duration::from_secs(1) / u32::try_from(SLICES).expect("a small number"));
        }
        match socket.read(&mut [0; 1_024]) {
            Ok(count) => count > 0,
            Err(error) => error.kind() == io::ErrorKind::WouldBlock,
        }
    });
    if sockets.is_empty() {
        thread::sleep(Duration::from_secs(1));
    }
}

/// The bodies that take the most memory when parsed, at the largest size.
fn nasty_bodies(length: usize) -> Vec<(&'static str, String)> {
    let repeated = |begin: &str, piece: &str, end: &str| {
        let count = (length - begin.len() - end.len()) / piece.len();
        format!("{begin}{}{end}", piece.repeat(count))
    };
    let claim = r#"{"url":"https://example.com/","tags":["a","b","c","d","e","f","g"],"title":"t"},"#;
    let long = format!(r#"{{"url":"https://example.com/{}"}},"#, "x".repeat(length / 1_000 - 40));
    vec![
        ("numbers", repeated(r#"{"links":[0"#, ",0", "]}")),
        ("objects", repeated(r#"{"links":[{}"#, ",{}", "]}")),
        ("fields of one name", repeated(r#"{"links":0"#, r#","a":0"#, "}")),
        ("depth", repeated(r#"{"links":[0"#, &format!(",{}{}", "[".repeat(100), "]".repeat(100)), "]}")),
        ("escapes", repeated(r#"{"links":[{"title":""#, r"\u0041", r#""}]}"#)),
        ("one text", repeated(r#"{"links":[{"url":"https://example.com/"#, "x", r#""}]}"#)),
        ("claims", format!(r#"{{"links":[{}{{}}]}}"#, claim.repeat(999))),
        ("long claims", format!(r#"{{"links":[{}{{}}]}}"#, long.repeat(999))),
    ]
}

/// The rest of the body of a refused request is thrown away, and not kept for a reader that is gone.
#[test]
fn refused_bodies_hold_little_memory() {
    let count = rounds(300, 3_000);
    let server = Signpost::on_sqlite().start();
    server.get("/livez").with_status(200);
    let head = "POST /api/v1/links HTTP/1.1\r\nHost: x\r\nX-API-Key: none\r\nContent-Length: 50000000\r\n\r\n";
    let body = vec![b' '; 200 * 1024];
    let before = server.resident_bytes();
    let sockets: Vec<_> = (0..count)
        .map(|_| {
            let mut stream = TcpStream::connect(server.address()).expect("it listens");
            stream.set_read_timeout(Some(PATIENCE)).expect("the socket is open");
            stream.write_all(head.as_bytes()).expect("it reads");
            // The server may close the connection before the end.
            let _cut = stream.write_all(&body);
            stream
        })
        .collect();
    // Once each is answered, all that is read before the answer is in memory.
    let mut most = server.resident_bytes();
    for mut stream in &sockets {
        let mut begun = [0; 12];
        stream.read_exact(&mut begun).expect("it is answered");
        assert_eq!(&begun, b"HTTP/1.1 401");
        most = most.max(server.resident_bytes());
    }
    let each = most.saturating_sub(before) / count as u64 / 1024;
    assert!(each < 48, "each of {count} refused bodies takes {each} KiB");
}

/// For any number of bodies at a time, and any shape.
#[test]
fn bodies_of_all_requests_together_are_bounded() {
    const MAX: u64 = 256 << 20;
    let count = rounds(300, 1_000);
    let server = Signpost::on_sqlite().patient().set("http.body_timeout", "60s").start();
    let (caller, other) = (server.caller(), server.caller());
    let before = server.resident_bytes();
    for (name, body) in nasty_bodies(1 << 20) {
        let request =
            caller.request("POST", "/api/v1/links/batch").header("Content-Type", "application/json").body(body);
        let bytes = request.to_bytes();
        let (begun, end) = bytes.split_at(bytes.len() - 1);
        // Sends nearly all of each body, until the server takes no more; then the rest, while memory is measured.
        let mut connections: Vec<_> = (0..count).map(|_| server.connect().into_stream()).collect();
        let mut sent = vec![0; count];
        let mut most = 0;
        let idle = |connections: &mut Vec<TcpStream>, sent: &mut Vec<usize>| {
            let mut moved = false;
            for (stream, sent) in connections.iter_mut().zip(sent) {
                stream.set_nonblocking(true).expect("the socket is open");
                while let Ok(count @ 1..) = stream.write(&begun[*sent..]) {
                    (*sent, moved) = (*sent + count, true);
                }
            }
            !moved
        };
        let mut quiet = 0;
        while quiet < 20 {
            quiet = if idle(&mut connections, &mut sent) { quiet + 1 } else { 0 };
            most = most.max(server.resident_bytes());
            thread::sleep(Duration::from_millis(5));
        }
        // A small body has room of its own, and so has a large body of a caller that has sent no other.
        other.link(&json!({"url": format!("https://example.com/{}", unique("small")), "title": "t".repeat(200)}));
        let claims: Vec<Value> = (0..200)
            .map(|_| json!({"url": format!("https://example.com/{}/{}", unique("large"), "x".repeat(1_500))}))
            .collect();
        other.batch(&claims).with_status(200);
        let (mut served, mut refused) = (0, 0);
        for (stream, sent) in connections.iter_mut().zip(&sent) {
            stream.set_nonblocking(false).expect("the socket is open");
            // Sends the rest to refused requests too: their bodies are read to the end, so that the client sees the
            // refusal.
            stream.write_all(&begun[*sent..]).and_then(|()| stream.write_all(end)).expect("the server reads");
        }
        for stream in connections {
            let mut connection = Connection::over(stream).expect("it is open");
            let answer = connection.read().expect("no connection is reset").expect("every request is answered");
            if answer.status == 503 {
                assert!(answer.header("retry-after").is_some(), "{answer:?}");
                refused += 1;
            } else {
                assert!([200, 422].contains(&answer.status), "{name}: {answer:?}");
                served += 1;
            }
            most = most.max(server.resident_bytes());
        }
        let grown = most.saturating_sub(before);
        assert!(grown < MAX, "{name}: {count} bodies take {grown} bytes");
        assert!(served > 0, "{name}: none of {count} is served, {refused} are refused");
        assert!(refused > 0, "{name}: {served} are served, so there is no bound");
    }
    server.get("/livez").with_status(200);
}
