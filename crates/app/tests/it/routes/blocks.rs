//! `/api/v1/blocks`: taking links down, and lifting takedowns.

use std::{fs, time::Duration};

use serde_json::{Value, json};

use crate::support::{Answer, Caller, PATIENCE, Request, Setup, Signpost, Store, eventually, unique};

/// Within this time every process applies a takedown.
const KNOWN: Duration = Duration::from_secs(5);

on_both_stores! {
    a_link_is_blocked_by_code_host_or_owner_and_unblocked,
    a_block_is_shown_in_full_and_stays_listed_when_it_is_lifted,
    a_blocked_host_is_refused_as_a_target,
    a_blocked_owner_cannot_create_links,
    wrong_fields_are_named,
    only_administrators_take_links_down,
}

alone_on_both_stores! {
    the_server_applies_blocks_of_the_command_line,
    the_block_file_works_while_the_store_accepts_no_writes,
    callers_without_a_key_can_be_blocked_too,
}

fn block(server: &Signpost, kind: &str, value: &str) -> Answer {
    server.admin().post("/api/v1/blocks", &json!({"kind": kind, "value": value, "reason": "phishing, ticket 7"}))
}

fn lift(server: &Signpost, block: &Value) -> Answer {
    let id = block["id"].as_str().expect("a block has an id");
    let admin = server.admin();
    admin.ask(&admin.request("DELETE", &format!("/api/v1/blocks/{id}")))
}

fn follow(server: &Signpost, code: &str) -> Answer {
    server.get(&format!("/{code}"))
}

fn a_link_is_blocked_by_code_host_or_owner_and_unblocked(server: &Signpost) {
    let caller = server.caller();
    let host = format!("{}.example.com", unique("down"));
    let code = caller.code(&format!("https://www.{host}/page"));
    for (kind, value) in [("code", code.as_str()), ("host", &host), ("owner", &caller.owner)] {
        follow(server, &code).with_status(302);
        let block = block(server, kind, value).with_status(201).json();
        for path in [format!("/{code}"), format!("/{code}+")] {
            let answer = server.get(&path);
            answer.problem(451, "blocked");
            assert_eq!(answer.header("cache-control"), Some("no-store"));
            assert!(!answer.text().contains("phishing"), "visitors do not see why");
        }
        let page = server.ask(&Request::get(&format!("/{code}")).header("Accept", "text/html"));
        assert!(page.with_status(451).text().contains("This link was taken down"), "{page:?}");
        // The owner of the link sees it as it is.
        assert_eq!(caller.read(&code).with_status(200).json()["state"], "active");
        lift(server, &block).with_status(204);
        lift(server, &block).with_status(204);
        follow(server, &code).with_status(302);
    }
}

fn a_block_is_shown_in_full_and_stays_listed_when_it_is_lifted(server: &Signpost) {
    let admin = server.admin();
    let host = format!("{}.EXAMPLE.com.", unique("Told"));
    let made = block(server, "host", &host).with_status(201).json();
    assert_eq!((&made["kind"], &made["reason"]), (&json!("host"), &json!("phishing, ticket 7")));
    assert_eq!(made["value"], host.trim_end_matches('.').to_lowercase());
    assert_eq!(made["created_by"], format!("api_key:{}", admin.key_id));
    assert_eq!((&made["lifted_at"], &made["lifted_by"]), (&Value::Null, &Value::Null));
    assert_eq!(block(server, "host", &host).with_status(200).json(), made);

    let find = |query: &str| admin.walk(query).into_iter().find(|block| block["id"] == made["id"]);
    assert_eq!(find("/api/v1/blocks?limit=2").as_ref(), Some(&made));
    lift(server, &made).with_status(204);
    assert_eq!(find("/api/v1/blocks?limit=100"), None);
    let lifted = find("/api/v1/blocks?state=all&limit=100").expect("lifted blocks stay listed");
    assert_eq!(lifted["lifted_by"], made["created_by"]);
    assert!(lifted["lifted_at"].is_string());
    admin
        .ask(&admin.request("DELETE", "/api/v1/blocks/00000000-0000-0000-0000-000000000000"))
        .problem(404, "not-found");
    admin.ask(&admin.request("DELETE", "/api/v1/blocks/none")).problem(404, "not-found");
    admin.get("/api/v1/blocks?state=gone").problem(422, "validation-failed");
    admin.get("/api/v1/blocks?cursor=none").problem(400, "invalid-cursor");
}

