//! Framing, without a socket: which bytes pass, wherever the network cuts them.

use std::time::Duration;

use super::{
    Rejection, WireLimits,
    chunked::CorruptBody,
    framing::{Framing, Stage, Verdict},
};

const LIMITS: WireLimits = WireLimits {
    head_bytes: 1024,
    headers: 8,
    head_timeout: Duration::from_secs(10),
    body_timeout: Duration::from_secs(10),
    answer_timeout: Duration::from_secs(10),
};

/// What became of the bytes of a connection.
#[derive(Debug, Default, PartialEq, Eq)]
struct Outcome {
    /// Every request that passed, body included.
    requests: Vec<String>,
    rejection: Option<Rejection>,
    is_corrupt: bool,
    /// Bytes that wait for more.
    waiting: usize,
}

impl Outcome {
    fn passed(requests: &[&str]) -> Self {
        Self { requests: requests.iter().map(|request| (*request).to_owned()).collect(), ..Self::default() }
    }

    fn rejected(rejection: Rejection) -> Self {
        Self { rejection: Some(rejection), ..Self::default() }
    }
}

fn receive<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Outcome {
    let mut framing = Framing::new(LIMITS);
    let mut outcome = Outcome::default();
    let mut buffer = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        while !buffer.is_empty() && outcome.rejection.is_none() && !outcome.is_corrupt {
            let passing = match framing.inspect(&buffer) {
                Ok(Verdict::NeedMore) => break,
                Ok(Verdict::Request(count)) => {
                    outcome.requests.push(String::new());
                    count
                }
                Ok(Verdict::Body(count)) => count,
                Ok(Verdict::Reject(rejection)) => {
                    outcome.rejection = Some(rejection);
                    buffer.len()
                }
                Err(CorruptBody) => {
                    outcome.is_corrupt = true;
                    buffer.len()
                }
            };
            let mut bytes: Vec<u8> = buffer.drain(..passing).collect();
            if let Some((head, instead)) = framing.take_replaced() {
                bytes.splice(..head, instead);
            }
            if outcome.rejection.is_none() && !outcome.is_corrupt {
                let text = String::from_utf8(bytes).expect("the requests of these tests are text");
                outcome.requests.last_mut().expect("a body follows a head").push_str(&text);
            }
        }
    }
    if outcome.rejection.is_none() && !outcome.is_corrupt {
        outcome.waiting = buffer.len();
    }
    outcome
}

/// The outcome, which has to be the same however the bytes are cut in two, and byte by byte.
fn receive_in_any_pieces(wire: &str) -> Outcome {
    let wire = wire.as_bytes();
    let outcome = receive([wire]);
    for cut in 0..=wire.len() {
        let (left, right) = wire.split_at(cut);
        assert_eq!(receive([left, right]), outcome, "cut after {cut} bytes");
    }
    assert_eq!(receive(wire.chunks(1)), outcome, "byte by byte");
    outcome
}

fn get_with(field_lines: &str) -> String {
    format!("GET /abc HTTP/1.1\r\n{field_lines}\r\n")
}

fn post_with(field_lines: &str, body: &str) -> String {
    format!("POST /abc HTTP/1.1\r\nHost: go.example\r\n{field_lines}\r\n{body}")
}

