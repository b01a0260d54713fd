//! `DELETE /api/v1/links/{code}`: stop a link. It can be reactivated.

use serde_json::json;

use crate::support::{Signpost, unique};

on_both_stores! {
    a_deleted_link_does_not_redirect,
    deleting_again_changes_nothing,
    only_the_generation_in_if_match_is_deleted,
    a_missing_link_is_not_found,
    deleting_needs_a_key_that_may_write,
}

fn a_deleted_link_does_not_redirect(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/short-lived");
    server.get(&format!("/{code}")).with_status(302);
    let answer = caller.delete(&code);
    let link = answer.with_status(200).json();
    assert_eq!(link["state"], "deleted");
    assert_eq!(link["generation"], 2);
    assert_eq!(link["deleted_at"], link["updated_at"]);
    assert_eq!(answer.header("etag"), Some("\"2\""));
    let gone = server.get(&format!("/{code}"));
    gone.problem(410, "gone");
    assert_eq!(gone.header("cache-control"), Some("no-store"));
    assert_eq!(gone.header("location"), None);
    server.get(&format!("/{code}+")).problem(410, "gone");
}

fn deleting_again_changes_nothing(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/twice");
    let first = caller.delete(&code);
    let again = caller.delete(&code);
    assert_eq!(again.with_status(200).text(), first.with_status(200).text());
    assert_eq!(caller.history(&code).len(), 2);
}

fn only_the_generation_in_if_match_is_deleted(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/matched");
    caller.edit(&code, &json!({"title": "two"})).with_status(200);
    let delete = |tags: &str| caller.ask(&caller.deleting(&code).header("If-Match", tags));
    for never in ["", "2", "W/\"2\"", "\"1\"", "\"3\""] {
        delete(never).problem(412, "stale");
    }
    assert_eq!(caller.read(&code).json()["state"], "active");
    delete("\"2\"").with_status(200);
    // An outdated generation is refused even if the request would change nothing.
    delete("\"2\"").problem(412, "stale");
    delete("\"3\"").with_status(200);
    delete("*").with_status(200);
    assert_eq!(caller.read(&code).json()["generation"], 3);
}

fn a_missing_link_is_not_found(server: &Signpost) {
    let caller = server.caller();
    caller.delete("zzzzzzzz").problem(404, "not-found");
    caller.delete("no.code").problem(404, "not-found");
}

fn deleting_needs_a_key_that_may_write(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/scoped");
    server.caller_of(&caller.owner, &["links:read"]).delete(&code).problem(403, "forbidden");
    server.caller_of(&unique("owner"), &["links:write"]).delete(&code).problem(404, "not-found");
    server.admin().delete(&code).with_status(200);
    assert_eq!(caller.read(&code).json()["state"], "deleted");
}
