//! Crowds: many sockets that say little, many clients, long lists. A few here, and as many as are promised in `just
//! soak`.

use std::{
    fs,
    io::{self, Read, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{Caller, Connection, PATIENCE, Request, Signpost, ask_steadily, eventually, meanwhile, rounds};

/// What slow clients send: first this, whose answer they wait for; then that; then a byte each second.
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

/// The three forms of slowloris: each ends in time, and nobody else has to wait for longer.
#[test]
fn slow_clients_are_sent_away_and_nobody_else_waits() {
    let count = rounds(200, 5_000);
    // Ten seconds are what it is by default.
    let (timeout, lasts) = (rounds(1, 10), Duration::from_secs(rounds(1, 8) as u64));
    let (bound, timeout) = (Duration::from_secs(timeout as u64 + 5), format!("{timeout}s"));
    let server = Signpost::on_sqlite().set("http.head_timeout", &timeout).set("http.body_timeout", &timeout).start();
    let caller = server.caller();
    let per_second = u32::try_from(rounds(100, 500)).expect("a few hundred");
    let known = [Request::get(&format!("/{}", caller.code("https://example.com/")))];
    // The test's own sockets cost time too, on the same cores: as many that trickle elsewhere are what is compared with.
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
            stream.set_nonblocking(true).expect("sockets can");
            sockets.push(stream);
        }
        let opened = begun.elapsed();
        assert!(opened < Duration::from_secs(10), "{name}: opening takes {opened:?}");
        let waiting = meanwhile(|| trickle(&mut sockets), || ask_steadily(&server, per_second, &known, lasts));
        // A redirect that waits for a worker is not told from one that waits for the test.
        waiting.assert_as_usual(&usual, Duration::from_millis(20), name);
        while !sockets.is_empty() && begun.elapsed() < opened + bound {
            trickle(&mut sockets);
        }
        assert!(sockets.is_empty(), "{name}: {} of {count} are still open", sockets.len());
        server.ask(&known[0]).with_status(302);
    }
}

/// Connections to somebody who never reads: our ends, and theirs.
fn sockets_to_nobody(count: usize) -> (Vec<TcpStream>, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
    let address = listener.local_addr().expect("it is bound");
    let connect = || {
        let ours = TcpStream::connect(address).expect("it listens");
        ours.set_nonblocking(true).expect("sockets can");
        (ours, listener.accept().expect("it was connected").0)
    };
    (0..count).map(|_| connect()).unzip()
}

/// One more byte on each, spread evenly over a second; those that were closed are dropped.
fn trickle(sockets: &mut Vec<TcpStream>) {
    const SLICES: usize = 1_000;
    let slice = sockets.len().div_ceil(SLICES).max(1);
    let slices = u32::try_from(sockets.len().div_ceil(slice).max(1)).expect("not that many");
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

/// Each of them is counted for as long as its quota is not whole again, in bounded memory.
#[test]
fn many_clients_take_bounded_memory() {
    const TOGETHER: usize = 100;
    let count = rounds(20_000, 2_000_000);
    let setup = Signpost::on_sqlite().set("limits.enabled", "true").set("proxies.trusted", "127.0.0.1");
    let server = setup.set("limits.redirect.per_second", "0.001").set("limits.redirect.burst", "20").start();
    let code = server.caller().code("https://example.com/");
    let asking = |client: usize| {
        let address = Ipv4Addr::from_bits(u32::try_from(client).expect("not that many") + 0x0100_0000);
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
    // And none of it shuts anybody out.
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
    let read = || server.events("targets.read").iter().any(|event| event["hosts.refused"] == count);
    assert!(eventually(PATIENCE, read), "it is not read: {}", server.output());
    for (number, refused) in [(0, true), (count - 1, true), (count, false)] {
        let claimed = caller.claim(&json!({"url": format!("https://www.host-{number}.bad.example.com/")}));
        assert_eq!(claimed.status == 422, refused, "{claimed:?}");
    }
    let grown = server.resident_bytes().saturating_sub(before);
    assert!(grown < (count as u64) * 16 + (32 << 20), "{count} hosts take {grown} bytes");
}
