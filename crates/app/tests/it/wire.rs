//! The wire: what clients may send, how much of it, and how slowly.

use std::{
    sync::OnceLock,
    thread,
    time::{Duration, Instant},
};

use serde_json::json;

use crate::support::{Answer, Connection, PATIENCE, Request, Signpost, Store, code_of, eventually};

/// The timeout for heads and bodies in these tests.
const TIMEOUT: Duration = Duration::from_millis(300);

/// A server with short timeouts.
fn hasty() -> &'static Signpost {
    static SERVER: OnceLock<Signpost> = OnceLock::new();
    let setup = || Signpost::on_sqlite().set("http.head_timeout", "300ms").set("http.body_timeout", "300ms");
    let setup = || setup().set("http.answer_timeout", "300ms");
    SERVER.get_or_init(|| setup().start())
}

/// A server with long timeouts.
fn patient() -> &'static Signpost {
    Store::Sqlite.shared()
}

/// The valid beginnings of requests.
const GET: &str = "GET /livez HTTP/1.1\r\nHost: client.example\r\n";
const POST: &str = "POST /api/v1/links HTTP/1.1\r\nHost: client.example\r\n";

#[test]
fn a_body_that_ends_in_two_places_is_refused() {
    for fields in [
        "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n0\r\n\r\n",
        "Content-Length: 5\r\nContent-Length: 5\r\n\r\nhello",
        "Content-Length: 5\r\nContent-Length: 6\r\n\r\nhello",
        "Content-Length: 5, 5\r\n\r\nhello",
        "Content-Length: +5\r\n\r\nhello",
        "Content-Length: -1\r\n\r\n",
        "Content-Length: 0x5\r\n\r\nhello",
        "Content-Length: \r\n\r\n",
        "Content-Length: 99999999999999999999\r\n\r\n",
        "Transfer-Encoding: identity\r\n\r\n",
        "Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: \u{b}chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n",
        "Transfer-Encoding:\r\n chunked\r\n\r\n0\r\n\r\n",
    ] {
        is_refused(format!("{POST}{fields}").as_bytes());
    }
}

#[test]
fn a_chunked_body_that_breaks_its_framing_is_refused() {
    for body in [
        "x\r\n\r\n",
        "-1\r\n\r\n",
        "1\nx\n0\n\n",
        "1\r\nxy\r\n0\r\n\r\n",
        "fffffffffffffffff\r\n",
        " 1\r\nx\r\n0\r\n\r\n",
    ] {
        is_refused(format!("{POST}Transfer-Encoding: chunked\r\n\r\n{body}").as_bytes());
    }
}

#[test]
fn an_ambiguous_head_is_refused() {
    for head in [
        "GET /livez HTTP/1.1\nHost: client.example\n\n".to_owned(),
        "GET /livez HTTP/1.1\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost:\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost: user@client.example\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost: a, b\r\n\r\n".to_owned(),
        "GET /livez HTTP/1.1\r\nHost: a/b\r\n\r\n".to_owned(),
        format!("{GET}Host: client.example\r\n\r\n"),
        format!("{GET}Host: other.example\r\n\r\n"),
        format!("{GET}X-A: a\n\r\n"),
        format!("{GET}X-A: a\rX-B: b\r\n\r\n"),
        format!("{GET} folded\r\n\r\n"),
        format!("{GET}X A: a\r\n\r\n"),
        format!("{GET}: a\r\n\r\n"),
        format!("{GET}X-A\r\n\r\n"),
        format!("{GET}X-Signpost-Rejected: malformed\r\n\r\n"),
        format!(" {GET}\r\n"),
        format!("\r\n\r\n\r\n{GET}\r\n"),
    ] {
        is_refused(head.as_bytes());
    }
}

