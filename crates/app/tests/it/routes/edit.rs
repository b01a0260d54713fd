//! `PATCH /api/v1/links/{code}`: set fields of an active link.

use serde_json::json;

use crate::support::{Request, Signpost, ask_together, code_of, padded, unique};

on_both_stores! {
    an_edit_sets_only_the_fields_it_names,
    null_clears_and_restores_defaults,
    a_visitor_follows_the_edited_link,
    an_edit_that_changes_nothing_writes_no_event,
    everything_wrong_with_an_edit_is_named_at_once,
    immutable_fields_are_refused_in_an_edit,
    a_retargeted_link_is_found_by_neither_url,
    a_new_title_keeps_a_link_in_deduplication,
    a_deleted_link_is_not_edited,
    only_the_current_generation_matches,
    of_many_edits_of_one_generation_one_succeeds,
    an_edit_takes_merge_patch_or_json_only,
    a_patch_may_have_64_kib,
    an_edit_needs_a_key_that_may_write,
}

fn an_edit_sets_only_the_fields_it_names(server: &Signpost) {
    let caller = server.caller();
    let before = caller.link(&json!({"url": "https://example.com/a", "title": "Title", "tags": ["kept"]}));
    let code = code_of(&before);
    let answer = caller.edit(&code, &json!({"url": "https://example.com/b", "redirect": 301}));
    assert_eq!(answer.with_status(200).header("etag"), Some("\"2\""));
    let mut expected = before;
    expected.as_object_mut().expect("a link is an object").remove("outcome");
    let edited = answer.json();
    expected["url"] = json!("https://example.com/b");
    expected["redirect"] = json!(301);
    expected["generation"] = json!(2);
    expected["updated_at"] = edited["updated_at"].clone();
    assert_eq!(edited, expected);
    assert_ne!(edited["updated_at"], edited["created_at"]);
    assert_eq!(caller.read(&code).json(), edited);
    let event = &caller.history(&code)[0];
    assert_eq!((&event["event"], &event["generation"]), (&json!("edited"), &json!(2)));
}

fn null_clears_and_restores_defaults(server: &Signpost) {
    let caller = server.caller();
    let code = code_of(&caller.link(&json!({
        "url": "https://example.com/full", "redirect": 308, "forward_query": true,
        "expires_at": "2099-01-01T00:00:00Z", "title": "Title", "tags": ["tag"],
    })));
    let nothing = json!({"redirect": null, "forward_query": null, "expires_at": null, "title": null, "tags": null});
    let cleared = caller.edit(&code, &nothing).with_status(200).json();
    assert_eq!(cleared["redirect"], 302);
    assert_eq!(cleared["forward_query"], false);
    assert_eq!(cleared["expires_at"], json!(null));
    assert_eq!(cleared["title"], json!(null));
    assert_eq!(cleared["tags"], json!([]));
    assert_eq!(cleared["generation"], 2);
    caller.edit(&code, &json!({"url": null})).refuses(&[("/url", "required")]);
}

fn a_visitor_follows_the_edited_link(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/before");
    assert_eq!(server.get(&format!("/{code}")).header("location"), Some("https://example.com/before"));
    caller.edit(&code, &json!({"url": "https://example.com/after", "redirect": 307})).with_status(200);
    let answer = server.get(&format!("/{code}"));
    assert_eq!(answer.with_status(307).header("location"), Some("https://example.com/after"));
}

fn an_edit_that_changes_nothing_writes_no_event(server: &Signpost) {
    let caller = server.caller();
    let link = caller.link(&json!({"url": "https://example.com/same", "title": "Title", "tags": ["tag"]}));
    let code = code_of(&link);
    for nothing in [
        json!({}),
        json!({"title": "Title"}),
        json!({"url": "https://example.com/same", "tags": ["tag"], "redirect": 302, "forward_query": false}),
        json!({"expires_at": null}),
    ] {
        let answer = caller.edit(&code, &nothing);
        assert_eq!(answer.with_status(200).header("etag"), Some("\"1\""), "{nothing}");
        assert_eq!(answer.json()["updated_at"], link["updated_at"]);
    }
    assert_eq!(caller.history(&code).len(), 1);
    assert_eq!(caller.claim(&json!({"url": "https://example.com/same"})).json()["code"], code.as_str());
}

fn everything_wrong_with_an_edit_is_named_at_once(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/wrong");
    let wrong = json!({
        "url": "http://127.0.0.1/", "redirect": "302", "forward_query": "no", "expires_at": "2020-01-01T00:00:00Z",
        "title": "x".repeat(201), "tags": "tag",
    });
    caller.edit(&code, &wrong).refuses(&[
        ("/url", "private-address"),
        ("/redirect", "wrong-type"),
        ("/forward_query", "wrong-type"),
        ("/expires_at", "not-in-future"),
        ("/title", "too-long"),
        ("/tags", "wrong-type"),
    ]);
    caller.edit(&code, &json!(["title"])).refuses(&[("", "wrong-type")]);
    assert_eq!(caller.read(&code).json()["generation"], 1);
}

