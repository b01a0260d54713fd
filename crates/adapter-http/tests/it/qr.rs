//! QR codes: `GET /api/v1/links/{code}/qr` for keys, and `GET /{code}.qr` for all.

use std::sync::Arc;

use domain::{code::CodeLength, ports::RandomCodes};
use serde_json::{Value, json};
use test_support::SeededEntropy;

use crate::server::{Answer, RunningServer};

fn server() -> RunningServer {
    RunningServer::start(RandomCodes::new(CodeLength::default(), Arc::new(SeededEntropy::new(9))))
}

fn link(server: &RunningServer, alias: &str) {
    let body = json!({"url": format!("https://example.com/{alias}"), "alias": alias});
    assert_eq!(server.ask("POST", "/api/v1/links", Some(&body)).status, 201);
}

fn visit(server: &RunningServer, path: &str) -> Answer {
    server.send("GET", path, "", None)
}

/// The parameters that an answer calls wrong.
fn wrong(answer: &Answer) -> Vec<String> {
    assert_eq!((answer.status, &answer.json()["code"]), (422, &json!("validation-failed")), "{answer:?}");
    let errors = answer.json()["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().filter_map(|error| error["pointer"].as_str().map(str::to_owned)).collect()
}

#[test]
fn both_routes_show_the_same_picture() {
    let server = server();
    link(&server, "shown");
    let visited = visit(&server, "/shown.qr?size=300&level=q");
    let read = server.ask("GET", "/api/v1/links/shown/qr?level=q&size=300", None);
    assert_eq!((visited.status, read.status), (200, 200), "{visited:?}");
    assert!(visited.body.starts_with("<svg ") && visited.body.contains("width=\"300\""), "{}", visited.body);
    assert_eq!(visited.body, read.body);
    assert_eq!(visited.header("content-type"), Some("image/svg+xml"));
    assert_eq!(visited.header("cache-control"), Some("public, max-age=60"));
    assert_eq!(visited.header("x-robots-tag"), Some("noindex"));
    assert_eq!(read.header("cache-control"), Some("no-store"));
    assert_ne!(visited.body, visit(&server, "/shown.qr?size=300&level=q&logo=true").body);
    let pixels = server.send("HEAD", "/shown.qr?format=png", "", None);
    assert_eq!((pixels.status, pixels.header("content-type")), (200, Some("image/png")));
}

#[test]
fn a_picture_that_the_client_has_is_not_sent_again() {
    let server = server();
    link(&server, "known");
    for path in ["/known.qr", "/api/v1/links/known/qr"] {
        let first = server.ask("GET", path, None);
        let tag = first.header("etag").expect("it has one");
        let head = server.ask("HEAD", path, None);
        assert_eq!((head.header("etag"), head.header("content-length")), (Some(tag), first.header("content-length")));
        assert!(head.body.is_empty());
        let fields = format!("{}if-none-match: W/{tag}\r\n", server.key_field());
        let known = |path: &str| server.send("GET", path, &fields, None);
        let same = known(path);
        assert_eq!((same.status, same.header("etag"), same.body.as_str()), (304, Some(tag), ""));
        assert_eq!(same.header("cache-control"), first.header("cache-control"));
        let other = known(&format!("{path}?margin=5"));
        assert_eq!(other.status, 200);
        assert_ne!(other.header("etag"), Some(tag));
    }
}

#[test]
fn each_wrong_parameter_is_named() {
    let server = server();
    let alias = "wrong-parameters-of-the-picture-of-a-link-with-a-long-alias";
    link(&server, alias);
    for path in [format!("/{alias}.qr"), format!("/api/v1/links/{alias}/qr")] {
        for (query, names) in [
            ("format=gif", &["format"][..]),
            ("size=63", &["size"]),
            ("size=2049&margin=17", &["size", "margin"]),
            ("margin=-1", &["margin"]),
            ("level=H", &["level"]),
            ("color=red", &["color"]),
            ("color=00000080", &["color"]),
            ("background=ff", &["background"]),
            ("logo=yes", &["logo"]),
            ("color=ffffff&background=000000", &["color"]),
            ("background=777777&color=555555", &["color"]),
            ("size=100&size=200", &["size"]),
            ("colour=000000", &["colour"]),
            ("format=png&size=64&margin=16&level=h", &["size"]),
        ] {
            let named: Vec<_> = names.iter().map(|name| format!("query/{name}")).collect();
            assert_eq!(wrong(&server.ask("GET", &format!("{path}?{query}"), None)), named, "{path}?{query}");
        }
        let good = "size=&color=003366&background=ffffff80&margin=0&level=h&logo=true";
        assert_eq!(server.ask("GET", &format!("{path}?{good}"), None).status, 200);
    }
}

#[test]
fn a_link_that_is_not_followed_has_no_public_picture() {
    let server = server();
    for alias in ["gone", "blocked"] {
        link(&server, alias);
    }
    assert_eq!(server.ask("DELETE", "/api/v1/links/gone", None).status, 200);
    let block = json!({"kind": "code", "value": "blocked", "reason": "phishing"});
    assert_eq!(server.ask("POST", "/api/v1/blocks", Some(&block)).status, 201);
    for (code, status, problem) in [("missing", 404, "not-found"), ("gone", 410, "gone"), ("blocked", 451, "blocked")] {
        let (picture, redirect) = (visit(&server, &format!("/{code}.qr")), visit(&server, &format!("/{code}")));
        for answer in [&picture, &redirect] {
            assert_eq!((answer.status, &answer.json()["code"]), (status, &json!(problem)));
            assert_eq!(answer.header("cache-control"), Some("no-store"));
        }
    }
    // A key that may read a deleted link may also see its picture.
    assert_eq!(server.ask("GET", "/api/v1/links/gone/qr", None).status, 200);
    assert_eq!(server.ask("GET", "/api/v1/links/missing/qr", None).status, 404);
}

#[test]
fn the_route_of_the_api_needs_a_key_of_the_owner_that_may_read() {
    let server = server();
    link(&server, "owned");
    assert_eq!(visit(&server, "/api/v1/links/owned/qr").status, 401);
    for (owner, scope, status) in [("team-b", "links:read", 404), ("default", "links:create", 403)] {
        let body = json!({"name": "other", "owner": owner, "scopes": [scope]});
        let key = server.ask("POST", "/api/v1/keys", Some(&body)).json();
        let field = format!("x-api-key: {}\r\n", key["key"].as_str().expect("it is shown once"));
        assert_eq!(server.send("GET", "/api/v1/links/owned/qr", &field, None).status, status, "{owner} {scope}");
    }
}

#[test]
fn other_methods_are_not_allowed() {
    let server = server();
    link(&server, "read-only");
    for path in ["/read-only.qr", "/api/v1/links/read-only/qr"] {
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let answer = server.ask(method, path, Some(&Value::Null));
            assert_eq!((answer.status, answer.header("allow")), (405, Some("GET, HEAD, OPTIONS")), "{method} {path}");
        }
        let options = server.ask("OPTIONS", path, None);
        assert_eq!((options.status, options.header("allow")), (204, Some("GET, HEAD, OPTIONS")), "{path}");
    }
}
