//! `GET /api/v1/links`: pages of links.

use std::{
    collections::BTreeSet,
    sync::atomic::{AtomicUsize, Ordering},
    time::{Duration, Instant},
};

use serde_json::{Value, json};

use crate::support::{Caller, Request, Setup, Signpost, code_of, meanwhile, next_page, rounds, unique};

on_both_stores! {
    newest_links_come_first_and_none_of_other_owners,
    a_new_owner_has_an_empty_page,
    an_administrator_sees_links_of_every_owner,
    links_are_found_by_state_text_tag_target_and_time,
    search_terms_are_taken_literally,
    filters_narrow_each_other,
    pages_follow_each_other_until_the_last,
    every_wrong_parameter_is_named_at_once,
    a_cursor_works_only_unchanged,
    a_cursor_works_only_for_its_key_and_its_query,
    a_walk_shows_each_link_once_while_others_come_and_go,
    a_list_needs_a_key_that_may_read,
}

alone_on_both_stores! { a_deep_page_costs_what_the_first_one_does }

fn newest_links_come_first_and_none_of_other_owners(server: &Signpost) {
    let caller = server.caller();
    let codes: Vec<_> = (0..3).map(|number| caller.code(&format!("https://example.com/{number}"))).collect();
    server.caller().code("https://example.com/foreign");
    let page = caller.get("/api/v1/links").with_status(200).json();
    assert_eq!(listed(page["items"].as_array().expect("items")), [codes[2].as_str(), &codes[1], &codes[0]]);
    assert_eq!(page["next_cursor"], Value::Null);
    assert_eq!(page["items"][0], caller.read(&codes[2]).json());
    let oldest_first = caller.walk("/api/v1/links?sort=created_at");
    assert_eq!(listed(&oldest_first), [codes[0].as_str(), &codes[1], &codes[2]]);
    assert_eq!(caller.walk("/api/v1/links?sort=-created_at"), caller.walk("/api/v1/links"));
}

fn a_new_owner_has_an_empty_page(server: &Signpost) {
    let page = server.caller().get("/api/v1/links");
    assert_eq!(page.with_status(200).json(), json!({"items": [], "next_cursor": null}));
    assert_eq!(page.header("link"), None);
}

fn an_administrator_sees_links_of_every_owner(server: &Signpost) {
    let word = unique("all-owners");
    let body = json!({"url": format!("https://example.com/{word}")});
    let codes: BTreeSet<_> = (0..3).map(|_| code_of(&server.caller().link(&body))).collect();
    let found = server.admin().walk(&format!("/api/v1/links?q={word}"));
    assert_eq!(found.iter().map(code_of).collect::<BTreeSet<_>>(), codes);
}

fn links_are_found_by_state_text_tag_target_and_time(server: &Signpost) {
    let caller = server.caller();
    let alias = unique("codeword");
    caller.link(&json!({"url": "https://example.com/one?b=1", "alias": alias, "title": "The title", "tags": ["red"]}));
    let plain = caller.link(&json!({"url": "https://example.org/two", "tags": ["red", "blue sky"]}));
    let deleted = caller.code("https://example.net/three");
    caller.delete(&deleted).with_status(200);
    let plain_code = code_of(&plain);
    let created = plain["created_at"].as_str().expect("a time");

    let finds = |query: &str, expected: &[&str]| {
        assert_eq!(listed(&caller.walk(&format!("/api/v1/links?{query}"))), expected, "{query}");
    };
    finds("state=active", &[&plain_code, &alias]);
    finds("state=deleted", &[&deleted]);
    finds(&format!("q={alias}"), &[&alias]);
    finds("q=example.org", &[&plain_code]);
    finds("q=The%20title", &[&alias]);
    finds("q=The+tit", &[&alias]);
    finds("tag=red", &[&plain_code, &alias]);
    finds("tag=blue%20sky", &[&plain_code]);
    finds("tag=blue", &[]);
    finds("target=https://example.com/one?b=1", &[&alias]);
    finds("target=HTTPS%3A%2F%2FEXAMPLE.com%2Fone%3Fb%3D1", &[&alias]);
    finds("target=https://example.com/one", &[]);
    finds(&format!("created_before={created}"), &[&alias]);
    finds(&format!("created_after={created}"), &[&deleted]);
    finds("created_before=2020-01-01T00:00:00Z", &[]);
    finds("created_after=2020-01-01T00:00:00%2B02:00&limit=2", &[&deleted, &plain_code, &alias]);
}