#[test]
fn what_is_not_http_1_is_refused() {
    for head in [
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        "GET /livez HTTP/2.0\r\nHost: client.example\r\n\r\n",
        "GET /livez http/1.1\r\nHost: client.example\r\n\r\n",
        "GET /livez\r\n\r\n",
        "GET  /livez HTTP/1.1\r\nHost: client.example\r\n\r\n",
        "GET /livez HTTP/1.1 \r\nHost: client.example\r\n\r\n",
        "GET\t/livez\tHTTP/1.1\r\nHost: client.example\r\n\r\n",
        "G@T /livez HTTP/1.1\r\nHost: client.example\r\n\r\n",
        "GET livez HTTP/1.1\r\nHost: client.example\r\n\r\n",
        "CONNECT client.example:443 HTTP/1.1\r\nHost: client.example\r\n\r\n",
        "\0\0\0\0\r\n\r\n",
    ] {
        is_refused(head.as_bytes());
    }
}

#[test]
fn control_characters_in_fields_are_refused() {
    for name in ["User-Agent", "Referer", "X-Request-Id", "Authorization"] {
        for byte in [b"\0", b"\r", b"\n", b"\x01", b"\x7f"] {
            let head = [GET.as_bytes(), name.as_bytes(), b": a", byte, b"b\r\n\r\n"].concat();
            is_refused(&head);
        }
    }
}

#[test]
fn nothing_behind_a_refused_request_is_taken_for_another() {
    let smuggled =
        format!("{POST}Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /smuggled HTTP/1.1\r\n");
    let mut connection = patient().connect();
    connection.write(format!("{smuggled}Host: client.example\r\n\r\n").as_bytes()).expect("it is not refused yet");
    next(&mut connection).problem(400, "malformed-request");
    assert!(connection.ends(), "another answer, or no end");
    assert!(!patient().output().contains("smuggled"));
}

#[test]
fn a_large_head_is_refused() {
    // With `Host`, one field more than the limit.
    let many = (0..100).fold(String::new(), |head, number| head + &format!("X-{number}: 1\r\n"));
    for head in [
        format!("{GET}X-Large: {}\r\n\r\n", "x".repeat(16 * 1024)),
        format!("GET /{} HTTP/1.1\r\nHost: client.example\r\n\r\n", "x".repeat(16 * 1024)),
        format!("{GET}{many}\r\n"),
    ] {
        let mut connection = patient().connect();
        connection.write(head.as_bytes()).expect("it is not refused yet");
        let answer = next(&mut connection);
        answer.problem(431, "headers-too-large");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.ends());
    }
    let fits = format!("{GET}X-Large: {}\r\n\r\n", "x".repeat(16_000));
    let mut connection = patient().connect();
    connection.write(fits.as_bytes()).expect("it listens");
    next(&mut connection).with_status(200);
}

/// More fields than the parser behind the guard can read. Fields that it would not use are dropped first; the others
/// are read wherever they stand.
#[test]
fn a_head_of_a_hundred_fields_is_read_like_any_other() {
    let caller = patient().caller();
    let body = "{\"url\":\"https://example.com/many-fields\"}";
    let read = format!("X-Request-Id: many\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n", caller.key);
    let read = format!("{read}Content-Length: {}\r\n", body.len());
    // `Host` and those four are fields too.
    for (before, behind) in [(95, 0), (0, 95), (50, 45)] {
        let many = |count: usize| (0..count).fold(String::new(), |head, number| head + &format!("X-{number}: 1\r\n"));
        let mut connection = patient().connect();
        let head = format!(
            "POST /api/v1/links HTTP/1.1\r\n{}Host: client.example\r\n{read}{}\r\n",
            many(before),
            many(behind)
        );
        connection.write(format!("{head}{body}{GET}\r\n").as_bytes()).expect("it listens");
        let answer = next(&mut connection);
        assert!([200, 201].contains(&answer.status), "{answer:?}");
        assert_eq!(answer.header("x-request-id"), Some("many"));
        next(&mut connection).with_status(200);
    }
}

