//! `POST /api/v1/links/batch`: many claims, each with a result of its own.

use serde_json::{Value, json};

use crate::support::{PATIENCE, Signpost, code_of, eventually, padded, unique};

on_both_stores! {
    each_claim_is_answered_in_its_place,
    a_claim_given_twice_creates_one_link,
    known_and_deleted_links_are_found_among_new_ones,
    the_log_counts_the_links_that_were_made,
    a_batch_of_invalid_claims_is_no_error,
    a_thousand_claims_fit_and_one_more_does_not,
    a_body_may_have_one_mib,
    a_body_that_is_no_batch_is_refused,
    a_repeated_batch_has_one_effect_and_one_answer,
    a_repeated_batch_gets_the_same_answer_although_other_claims_are_refused_now,
    the_number_of_problems_in_one_batch_is_bounded,
    a_batch_needs_a_key_that_may_write,
}

fn each_claim_is_answered_in_its_place(server: &Signpost) {
    let (caller, stranger) = (server.caller(), server.caller());
    let (free, taken) = (unique("free"), unique("taken"));
    stranger.link(&json!({"url": "https://example.com/", "alias": taken}));
    let answer = caller.batch(&[
        json!({"url": "https://example.com/0"}),
        json!({"url": "javascript:alert(1)", "tags": [""]}),
        json!({"url": "https://example.com/2", "alias": free}),
        json!({"url": "https://example.com/3", "alias": taken}),
        json!({"url": "https://example.com/4", "alias": free}),
        json!(5),
        json!({"url": "https://example.com/6", "redirect": 307}),
    ]);
    let body = answer.with_status(200).json();
    assert_eq!(body["summary"], json!({"created": 3, "existing": 0, "reactivated": 0, "failed": 4}));

    let results = body["results"].as_array().expect("a list");
    assert_eq!(results.len(), 7);
    for (index, result) in results.iter().enumerate() {
        assert_eq!(result["index"], index);
    }
    for index in [0, 2, 6] {
        let result = &results[index];
        assert_eq!(result["outcome"], "created");
        assert_eq!(result["link"]["url"], format!("https://example.com/{index}"));
        assert_eq!(caller.read(&code_of(&result["link"])).with_status(200).json(), result["link"]);
    }
    assert_eq!(results[6]["link"]["redirect"], 307);
    let problem = |index: usize| (&results[index]["problem"]["code"], faults(&results[index]["problem"]));
    let two = vec![("/links/1/url", "scheme"), ("/links/1/tags/0", "empty")];
    assert_eq!(problem(1), (&json!("validation-failed"), two));
    assert_eq!(problem(3), (&json!("alias-taken"), vec![]));
    assert_eq!(problem(4), (&json!("alias-taken"), vec![]));
    let no_object = vec![("/links/5", "wrong-type"), ("/links/5/url", "required")];
    assert_eq!(problem(5), (&json!("validation-failed"), no_object));
    assert_eq!(results[3]["problem"]["status"], 409);
    assert_eq!(results[3]["problem"]["request_id"].as_str(), answer.header("x-request-id"));
}

fn a_claim_given_twice_creates_one_link(server: &Signpost) {
    let caller = server.caller();
    let alias = unique("twice");
    let plain = json!({"url": "https://example.com/twice"});
    let named = json!({"url": "https://example.com/twice", "alias": alias});
    let body = caller.batch(&[plain.clone(), named.clone(), plain, named]).with_status(200).json();
    assert_eq!(body["summary"], json!({"created": 2, "existing": 2, "reactivated": 0, "failed": 0}));
    let links: Vec<_> = body["results"].as_array().expect("a list").iter().map(|result| &result["link"]).collect();
    assert_eq!((links[0], links[1]), (links[2], links[3]));
    assert_ne!(links[0]["code"], links[1]["code"]);
    assert_eq!(caller.walk("/api/v1/links").len(), 2);
}

