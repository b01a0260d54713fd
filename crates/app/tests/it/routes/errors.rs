//! Every error has one form, and every answer names its request.

use serde_json::json;

use crate::support::{Request, Signpost, unique};

on_both_stores! {
    every_failure_is_a_problem_explained_on_a_page_that_exists,
    every_code_of_the_contract_is_explained,
    other_methods_are_refused_and_those_that_work_are_named,
    a_problem_names_the_path_and_not_the_query,
    answers_that_must_not_be_cached_say_so,
    every_answer_names_its_request,
    a_request_id_is_taken_over_if_it_is_plain,
    a_trace_is_continued_from_a_valid_parent_only,
}

/// One request for each way to fail that needs no broken store, with status and code of the answer.
fn failures(server: &Signpost) -> Vec<(Request, u16, &'static str)> {
    let caller = server.caller();
    let reader = server.caller_of(&caller.owner, &["links:read"]);
    let (deleted, alias) = (caller.code("https://example.com/deleted"), unique("taken"));
    caller.link(&json!({"url": "https://example.com/taken", "alias": alias}));
    let active = caller.code("https://example.com/active");
    caller.delete(&deleted).with_status(200);
    let links = "/api/v1/links";
    let untyped = caller.request("POST", links).body("{}");
    let typed = caller.request("POST", links).header("Content-Type", "application/json");
    let once = |url: &str| caller.claiming(&json!({"url": url})).header("Idempotency-Key", "errors");
    caller.ask(&once("https://example.com/first")).with_status(201);
    vec![
        (Request::get("/abc def"), 400, "malformed-request"),
        (typed.clone().body("{"), 400, "malformed-json"),
        (caller.request("GET", "/api/v1/links?cursor=x"), 400, "invalid-cursor"),
        (Request::get(links), 401, "unauthenticated"),
        (reader.claiming(&json!({"url": "https://example.com/"})), 403, "forbidden"),
        (caller.request("GET", "/api/v1/links/zzzzzzzz"), 404, "not-found"),
        (Request::get("/zzzzzzzz"), 404, "not-found"),
        (Request::new("PUT", links), 405, "method-not-allowed"),
        (Request::get(&format!("/{active}+")).header("Accept", "image/png"), 406, "not-acceptable"),
        (caller.claiming(&json!({"url": "https://example.com/x", "alias": alias})), 409, "alias-taken"),
        (caller.editing(&deleted, &json!({"title": "x"})), 409, "link-deleted"),
        (Request::get(&format!("/{deleted}")), 410, "gone"),
        (caller.deleting(&active).header("If-Match", "\"7\""), 412, "stale"),
        (typed.body("x".repeat(65_537)), 413, "payload-too-large"),
        (untyped, 415, "unsupported-media-type"),
        (caller.claiming(&json!({})), 422, "validation-failed"),
        (once("https://example.com/second"), 422, "idempotency-key-reused"),
        (Request::get("/livez").header("X-Large", &"x".repeat(17_000)), 431, "headers-too-large"),
    ]
}

fn every_failure_is_a_problem_explained_on_a_page_that_exists(server: &Signpost) {
    let page = server.get("/docs/errors").with_status(200).text();
    for (request, status, code) in failures(server) {
        let problem = server.ask(&request).problem(status, code);
        let (_, anchor) = problem["type"].as_str().and_then(|url| url.split_once('#')).expect("an anchor");
        assert!(page.contains(&format!("id=\"{anchor}\"")), "{anchor}");
        let known = ["type", "title", "status", "detail", "instance", "code", "request_id", "errors"];
        let fields = problem.as_object().expect("an object").keys();
        for field in fields {
            assert!(known.contains(&field.as_str()), "{field}: {problem}");
        }
        let inside = ["sqlite", "postgres", "SELECT", "INSERT", "127.0.0.1", ".rs", "/tmp", "panicked"];
        let detail = problem["detail"].as_str().expect("a detail");
        assert!(!inside.iter().any(|word| detail.contains(word)), "{detail}");
    }
}

fn every_code_of_the_contract_is_explained(server: &Signpost) {
    let page = server.get("/docs/errors").with_status(200).text();
    for (status, code) in [
        (400, "malformed-json"),
        (401, "unauthenticated"),
        (403, "forbidden"),
        (404, "not-found"),
        (405, "method-not-allowed"),
        (406, "not-acceptable"),
        (408, "request-timeout"),
        (409, "alias-taken"),
        (409, "link-deleted"),
        (410, "gone"),
        (412, "stale"),
        (413, "payload-too-large"),
        (415, "unsupported-media-type"),
        (422, "validation-failed"),
        (422, "idempotency-key-reused"),
        (431, "headers-too-large"),
        (500, "internal"),
        (503, "unavailable"),
        (503, "outcome-unknown"),
        (507, "storage-full"),
    ] {
        let (_, section) = page.split_once(&format!("id=\"{code}\"")).unwrap_or_else(|| panic!("{code} is not there"));
        let section = section.split("<h2").next().unwrap_or_default();
        assert!(section.contains(&status.to_string()), "{code}: {section}");
    }
}

