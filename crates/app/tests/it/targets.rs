//! Lists of hosts that are refused as targets, and that change while the server runs.

use std::{fs, path::PathBuf};

use rustix::process::Signal;
use serde_json::json;

use crate::support::{Caller, PATIENCE, Setup, Signpost, eventually, unique};

fn refusing(setup: &Setup, list: &str) -> (PathBuf, Setup) {
    let file = setup.data_dir().with_extension(unique("list"));
    fs::write(&file, list).expect("the folder is ours");
    let setup = setup.clone().set("targets.deny_file", file.to_str().expect("a plain path"));
    (file, setup)
}

fn is_refused(caller: &Caller, url: &str) -> bool {
    let answer = caller.claim(&json!({"url": url}));
    if answer.status == 422 {
        answer.refuses(&[("/url", "refused-host")]);
    }
    answer.status == 422
}

#[test]
fn listed_hosts_are_refused_and_a_changed_list_takes_effect_soon() {
    let (file, setup) =
        refusing(&Signpost::on_sqlite().patient(), "# ours\n0.0.0.0 evil.example.com\n||worse.example.com^\n");
    let server = setup.start();
    let caller = server.caller();
    let told = server.event("targets.loaded");
    assert_eq!((&told["hosts.refused"], &told["lines.unread"]), (&json!(2), &json!(0)));
    assert!(is_refused(&caller, "https://www.evil.example.com/"));
    assert!(is_refused(&caller, "https://worse.example.com./"));
    assert!(!is_refused(&caller, "https://example.com/"));
    // An existing link still redirects. An edit to a refused host is refused like a claim.
    let code = caller.code("https://fine.example.com/");
    caller.edit(&code, &json!({"url": "https://evil.example.com/"})).refuses(&[("/url", "refused-host")]);

    fs::write(&file, "fine.example.com\n").expect("the folder is ours");
    assert!(eventually(PATIENCE, || is_refused(&caller, "https://fine.example.com/")), "the new list is not read");
    assert!(!is_refused(&caller, "https://evil.example.com/"));
    server.get(&format!("/{code}")).with_status(302);

    // While the list cannot be read, the list that was read last stays in effect.
    fs::remove_file(&file).expect("the file exists");
    server.signal(Signal::HUP);
    assert!(eventually(PATIENCE, || !server.events("targets.refresh_failed").is_empty()), "nothing is said of it");
    assert!(is_refused(&caller, "https://fine.example.com/"));
}

/// Takedowns and revocations have to work when such a list is missing.
#[test]
fn an_unreadable_list_fails_only_commands_that_read_it() {
    let (file, setup) = refusing(&Signpost::on_sqlite(), "evil.example.com\n");
    let server = setup.start();
    fs::remove_file(&file).expect("the file exists");
    for command in
        [&["block", "host", "worse.example.com", "--reason", "ticket 7"][..], &["block", "list"], &["keys", "list"]]
    {
        assert_eq!(server.setup().run(command).code, Some(0), "{command:?}");
    }
    for command in [&["check-config"][..], &["serve"]] {
        let told = server.setup().run(command);
        assert!(told.code == Some(1) && told.err.contains("targets.deny_file: expected a readable file"), "{told:?}");
    }
    // When the list is back, the list in effect is logged again.
    assert!(eventually(PATIENCE, || !server.events("targets.refresh_failed").is_empty()), "nothing is said of it");
    let read = server.events("targets.loaded").len();
    fs::write(&file, "evil.example.com\n").expect("the folder is ours");
    assert!(eventually(PATIENCE, || server.events("targets.loaded").len() > read), "nothing is said of it");
}

#[test]
fn the_allow_list_overrides_the_deny_list() {
    let (_, setup) = refusing(&Signpost::on_sqlite().patient(), "example.com\n");
    let (file, _) = refusing(&setup, "docs.example.com\n");
    let server = setup.set("targets.allow_file", file.to_str().expect("a plain path")).start();
    let caller = server.caller();
    assert!(is_refused(&caller, "https://example.com/"));
    assert!(!is_refused(&caller, "https://docs.example.com/"));
}

#[test]
fn an_emptied_list_takes_effect_only_after_a_delay() {
    let (file, setup) = refusing(&Signpost::on_sqlite().patient(), "evil.example.com\n");
    let server = setup.start();
    let caller = server.caller();
    for signal in [false, true] {
        let told = server.events("targets.refresh_failed").len();
        // The state of the file while an editor or a download writes it.
        fs::write(&file, if signal { "# nothing yet\n" } else { "" }).expect("the folder is ours");
        if signal {
            server.signal(Signal::HUP);
        }
        assert!(eventually(PATIENCE, || server.events("targets.refresh_failed").len() > told), "nothing is said of it");
        assert!(is_refused(&caller, "https://evil.example.com/"));
    }
    fs::write(&file, "worse.example.com\n").expect("the folder is ours");
    assert!(eventually(PATIENCE, || is_refused(&caller, "https://worse.example.com/")), "the new list is not read");
    assert!(!is_refused(&caller, "https://evil.example.com/"));
    // A list that stays empty is meant to be empty.
    fs::write(&file, "").expect("the folder is ours");
    let is_off = || server.events("targets.loaded").last().is_some_and(|told| told["hosts.refused"] == 0);
    assert!(eventually(2 * PATIENCE, is_off), "it never counts");
    assert!(!is_refused(&caller, "https://worse.example.com/"));
    // Health shows it nevertheless.
    let health = server.get("/health").with_status(200).json();
    let task = |name: &str| {
        let tasks = health["checks"]["tasks:lastSuccess"].as_array().expect("a list");
        tasks.iter().find(|task| task["componentId"] == name).expect("the task is listed").clone()
    };
    assert_eq!(task("lists-of-hosts")["output"], "the list of refused hosts is empty, and was not before", "{health}");
    assert_eq!(health["status"], "warn");
}