fn known_and_deleted_links_are_found_among_new_ones(server: &Signpost) {
    let caller = server.caller();
    let known = caller.code("https://example.com/known");
    let deleted = caller.code("https://example.com/deleted");
    caller.delete(&deleted).with_status(200);
    let claims: Vec<_> =
        ["deleted", "known", "new"].iter().map(|path| json!({"url": format!("https://example.com/{path}")})).collect();
    let body = caller.batch(&claims).with_status(200).json();
    assert_eq!(body["summary"], json!({"created": 1, "existing": 1, "reactivated": 1, "failed": 0}));
    assert_eq!(body["results"][0]["outcome"], "reactivated");
    assert_eq!(body["results"][0]["link"]["code"], deleted.as_str());
    assert_eq!(body["results"][0]["link"]["generation"], 3);
    assert_eq!(body["results"][1]["outcome"], "existing");
    assert_eq!(body["results"][1]["link"]["code"], known.as_str());
    assert_eq!(body["results"][2]["outcome"], "created");
}

/// A wave of new links has to show in the log, whichever client makes it.
fn the_log_counts_the_links_that_were_made(server: &Signpost) {
    let caller = server.caller();
    let made = json!({"url": format!("https://example.com/{}", unique("counted"))});
    let answer = caller.batch(&[made.clone(), made, json!({"url": "ftp://example.com/"})]);
    let id = answer.header("x-request-id").expect("every answer names its request").to_owned();
    let line = || server.log().into_iter().find(|line| line["request_id"] == id.as_str());
    assert!(eventually(PATIENCE, || line().is_some()), "there is no line");
    let line = line().expect("there is one");
    let count = |name: &str| line[name].as_u64().expect("a number");
    let counts = ["batch.created", "batch.existing", "batch.reactivated", "batch.failed"].map(count);
    assert_eq!(counts, [1, 1, 0, 1]);
}

fn a_batch_of_invalid_claims_is_no_error(server: &Signpost) {
    let body = server.caller().batch(&[json!({}), json!({"url": ""})]).with_status(200).json();
    assert_eq!(body["summary"], json!({"created": 0, "existing": 0, "reactivated": 0, "failed": 2}));
}

fn a_thousand_claims_fit_and_one_more_does_not(server: &Signpost) {
    let caller = server.caller();
    let claims: Vec<_> = (0..1_001).map(|number| json!({"url": format!("https://example.com/{number}")})).collect();
    caller.batch(&claims).refuses(&[("/links", "too-many")]);
    assert!(caller.walk("/api/v1/links").is_empty());
    let body = caller.batch(&claims[..1_000]).with_status(200).json();
    assert_eq!(body["summary"]["created"], 1_000);
    let in_order = |(index, result): (usize, &Value)| result["link"]["url"] == claims[index]["url"];
    assert!(body["results"].as_array().expect("a list").iter().enumerate().all(in_order));
}