#[test]
fn a_head_without_an_end_is_refused_at_the_limit() {
    let mut connection = patient().connect();
    let sent = send_until_refused(&mut connection, "x".repeat(64 * 1024).as_bytes());
    assert!(sent < MAX_BUFFERED, "{sent} bytes were taken");
    next(&mut connection).problem(431, "headers-too-large");
}

#[test]
fn half_a_head_is_answered_408_after_the_timeout() {
    let server = hasty();
    for half in ["G", "GET /livez HTTP/1.1\r\n", GET, "\x16\x03\x01\x02"] {
        // The timeout begins when the server accepts, which may be before the client goes on.
        let begun = Instant::now();
        let mut connection = server.connect();
        connection.write(half.as_bytes()).expect("it listens");
        let answer = next(&mut connection);
        answer.problem(408, "request-timeout");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.ends());
        is_in_time(begun);
    }
}

#[test]
fn half_a_second_head_times_out_like_a_first() {
    let mut connection = hasty().connect();
    let begun = Instant::now();
    connection.send(&Request::get("/livez")).expect("an answer").with_status(200);
    connection.write(GET.as_bytes()).expect("it is kept open");
    next(&mut connection).problem(408, "request-timeout");
    assert!(connection.ends());
    is_in_time(begun);

    let mut connection = hasty().connect();
    connection.write(format!("{GET}\r\nGET").as_bytes()).expect("it listens");
    next(&mut connection).with_status(200);
    next(&mut connection).problem(408, "request-timeout");
    assert!(connection.ends());
}

#[test]
fn a_silent_connection_is_closed_after_the_timeout() {
    let begun = Instant::now();
    assert!(hasty().connect().ends());
    is_in_time(begun);
}

#[test]
fn half_a_body_is_answered_408_after_the_timeout() {
    let caller = hasty().caller();
    let key = format!("Authorization: Bearer {}\r\nContent-Type: application/json\r\n", caller.key);
    for half in
        ["Content-Length: 50\r\n\r\n{", "Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", "Content-Length: 50\r\n\r\n"]
    {
        let mut connection = hasty().connect();
        let begun = Instant::now();
        connection.write(format!("{POST}{key}{half}").as_bytes()).expect("it listens");
        let answer = next(&mut connection);
        answer.problem(408, "request-timeout");
        assert_eq!(answer.header("connection"), Some("close"));
        is_in_time(begun);
    }
}

#[test]
fn a_body_that_trickles_gets_no_extra_time() {
    let caller = hasty().caller();
    let begun = Instant::now();
    let mut connection = hasty().connect();
    let head = format!("{POST}Authorization: Bearer {}\r\nContent-Type: application/json\r\n", caller.key);
    connection.write(format!("{head}Content-Length: 60000\r\n\r\n").as_bytes()).expect("it listens");
    let refused = || {
        thread::sleep(TIMEOUT / 10);
        connection.write(b" ").is_err()
    };
    assert!(eventually(PATIENCE, refused), "it reads on");
    is_in_time(begun);
}

#[test]
fn a_large_body_is_refused_before_it_is_sent() {
    let caller = patient().caller();
    let head = format!("{POST}Authorization: Bearer {}\r\nContent-Type: application/json\r\n", caller.key);
    let mut connection = patient().connect();
    connection.write(format!("{head}Content-Length: 65537\r\n\r\n").as_bytes()).expect("it listens");
    let answer = next(&mut connection);
    answer.problem(413, "payload-too-large");
    assert_eq!(answer.header("connection"), Some("close"));
}