fn other_methods_are_refused_and_those_that_work_are_named(server: &Signpost) {
    let code = server.caller().code("https://example.com/methods");
    for (path, allowed) in [
        ("/".to_owned(), "GET, HEAD, OPTIONS"),
        ("/livez".to_owned(), "GET, HEAD, OPTIONS"),
        ("/readyz".to_owned(), "GET, HEAD, OPTIONS"),
        ("/health".to_owned(), "GET, HEAD, OPTIONS"),
        (format!("/{code}"), "GET, HEAD, OPTIONS"),
        (format!("/{code}+"), "GET, HEAD, OPTIONS"),
        ("/api/v1/links".to_owned(), "GET, HEAD, POST, OPTIONS"),
        ("/api/v1/links/batch".to_owned(), "POST, OPTIONS"),
        (format!("/api/v1/links/{code}"), "GET, HEAD, PATCH, DELETE, OPTIONS"),
        (format!("/api/v1/links/{code}/reactivate"), "POST, OPTIONS"),
        (format!("/api/v1/links/{code}/history"), "GET, HEAD, OPTIONS"),
        ("/api/v1/keys".to_owned(), "GET, HEAD, POST, OPTIONS"),
        ("/api/v1/keys/AAAAAAAAAAAA".to_owned(), "GET, HEAD, DELETE, OPTIONS"),
    ] {
        let asked = server.ask(&Request::new("OPTIONS", &path));
        assert_eq!((asked.with_status(204).header("allow"), asked.text().as_str()), (Some(allowed), ""), "{path}");
        assert!(asked.header_names().all(|name| !name.starts_with("access-control")), "{asked:?}");
        for method in ["PUT", "TRACE", "PROPFIND"] {
            let answer = server.ask(&Request::new(method, &path));
            answer.problem(405, "method-not-allowed");
            assert_eq!(answer.header("allow"), Some(allowed), "{method} {path}");
        }
    }
    server.ask(&Request::post("/livez")).problem(405, "method-not-allowed");
    server.ask(&Request::post(&format!("/{code}"))).problem(405, "method-not-allowed");
}

fn a_problem_names_the_path_and_not_the_query(server: &Signpost) {
    let problem = server.get("/zzzzzzzz?token=secret").problem(404, "not-found");
    assert_eq!(problem["instance"], "/zzzzzzzz");
    assert!(!problem.to_string().contains("secret"), "{problem}");
    let problem = server.caller().get("/api/v1/links?token=secret").problem(422, "validation-failed");
    assert_eq!(problem["instance"], "/api/v1/links");
}

fn answers_that_must_not_be_cached_say_so(server: &Signpost) {
    for (request, status, _) in failures(server) {
        assert_eq!(server.ask(&request).with_status(status).header("cache-control"), Some("no-store"), "{request:?}");
    }
}

fn every_answer_names_its_request(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/named");
    let mut requests: Vec<_> = failures(server).into_iter().map(|(request, _, _)| request).collect();
    let link = format!("/{code}");
    for path in ["/", "/livez", "/docs", "/favicon.ico", "/robots.txt", "/openapi.json", link.as_str()] {
        requests.push(Request::get(path));
    }
    requests.push(Request::head("/livez"));
    requests.push(caller.request("GET", "/api/v1/links"));
    let mut names: Vec<String> = Vec::new();
    for request in &requests {
        let answer = server.ask(request);
        let id = answer.header("x-request-id").unwrap_or_else(|| panic!("nameless: {answer:?}"));
        assert!(is_traceparent(answer.header("traceparent")), "{answer:?}");
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
        names.push(id.to_owned());
    }
    names.sort_unstable();
    names.dedup();
    assert_eq!(names.len(), requests.len(), "two requests have one name");
}

fn a_request_id_is_taken_over_if_it_is_plain(server: &Signpost) {
    let answered = |id: &str| {
        let answer = server.ask(&Request::get("/zzzzzzzz").header("X-Request-Id", id));
        let problem = answer.problem(404, "not-found");
        problem["request_id"].as_str().expect("a name").to_owned()
    };
    let longest = "a".repeat(64);
    for plain in ["a", "0198c5b2-a.b_C", longest.as_str()] {
        assert_eq!(answered(plain), plain);
    }
    let too_long = "a".repeat(65);
    for odd in ["", "a b", "a,b", "ü", "a/b", "<script>", too_long.as_str()] {
        let id = answered(odd);
        assert!(id != odd && id.len() == 36, "{odd:?}: {id}");
    }
}

fn a_trace_is_continued_from_a_valid_parent_only(server: &Signpost) {
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let span = "00f067aa0ba902b7";
    let answered = |parent: &str| {
        let answer = server.ask(&Request::get("/livez").header("traceparent", parent));
        assert!(is_traceparent(answer.header("traceparent")), "{answer:?}");
        answer.header("traceparent").expect("the answer has it").to_owned()
    };
    let continued = answered(&format!("00-{trace}-{span}-01"));
    assert!(continued.starts_with(&format!("00-{trace}-")) && continued.ends_with("-01"), "{continued}");
    assert!(!continued.contains(span), "the span is ours: {continued}");
    assert!(answered(&format!("cc-{trace}-{span}-00-later")).contains(trace));
    for invalid in [
        String::new(),
        format!("ff-{trace}-{span}-01"),
        format!("00-{trace}-{span}-01-more"),
        format!("00-{trace}-{span}"),
        format!("00-{}-{span}-01", trace.to_uppercase()),
        format!("00-{}-{span}-01", "0".repeat(32)),
        format!("00-{trace}-{}-01", "0".repeat(16)),
    ] {
        let new = answered(&invalid);
        assert!(!new.contains(trace) && new != answered(&invalid), "{invalid}: {new}");
    }
    let two = server.ask(
        &Request::get("/livez")
            .header("traceparent", &format!("00-{trace}-{span}-01"))
            .header("traceparent", &format!("00-{trace}-{span}-01")),
    );
    assert!(two.header("traceparent").is_some_and(|parent| !parent.contains(trace)), "{two:?}");
}

/// Whether the value has version 00, a trace id and a span id that are not zero, and flags.
fn is_traceparent(value: Option<&str>) -> bool {
    let parts: Vec<_> = value.unwrap_or_default().split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    let hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    lengths == [2, 32, 16, 2] && parts.iter().all(hex) && parts[0] == "00" && !zero(parts[1]) && !zero(parts[2])
}