fn immutable_fields_are_refused_in_an_edit(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/fixed");
    let fixed =
        ["id", "code", "alias", "owner", "state", "generation", "created_at", "deleted_at", "expires_in", "force_new"];
    for field in fixed {
        let pointer = format!("/{field}");
        caller.edit(&code, &json!({field: "x"})).refuses(&[(pointer.as_str(), "unknown-field")]);
    }
    assert_eq!(caller.read(&code).json()["generation"], 1);
}

fn a_retargeted_link_is_found_by_neither_url(server: &Signpost) {
    let caller = server.caller();
    let (before, after) = ("https://example.com/before", "https://example.com/after");
    let code = caller.code(before);
    caller.edit(&code, &json!({"url": after})).with_status(200);
    assert_ne!(caller.code(before), code);
    assert_ne!(caller.code(after), code);
    // Not even after an edit back to that URL: an edited target leaves deduplication permanently.
    caller.edit(&code, &json!({"url": before})).with_status(200);
    assert_ne!(caller.claim(&json!({"url": before})).with_status(200).json()["code"], code.as_str());
}

fn a_new_title_keeps_a_link_in_deduplication(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/titled");
    caller.edit(&code, &json!({"title": "New", "tags": ["new"]})).with_status(200);
    let again = caller.claim(&json!({"url": "https://example.com/titled"})).with_status(200).json();
    assert_eq!(again["code"], code.as_str());
    assert_eq!(again["title"], "New");
}

fn a_deleted_link_is_not_edited(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/deleted");
    caller.delete(&code).with_status(200);
    caller.edit(&code, &json!({"title": "new"})).problem(409, "link-deleted");
    caller.edit(&code, &json!({})).problem(409, "link-deleted");
    assert_eq!(caller.read(&code).json()["generation"], 2);
}

fn only_the_current_generation_matches(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/matched");
    caller.edit(&code, &json!({"title": "two"})).with_status(200);
    let edit = |tags: &str| caller.ask(&caller.editing(&code, &json!({"title": "two"})).header("If-Match", tags));
    for never in ["", "2", "W/\"2\"", "\"1\"", "\"3\"", "\"02\"", "\"+2\"", "\"\"", "\"2", "\"x\"", "\"1\", \"3\""] {
        edit(never).problem(412, "stale");
    }
    for matching in ["\"2\"", "*", "\"1\", \"2\"", "\"9\",\"2\""] {
        edit(matching).with_status(200);
    }
    assert_eq!(caller.read(&code).json()["generation"], 2);
}

fn of_many_edits_of_one_generation_one_succeeds(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/contended");
    let edits: Vec<(_, Request)> = (0..100)
        .map(|number| {
            let edit = caller.editing(&code, &json!({"title": format!("edit {number}")}));
            (caller.address(), edit.header("If-Match", "\"1\""))
        })
        .collect();
    let answers: Vec<_> = ask_together(&edits).into_iter().map(|answer| answer.expect("an answer")).collect();
    let (done, refused): (Vec<_>, Vec<_>) = answers.iter().partition(|answer| answer.status == 200);
    assert_eq!(done.len(), 1, "{done:?}");
    for answer in refused {
        answer.problem(412, "stale");
    }
    let link = caller.read(&code).json();
    assert_eq!(link, done[0].json());
    assert_eq!(link["generation"], 2);
    assert_eq!(caller.history(&code).len(), 2);
}

fn an_edit_takes_merge_patch_or_json_only(server: &Signpost) {
    let caller = server.caller();
    let path = format!("/api/v1/links/{}", caller.code("https://example.com/patched"));
    let patch = |media_type: &str, body: &str| {
        caller.ask(&caller.request("PATCH", &path).header("Content-Type", media_type).body(body))
    };
    patch("application/merge-patch+json", r#"{"title":"one"}"#).with_status(200);
    patch("application/json; charset=utf-8", r#"{"title":"two"}"#).with_status(200);
    patch("application/json-patch+json", "[]").problem(415, "unsupported-media-type");
    patch("text/plain", r#"{"title":"three"}"#).problem(415, "unsupported-media-type");
    patch("application/merge-patch+json", r#"{"title""#).problem(400, "malformed-json");
    let twice = r#"{"title":"three","title":"four"}"#;
    patch("application/merge-patch+json", twice).refuses(&[("/title", "duplicate")]);
    assert_eq!(caller.get(&path).json()["title"], "two");
}

fn a_patch_may_have_64_kib(server: &Signpost) {
    let caller = server.caller();
    let path = format!("/api/v1/links/{}", caller.code("https://example.com/padded"));
    let patch = |length: usize| {
        let body = padded(r#"{"title":"padded"}"#, length);
        caller.ask(&caller.request("PATCH", &path).header("Content-Type", "application/json").body(body))
    };
    patch(65_536).with_status(200);
    patch(65_537).problem(413, "payload-too-large");
}

fn an_edit_needs_a_key_that_may_write(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/scoped");
    let reader = server.caller_of(&caller.owner, &["links:read"]);
    reader.edit(&code, &json!({"title": "new"})).problem(403, "forbidden");
    server.caller_of(&unique("owner"), &["admin"]).edit(&code, &json!({"title": "new"})).with_status(200);
}