#[test]
fn good_request_passes_unchanged_however_it_is_cut() {
    let wires = [
        get_with("Host: go.example\r\n"),
        get_with("hOsT: go.example:8080\r\nAccept: text/html, */*\tq\r\n"),
        get_with("Host: [2001:db8::1]:80\r\nX-Bytes: \u{e4}\r\n"),
        get_with("Host: go.example\r\nX-Empty:\r\nConnection: close\r\n"),
        "GET /a%20b?q=1&r={x}|y HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET http://go.example/abc HTTP/1.1\r\nHost: go.example\r\n\r\n".to_owned(),
        "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "BREW /pot HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\n\r\n".to_owned(),
        "GET / HTTP/1.0\r\nHost: a\r\n\r\n".to_owned(),
        "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi".to_owned(),
        "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        post_with("Content-Length: 0\r\n", ""),
        post_with("Content-Length: 0005 \r\n", "he\nlo"),
        post_with("Transfer-Encoding: CHUNKED\r\n", "0\r\n\r\n"),
        post_with("Transfer-Encoding: chunked\r\n", "5\r\nhe\r\no\r\n00A;name=\"v\"\r\n0123456789\r\n0\r\n\r\n"),
        post_with("Transfer-Encoding: chunked\r\n", "1\r\nx\r\n0\r\nExpires: 0\r\nX: \r\n\r\n"),
    ];
    for wire in &wires {
        assert_eq!(receive_in_any_pieces(wire), Outcome::passed(&[wire]), "{wire:?}");
    }
}

#[test]
fn heads_that_the_parser_behind_would_misread_are_rewritten() {
    let post = |fields: &str| format!("POST /abc HTTP/1.0\r\n{fields}\r\n");
    let with_length = |fields: &str| format!("POST /abc HTTP/1.0\r\n{fields}content-length: 0\r\n\r\n");
    for (sent, meant) in [
        (get_with("Host: a\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nX: 1\r\n"), get_with("Host: a\r\nX: 1\r\n")),
        (get_with("Host: a\r\nUpgrade: WebSocket\r\n"), get_with("Host: a\r\n")),
        (
            get_with("Connection: keep-alive , UPGRADE\r\nHost: a\r\nconnection: upgrade,close\r\n"),
            get_with("connection: keep-alive\r\nHost: a\r\nconnection: close\r\n"),
        ),
        (
            post_with("Upgrade: websocket\r\nConnection: upgrade\r\nContent-Length: 5\r\n", "hello"),
            post_with("Content-Length: 5\r\n", "hello"),
        ),
        (
            get_with("Host: a\r\nX-Upgrade: h2c\r\nConnection: upgrades\r\n"),
            get_with("Host: a\r\nX-Upgrade: h2c\r\nConnection: upgrades\r\n"),
        ),
        (post(""), with_length("")),
    ] {
        let behind = get_with("Host: b\r\n");
        let outcome = receive_in_any_pieces(&format!("{sent}{behind}"));
        assert_eq!(outcome, Outcome::passed(&[&meant, &behind]), "{sent:?}");
    }
}

#[test]
fn pipelined_requests_pass_one_by_one() {
    let requests = [
        post_with("Content-Length: 5\r\n", "hello"),
        get_with("Host: a\r\n"),
        post_with("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"),
        format!("\r\n{}", get_with("Host: b\r\n")),
    ];
    let expected: Vec<&str> = requests.iter().map(String::as_str).collect();

    assert_eq!(receive_in_any_pieces(&requests.concat()), Outcome::passed(&expected));
}

