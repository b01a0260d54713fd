//! `POST /api/v1/links/{code}/reactivate`: reactivate a deleted link.

use serde_json::{Value, json};

use crate::support::{PATIENCE, Signpost, code_of, eventually, unique};

on_both_stores! {
    a_link_comes_back_as_it_was,
    reactivating_an_active_link_changes_nothing,
    only_the_generation_in_if_match_is_reactivated,
    an_expired_link_comes_back_expired,
    a_missing_link_is_not_found,
    reactivating_needs_a_key_that_may_write,
}

fn a_link_comes_back_as_it_was(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/back");
    caller.edit(&code, &json!({"title": "Kept", "redirect": 308})).with_status(200);
    caller.delete(&code).with_status(200);
    let answer = caller.reactivate(&code);
    let link = answer.with_status(200).json();
    assert_eq!(answer.header("etag"), Some("\"4\""));
    assert_eq!(link["state"], "active");
    assert_eq!(link["title"], "Kept");
    assert_eq!(link["deleted_at"], Value::Null);
    assert_eq!(link["reactivated_at"], link["updated_at"]);
    server.get(&format!("/{code}")).with_status(308);
}

fn reactivating_an_active_link_changes_nothing(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/active");
    let link = caller.read(&code).json();
    assert_eq!(caller.reactivate(&code).with_status(200).json(), link);
    assert_eq!(caller.history(&code).len(), 1);
}

fn only_the_generation_in_if_match_is_reactivated(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/matched");
    caller.delete(&code).with_status(200);
    let reactivate = |tags: &str| caller.ask(&caller.reactivating(&code).header("If-Match", tags));
    for never in ["", "2", "W/\"2\"", "\"1\""] {
        reactivate(never).problem(412, "stale");
    }
    assert_eq!(caller.read(&code).json()["state"], "deleted");
    reactivate("\"2\"").with_status(200);
    reactivate("\"2\"").problem(412, "stale");
}

fn an_expired_link_comes_back_expired(server: &Signpost) {
    let caller = server.caller();
    let link = caller.link(&json!({"url": "https://example.com/brief", "expires_in": "1s"}));
    let code = code_of(&link);
    caller.delete(&code).with_status(200);
    let expired = || caller.read(&code).json()["expired"] == true;
    assert!(eventually(PATIENCE, expired));
    assert_eq!(caller.reactivate(&code).with_status(200).json()["state"], "active");
    server.get(&format!("/{code}")).problem(410, "gone");
}

fn a_missing_link_is_not_found(server: &Signpost) {
    let caller = server.caller();
    caller.reactivate("zzzzzzzz").problem(404, "not-found");
    caller.reactivate("no.code").problem(404, "not-found");
}

fn reactivating_needs_a_key_that_may_write(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/scoped");
    caller.delete(&code).with_status(200);
    server.caller_of(&caller.owner, &["links:read"]).reactivate(&code).problem(403, "forbidden");
    server.caller_of(&unique("owner"), &["links:write"]).reactivate(&code).problem(404, "not-found");
    assert_eq!(caller.read(&code).json()["state"], "deleted");
}
