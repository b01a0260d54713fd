//! Races: many callers at the same moment, at one process and at two.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use test_support::shared_server;

use crate::support::{
    Answer, Connection, PATIENCE, Request, Setup, Signpost, ask_together, code_of, eventually, rounds,
};

/// Within this time a change by one process is seen by all others.
const HEARD: Duration = Duration::from_secs(1);

alone_on_both_stores! {
    of_200_claims_of_one_new_url_one_creates,
    of_200_claims_of_one_deleted_url_one_reactivates,
    one_of_many_claims_gets_the_alias,
    a_request_sent_many_times_at_once_has_one_effect,
    a_key_requested_many_times_at_once_is_created_once,
    changes_without_a_precondition_all_happen,
    a_storm_of_claims_and_deletions_leaves_one_consistent_history_per_url,
    batches_in_opposite_order_do_not_block_each_other,
}

/// As many processes as a store allows: two on PostgreSQL, one on SQLite.
fn processes(setup: &Setup) -> Vec<Signpost> {
    let first = setup.start();
    let second = setup.is_on_postgres().then(|| first.another().start());
    [Some(first), second].into_iter().flatten().collect()
}

/// The requests, sent to the processes in turn.
fn dealt(processes: &[Signpost], requests: impl IntoIterator<Item = Request>) -> Vec<(SocketAddr, Request)> {
    let addresses = processes.iter().map(Signpost::address).cycle();
    addresses.zip(requests).collect()
}

fn answers(requests: &[(SocketAddr, Request)]) -> Vec<Answer> {
    ask_together(requests).into_iter().map(|answer| answer.expect("every process answers")).collect()
}

/// The number of answers with each status.
fn statuses(answers: &[Answer]) -> BTreeMap<u16, usize> {
    let mut counts = BTreeMap::new();
    for answer in answers {
        *counts.entry(answer.status).or_default() += 1;
    }
    counts
}

fn of_200_claims_of_one_new_url_one_creates(setup: &Setup) {
    let processes = processes(setup);
    let caller = processes[0].caller();
    for round in 0..rounds(10, 50) {
        let claim = caller.claiming(&json!({"url": format!("https://example.com/{round}")}));
        let answers = answers(&dealt(&processes, vec![claim; 200]));
        assert_eq!(statuses(&answers), BTreeMap::from([(200, 199), (201, 1)]));
        let codes: BTreeSet<_> = answers.iter().map(|answer| code_of(&answer.json())).collect();
        assert_eq!(codes.len(), 1, "{codes:?}");
    }
    assert_eq!(caller.walk("/api/v1/links").len(), rounds(10, 50));
}

fn of_200_claims_of_one_deleted_url_one_reactivates(setup: &Setup) {
    let processes = processes(setup);
    let caller = processes[0].caller();
    let claim = caller.claiming(&json!({"url": "https://example.com/back"}));
    let code = caller.code("https://example.com/back");
    for round in 1..=5 {
        caller.delete(&code).with_status(200);
        let answers = answers(&dealt(&processes, vec![claim.clone(); 200]));
        assert_eq!(statuses(&answers), BTreeMap::from([(200, 200)]));
        let reactivated = answers.iter().filter(|answer| answer.json()["outcome"] == "reactivated").count();
        assert_eq!(reactivated, 1);
        assert_eq!(caller.read(&code).json()["generation"], 1 + 2 * round);
    }
    assert_eq!(caller.history(&code).len(), 11);
}

fn one_of_many_claims_gets_the_alias(setup: &Setup) {
    let processes = processes(setup);
    let callers: Vec<_> = (0..10).map(|_| processes[0].caller()).collect();
    for round in 0..5 {
        let alias = format!("wanted-{round}");
        let claims = (0..100).map(|number| {
            let url = format!("https://example.com/{number}");
            callers[number % callers.len()].claiming(&json!({"url": url, "alias": alias}))
        });
        let answers = answers(&dealt(&processes, claims));
        assert_eq!(statuses(&answers), BTreeMap::from([(201, 1), (409, 99)]));
    }
    // The same caller with the same claim gets the link every time.
    let claim = callers[0].claiming(&json!({"url": "https://example.com/", "alias": "wanted-by-one"}));
    let answers = answers(&dealt(&processes, vec![claim; 100]));
    assert_eq!(statuses(&answers), BTreeMap::from([(200, 99), (201, 1)]));
}

fn a_request_sent_many_times_at_once_has_one_effect(setup: &Setup) {
    let processes = processes(setup);
    let caller = processes[0].caller();
    for round in 0..5 {
        let claim = caller.claiming(&json!({"url": "https://example.com/once", "force_new": true}));
        let claim = claim.header("Idempotency-Key", &format!("round-{round}"));
        let answers = answers(&dealt(&processes, vec![claim; 50]));
        assert_eq!(statuses(&answers), BTreeMap::from([(201, 50)]));
        let bodies: BTreeSet<_> = answers.iter().map(Answer::text).collect();
        assert_eq!(bodies.len(), 1, "{bodies:?}");
    }
    assert_eq!(caller.walk("/api/v1/links").len(), 5);
}