fn search_terms_are_taken_literally(server: &Signpost) {
    let caller = server.caller();
    for title in ["100% sure", "1000 sure", "a_b", "axb", "back\\slash", "quote's", "[x]", "x*"] {
        caller.link(&json!({"url": format!("https://example.com/{}", unique("literal")), "title": title}));
    }
    for (query, title) in [
        ("100%25", "100% sure"),
        ("a_b", "a_b"),
        ("back%5Cslash", "back\\slash"),
        ("quote%27s", "quote's"),
        ("%5Bx%5D", "[x]"),
        ("x*", "x*"),
    ] {
        let found = caller.walk(&format!("/api/v1/links?q={query}"));
        assert_eq!(found.iter().map(|link| &link["title"]).collect::<Vec<_>>(), [title], "{query}");
    }
    assert!(caller.walk("/api/v1/links?q=%27%20OR%201=1%20--").is_empty());
}

fn filters_narrow_each_other(server: &Signpost) {
    let caller = server.caller();
    let wanted = code_of(&caller.link(&json!({"url": "https://example.com/both", "tags": ["red"]})));
    caller.link(&json!({"url": "https://example.com/text"}));
    caller.link(&json!({"url": "https://example.org/tag", "tags": ["red"]}));
    assert_eq!(listed(&caller.walk("/api/v1/links?q=example.com&tag=red&state=active")), [wanted.as_str()]);
}

fn pages_follow_each_other_until_the_last(server: &Signpost) {
    let caller = server.caller();
    let mut expected: Vec<_> = (0..7).map(|number| caller.code(&format!("https://example.com/{number}"))).collect();
    expected.reverse();

    let mut sizes = Vec::new();
    let mut walked = Vec::new();
    let mut next = Some("/api/v1/links?limit=3&state=active".to_owned());
    while let Some(target) = next {
        let page = caller.get(&target);
        let items = page.with_status(200).json()["items"].as_array().expect("items").clone();
        sizes.push(items.len());
        walked.extend(listed(&items));
        next = next_page(&page);
    }
    assert_eq!(sizes, [3, 3, 1]);
    assert_eq!(walked, expected);
    // A page that holds exactly the rest has no next page.
    assert_eq!(next_page(&caller.get("/api/v1/links?limit=7")), None);
    assert_eq!(caller.walk("/api/v1/links?limit=1&sort=created_at").len(), 7);
}

fn every_wrong_parameter_is_named_at_once(server: &Signpost) {
    let caller = server.caller();
    let wrong = "limit=101&state=gone&q=&tag=&target=nowhere&created_after=now&created_before=x&sort=url&page=2";
    caller.get(&format!("/api/v1/links?{wrong}")).refuses(&[
        ("query/limit", "out-of-range"),
        ("query/state", "unknown-value"),
        ("query/target", "no-scheme"),
        ("query/created_after", "not-a-time"),
        ("query/created_before", "not-a-time"),
        ("query/sort", "unknown-value"),
        ("query/page", "unknown-parameter"),
    ]);
    for limit in ["0", "-1", "101", "1.5", "x", "99999999999999999999"] {
        caller.get(&format!("/api/v1/links?limit={limit}")).refuses(&[("query/limit", "out-of-range")]);
    }
    caller.get("/api/v1/links?limit=1&limit=1").refuses(&[("query/limit", "duplicate")]);
    caller.get("/api/v1/links?limit=100").with_status(200);
}

fn a_cursor_works_only_unchanged(server: &Signpost) {
    let caller = server.caller();
    let cursor = cursor_of(&caller, "limit=1");
    caller.get(&format!("/api/v1/links?limit=1&cursor={cursor}")).with_status(200);
    for position in 0..cursor.len() {
        let mut changed = cursor.clone();
        let other = if cursor.as_bytes()[position] == b'A' { "B" } else { "A" };
        changed.replace_range(position..=position, other);
        caller.get(&format!("/api/v1/links?limit=1&cursor={changed}")).problem(400, "invalid-cursor");
    }
    let (shorter, doubled) = (&cursor[1..], format!("{cursor}{cursor}"));
    for bad in ["AAAA", "%20", "%00", "1", shorter, &doubled] {
        caller.get(&format!("/api/v1/links?limit=1&cursor={bad}")).problem(400, "invalid-cursor");
    }
}