#[test]
fn a_body_without_an_end_is_refused_at_the_limit() {
    let caller = patient().caller();
    let mut connection = patient().connect();
    let head = format!("{POST}Authorization: Bearer {}\r\nContent-Type: application/json\r\n", caller.key);
    connection.write(format!("{head}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).expect("it listens");
    let sent = send_until_refused(&mut connection, chunk().as_bytes());
    assert!(sent < MAX_BUFFERED, "{sent} bytes were taken");
    next(&mut connection).problem(413, "payload-too-large");
}

#[test]
fn a_body_of_a_get_without_an_end_is_refused_at_the_limit() {
    let mut connection = patient().connect();
    connection.write(format!("{GET}Transfer-Encoding: chunked\r\n\r\n").as_bytes()).expect("it listens");
    let sent = send_until_refused(&mut connection, chunk().as_bytes());
    assert!(sent < MAX_BUFFERED, "{sent} bytes were taken");
}

/// A client that asks for much and reads nothing must not hold the connection and its memory.
#[test]
fn a_client_that_reads_no_answer_is_disconnected() {
    let asset = Request::get("/docs/assets/swagger-ui-bundle.js");
    // The first request without gzip has the asset decompressed.
    hasty().ask(&asset).with_status(200);
    let mut connection = hasty().connect();
    let asked = asset.to_bytes().repeat(20);
    connection.write(&asked).expect("it is sent");
    let begun = Instant::now();
    let is_closed = || connection.write(b"\r\n").is_err();
    assert!(eventually(PATIENCE, is_closed), "it is waited for");
    is_in_time(begun);
    assert_eq!(hasty().get("/livez").status, 200);
}

#[test]
fn pipelined_requests_are_answered_in_their_order_up_to_a_bad_one() {
    let named = |name: &str| format!("{GET}X-Request-Id: {name}\r\n\r\n");
    let good: String = (0..10).map(|number| named(&format!("number-{number}"))).collect();
    let mut connection = patient().connect();
    connection
        .write(format!("{good}GET /livez HTTP/1.1\r\n\r\n{}", named("behind-a-bad-one")).as_bytes())
        .expect("it listens");
    for number in 0..10 {
        let answer = next(&mut connection);
        assert_eq!(answer.with_status(200).header("x-request-id"), Some(format!("number-{number}").as_str()));
    }
    next(&mut connection).problem(400, "malformed-request");
    assert!(connection.ends());
    assert!(!patient().output().contains("behind-a-bad-one"));
}

#[test]
fn a_head_request_in_a_pipeline_has_no_body() {
    let mut connection = patient().connect();
    let head = "HEAD /livez HTTP/1.1\r\nHost: client.example\r\n\r\n";
    connection.write(format!("{GET}\r\n{head}{GET}\r\n").as_bytes()).expect("it listens");
    assert_eq!(next(&mut connection).with_status(200).text(), "alive\n");
    // The answer to HEAD has no body: the next byte begins the next answer.
    let length =
        connection.read_head().expect("an answer").expect("an answer").header("content-length").map(str::to_owned);
    assert_eq!(length.as_deref(), Some("6"));
    assert_eq!(next(&mut connection).with_status(200).text(), "alive\n");
}

#[test]
fn http_1_0_clients_are_answered_and_disconnected() {
    let mut connection = patient().connect();
    connection.write(b"GET /livez HTTP/1.0\r\n\r\n").expect("it listens");
    assert_eq!(next(&mut connection).with_status(200).text(), "alive\n");
    assert!(connection.ends());
}

#[test]
fn a_connection_carries_many_requests() {
    let caller = patient().caller();
    let mut connection = patient().connect();
    for number in 0..50 {
        let claim = caller.claiming(&json!({"url": format!("https://example.com/{number}")}));
        connection.send(&claim).expect("an answer").with_status(201);
        connection.send(&Request::head("/livez")).expect("an answer").with_status(200);
        connection.send(&Request::get("/zzzzzzzz")).expect("an answer").problem(404, "not-found");
    }
}

/// As clients offer them by default, and proxies with a common configuration.
#[test]
fn offers_of_other_protocols_are_ignored() {
    let offers = [
        "Connection: upgrade",
        "Connection: Upgrade\r\nUpgrade: websocket",
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQCAAAAAAIAAAAA",
        "Connection: keep-alive, Upgrade\r\nUpgrade: h2c",
        "Upgrade: TLS/1.0",
    ];
    let caller = patient().caller();
    let mut connection = patient().connect();
    for number in 0..200 {
        let offer = offers[number % offers.len()];
        let body = json!({"url": format!("https://example.com/{number}")}).to_string();
        let head = format!(
            "{POST}{offer}\r\nX-API-Key: {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            caller.key,
            body.len()
        );
        connection.write(head.as_bytes()).expect("it is still open");
        let answer = next(&mut connection);
        assert_eq!((answer.with_status(201).header("connection"), answer.header("upgrade")), (None, None), "{offer}");
    }
    connection.write(format!("{GET}Connection: close, upgrade\r\n\r\n").as_bytes()).expect("it is still open");
    assert_eq!(next(&mut connection).with_status(200).header("connection"), Some("close"));
    assert!(connection.ends());
}

/// A request from a proxy that speaks HTTP/1.0 to its upstream, as nginx does by default.
#[test]
fn an_old_post_without_a_body_needs_no_length() {
    let caller = patient().caller();
    let code = caller.code("https://example.com/old");
    // With as many fields as the limit allows, there is no room to add the missing length.
    for others in [0, 94, 95, 96, 99] {
        caller.delete(&code).with_status(200);
        let mut connection = patient().connect();
        let fields = format!("X-API-Key: {}\r\n{}", caller.key, "X-Other: 1\r\n".repeat(others));
        let head = format!("POST /api/v1/links/{code}/reactivate HTTP/1.0\r\n{fields}\r\n");
        connection.write(head.as_bytes()).expect("it listens");
        assert_eq!(next(&mut connection).with_status(200).json()["state"], "active", "{others}");
    }
}

#[test]
fn a_refused_request_with_a_body_keeps_the_connection() {
    let mut connection = patient().connect();
    let refused = Request::post("/api/v1/links").key("sgn_none").body("{\"url\":\"https://example.com/\"}");
    for _ in 0..20 {
        let answer = connection.send(&refused).expect("it is answered");
        answer.problem(401, "unauthenticated");
    }
}

/// Programs that make a body while they send it, and read the answer only when they are done.
#[test]
fn a_slow_client_reads_why_it_is_refused_and_keeps_the_connection() {
    let caller = patient().caller();
    let (json, text) = ("application/json", "text/plain");
    let cases = [
        ("POST /api/v1/links", 60 * 1024, "sgn_none", json, 401),
        ("POST /api/v1/links/batch", 1024 * 1024, "sgn_none", json, 401),
        ("POST /api/v1/links/batch", 1024 * 1024, &caller.key, text, 415),
        ("PATCH /api/v1/links/no-such-link", 60 * 1024, &caller.key, text, 415),
        ("POST /nothing/here", 60 * 1024, "sgn_none", json, 404),
        ("POST /livez", 60 * 1024, "sgn_none", json, 405),
    ];
    let senders = cases.map(|(request, length, key, media_type, status)| {
        let head = format!(
            "{request} HTTP/1.1\r\nHost: client.example\r\nX-API-Key: {key}\r\nContent-Type: {media_type}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        thread::spawn(move || {
            let mut connection = patient().connect();
            connection.write(head.as_bytes()).expect("it listens");
            paced(&mut connection, length);
            let answer = next(&mut connection);
            assert_eq!((answer.status, answer.header("connection")), (status, None), "{request}: {answer:?}");
            connection.send(&Request::get("/livez")).expect("it goes on").with_status(200);
        })
    });
    for sender in senders {
        sender.join().expect("it is answered as it should be");
    }
}

/// The answer to a request whose method has no body does not wait for the body. The client can read the answer while it
/// sends one.
#[test]
fn an_answer_does_not_wait_for_a_body_that_has_no_meaning() {
    let caller = patient().caller();
    for (request, status) in [("GET /livez", 200), ("GET /zzzzzzzz", 404), ("DELETE /api/v1/links/no-such-link", 404)] {
        let head = format!("{request} HTTP/1.1\r\nHost: client.example\r\nX-API-Key: {}\r\n", caller.key);
        let mut connection = patient().connect();
        connection.write(format!("{head}Content-Length: 5\r\n\r\nhello").as_bytes()).expect("it listens");
        let answer = next(&mut connection);
        assert_eq!((answer.status, answer.header("connection")), (status, None), "{request}");
        let length = 60 * 1024;
        connection.write(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).expect("it goes on");
        paced(&mut connection, length);
        let answer = next(&mut connection);
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{request}");
        assert!(connection.ends());
    }
}

#[test]
fn a_client_that_sends_too_much_slowly_has_time_to_read_why() {
    let caller = patient().caller();
    for (path, length) in [("/api/v1/links", 65_537), ("/api/v1/links/batch", 8 * 1024 * 1024)] {
        let mut connection = patient().connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: client.example\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n",
            caller.key
        );
        connection.write(head.as_bytes()).expect("it listens");
        paced(&mut connection, length.min(512 * 1024));
        let answer = next(&mut connection);
        answer.problem(413, "payload-too-large");
        assert_eq!(answer.header("connection"), Some("close"));
        assert!(connection.ends());
    }
}