fn a_body_may_have_one_mib(server: &Signpost) {
    let caller = server.caller();
    let batch = |length: usize| {
        let body = padded(r#"{"links":[{"url":"https://example.com/large"}]}"#, length);
        let request = caller.request("POST", "/api/v1/links/batch").header("Content-Type", "application/json");
        caller.ask(&request.body(body))
    };
    batch(1024 * 1024).with_status(200);
    batch(1024 * 1024 + 1).problem(413, "payload-too-large");
}

fn a_body_that_is_no_batch_is_refused(server: &Signpost) {
    let caller = server.caller();
    caller.batch(&[]).refuses(&[("/links", "empty")]);
    let post = |body: Value| caller.post("/api/v1/links/batch", &body);
    post(json!({})).refuses(&[("/links", "required")]);
    post(json!({"links": {}})).refuses(&[("/links", "wrong-type")]);
    post(json!([])).refuses(&[("", "wrong-type"), ("/links", "required")]);
    let claim = json!({"url": "https://example.com/"});
    post(json!({"links": [claim], "atomic": true})).refuses(&[("/atomic", "unknown-field")]);
    assert!(caller.walk("/api/v1/links").is_empty());
}

fn a_repeated_batch_has_one_effect_and_one_answer(server: &Signpost) {
    let caller = server.caller();
    let links = json!({"links": [
        {"url": "https://example.com/a", "force_new": true},
        {"url": "https://example.com/b", "force_new": true},
    ]});
    let request = caller.request("POST", "/api/v1/links/batch").json(&links).header("Idempotency-Key", "batch-1");
    let first = caller.ask(&request);
    assert_eq!(first.with_status(200).json()["summary"]["created"], 2);
    assert_eq!(caller.ask(&request).with_status(200).text(), first.text());
    assert_eq!(caller.walk("/api/v1/links").len(), 2);
}

fn a_repeated_batch_gets_the_same_answer_although_other_claims_are_refused_now(server: &Signpost) {
    let (caller, admin) = (server.caller(), server.admin());
    let (host, other) = (format!("{}.example", unique("first")), format!("{}.example", unique("second")));
    let block = |host: &str| {
        let body = json!({"kind": "host", "value": host, "reason": "phishing"});
        admin.post("/api/v1/blocks", &body).with_status(201).json()["id"].as_str().expect("an id").to_owned()
    };
    let url = |host: &str| json!({"url": format!("https://{host}/"), "force_new": true});
    let some = json!({"links": [url(&host), url(&other), {"nonsense": 1}, url(&other)]});
    let none = json!({"links": [url(&host), {"nonsense": 1}]});
    let send = |key: &str, links: &Value| {
        let request = caller.request("POST", "/api/v1/links/batch").json(links).header("Idempotency-Key", key);
        caller.ask(&request.header("X-Request-Id", "the-same")).with_status(200).text()
    };
    let first = block(&host);
    let (partly, not_at_all) = (send("partly", &some), send("not-at-all", &none));
    let summary = |text: &str| serde_json::from_str::<Value>(text).expect("JSON")["summary"].clone();
    assert_eq!(summary(&partly), json!({"created": 2, "existing": 0, "reactivated": 0, "failed": 2}));
    assert_eq!(summary(&not_at_all)["failed"], 2);
    // Now a new request would create what was refused, and refuse what was created.
    admin.ask(&admin.request("DELETE", &format!("/api/v1/blocks/{first}"))).with_status(204);
    block(&other);
    assert_eq!(send("partly", &some), partly);
    assert_eq!(send("not-at-all", &none), not_at_all);
    assert_eq!(caller.walk("/api/v1/links").len(), 2);
}

fn the_number_of_problems_in_one_batch_is_bounded(server: &Signpost) {
    let caller = server.caller();
    let faulty: serde_json::Map<_, _> = (0..150).map(|n| (format!("f{n}"), json!(1))).collect();
    let answer = caller.batch(&vec![Value::Object(faulty); 200]);
    let results = answer.with_status(200).json()["results"].as_array().expect("an array").clone();
    let named: Vec<_> = results.iter().map(|result| faults(&result["problem"]).len()).collect();
    assert_eq!(named.len(), 200);
    assert!(named[0] == 100 && named[1..].iter().all(|count| *count == 1), "{named:?}");
    let says_so =
        |result: &Value| result["problem"]["detail"].as_str().is_some_and(|text| text.contains("More is wrong"));
    assert!(results.iter().all(says_so), "{:?}", results[1]);
    let few = caller.batch(&[json!({"url": 1, "title": 2})]).with_status(200).json();
    assert!(!says_so(&few["results"][0]) && faults(&few["results"][0]["problem"]).len() == 2, "{few}");
}

fn a_batch_needs_a_key_that_may_write(server: &Signpost) {
    let reader = server.caller_of(&unique("owner"), &["links:read"]);
    reader.batch(&[json!({"url": "https://example.com/"})]).problem(403, "forbidden");
    let bare = crate::support::Request::post("/api/v1/links/batch").json(&json!({"links": []}));
    server.ask(&bare).problem(401, "unauthenticated");
}

fn faults(problem: &Value) -> Vec<(&str, &str)> {
    let errors = problem["errors"].as_array().into_iter().flatten();
    errors.filter_map(|error| Some((error["pointer"].as_str()?, error["code"].as_str()?))).collect()
}
