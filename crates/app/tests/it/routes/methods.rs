//! Rules for every route: `HEAD` wherever `GET` works, `OPTIONS`, and scripts of other origins.

use serde_json::json;

use crate::support::{Connection, Request, Signpost, code_of};

on_both_stores! {
    head_answers_reads_of_the_api_as_get_does,
    options_for_the_whole_server_are_answered,
    options_of_a_link_name_the_methods_it_redirects,
    requests_are_refused_before_the_body_is_sent,
}

/// A client that waits before it sends its body is told that the request is refused.
fn requests_are_refused_before_the_body_is_sent(server: &Signpost) {
    let caller = server.caller();
    let body = vec![b' '; 60_000];
    let waiting = |request: Request| {
        let bytes =
            request.header("Content-Type", "application/json").header("Expect", "100-continue").body(body.clone());
        let bytes = bytes.to_bytes();
        let mut connection = server.connect();
        connection.write(&bytes[..bytes.len() - body.len()]).expect("it listens");
        connection
    };
    for (request, status) in [
        (Request::post("/api/v1/links"), 401),
        (caller.request("POST", "/api/v1/keys"), 403),
        (caller.request("POST", "/api/v1/nothing"), 404),
        (caller.request("PUT", "/api/v1/links"), 405),
        (caller.request("POST", "/api/v1/links").header("Content-Encoding", "gzip"), 415),
    ] {
        let mut connection = waiting(request);
        let answer = connection.read().expect("it answers").expect("it answers");
        assert_eq!(answer.with_status(status).header("connection"), Some("close"));
        assert!(connection.ends());
    }
    let mut connection = waiting(caller.request("POST", "/api/v1/links"));
    assert!(connection.is_asked_to_continue(), "its body is wanted");
    connection.write(&body).expect("it reads");
    let answer = connection.read().expect("it answers").expect("it answers");
    answer.problem(400, "malformed-json");
    connection.send(&Request::get("/livez")).expect("the connection stays").with_status(200);
}

fn head_answers_reads_of_the_api_as_get_does(server: &Signpost) {
    let admin = server.admin();
    let code = admin.code("https://example.com/read");
    let link = format!("/api/v1/links/{code}");
    let body = json!({"name": "x", "scopes": ["links:read"]});
    let made = admin.post("/api/v1/keys", &body).with_status(201).header("location").map(str::to_owned);
    let key = made.expect("what was made can be read");
    assert_eq!(admin.get(&key).with_status(200).json()["name"], "x");
    for path in [&link, &key, &format!("{link}/history"), "/api/v1/links?limit=1", "/api/v1/keys", "/api/v1/blocks"] {
        // Other tests change the lists of this server: the answer has to be the same before and after.
        let (get, head) = std::iter::repeat_with(|| {
            let (before, head) = (admin.get(path), admin.ask(&admin.request("HEAD", path)));
            (before.text() == admin.get(path).text()).then_some((before, head))
        })
        .flatten()
        .next()
        .expect("the lists are not changed all the time");
        assert_eq!((head.with_status(200).text().as_str(), get.status), ("", 200), "{path}");
        for field in ["content-type", "content-length", "etag", "link", "cache-control"] {
            assert_eq!(head.header(field), get.header(field), "{path}: {field}");
        }
    }
    let missing = admin.ask(&admin.request("HEAD", "/api/v1/links/zzzzzzzz"));
    assert_eq!(missing.with_status(404).text(), "");
}

fn options_for_the_whole_server_are_answered(server: &Signpost) {
    for asked in ["OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", "OPTIONS / HTTP/1.0\r\n\r\n"] {
        let mut connection = Connection::open(server.address()).expect("it listens");
        connection.write(asked.as_bytes()).expect("it reads");
        let answer = connection.read().expect("it answers").expect("it answers");
        assert!(answer.with_status(204).header("allow").is_some_and(|allow| allow.contains("OPTIONS")), "{answer:?}");
    }
    server.ask(&Request::new("OPTIONS", "/no/such/path")).problem(404, "not-found");
}

fn options_of_a_link_name_the_methods_it_redirects(server: &Signpost) {
    let caller = server.caller();
    for (status, methods) in [
        (302, "GET, HEAD, OPTIONS"),
        (308, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
        (301, "GET, HEAD, OPTIONS"),
        (307, "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"),
    ] {
        let claim = json!({"url": format!("https://example.com/{status}"), "redirect": status});
        let path = format!("/{}", code_of(&caller.link(&claim)));
        let told = server.ask(&Request::new("OPTIONS", &path));
        assert_eq!(told.with_status(204).header("allow"), Some(methods), "{status}");
        for method in ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"] {
            let expected = if methods.contains(method) { status } else { 405 };
            assert_eq!(server.ask(&Request::new(method, &path)).status, expected, "{method} {status}");
        }
    }
    server.ask(&Request::new("OPTIONS", "/zzzzzzzz")).problem(404, "not-found");
}

