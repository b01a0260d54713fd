//! The contract as it is served: the OpenAPI document, its reader, and the pages beside them.

use std::{collections::BTreeSet, fs};

use serde_json::{Value, json};

use crate::support::{Answer, Request, Signpost, Store, run, signpost, unique};

on_both_stores! {
    each_documented_operation_exists_and_no_other_method,
    undocumented_paths_are_not_found,
    the_reader_loads_nothing_from_other_hosts,
    the_front_page_leads_to_the_documentation,
    crawlers_may_follow_links_and_nothing_else,
    there_is_no_icon_and_no_contact_by_default,
}

const METHODS: [&str; 8] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"];

fn each_documented_operation_exists_and_no_other_method(server: &Signpost) {
    let admin = server.admin();
    let document = server.get("/openapi.json").with_status(200).json();
    let paths = document["paths"].as_object().expect("a document has paths");
    assert!(paths.len() > 15, "{paths:?}");
    let mut wrong = Vec::new();
    for (template, item) in paths {
        let documented: BTreeSet<_> =
            METHODS.into_iter().filter(|method| item[method.to_lowercase()].is_object()).collect();
        for method in METHODS {
            let path = concrete(template, server);
            let answer = admin.ask(&admin.request(method, &path));
            let allow = answer.header("allow").unwrap_or_default();
            let allowed: BTreeSet<_> = allow.split(", ").filter(|method| !method.is_empty()).collect();
            let has_none = template == "/.well-known/{file}" && documented.contains(method);
            let right = if has_none {
                answer.status == 404
            } else if method == "OPTIONS" {
                answer.status == 204 && allowed == &documented | &BTreeSet::from(["OPTIONS"])
            } else if documented.contains(method) {
                !matches!(answer.status, 404 | 405 | 500)
            } else {
                answer.status == 405 && allowed == &documented | &BTreeSet::from(["OPTIONS"])
            };
            if !right {
                wrong.push(format!("{method} {template}: {} (allowed: {allow})", answer.status));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// A path for the template, which exists on the server.
fn concrete(template: &str, server: &Signpost) -> String {
    if !template.contains('{') {
        return template.to_owned();
    }
    let caller = server.caller();
    let code = caller.code("https://example.com/documented");
    if template.ends_with("/blocks/{id}") {
        let body = json!({"kind": "code", "value": code, "reason": "documented"});
        let block = server.admin().post("/api/v1/blocks", &body).with_status(201).json();
        return template.replace("{id}", block["id"].as_str().expect("the answer has it"));
    }
    let host = format!("{}.test", unique("documented"));
    if template.contains("{host}") {
        server.admin().post("/api/v1/domains", &json!({"host": host})).with_status(201);
    }
    template
        .replace("{host}", &host)
        .replace("{code}", &code)
        .replace("{id}", &caller.key_id)
        .replace("{file}", "swagger-ui.css")
}

fn undocumented_paths_are_not_found(server: &Signpost) {
    let admin = server.admin();
    let code = admin.code(&format!("https://example.com/{}", unique("undocumented")));
    for path in [
        "/api",
        "/index.html",
        "/.env",
        "/metrics",
        "/Livez",
        "/healthz",
        "/.rejected",
        "/docs/assets/nothing.js",
        "/docs/assets/..%2f..%2fCargo.toml",
    ] {
        admin.get(path).problem(404, "not-found");
    }
    let link = format!("/api/v1/links/{code}");
    let more = [format!("/{code}/+"), format!("{link}/other"), format!("/{code}//"), format!("//{code}/")];
    let longer = [
        "//",
        "/a/b",
        "/api/",
        "/api/v1/",
        "/api/v2/links",
        "/API/v1/links",
        "/docs/assets/",
        "/.git/config",
        "/.well-known/",
        "/actuator/health",
    ];
    for path in longer.into_iter().chain(more.iter().map(String::as_str)) {
        for method in ["GET", "POST", "DELETE"] {
            admin.ask(&admin.request(method, path)).problem(404, "not-found");
        }
    }
    // One slash too many is accepted for reads.
    let (early, late) = (format!("//{code}"), format!("/{code}/"));
    let slashes = [
        ("/docs/", 200),
        ("/livez/", 200),
        ("/api/v1/links/", 200),
        ("/api/v1/keys/", 200),
        (&early, 302),
        (&late, 302),
        (&format!("{link}/"), 200),
    ];
    for (path, status) in slashes {
        admin.get(path).with_status(status);
        admin.ask(&admin.request("DELETE", path)).problem(404, "not-found");
    }
}

fn the_reader_loads_nothing_from_other_hosts(server: &Signpost) {
    let answer = server.get("/docs");
    let page = answer.with_status(200).text();
    assert_eq!(answer.header("content-type"), Some("text/html; charset=utf-8"));
    assert!(!page.contains("//"), "{page}");
    let used: Vec<_> = page.split('"').filter(|text| text.starts_with('/')).collect();
    assert!(used.len() >= 3, "{used:?}");
    for path in used {
        let asset = server.get(path);
        assert!(!asset.with_status(200).text().is_empty(), "{path}");
        let media_type = asset.header("content-type").unwrap_or_default();
        assert!(media_type.starts_with("text/") || path == "/openapi.json", "{path}: {media_type}");
    }
    assert!(server.get("/docs/assets/start.js").text().contains("/openapi.json"));
}

fn the_front_page_leads_to_the_documentation(server: &Signpost) {
    let answer = server.get("/");
    assert_eq!(answer.with_status(200).header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.text().contains("href=\"/docs\""), "{answer:?}");
}

fn crawlers_may_follow_links_and_nothing_else(server: &Signpost) {
    let answer = server.get("/robots.txt");
    assert_eq!(answer.with_status(200).header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.text(), "User-agent: *\nDisallow: /api/\nDisallow: /console$\nDisallow: /console/\n");
}

fn there_is_no_icon_and_no_contact_by_default(server: &Signpost) {
    server.get("/favicon.ico").with_status(204);
    server.get("/.well-known/security.txt").problem(404, "not-found");
    server.get("/.well-known/../robots.txt").problem(404, "not-found");
}

#[test]
fn the_files_and_pages_of_the_operator_are_served() {
    let folder = tempfile::tempdir().expect("a place for files");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("a new folder takes files");
    write("security.txt", "Contact: mailto:a@example.com\n");
    write("apple-app-site-association", "{\"applinks\":{}}");
    write("assetlinks.json", "[]");
    let directory = folder.path().to_str().expect("UTF-8");
    let server = Signpost::on_sqlite()
        .set("pages.well_known_dir", directory)
        .set("pages.crawlable", "false")
        .set("pages.unknown_url", "https://example.com/unknown")
        .set("pages.gone_url", "https://example.com/gone")
        .set("pages.blocked_url", "https://example.com/blocked")
        .start();
    for (name, media_type, text) in [
        ("security.txt", "text/plain; charset=utf-8", "Contact: mailto:a@example.com\n"),
        ("apple-app-site-association", "application/json", "{\"applinks\":{}}"),
        ("assetlinks.json", "application/json", "[]"),
    ] {
        let answer = server.get(&format!("/.well-known/{name}"));
        assert_eq!(
            (answer.with_status(200).header("content-type"), answer.text().as_str()),
            (Some(media_type), text),
            "{name}"
        );
    }
    server.get("/.well-known/other").problem(404, "not-found");
    assert_eq!(server.get("/robots.txt").text(), "User-agent: *\nDisallow: /\n");

    let caller = server.caller();
    let (gone, blocked) = (caller.code("https://example.com/a"), caller.code("https://example.com/b"));
    caller.delete(&gone).with_status(200);
    let block = json!({"kind": "code", "value": blocked, "reason": "reported"});
    server.admin().post("/api/v1/blocks", &block).with_status(201);
    let pages = [("zzzzzzzz", "unknown", 404), (gone.as_str(), "gone", 410), (blocked.as_str(), "blocked", 451)];
    for (code, page, status) in pages {
        let asked = server.ask(&Request::get(&format!("/{code}")).header("Accept", "text/html"));
        let page = format!("https://example.com/{page}");
        assert_eq!(asked.with_status(302).header("location"), Some(page.as_str()));
        assert_eq!(asked.header("cache-control"), Some("no-store"));
        assert_eq!(asked.header("vary"), Some("accept"));
        assert_eq!(server.get(&format!("/{code}")).status, status, "programs get the problem");
    }
    write("robots.txt", "User-agent: x\n");
    assert_eq!(server.another().start().get("/robots.txt").text(), "User-agent: x\n", "it is read at the start");
}

#[test]
fn head_answers_as_get_does_without_a_body() {
    let server = Store::Sqlite.shared();
    for path in ["/", "/docs", "/docs/errors", "/docs/assets/start.js", "/openapi.json", "/robots.txt", "/favicon.ico"]
    {
        let (get, head) = (server.get(path), server.ask(&Request::head(path)));
        assert_eq!((head.status, head.text().as_str()), (get.status, ""), "{path}");
        for field in ["content-type", "content-length"] {
            assert_eq!(head.header(field), get.header(field), "{path}");
        }
    }
}

#[test]
fn the_document_is_the_one_the_command_line_prints() {
    let server = Store::Sqlite.shared();
    let served = server.get("/openapi.json");
    assert_eq!(served.with_status(200).header("content-type"), Some("application/json"));
    let mut command = signpost();
    let told = run(command.args(["openapi", "--public-url", "http://sho.test"]));
    assert_eq!(told.code, Some(0), "{told:?}");
    let printed: Value = serde_json::from_str(&told.out).expect("it prints JSON");
    assert_eq!(served.json(), printed);
    assert_eq!(printed["servers"][0]["url"], "/", "its reader asks the server it is on");
}

#[test]
fn operations_are_named_once_and_every_reference_leads_somewhere() {
    let document = Store::Sqlite.shared().get("/openapi.json").json();
    let items = document["paths"].as_object().expect("paths").values();
    let operations: Vec<_> = items.flat_map(|item| item.as_object().expect("an object").values()).collect();
    let mut names: Vec<_> = operations.iter().filter_map(|operation| operation["operationId"].as_str()).collect();
    assert_eq!(names.len(), operations.len());
    names.sort_unstable();
    let twice: Vec<_> = names.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0]).collect();
    assert!(twice.is_empty(), "{twice:?}");
    let text = document.to_string();
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().unwrap_or_default();
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
}

#[test]
fn a_landing_page_of_the_operator_takes_the_place_of_ours() {
    let server = Signpost::on_sqlite().set("landing_url", "https://example.com/about").start();
    let answer = server.get("/");
    assert_eq!(answer.with_status(302).header("location"), Some("https://example.com/about"));
}

#[test]
fn a_link_in_an_answer_fits_its_schema() {
    let server = Store::Sqlite.shared();
    let document = server.get("/openapi.json").json();
    let caller = server.caller();
    let code = caller.code("https://example.com/schema");
    let link = caller.get(&format!("/api/v1/links/{code}?include=clicks")).with_status(200).json();
    let schema = &document["components"]["schemas"]["Link"];
    let documented: BTreeSet<_> = schema["properties"].as_object().expect("properties").keys().collect();
    let shown: BTreeSet<_> = link.as_object().expect("an object").keys().collect();
    assert_eq!(shown, documented);
    let required: BTreeSet<_> =
        schema["required"].as_array().expect("required").iter().filter_map(Value::as_str).collect();
    let always: BTreeSet<_> = shown.iter().map(|name| name.as_str()).filter(|name| *name != "clicks").collect();
    assert_eq!(required, always);
}

/// K-11: all that a browser loads for the reader.
#[test]
fn the_reader_is_small_works_without_scripts_and_is_cached() {
    let server = Store::Sqlite.shared();
    let ask = |path: &str, more: &[(&str, &str)]| {
        let request = Request::get(path).header("Accept-Encoding", "gzip, deflate, br, zstd");
        server.ask(&more.iter().fold(request, |request, (name, value)| request.header(name, value)))
    };
    let assets =
        ["swagger-ui.css", "swagger-ui-bundle.js", "start.js", "start.css"].map(|file| format!("/docs/assets/{file}"));
    let mut weight = 0;
    for path in ["/docs", "/openapi.json"].into_iter().chain(assets.iter().map(String::as_str)) {
        let answer = ask(path, &[]).with_status(200).clone();
        weight +=
            400 + answer.header("content-length").and_then(|length| length.parse::<usize>().ok()).expect("a length");
        let tag = answer.header("etag").expect("the answer has it").to_owned();
        ask(path, &[("If-None-Match", &tag)]).with_status(304);
        let vary = answer.header("vary").unwrap_or_default();
        assert!(answer.header("content-encoding").is_none() || vary.contains("accept-encoding"), "{path}: {vary}");
    }
    assert!(weight <= 450_000, "{weight}");
    let page = server.get("/docs").with_status(200).text();
    let (_, plain) = page.split_once("<noscript>").expect("something for those without scripts");
    assert!(plain.contains("<code>POST /api/v1/links</code> Claims a link"), "{plain}");
    assert!(server.get("/docs/assets/start.css").text().contains("prefers-color-scheme: dark"));
}

#[test]
fn a_list_is_compressed_for_those_who_can_read_that() {
    let caller = Store::Sqlite.shared().caller();
    let claims: Vec<_> = (0..20).map(|number| json!({"url": format!("https://example.com/long/{number}")})).collect();
    caller.batch(&claims).with_status(200);
    let plain = caller.get("/api/v1/links");
    let coded = caller.ask(&caller.request("GET", "/api/v1/links").header("Accept-Encoding", "gzip"));
    assert_eq!(coded.with_status(200).header("content-encoding"), Some("gzip"));
    let length = |answer: &Answer| answer.header("content-length").and_then(|length| length.parse::<usize>().ok());
    assert!(length(&coded).expect("a length") * 4 < length(&plain).expect("a length"), "{coded:?}");
    assert!(coded.header("vary").is_some_and(|vary| vary.contains("accept-encoding")), "{coded:?}");
    assert_eq!(plain.header("content-encoding"), None);
}

/// Rules that linters and client generators need.
#[test]
fn the_document_follows_the_rules_for_generators() {
    let document = Store::Sqlite.shared().get("/openapi.json").json();
    let schemas = &document["components"]["schemas"];
    for (schema, field) in [("Link", "state"), ("Link", "redirect"), ("LinkEvent", "event"), ("Problem", "code")] {
        let target = schemas[schema]["properties"][field]["$ref"].as_str().expect("it refers to a closed set");
        let name = target.rsplit('/').next().expect("a name");
        assert!(schemas[name]["enum"].as_array().is_some_and(|values| !values.is_empty()), "{schema}.{field}");
    }
    for (path, item) in document["paths"].as_object().expect("paths") {
        for (method, operation) in item.as_object().expect("operations") {
            let place = format!("{method} {path}");
            assert!(operation["security"].is_array() && operation["description"].is_string(), "{place}");
            let media_types = operation["requestBody"]["content"].as_object().map_or(0, serde_json::Map::len);
            assert!(media_types <= 1, "{place}: one media type a body");
            for (status, response) in operation["responses"].as_object().expect("responses") {
                let described = response["$ref"].is_string() || response["headers"]["X-Request-Id"].is_object();
                assert!(described || method == "head", "{place}: {status} has headers");
                assert!(method != "head" || response["content"].is_null(), "{place}: no content");
            }
        }
    }
    let told = run(signpost().args(["openapi", "--version", "3.0"]));
    let older: Value = serde_json::from_str(&told.out).expect("it prints JSON");
    assert_eq!(older["openapi"], "3.0.3");
    let has_list_of_types = |value: &Value| value.to_string().contains("\"type\":[");
    assert!(!has_list_of_types(&older) && has_list_of_types(&document));
}