fn a_key_requested_many_times_at_once_is_created_once(setup: &Setup) {
    let processes = processes(setup);
    let admin = processes[0].admin();
    let body = json!({"name": "once", "owner": "once", "scopes": ["links:read"]});
    let request = admin.request("POST", "/api/v1/keys").json(&body).header("Idempotency-Key", "once");
    let answers = answers(&dealt(&processes, vec![request; 50]));
    assert_eq!(statuses(&answers), BTreeMap::from([(201, 50)]));
    let bodies: BTreeSet<_> = answers.iter().map(Answer::text).collect();
    assert_eq!(bodies.len(), 1);
    let made = admin.walk("/api/v1/keys").into_iter().filter(|key| key["owner"] == "once").count();
    assert_eq!(made, 1);
}

fn changes_without_a_precondition_all_happen(setup: &Setup) {
    let processes = processes(setup);
    let caller = processes[0].caller();
    let code = caller.code("https://example.com/changed");
    let edits = (0..20).map(|number| caller.editing(&code, &json!({"title": format!("edit {number}")})));
    let answers = answers(&dealt(&processes, edits));
    assert_eq!(statuses(&answers), BTreeMap::from([(200, 20)]));
    assert_eq!(caller.read(&code).json()["generation"], 21);
    let generations: BTreeSet<_> = answers.iter().filter_map(|answer| answer.json()["generation"].as_i64()).collect();
    assert_eq!(generations, (2..=21).collect::<BTreeSet<i64>>());
}

/// The answers to one client of the storm, in order: URL, outcome or state, code, generation.
type Told = Vec<(usize, String, String, i64)>;

fn a_storm_of_claims_and_deletions_leaves_one_consistent_history_per_url(setup: &Setup) {
    const CLIENTS: usize = 8;
    const URLS: usize = 16;
    let steps = rounds(120, 2_000);
    let processes = processes(setup);
    let caller = processes[0].caller();
    let codes: Vec<_> = (0..URLS).map(|url| caller.code(&storm_url(url))).collect();
    let client = |number: usize| -> Told {
        let caller = caller.at(&processes[number % processes.len()]);
        let mut connection = Connection::open(caller.address()).expect("it listens");
        let step = |step: usize| {
            let dice = scrambled(number * steps + step);
            let url = dice / 8 % URLS;
            let request = match dice % 8 {
                0..4 => caller.claiming(&json!({"url": storm_url(url)})),
                4..7 => caller.deleting(&codes[url]),
                _ => caller.reactivating(&codes[url]),
            };
            let link = connection.send(&request).expect("an answer").with_status(200).json();
            let became = link["outcome"].as_str().or(link["state"].as_str()).expect("a link has a state").to_owned();
            (url, became, code_of(&link), link["generation"].as_i64().expect("a number"))
        };
        (0..steps).map(step).collect()
    };
    let told: Vec<Told> = thread::scope(|scope| {
        let client = &client;
        let clients: Vec<_> = (0..CLIENTS).map(|number| scope.spawn(move || client(number))).collect();
        clients.into_iter().map(|client| client.join().expect("no answer is wrong")).collect()
    });

    for (url, code) in codes.iter().enumerate() {
        let history = caller.whole_history(code);
        for (index, event) in history.iter().enumerate() {
            let expected = match index {
                0 => "created",
                odd if odd % 2 == 1 => "deleted",
                _ => "reactivated",
            };
            assert_eq!(event["event"], expected, "{history:?}");
            assert_eq!(event["generation"], index + 1);
        }
        let mut reactivations = 0;
        for told in &told {
            let mut last = 0;
            for (_, became, code_told, generation) in told.iter().filter(|(of, ..)| *of == url) {
                assert_eq!(code_told, code);
                assert!(*generation >= last, "a client saw generation {last}, then {generation}");
                last = *generation;
                reactivations += usize::from(became == "reactivated");
            }
        }
        let claimed_back = history.iter().filter(|event| event["event"] == "reactivated").count();
        assert!(reactivations <= claimed_back, "{reactivations} claims reactivated, {claimed_back} events say so");
        let deleted = history.len().is_multiple_of(2);
        let target = storm_url(url);
        for process in &processes {
            leads(process, code, (!deleted).then_some(target.as_str()));
        }
    }
    let told = told.iter().flatten().filter(|(_, became, ..)| became == "reactivated").count();
    assert!(told > 0, "no claim met a deleted link");
}

/// Asserts what a process answers visitors: that the link leads to `target`, or that it is gone. This has to hold
/// within a second of the last change, at whichever process, and to stay so.
#[track_caller]
fn leads(process: &Signpost, code: &str, target: Option<&str>) {
    let path = format!("/{code}");
    let is_right = |visitor: &Answer| match target {
        Some(target) => visitor.status == 302 && visitor.header("location") == Some(target),
        None => visitor.status == 410,
    };
    assert!(eventually(HEARD, || is_right(&process.get(&path))), "{target:?}: {:?}", process.get(&path));
    for _ in 0..3 {
        let visitor = process.get(&path);
        assert!(is_right(&visitor), "{target:?}: {visitor:?}");
    }
}

