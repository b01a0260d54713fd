//! `GET /api/v1/links/{code}/history`: the events of a link.

use serde_json::{Value, json};

use crate::support::{Signpost, code_of, next_page, unique};

on_both_stores! {
    every_change_leaves_one_event_newest_first,
    an_event_names_its_actor_and_request,
    requests_that_change_nothing_write_no_event,
    pages_follow_each_other_until_the_first_event,
    wrong_parameters_and_cursors_are_refused,
    history_needs_a_key_that_may_read,
}

fn every_change_leaves_one_event_newest_first(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/eventful");
    caller.edit(&code, &json!({"title": "new"})).with_status(200);
    caller.delete(&code).with_status(200);
    caller.reactivate(&code).with_status(200);
    caller.delete(&code).with_status(200);
    caller.claim(&json!({"url": "https://example.com/eventful"})).with_status(200);
    let events = caller.history(&code);
    let told: Vec<_> = events.iter().map(|event| (event["event"].as_str(), event["generation"].as_i64())).collect();
    let expected: [(&str, i64); 6] =
        [("reactivated", 6), ("deleted", 5), ("reactivated", 4), ("deleted", 3), ("edited", 2), ("created", 1)];
    assert_eq!(told, expected.map(|(event, generation)| (Some(event), Some(generation))));
    let link = caller.read(&code).json();
    assert_eq!(events[0]["at"], link["updated_at"]);
    assert_eq!(events[5]["at"], link["created_at"]);
}

fn an_event_names_its_actor_and_request(server: &Signpost) {
    let caller = server.caller();
    let claim = caller.claiming(&json!({"url": "https://example.com/traced"})).header("X-Request-Id", "claim.1");
    let code = code_of(&caller.ask(&claim).with_status(201).json());
    let colleague = server.caller_of(&caller.owner, &["links:write"]);
    colleague.ask(&colleague.deleting(&code).header("X-Request-Id", "delete_2")).with_status(200);
    let back = server.admin().reactivate(&code);
    let events = caller.history(&code);
    let told = |index: usize| (&events[index]["actor"], &events[index]["request_id"]);
    let actor = |id: &str| json!(format!("api_key:{id}"));
    assert_eq!(told(2), (&actor(&caller.key_id), &json!("claim.1")));
    assert_eq!(told(1), (&actor(&colleague.key_id), &json!("delete_2")));
    assert_eq!(told(0), (&actor(&server.admin().key_id), &json!(back.header("x-request-id"))));
    let fields: Vec<_> = events[0].as_object().expect("an object").keys().map(String::as_str).collect();
    assert_eq!(fields.len(), 5, "{fields:?}");
}

fn requests_that_change_nothing_write_no_event(server: &Signpost) {
    let caller = server.caller();
    let body = json!({"url": "https://example.com/quiet"});
    let code = caller.code("https://example.com/quiet");
    caller.claim(&body).with_status(200);
    caller.reactivate(&code).with_status(200);
    caller.edit(&code, &json!({})).with_status(200);
    caller.edit(&code, &json!({"url": "ftp://example.com/"})).problem(422, "validation-failed");
    caller.ask(&caller.deleting(&code).header("If-Match", "\"9\"")).problem(412, "stale");
    caller.read(&code).with_status(200);
    server.get(&format!("/{code}")).with_status(302);
    assert_eq!(caller.history(&code).len(), 1);
}

fn pages_follow_each_other_until_the_first_event(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/long");
    for number in 2..=7 {
        caller.edit(&code, &json!({"title": format!("{number}")})).with_status(200);
    }
    let path = format!("/api/v1/links/{code}/history");
    let walked = caller.walk(&format!("{path}?limit=3"));
    let generations: Vec<_> = walked.iter().map(|event| event["generation"].as_i64()).collect();
    assert_eq!(generations, [7_i64, 6, 5, 4, 3, 2, 1].map(Some));
    assert_eq!(next_page(&caller.get(&format!("{path}?limit=7"))), None);
    // A new event moves no page: a page begins where the one before ended.
    let second = next_page(&caller.get(&format!("{path}?limit=3"))).expect("there is a second page");
    caller.delete(&code).with_status(200);
    assert_eq!(caller.get(&second).with_status(200).json()["items"][0]["generation"], 4);
}

fn wrong_parameters_and_cursors_are_refused(server: &Signpost) {
    let caller = server.caller();
    let (code, other) = (caller.code("https://example.com/one"), caller.code("https://example.com/other"));
    caller.edit(&code, &json!({"title": "new"})).with_status(200);
    let get = |code: &str, query: &str| caller.get(&format!("/api/v1/links/{code}/history?{query}"));
    get(&code, "limit=0").refuses(&[("query/limit", "out-of-range")]);
    get(&code, "limit=101&state=active")
        .refuses(&[("query/limit", "out-of-range"), ("query/state", "unknown-parameter")]);
    let page = get(&code, "limit=1").with_status(200).json();
    let cursor = page["next_cursor"].as_str().expect("there is a second page");
    get(&code, &format!("cursor={cursor}")).with_status(200);
    get(&code, &format!("cursor={cursor}A")).problem(400, "invalid-cursor");
    get(&other, &format!("cursor={cursor}")).problem(400, "invalid-cursor");
}

fn history_needs_a_key_that_may_read(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/scoped");
    let path = format!("/api/v1/links/{code}/history");
    server.get(&path).problem(401, "unauthenticated");
    server.caller_of(&caller.owner, &["links:write"]).get(&path).problem(403, "forbidden");
    server.caller_of(&unique("owner"), &["links:read"]).get(&path).problem(404, "not-found");
    let seen = server.admin().get(&path).with_status(200).json();
    assert_eq!(seen["next_cursor"], Value::Null);
}