fn a_blocked_host_is_refused_as_a_target(server: &Signpost) {
    let caller = server.caller();
    let host = format!("{}.example.com", unique("refused"));
    let made = block(server, "host", &host).with_status(201).json();
    let url = format!("https://www.{host}:8443/");
    caller.claim(&json!({"url": url})).refuses(&[("/url", "refused-host")]);
    let code = caller.code("https://example.com/");
    caller.edit(&code, &json!({"url": url})).refuses(&[("/url", "refused-host")]);
    lift(server, &made).with_status(204);
    caller.claim(&json!({"url": url})).with_status(201);
}

fn a_blocked_owner_cannot_create_links(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/");
    let made = block(server, "owner", &caller.owner).with_status(201).json();
    caller.claim(&json!({"url": "https://example.com/more"})).problem(403, "forbidden");
    caller.edit(&code, &json!({"title": "more"})).problem(403, "forbidden");
    // Before it is said whether the path names a link.
    caller.edit("no@code", &json!({"title": "more"})).problem(403, "forbidden");
    caller.delete("no@code").problem(403, "forbidden");
    caller.read(&code).with_status(200);
    lift(server, &made).with_status(204);
    caller.claim(&json!({"url": "https://example.com/more"})).with_status(201);
}

fn wrong_fields_are_named(server: &Signpost) {
    let admin = server.admin();
    let blocking = |body: Value| admin.post("/api/v1/blocks", &body);
    blocking(json!({"kind": "link", "value": "abc", "reason": "x"})).refuses(&[("/kind", "unknown-kind")]);
    blocking(json!({"kind": "host", "value": "https://example.com/", "reason": ""}))
        .refuses(&[("/value", "not-of-that-kind"), ("/reason", "empty")]);
    blocking(json!({"kind": "code", "value": "a b", "reason": "x", "until": "x"}))
        .refuses(&[("/value", "not-of-that-kind"), ("/until", "unknown-field")]);
    blocking(json!({})).refuses(&[("/kind", "required"), ("/value", "required"), ("/reason", "required")]);
}

fn only_administrators_take_links_down(server: &Signpost) {
    let caller = server.caller();
    caller.post("/api/v1/blocks", &json!({})).problem(403, "forbidden");
    caller.get("/api/v1/blocks").problem(403, "forbidden");
    server.get("/api/v1/blocks").problem(401, "unauthenticated");
}

#[test]
fn another_process_applies_and_lifts_a_block() {
    let one = Store::Postgres.setup().start();
    let other = one.another().start();
    let code = one.caller().code("https://www.example.com/page");
    follow(&other, &code).with_status(302);
    let made = block(&one, "host", "example.com").with_status(201).json();
    follow(&one, &code).with_status(451);
    assert!(eventually(KNOWN, || follow(&other, &code).status == 451), "the other process does not know");
    // A process that starts during the block never redirects.
    follow(&one.another().start(), &code).with_status(451);
    lift(&one, &made).with_status(204);
    assert!(eventually(KNOWN, || follow(&other, &code).status == 302), "the other process does not know");
}

/// For a full disk or a database that hangs: cached links do not redirect either, and revoked keys are refused.
fn the_block_file_works_while_the_store_accepts_no_writes(setup: &Setup) {
    let server = setup.start();
    let caller: Caller = server.caller();
    let [code, hosted, other] =
        ["https://a.example/", "https://www.evil.example/", "https://b.example/"].map(|url| caller.code(url));
    for code in [&code, &hosted, &other] {
        follow(&server, code).with_status(302);
    }
    let file = setup.data_dir().join("blocks.txt");
    let enforce = |text: &str| fs::write(&file, text).expect("the folder is ours");
    if setup.is_on_postgres() {
        server.database().sql("REVOKE ALL ON blocks, api_keys FROM CURRENT_USER").expect("the database is ours");
    }
    enforce(&format!("code {code}\nhost evil.example # ticket 9\nkey {}\n", caller.key_id));
    let known = eventually(KNOWN, || follow(&server, &code).status == 451 && follow(&server, &hosted).status == 451);
    assert!(known, "{:?}", server.log());
    follow(&server, &other).with_status(302);
    caller.get("/api/v1/links").problem(401, "unauthenticated");
    assert_eq!(server.event("blocks.file_loaded")["blocks.in_force"], 3);
    // A process that starts now reads the file before it serves.
    if !setup.is_on_postgres() {
        server.kill9();
        let again = setup.start();
        follow(&again, &code).with_status(451);
        enforce("");
        assert!(eventually(KNOWN, || follow(&again, &code).status == 302), "what no line names is in force");
        caller.at(&again).get("/api/v1/links").with_status(200);
        enforce("nonsense\n");
        let is_told = || again.get("/health").json()["status"] == "warn";
        assert!(eventually(KNOWN, is_told), "a line that says nothing is told");
    }
}