/// curl sends the bytes that were typed. They pass as browsers send them, percent-encoded.
#[test]
fn raw_bytes_in_a_path_are_read_as_browsers_encode_them() {
    let caller = patient().caller();
    let link = caller.link(&json!({"url": "https://example.com/typed", "forward_query": true}));
    let code = code_of(&link);
    let ask = |target: &[u8], more: &str| {
        let mut connection = patient().connect();
        let bytes = [b"GET ", target, b" HTTP/1.1\r\nHost: x\r\n", more.as_bytes(), b"\r\n"].concat();
        connection.write(&bytes).expect("it listens");
        let answer = next(&mut connection);
        connection.send(&Request::get("/livez")).expect("the connection stays").with_status(200);
        answer
    };
    for (typed, location) in [
        ("?name=Müller", "https://example.com/typed?name=M%C3%BCller"),
        ("?q=<x>", "https://example.com/typed?q=%3Cx%3E"),
        ("?q=\"x\"", "https://example.com/typed?q=%22x%22"),
        (">", "https://example.com/typed"),
        ("`", "https://example.com/typed"),
        ("”", "https://example.com/typed"),
    ] {
        let answer = ask(format!("/{code}{typed}").as_bytes(), "");
        assert_eq!(answer.with_status(302).header("location"), Some(location), "{typed}");
    }
    // An end of a line may stand before a request (RFC 9112 section 2.2).
    let mut connection = patient().connect();
    connection.write(format!("\r\nGET /{code}> HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).expect("it listens");
    next(&mut connection).with_status(302);
    let latin = [format!("/{code}").as_bytes(), b"\xfc"].concat();
    ask(&latin, "").with_status(302);
    let key = format!("X-API-Key: {}\r\n", caller.key);
    ask("/api/v1/links?q=\"ü\"".as_bytes(), &key).with_status(200);
    for mut refused in [
        b"GET /a b> HTTP/1.1\r\n".to_vec(),
        b"GET\xc3\xbc /> HTTP/1.1\r\n".to_vec(),
        b"GET />\x01 HTTP/1.1\r\n".to_vec(),
    ] {
        refused.extend_from_slice(b"Host: x\r\n\r\n");
        let mut connection = patient().connect();
        connection.write(&refused).expect("it listens");
        next(&mut connection).problem(400, "malformed-request");
    }
}

/// Many clients read nothing before they have sent the whole body. They are answered at once.
#[test]
fn a_client_that_sends_all_of_a_huge_body_first_is_told_why_it_is_refused() {
    let caller = patient().caller();
    for (path, key, status) in [
        ("/api/v1/links/batch", caller.key.as_str(), 413),
        ("/api/v1/links", &caller.key, 413),
        ("/api/v1/links", "x", 401),
    ] {
        let length = 5 * 1024 * 1024;
        let mut connection = patient().connect();
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: client.example\r\nX-API-Key: {key}\r\nContent-Type: application/json\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        connection.write(head.as_bytes()).expect("it listens");
        connection.write(&vec![b' '; length]).expect("all of it is taken");
        let answer = next(&mut connection);
        assert_eq!((answer.status, answer.header("connection")), (status, Some("close")), "{path}");
    }
}

/// Sends a body of white space, over more than a second.
fn paced(connection: &mut Connection, length: usize) {
    const PIECES: usize = 16;
    for _ in 0..PIECES {
        connection.write(&vec![b' '; length / PIECES]).expect("it is taken");
        thread::sleep(Duration::from_millis(80));
    }
    connection.write(&vec![b' '; length % PIECES]).expect("it is taken");
}

#[test]
fn every_worker_still_serves_after_malformed_requests() {
    let server = Signpost::on_sqlite().set("http.head_timeout", "300ms").start();
    let attack =
        [format!("{GET}X-A: a\n\r\n"), format!("{POST}Content-Length: 1\r\nContent-Length: 1\r\n\r\n"), GET.to_owned()];
    let attackers: Vec<_> = (0..150)
        .map(|number: usize| {
            let mut connection = server.connect();
            connection.write(attack[number % attack.len()].as_bytes()).expect("it listens");
            connection
        })
        .collect();
    // With twice as many connections as workers, each worker serves at least one.
    let mut others: Vec<_> = (0..4).map(|_| server.connect()).collect();
    for connection in &mut others {
        connection.send(&Request::get("/livez")).expect("an answer").with_status(200);
    }
    for mut connection in attackers {
        assert!(matches!(next(&mut connection).status, 400 | 408));
        assert!(connection.ends());
    }
    server.get("/health").with_status(200);
    assert!(server.events("panic").is_empty());
}

/// A chunk of 64 KiB of white space.
fn chunk() -> String {
    format!("10000\r\n{}\r\n", " ".repeat(0x10000))
}

/// More than a refusal may read and the buffers of the operating system may hold, on both sides.
const MAX_BUFFERED: usize = 24 * 1024 * 1024;

/// Sends the same bytes again and again, until the server takes no more. Returns how many bytes were sent.
fn send_until_refused(connection: &mut Connection, bytes: &[u8]) -> usize {
    let mut sent = 0;
    while sent < MAX_BUFFERED && connection.write(bytes).is_ok() {
        sent += bytes.len();
    }
    sent
}

#[track_caller]
fn is_refused(bytes: &[u8]) {
    let mut connection = patient().connect();
    connection.write(bytes).expect("it is not refused yet");
    let shown = String::from_utf8_lossy(bytes);
    let answer = connection.read().ok().flatten().unwrap_or_else(|| panic!("no answer to {shown:?}"));
    assert_eq!(answer.status, 400, "{shown:?}: {answer:?}");
    answer.problem(400, "malformed-request");
    assert_eq!(answer.header("connection"), Some("close"), "{shown:?}");
    assert!(connection.ends(), "{shown:?}");
}

#[track_caller]
fn next(connection: &mut Connection) -> Answer {
    connection.read().expect("the connection works").expect("the server answers")
}

/// Not before the timeout, and not long after it.
#[track_caller]
fn is_in_time(begun: Instant) {
    let took = begun.elapsed();
    assert!(took >= TIMEOUT, "after {took:?}");
    assert!(took < TIMEOUT + Duration::from_secs(5), "after {took:?}");
}