#[test]
fn head_that_two_readers_could_understand_differently_is_malformed() {
    let wires = [
        // Line ends.
        "GET / HTTP/1.1\nHost: a\n\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\n\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\rX: b\r\n\r\n".to_owned(),
        "GET / HTTP/1.1\r\nHost: a\r\r\n\r\n".to_owned(),
        "\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        get_with("Host: a\r\nX: b\r\n c\r\n"),
        // Request lines.
        "GET /\r\n\r\n".to_owned(),
        "GET  / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
        "GET / HTTP/1.2\r\nHost: a\r\n\r\n".to_owned(),
        "GET abc HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "G@T / HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
        "CONNECT go.example:443 HTTP/1.1\r\nHost: go.example\r\n\r\n".to_owned(),
        // Field lines.
        get_with("Host: a\r\nX : b\r\n"),
        get_with("Host: a\r\n: b\r\n"),
        get_with("Host: a\r\nno colon\r\n"),
        get_with("Host: a\r\nX: b\0c\r\n"),
        get_with("Host: a\r\nX: b\u{7f}c\r\n"),
        get_with("Host: a\r\nX-Signpost-Rejected: guess malformed\r\n"),
        // Host.
        get_with(""),
        get_with("Host:\r\n"),
        get_with("Host: a\r\nHost: a\r\n"),
        get_with("Host: a\r\nhost: b\r\n"),
        get_with("Host: user@a\r\n"),
        get_with("Host: a/b\r\n"),
        get_with("Host: a b\r\n"),
        "GET / HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n".to_owned(),
        // Body lengths.
        post_with("Content-Length: 1\r\nContent-Length: 1\r\n", ""),
        post_with("Content-Length: 1, 1\r\n", ""),
        post_with("Content-Length: +1\r\n", ""),
        post_with("Content-Length: -1\r\n", ""),
        post_with("Content-Length: 0x1\r\n", ""),
        post_with("Content-Length: 1 1\r\n", ""),
        post_with("Content-Length:\r\n", ""),
        post_with("Content-Length: 18446744073709551616\r\n", ""),
        post_with("Content-Length: 1\r\nTransfer-Encoding: chunked\r\n", ""),
        post_with("Transfer-Encoding: chunked\r\nContent-Length: 1\r\n", ""),
        post_with("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n", ""),
        post_with("Transfer-Encoding: gzip, chunked\r\n", ""),
        post_with("Transfer-Encoding: identity\r\n", ""),
        post_with("Transfer-Encoding: xchunked\r\n", ""),
        post_with("Transfer-Encoding: \"chunked\"\r\n", ""),
        post_with("Transfer-Encoding:\r\n", ""),
        post_with("Transfer-Encoding:\x0bchunked\r\n", ""),
        "POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned(),
    ];
    for wire in &wires {
        assert_eq!(receive_in_any_pieces(wire), Outcome::rejected(Rejection::Malformed), "{wire:?}");
    }
}

#[test]
fn bad_head_behind_a_good_request_is_refused_alone() {
    let good = post_with("Content-Length: 2\r\n", "ok");
    let outcome = receive_in_any_pieces(&format!("{good}GET / HTTP/1.1\r\n\r\n"));

    assert_eq!(outcome.requests, [good]);
    assert_eq!(outcome.rejection, Some(Rejection::Malformed));
}

#[test]
fn stray_line_feed_is_refused_before_the_head_ends() {
    assert_eq!(receive(["GET / HTTP/1.1\n".as_bytes()]), Outcome::rejected(Rejection::Malformed));
}

#[test]
fn head_may_be_as_large_as_the_limit_and_no_larger() {
    let head_of = |bytes: usize| {
        let shortest = get_with("Host: a\r\nX: \r\n").len();
        get_with(&format!("Host: a\r\nX: {}\r\n", "x".repeat(bytes - shortest)))
    };
    let largest = head_of(LIMITS.head_bytes);

    assert_eq!(receive_in_any_pieces(&largest), Outcome::passed(&[&largest]));
    assert_eq!(receive_in_any_pieces(&head_of(LIMITS.head_bytes + 1)), Outcome::rejected(Rejection::HeadersTooLarge));
}

#[test]
fn endless_request_line_is_refused_at_the_limit() {
    let wire = format!("GET /{}", "x".repeat(LIMITS.head_bytes));

    assert_eq!(receive_in_any_pieces(&wire), Outcome::rejected(Rejection::HeadersTooLarge));
}

#[test]
fn head_may_have_as_many_fields_as_the_limit_and_no_more() {
    let head_of = |headers: usize| get_with(&format!("Host: a\r\n{}", "X: y\r\n".repeat(headers - 1)));
    let largest = head_of(LIMITS.headers);

    assert_eq!(receive_in_any_pieces(&largest), Outcome::passed(&[&largest]));
    assert_eq!(receive_in_any_pieces(&head_of(LIMITS.headers + 1)), Outcome::rejected(Rejection::HeadersTooLarge));
}

