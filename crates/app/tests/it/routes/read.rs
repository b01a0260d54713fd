//! `GET /api/v1/links/{code}`: one link, deleted ones too.

use serde_json::{Value, json};

use crate::support::{Answer, Signpost, unique};

on_both_stores! {
    a_link_is_read_with_its_generation_as_tag,
    answers_of_the_api_are_not_cached,
    a_matching_etag_is_answered_without_a_body,
    a_deleted_link_is_still_read,
    the_link_of_another_owner_answers_exactly_like_a_missing_one,
    an_administrator_reads_every_link,
    an_invalid_code_is_not_found,
    reading_needs_a_key_that_may_read,
}

fn a_link_is_read_with_its_generation_as_tag(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/read");
    let answer = caller.read(&code);
    assert_eq!(answer.with_status(200).header("etag"), Some("\"1\""));
    assert_eq!(answer.header("cache-control"), Some("private, no-cache"));
    let link = answer.json();
    assert_eq!(link["code"], code.as_str());
    assert_eq!(link.get("outcome"), None);
    caller.edit(&code, &json!({"title": "changed"})).with_status(200);
    assert_eq!(caller.read(&code).header("etag"), Some("\"2\""));
}

/// This holds for both fields that carry a key: caches know only one of them.
fn answers_of_the_api_are_not_cached(server: &Signpost) {
    let caller = server.admin();
    let code = caller.code("https://example.com/told");
    for path in ["links".to_owned(), format!("links/{code}/history"), "keys".to_owned(), "blocks".to_owned()] {
        let answer = caller.get(&format!("/api/v1/{path}"));
        assert_eq!(answer.with_status(200).header("cache-control"), Some("no-store"), "{path}");
    }
}

fn a_matching_etag_is_answered_without_a_body(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/known");
    let given =
        |tags: &str| caller.ask(&caller.request("GET", &format!("/api/v1/links/{code}")).header("If-None-Match", tags));
    for known in ["\"1\"", "W/\"1\"", "\"7\", \"1\"", "*"] {
        let answer = given(known);
        assert_eq!(answer.with_status(304).header("etag"), Some("\"1\""), "{known}");
        assert_eq!(answer.text(), "");
    }
    for unknown in ["\"2\"", "1", "\"01\"", "", "\"1"] {
        given(unknown).with_status(200);
    }
    caller.delete(&code).with_status(200);
    given("\"1\"").with_status(200);
    given("\"2\"").with_status(304);
}

fn a_deleted_link_is_still_read(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/deleted");
    let deleted = caller.delete(&code).with_status(200).json();
    assert_eq!(caller.read(&code).with_status(200).json(), deleted);
    assert_eq!(deleted["state"], "deleted");
    assert_eq!(deleted["deleted_at"], deleted["updated_at"]);
}

fn the_link_of_another_owner_answers_exactly_like_a_missing_one(server: &Signpost) {
    let (holder, stranger) = (server.caller(), server.caller());
    let foreign = holder.code("https://example.com/foreign");
    let missing = "zzzzzzzz";
    let requests = |code: &str| {
        let path = format!("/api/v1/links/{code}");
        let edit = stranger.request("PATCH", &path).json(&json!({"title": "mine now"}));
        let stale = stranger.request("DELETE", &path).header("If-Match", "\"9\"");
        [
            stranger.request("GET", &path),
            stranger.request("GET", &path).header("If-None-Match", "*"),
            edit.clone(),
            edit.header("If-Match", "\"1\""),
            stranger.request("DELETE", &path),
            stale,
            stranger.request("POST", &format!("{path}/reactivate")),
            stranger.request("GET", &format!("{path}/history")),
        ]
    };
    for (about_foreign, about_missing) in requests(&foreign).iter().zip(&requests(missing)) {
        let (one, other) = (stranger.ask(about_foreign), stranger.ask(about_missing));
        assert_eq!(anonymised(&one, &foreign), anonymised(&other, missing), "{about_foreign:?}");
    }
    assert_eq!(holder.read(&foreign).with_status(200).json()["generation"], 1);
}

/// An answer without the id of its request, the code of its link, and the time.
fn anonymised(answer: &Answer, code: &str) -> (Value, Vec<(String, Option<String>)>) {
    let mut body = answer.problem(404, "not-found");
    body["request_id"] = Value::Null;
    let instance = body["instance"].as_str().expect("a path").replace(code, "{code}");
    body["instance"] = json!(instance);
    let mut headers: Vec<_> = answer.header_names().map(|name| (name.to_lowercase(), None)).collect();
    for (name, value) in &mut headers {
        if !["date", "traceparent", "x-request-id"].contains(&name.as_str()) {
            *value = answer.header(name).map(str::to_owned);
        }
    }
    headers.sort_unstable();
    (body, headers)
}

fn an_administrator_reads_every_link(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/any");
    assert_eq!(server.admin().read(&code).with_status(200).json(), caller.read(&code).json());
}

fn an_invalid_code_is_not_found(server: &Signpost) {
    let caller = server.caller();
    for code in ["ab", "a.b", "a%00b", "%ff%ff%ff", "abc%2Fdef", "a%20b", "abc+", &"x".repeat(65)] {
        caller.read(code).problem(404, "not-found");
    }
}

fn reading_needs_a_key_that_may_read(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/scoped");
    server.get(&format!("/api/v1/links/{code}")).problem(401, "unauthenticated");
    let writer = server.caller_of(&caller.owner, &["links:write"]);
    writer.read(&code).problem(403, "forbidden");
    let elsewhere = server.caller_of(&unique("owner"), &["links:write"]);
    elsewhere.read(&code).problem(403, "forbidden");
}