#[test]
fn scripts_of_named_origins_may_call_the_api() {
    let server = Signpost::on_sqlite().set("http.cors_origins", "https://app.example, http://localhost:3000").start();
    let caller = server.caller();
    let preflight = |origin: &str, path: &str| {
        let request = Request::new("OPTIONS", path).header("Origin", origin);
        let request = request.header("Access-Control-Request-Method", "POST");
        server.ask(&request.header("Access-Control-Request-Headers", "authorization,content-type"))
    };
    for origin in ["https://app.example", "http://localhost:3000"] {
        let answer = preflight(origin, "/api/v1/links");
        assert_eq!(answer.with_status(204).header("access-control-allow-origin"), Some(origin));
        assert_eq!(answer.header("access-control-allow-methods"), answer.header("allow"));
        let fields = answer.header("access-control-allow-headers").expect("the answer has it");
        // Also fields that tracing tools of browsers add.
        for field in
            ["authorization", "content-type", "idempotency-key", "if-match", "tracestate", "baggage", "x-api-key"]
        {
            assert!(fields.contains(field), "{fields}");
        }
        assert_eq!(answer.header("vary"), Some("origin"));
        assert_eq!(answer.header("access-control-allow-credentials"), None);
    }
    let body = json!({"url": "https://example.com/cors"});
    let made = caller.ask(&caller.claiming(&body).header("Origin", "https://app.example"));
    assert_eq!(made.with_status(201).header("access-control-allow-origin"), Some("https://app.example"));
    assert!(made.header("access-control-expose-headers").is_some_and(|fields| fields.contains("etag")), "{made:?}");
    // A script has to be able to read why it failed.
    let refused = server.ask(&Request::post("/api/v1/links").header("Origin", "https://app.example").json(&body));
    refused.problem(401, "unauthenticated");
    assert_eq!(refused.header("access-control-allow-origin"), Some("https://app.example"));

    // A preflight succeeds for a wrong path or method, so that the request itself is sent and tells what is wrong.
    for wrong in ["/api/v1/link/hello", "/api/v1/links/batch", "/api/x", "/api/v2/links"] {
        preflight("https://app.example", wrong).with_status(204);
    }
    preflight("https://evil.example", "/api/v1/link/hello").problem(404, "not-found");

    for other in ["https://evil.example", "https://app.example.evil", "null", "http://app.example"] {
        let answer = preflight(other, "/api/v1/links");
        assert_eq!(answer.with_status(204).header("access-control-allow-origin"), None, "{other}");
        assert_eq!(answer.header("vary"), Some("origin"));
    }
    let link = server.ask(&Request::get("/zzzzzzzz").header("Origin", "https://app.example"));
    assert_eq!(link.with_status(404).header("access-control-allow-origin"), None, "only the API and its document");

    let document = server.ask(&Request::get("/openapi.json").header("Origin", "https://app.example"));
    assert_eq!(document.with_status(200).header("access-control-allow-origin"), Some("https://app.example"));

    let any = Signpost::on_sqlite().set("http.cors_origins", "*").start();
    let answer = any.ask(&Request::get("/api/v1/links").header("Origin", "https://x.example"));
    assert_eq!(answer.with_status(401).header("access-control-allow-origin"), Some("*"));
}

/// A browser hides why a preflight failed: the request that follows is the one that is rejected, and can be read.
#[test]
fn a_preflight_needs_no_quota() {
    let server = Signpost::on_sqlite()
        .set("http.cors_origins", "https://app.example")
        .set("limits.enabled", "true")
        .set("limits.read.burst", "2")
        .set("limits.read.per_second", "0.01")
        .start();
    let preflight = Request::new("OPTIONS", "/api/v1/links")
        .header("Origin", "https://app.example")
        .header("Access-Control-Request-Method", "POST");
    for _ in 0..5 {
        server.ask(&preflight).with_status(204);
    }
    let reading = Request::get("/api/v1/links").header("Origin", "https://app.example");
    let answers: Vec<_> = (0..3).map(|_| server.ask(&reading)).collect();
    answers[2].problem(429, "quota-exceeded");
    assert_eq!(answers[2].header("access-control-allow-origin"), Some("https://app.example"));
}
