//! `/api/v1/keys`: create, list and revoke API keys.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{PATIENCE, Request, Setup, Signpost, eventually, next_page, unique};

/// Within this time every process refuses a revoked key.
const REVOKED: Duration = Duration::from_secs(5);

on_both_stores! {
    a_secret_is_shown_only_once,
    a_key_sees_the_links_of_its_owner,
    a_revoked_key_is_refused,
    an_expired_key_is_refused,
    a_repeated_request_makes_one_key_and_shows_it_again,
    two_keys_of_an_owner_work_side_by_side,
    a_key_may_have_only_the_scope_to_create,
    keys_are_listed_newest_first_in_pages,
    the_last_use_of_a_key_is_recorded,
    everything_wrong_with_a_key_is_named_at_once,
    only_administrators_manage_keys,
    a_missing_key_is_not_found,
}

fn a_secret_is_shown_only_once(server: &Signpost) {
    let owner = unique("owner");
    let body = json!({
        "name": "Köy", "owner": owner, "scopes": ["links:write", "links:read", "links:read"],
        "expires_at": "2099-01-01T00:00:00Z",
    });
    let answer = server.admin().post("/api/v1/keys", &body);
    let made = answer.with_status(201).json();
    let (id, secret) = (made["id"].as_str().expect("an id"), made["key"].as_str().expect("a key"));
    assert_eq!(answer.header("location"), Some(format!("/api/v1/keys/{id}").as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert!(secret.starts_with(&format!("sgn_{id}")) && secret.len() == 52, "{made}");

    let mut expected = json!({
        "id": id, "name": "Köy", "owner": owner, "scopes": ["links:read", "links:write"], "domains": [],
        "created_at": made["created_at"], "created_by": format!("api_key:{}", server.admin().key_id),
        "expires_at": "2099-01-01T00:00:00.000000Z", "last_used_at": null, "revoked_at": null, "revoked_by": null,
    });
    assert_eq!(listed(server, id), expected);
    expected["key"] = json!(secret);
    assert_eq!(made, expected);
    // The secret is in that one answer only.
    assert!(!everything_listed(server).contains(&secret[16..]));
    assert!(!server.output().contains(&secret[16..]));
    assert!(!server.complaints().contains(&secret[16..]));
}

fn a_key_sees_the_links_of_its_owner(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/owned");
    let colleague = server.caller_of(&caller.owner, &["links:read"]);
    colleague.read(&code).with_status(200);
    server.caller().read(&code).problem(404, "not-found");
    let by_default = json!({"name": "default", "scopes": ["links:read"]});
    let made = server.admin().post("/api/v1/keys", &by_default).with_status(201).json();
    assert_eq!(made["owner"], "default");
}

fn a_revoked_key_is_refused(server: &Signpost) {
    let caller = server.caller();
    caller.get("/api/v1/links").with_status(200);
    revoke(server, &caller.key_id);
    caller.get("/api/v1/links").problem(401, "unauthenticated");
    caller.claim(&json!({"url": "https://example.com/"})).problem(401, "unauthenticated");
    let revoked = listed(server, &caller.key_id);
    assert!(revoked["revoked_at"].is_string(), "{revoked}");
    assert_eq!(revoked["revoked_by"], format!("api_key:{}", server.admin().key_id));
    revoke(server, &caller.key_id);
    assert_eq!(listed(server, &caller.key_id)["revoked_at"], revoked["revoked_at"]);
}

fn an_expired_key_is_refused(server: &Signpost) {
    let caller = server.caller();
    // The server's clock decides: a link that lives for three seconds ends when the key does.
    let link = caller.link(&json!({"url": "https://example.com/clock", "expires_in": "3s"}));
    let body =
        json!({"name": "brief", "owner": caller.owner, "scopes": ["links:read"], "expires_at": link["expires_at"]});
    let made = server.admin().post("/api/v1/keys", &body).with_status(201).json();
    let request = Request::get("/api/v1/links").key(made["key"].as_str().expect("a key"));
    server.ask(&request).with_status(200);
    let refused = || server.ask(&request).status == 401;
    assert!(eventually(PATIENCE, refused));
    server.ask(&request).problem(401, "unauthenticated");
}

fn a_repeated_request_makes_one_key_and_shows_it_again(server: &Signpost) {
    let admin = server.admin();
    let owner = unique("owner");
    let request = |name: &str, key: &str| {
        let body = json!({"name": name, "owner": owner, "scopes": ["links:read"]});
        admin.ask(&admin.request("POST", "/api/v1/keys").json(&body).header("Idempotency-Key", key))
    };
    let word = unique("make-a-key");
    let first = request("once", &word);
    assert_eq!(request("once", &word).with_status(201).text(), first.with_status(201).text());
    request("another", &word).problem(422, "idempotency-key-reused");
    let made = admin.walk("/api/v1/keys?limit=100").into_iter().filter(|key| key["owner"] == owner.as_str());
    assert_eq!(made.count(), 1);
    let key = first.json()["key"].as_str().expect("a key").to_owned();
    server.ask(&Request::get("/api/v1/links").key(&key)).with_status(200);
}

fn two_keys_of_an_owner_work_side_by_side(server: &Signpost) {
    let old = server.caller();
    let new = server.caller_of(&old.owner, &["links:read", "links:write"]);
    assert_ne!(old.key, new.key);
    let code = old.code("https://example.com/rotated");
    new.read(&code).with_status(200);
    revoke(server, &old.key_id);
    new.edit(&code, &json!({"title": "still ours"})).with_status(200);
}

fn keys_are_listed_newest_first_in_pages(server: &Signpost) {
    let made: Vec<_> = (0..3).map(|_| server.caller().key_id).collect();
    let ids = |keys: &[Value]| -> Vec<String> {
        keys.iter()
            .filter_map(|key| key["id"].as_str())
            .filter(|id| made.iter().any(|ours| ours == id))
            .map(str::to_owned)
            .collect()
    };
    let mut newest_first = made.clone();
    newest_first.reverse();
    assert_eq!(ids(&server.admin().walk("/api/v1/keys?limit=2")), newest_first);
    assert_eq!(ids(&server.admin().walk("/api/v1/keys")), newest_first);

    let admin = server.admin();
    let page = admin.get("/api/v1/keys?limit=1");
    assert_eq!(page.with_status(200).json()["items"].as_array().expect("items").len(), 1);
    let next = next_page(&page).expect("there are more");
    admin.get(&format!("{next}A")).problem(400, "invalid-cursor");
    admin
        .get("/api/v1/keys?limit=0&owner=x")
        .refuses(&[("query/limit", "out-of-range"), ("query/owner", "unknown-parameter")]);
}

fn the_last_use_of_a_key_is_recorded(server: &Signpost) {
    let caller = server.caller();
    assert_eq!(listed(server, &caller.key_id)["last_used_at"], Value::Null);
    caller.get("/api/v1/links").with_status(200);
    let noted = || listed(server, &caller.key_id)["last_used_at"].is_string();
    assert!(eventually(PATIENCE, noted));
}

fn everything_wrong_with_a_key_is_named_at_once(server: &Signpost) {
    let admin = server.admin();
    let make = |body: Value| admin.post("/api/v1/keys", &body);
    make(json!({})).refuses(&[("/name", "required"), ("/scopes", "required")]);
    make(json!({
        "name": "", "owner": "No Owner", "scopes": ["links:read", "root"], "expires_at": "2020-01-01T00:00:00Z",
        "id": "chosen", "key": "sgn_chosen",
    }))
    .refuses(&[
        ("/name", "empty"),
        ("/owner", "character"),
        ("/scopes/1", "unknown-scope"),
        ("/expires_at", "not-in-future"),
        ("/id", "unknown-field"),
        ("/key", "unknown-field"),
    ]);
    make(json!({"name": "x".repeat(101), "scopes": []})).refuses(&[("/name", "too-long"), ("/scopes", "empty")]);
    make(json!({"name": "x", "scopes": "admin"})).refuses(&[("/scopes", "wrong-type")]);
}

fn only_administrators_manage_keys(server: &Signpost) {
    let everything_else = server.caller_of(&unique("owner"), &["links:read", "links:write", "stats:read"]);
    everything_else.get("/api/v1/keys").problem(403, "forbidden");
    let more = json!({"name": "more", "scopes": ["admin"]});
    everything_else.post("/api/v1/keys", &more).problem(403, "forbidden");
    let own = format!("/api/v1/keys/{}", everything_else.key_id);
    everything_else.ask(&everything_else.request("DELETE", &own)).problem(403, "forbidden");
    everything_else.get("/api/v1/links").with_status(200);
    for (method, target) in [("GET", "/api/v1/keys"), ("POST", "/api/v1/keys"), ("DELETE", own.as_str())] {
        server.ask(&Request::new(method, target)).problem(401, "unauthenticated");
    }
}

fn a_missing_key_is_not_found(server: &Signpost) {
    let admin = server.admin();
    for id in ["AAAAAAAAAAAA", "short", "with.a.dot"] {
        admin.ask(&admin.request("DELETE", &format!("/api/v1/keys/{id}"))).problem(404, "not-found");
    }
}

alone_on_both_stores! { the_command_line_manages_keys_of_a_running_server }

fn the_command_line_manages_keys_of_a_running_server(setup: &Setup) {
    let server = setup.start();
    let made = setup.run(&[
        "keys",
        "create",
        "--name",
        "By hand",
        "--owner",
        "ops",
        "--scope",
        "links:read,links:write",
        "--expires-at",
        "2099-01-01T00:00:00Z",
    ]);
    assert_eq!(made.code, Some(0), "{made:?}");
    let key = made.out.trim_end();
    let id = &key[4..16];
    assert!(made.err.contains(id) && !made.err.contains(&key[16..]), "{made:?}");

    let links = || server.ask(&Request::get("/api/v1/links").key(key)).status;
    assert_eq!(links(), 200);
    let told = setup.run(&["keys", "list"]);
    let line = told.out.lines().find(|line| line.starts_with(id)).expect("the key is listed");
    assert!(line.contains("By hand") && line.contains("ops") && line.contains("links:read,links:write"), "{line}");
    assert!(!told.out.contains(&key[16..]), "{told:?}");

    // The key itself contains its id.
    let revoked = setup.run(&["keys", "revoke", key]);
    assert_eq!((revoked.code, revoked.out.trim_end()), (Some(0), format!("revoked {id}").as_str()));
    assert!(eventually(REVOKED, || links() == 401), "it opens what it opened");
    let told = setup.run(&["keys", "list"]);
    assert!(told.out.lines().any(|line| line.starts_with(id) && line.contains("revoked")), "{told:?}");

    for wrong in [
        &["keys", "revoke", "AAAAAAAAAAAA"][..],
        &["keys", "revoke", "no-id"][..],
        &["keys", "revoke", "sgn_hunter2"][..],
        &["keys", "create", "--name", "x", "--scope", "root"][..],
        &["keys", "create", "--name", "x", "--scope", "admin", "--owner", "No Owner"][..],
        &["keys", "create", "--name", "x", "--scope", "admin", "--expires-at", "soon"][..],
        &["keys", "create", "--name", "x", "--scope", "admin", "--expires-at", "2020-01-01T00:00:00Z"][..],
    ] {
        let told = setup.run(wrong);
        assert!(
            told.code == Some(1) && told.out.is_empty() && told.err.starts_with("signpost: "),
            "{wrong:?}: {told:?}"
        );
        assert!(!told.err.contains("hunter2"), "{told:?}");
    }
}

#[test]
fn a_key_revoked_at_one_process_is_refused_at_another() {
    let one = Signpost::on_postgres().start();
    let other = one.another().start();
    let caller = one.caller();
    caller.at(&other).get("/api/v1/links").with_status(200);
    revoke(&one, &caller.key_id);
    caller.get("/api/v1/links").problem(401, "unauthenticated");
    let refused = || caller.at(&other).get("/api/v1/links").status == 401;
    assert!(eventually(REVOKED, refused), "it opens what it opened");
}

#[track_caller]
fn revoke(server: &Signpost, id: &str) {
    let admin = server.admin();
    admin.ask(&admin.request("DELETE", &format!("/api/v1/keys/{id}"))).with_status(204);
}

/// A key as the list shows it.
#[track_caller]
fn listed(server: &Signpost, id: &str) -> Value {
    let keys = server.admin().walk("/api/v1/keys?limit=100");
    keys.into_iter().find(|key| key["id"] == id).expect("keys stay listed")
}

fn everything_listed(server: &Signpost) -> String {
    json!(server.admin().walk("/api/v1/keys?limit=100")).to_string()
}

fn a_key_may_have_only_the_scope_to_create(server: &Signpost) {
    let caller = server.caller_of(&unique("owner"), &["links:create"]);
    let code = caller.code("https://example.com/created");
    assert_eq!(
        caller.batch(&[json!({"url": "https://example.com/more"})]).with_status(200).json()["summary"]["created"],
        1
    );
    caller.read(&code).problem(403, "forbidden");
    caller.edit(&code, &json!({"title": "x"})).problem(403, "forbidden");
    caller.delete(&code).problem(403, "forbidden");
    caller.reactivate(&code).problem(403, "forbidden");
    caller.get("/api/v1/links").problem(403, "forbidden");
}