fn a_cursor_works_only_for_its_key_and_its_query(server: &Signpost) {
    let caller = server.caller();
    let cursor = cursor_of(&caller, "limit=1&state=active");
    caller.get(&format!("/api/v1/links?limit=2&state=active&cursor={cursor}")).with_status(200);
    for question in ["state=deleted", "limit=1", "state=active&q=x", "state=active&sort=created_at"] {
        caller.get(&format!("/api/v1/links?{question}&cursor={cursor}")).problem(400, "invalid-cursor");
    }
    let (other, colleague) = (server.caller(), server.caller_of(&caller.owner, &["links:read"]));
    for stranger in [other, colleague, server.admin()] {
        stranger.get(&format!("/api/v1/links?state=active&cursor={cursor}")).problem(400, "invalid-cursor");
    }
    let code = caller.code("https://example.com/history");
    caller.get(&format!("/api/v1/links/{code}/history?cursor={cursor}")).problem(400, "invalid-cursor");
}

fn a_walk_shows_each_link_once_while_others_come_and_go(server: &Signpost) {
    let caller = server.caller();
    let claims: Vec<_> = (0..120).map(|number| json!({"url": format!("https://example.com/old/{number}")})).collect();
    let made = caller.batch(&claims).with_status(200).json();
    let results = made["results"].as_array().expect("results");
    let old: Vec<_> = results.iter().map(|result| code_of(&result["link"])).collect();
    let everything: BTreeSet<_> = old.iter().cloned().collect();
    let gone = AtomicUsize::new(0);
    let come_and_go = || {
        let number = gone.fetch_add(1, Ordering::Relaxed);
        caller.code(&format!("https://example.com/new/{number}"));
        caller.delete(&old[number % old.len()]).with_status(200);
        if number >= old.len() {
            caller.reactivate(&old[number % old.len()]).with_status(200);
        }
    };
    meanwhile(come_and_go, || {
        for sort in ["-created_at", "created_at"].into_iter().cycle() {
            if gone.load(Ordering::Relaxed) >= rounds(60, 1_000) {
                break;
            }
            let walked = caller.walk(&format!("/api/v1/links?limit=7&sort={sort}&q=/old/"));
            let codes: BTreeSet<_> = walked.iter().map(code_of).collect();
            assert_eq!(codes.len(), walked.len(), "a link came twice");
            assert_eq!(codes, everything);
        }
    });
}

/// In the soak: the page after 100,000 links, whose time counts. Otherwise: a walk over many pages ends.
fn a_deep_page_costs_what_the_first_one_does(setup: &Setup) {
    let server = setup.start();
    let caller = server.caller();
    let links = rounds(3_000, 1_000_000);
    for thousand in 0..links / 1_000 {
        let claim = |number| json!({"url": format!("https://example.com/{thousand}/{number}")});
        let summary =
            caller.batch(&(0..1_000).map(claim).collect::<Vec<_>>()).with_status(200).json()["summary"].clone();
        assert_eq!(summary["created"], 1_000);
    }
    let (mut next, mut times, mut seen) = (Some("/api/v1/links?limit=100".to_owned()), Vec::new(), 0);
    while let Some(target) = next {
        let begun = Instant::now();
        let page = caller.get(&target);
        times.push(begun.elapsed());
        seen += page.with_status(200).json()["items"].as_array().expect("items").len();
        next = next_page(&page);
    }
    assert_eq!((seen, times.len()), (links, links / 100));
    let median = |times: &[Duration]| {
        let mut times = times.to_vec();
        times.sort_unstable();
        times[times.len() / 2]
    };
    let (first, last) = (median(&times[..10]), median(&times[times.len() - 10..]));
    assert!(links < 1_000_000 || last < first * 2, "{last:?} against {first:?}");
}

fn a_list_needs_a_key_that_may_read(server: &Signpost) {
    server.ask(&Request::get("/api/v1/links")).problem(401, "unauthenticated");
    server.caller_of(&unique("owner"), &["links:write"]).get("/api/v1/links").problem(403, "forbidden");
}

fn listed(links: &[Value]) -> Vec<String> {
    links.iter().map(code_of).collect()
}

/// The cursor to the second page of two links.
fn cursor_of(caller: &Caller, query: &str) -> String {
    for number in 0..2 {
        caller.code(&format!("https://example.com/{number}"));
    }
    let page = caller.get(&format!("/api/v1/links?{query}")).with_status(200).json();
    page["next_cursor"].as_str().expect("there is a second page").to_owned()
}