fn storm_url(number: usize) -> String {
    format!("https://example.com/storm/{number}")
}

/// A pseudorandom number that depends only on `number`.
fn scrambled(number: usize) -> usize {
    let mixed = (number + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ (mixed >> 29)).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 33
}

fn batches_in_opposite_order_do_not_block_each_other(setup: &Setup) {
    let processes = processes(setup);
    let caller = processes[0].caller();
    for round in 0..rounds(50, 200) {
        // Every third round claims the URLs of the round before.
        let mut claims: Vec<_> = (0..100)
            .map(|number| json!({"url": format!("https://example.com/{}/{number}", round - usize::from(round % 3 == 2))}))
            .collect();
        let batch = |claims: &[Value]| caller.request("POST", "/api/v1/links/batch").json(&json!({"links": claims}));
        let forwards = batch(&claims);
        claims.reverse();
        let answers = answers(&dealt(&processes, [forwards, batch(&claims)]));
        assert_eq!(statuses(&answers), BTreeMap::from([(200, 2)]), "{answers:?}");
        let codes = |answer: &Answer| -> Vec<String> {
            let body = answer.json();
            assert_eq!(body["summary"]["failed"], 0);
            body["results"].as_array().expect("results").iter().map(|result| code_of(&result["link"])).collect()
        };
        let mut backwards = codes(&answers[1]);
        backwards.reverse();
        assert_eq!(codes(&answers[0]), backwards);
    }
    if setup.is_on_postgres() {
        assert!(!shared_server().log().contains("deadlock detected"));
    }
}

#[test]
fn claims_of_an_active_link_write_nothing() {
    let setup = Signpost::on_postgres().patient();
    let server = setup.start();
    let caller = server.caller();
    let code = caller.code("https://example.com/busy");
    let before = written(&server);
    assert!(before.starts_with("1|0|0\n"), "{before}");

    let server = setup.start();
    let caller = caller.at(&server);
    let mut connection = Connection::open(caller.address()).expect("it listens");
    let claim = caller.claiming(&json!({"url": "https://example.com/busy"}));
    for _ in 0..rounds(500, 10_000) {
        let link = connection.send(&claim).expect("an answer").with_status(200).json();
        assert_eq!((&link["code"], &link["generation"]), (&json!(code), &json!(1)));
    }
    assert_eq!(written(&server), before);
}

/// Rows inserted, updated and deleted so far in the tables of links and their history. PostgreSQL counts them, and
/// updates the counts at the latest when a session ends.
fn written(server: &Signpost) -> String {
    assert!(server.terminate().success());
    assert!(server.is_forgotten(), "its sessions do not end");
    let counts = "SELECT n_tup_ins, n_tup_upd, n_tup_del FROM pg_stat_user_tables \
                  WHERE relname IN ('links', 'link_events') ORDER BY relname DESC";
    server.database().sql(counts).expect("PostgreSQL counts")
}

#[test]
fn a_request_has_one_effect_although_a_process_is_killed_in_the_middle() {
    let survivor = Signpost::on_postgres().patient().start();
    let caller = survivor.caller();
    for round in 0..5 {
        let victim = survivor.another().start();
        let claim = caller.claiming(&json!({"url": "https://example.com/once", "force_new": true}));
        let claim = claim.header("Idempotency-Key", &format!("round-{round}"));
        let addresses = [survivor.address(), victim.address()];
        let requests: Vec<_> = (0..50).map(|number| (addresses[number % 2], claim.clone())).collect();
        let before = thread::scope(|scope| {
            let asking = scope.spawn(|| ask_together(&requests));
            // The first line of a claim in its log shows that it is in the middle of them.
            let begun = || victim.log().iter().any(|line| line["http.route"] == "/api/v1/links");
            let in_the_middle = eventually(PATIENCE, begun);
            victim.kill9();
            assert!(in_the_middle, "it is killed before it begins");
            asking.join().expect("asking does not panic")
        });
        let after: Vec<_> = (0..50).map(|_| caller.ask(&claim)).collect();
        let told: BTreeSet<_> =
            before.iter().flatten().chain(&after).map(|answer| answer.with_status(201).text()).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert_eq!(caller.walk("/api/v1/links").len(), round + 1);
    }
}

#[test]
fn a_change_acknowledged_by_one_process_is_known_to_every_process() {
    let one = Signpost::on_postgres().patient().start();
    let other = one.another().start();
    let caller = one.caller();
    for number in 0..100 {
        let url = format!("https://example.com/{number}");
        let code = caller.code(&url);
        let path = format!("/{code}");
        assert_eq!(other.get(&path).with_status(302).header("location"), Some(url.as_str()));
        caller.delete(&code).with_status(200);
        one.get(&path).problem(410, "gone");
        leads(&other, &code, None);
        caller.at(&other).reactivate(&code).with_status(200);
        assert_eq!(caller.read(&code).with_status(200).json()["state"], "active");
        other.get(&path).with_status(302);
        leads(&one, &code, Some(&url));
    }
}