fn the_server_applies_blocks_of_the_command_line(setup: &Setup) {
    let one = setup.start();
    let caller: Caller = one.caller();
    let code = caller.code("https://www.example.com/page");

    let told = setup.run(&["block", "code", &code, "--reason", "court order 12"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    assert!(told.out.starts_with("blocked ") && told.out.contains("court order 12"), "{told:?}");
    assert!(!told.err.contains("note:"), "{told:?}");
    for (kind, value) in [("code", unique("no-code")), ("owner", unique("no-owner"))] {
        let told = setup.run(&["block", kind, &value, "--reason", "court order 13"]);
        assert!(told.code == Some(0) && told.err.contains(&format!("no link of the {kind} {value}")), "{told:?}");
    }
    let owned = setup.run(&["block", "owner", &caller.owner, "--reason", "court order 14"]);
    assert!(!owned.err.contains("note:"), "{owned:?}");
    let lifted = owned.out.split_whitespace().nth(1).expect("its id");
    assert_eq!(setup.run(&["block", "lift", lifted]).code, Some(0));
    assert!(eventually(KNOWN, || follow(&one, &code).status == 451), "the server does not know");
    let id = told.out.split_whitespace().nth(1).expect("its id").to_owned();
    assert!(setup.run(&["block", "list"]).out.contains(&id));
    assert_eq!(setup.run(&["block", "lift", &id]).code, Some(0));
    assert!(eventually(KNOWN, || follow(&one, &code).status == 302), "the server does not know");
    assert!(!setup.run(&["block", "list"]).out.contains(&id));
    assert!(setup.run(&["block", "list", "--all"]).out.contains("lifted"));
    for wrong in [&["block", "lift", "none"][..], &["block", "host", "a b", "--reason", "x"], &["block", "owner", "x"]]
    {
        assert_ne!(setup.run(wrong).code, Some(0), "{wrong:?}");
    }
}

/// A process that cannot read the blocks does not redirect.
#[test]
fn no_link_redirects_before_the_blocks_are_read() {
    let one = Signpost::on_postgres().start();
    let code = one.caller().code("https://example.com/");
    let rename = |from: &str, to: &str| one.database().sql(&format!("ALTER TABLE {from} RENAME TO {to}"));
    rename("blocks_revision", "away").expect("the table exists");
    let other = one.another().launch();
    other.event("store.unavailable");
    assert_eq!(other.get("/readyz").status, 503);
    follow(&other, &code).problem(503, "unavailable");
    rename("away", "blocks_revision").expect("the table exists");
    assert!(eventually(PATIENCE, || other.get("/readyz").status == 200), "{}", other.output());
    follow(&other, &code).with_status(302);
}

/// The state after a failover to a standby that missed the last takedowns.
#[test]
fn a_block_that_the_store_has_lost_is_not_in_force() {
    let server = Signpost::on_postgres().start();
    let code = server.caller().code("https://example.com/");
    block(&server, "code", &unique("another")).with_status(201);
    block(&server, "code", &code).with_status(201);
    follow(&server, &code).problem(451, "blocked");
    // The standby counts its own changes, so its revision may have the same number.
    let lost = "ALTER TABLE blocks DISABLE TRIGGER USER; TRUNCATE blocks; ALTER TABLE blocks ENABLE TRIGGER USER;
                UPDATE blocks_revision SET id = gen_random_uuid()";
    server.database().sql(lost).expect("the table exists");
    assert!(eventually(KNOWN, || follow(&server, &code).status == 302), "it goes on blocking");
}

fn callers_without_a_key_can_be_blocked_too(setup: &Setup) {
    let server = setup.clone().set("auth.anonymous", "shorten").start();
    let claim = || {
        server
            .ask(&Request::post("/api/v1/links").json(&json!({"url": format!("https://example.com/{}", unique("a"))})))
    };
    claim().with_status(201);
    let made = block(&server, "owner", "anonymous").with_status(201).json();
    claim().problem(403, "forbidden");
    lift(&server, &made).with_status(204);
    claim().with_status(201);
}