#[test]
fn enormous_content_length_passes() {
    let wire = post_with("Content-Length: 18446744073709551615\r\n", "abc");

    assert_eq!(receive_in_any_pieces(&wire), Outcome::passed(&[&wire]));
}

/// Chunked bodies that break their framing.
fn corrupt_bodies() -> Vec<String> {
    [
        "\r\n",
        "x\r\n",
        "5\nhello\r\n0\r\n\r\n",
        "5\rhello\r\n0\r\n\r\n",
        " 5\r\nhello\r\n0\r\n\r\n",
        "5 6\r\nhello\r\n0\r\n\r\n",
        "0x5\r\nhello\r\n0\r\n\r\n",
        "-5\r\nhello\r\n0\r\n\r\n",
        ";x\r\n",
        "5;a\nb\r\nhello\r\n0\r\n\r\n",
        "5\r\nhello0\r\n\r\n",
        "5\r\nhello\n0\r\n\r\n",
        "5\r\nhelloo\r\n0\r\n\r\n",
        "10000000000000000\r\n",
        "0\r\nX: y\n\r\n",
        "0\r\nX: \0\r\n\r\n",
        "0\r\n\rX",
    ]
    .into_iter()
    .map(str::to_owned)
    .chain([
        format!("5;{}\r\nhello\r\n0\r\n\r\n", "x".repeat(64)),
        format!("0\r\n{}\r\n", "X: y\r\n".repeat(LIMITS.head_bytes / 5)),
    ])
    .collect()
}

#[test]
fn corrupt_chunk_that_comes_with_its_head_refuses_the_request() {
    for body in corrupt_bodies() {
        let wire = post_with("Transfer-Encoding: chunked\r\n", &body);
        assert_eq!(receive([wire.as_bytes()]), Outcome::rejected(Rejection::Malformed), "{body:?}");
    }
}

#[test]
fn corrupt_chunk_that_comes_after_its_head_breaks_the_connection() {
    let head = post_with("Transfer-Encoding: chunked\r\n", "");
    for body in corrupt_bodies() {
        for cut in 0..body.len() {
            let (left, right) = body.as_bytes().split_at(cut);
            let outcome = receive([head.as_bytes(), left, right]);
            assert!(outcome.is_corrupt, "{body:?} cut after {cut} bytes");
        }
    }
}

#[test]
fn stage_tells_silence_from_a_begun_head() {
    let mut framing = Framing::new(LIMITS);
    assert_eq!(framing.stage(0), Stage::Unopened);

    assert_eq!(framing.inspect(b"\r\n"), Ok(Verdict::NeedMore));
    assert_eq!(framing.stage(2), Stage::Unopened);

    assert_eq!(framing.inspect(b"\r\nP"), Ok(Verdict::NeedMore));
    assert_eq!(framing.stage(3), Stage::Head);

    let wire = format!("\r\n{}", post_with("Content-Length: 2\r\n", "a"));
    assert_eq!(framing.inspect(wire.as_bytes()), Ok(Verdict::Request(wire.len())));
    assert_eq!(framing.stage(0), Stage::Body);

    assert_eq!(framing.inspect(b"bGET"), Ok(Verdict::Body(1)));
    assert_eq!(framing.stage(0), Stage::Idle);
    assert_eq!(framing.stage(3), Stage::Head);
}

#[test]
fn only_our_own_nonce_names_a_rejection() {
    for rejection in [Rejection::Malformed, Rejection::HeadersTooLarge, Rejection::HeadTimeout] {
        let value = format!("secret {}", rejection.token());
        assert_eq!(Rejection::from_header("secret", value.as_bytes()), Some(rejection));
        assert_eq!(Rejection::from_header("other", value.as_bytes()), None);
    }
    assert_eq!(Rejection::from_header("secret", b"secret"), None);
    assert_eq!(Rejection::from_header("secret", b"secret nonsense"), None);
}
