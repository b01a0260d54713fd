//! `GET /{code}+`: shows the target of a link, without a redirect.

use serde_json::json;

use crate::support::{Answer, Request, Signpost, code_of};

on_both_stores! {
    people_see_a_page,
    programs_get_json,
    the_accept_field_decides_between_page_and_json,
    a_page_holds_nothing_but_text_of_the_target,
    a_code_without_an_active_link_has_no_preview,
    a_host_name_that_imitates_another_is_marked,
}

fn people_see_a_page(server: &Signpost) {
    let code = server.caller().code("https://example.com/shown?a=1");
    let answer = server.get(&format!("/{code}+"));
    assert_eq!(answer.with_status(200).header("content-type"), Some("text/html; charset=utf-8"));
    assert!(answer.text().contains(&format!("http://sho.test/{code}")), "{answer:?}");
    assert!(answer.text().contains("href=\"https://example.com/shown?a=1\""), "{answer:?}");
    assert_eq!(answer.header("location"), None);
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    assert_eq!(answer.header("x-robots-tag"), Some("noindex"));
    assert!(answer.header("content-security-policy").is_some_and(|policy| policy.contains("default-src 'none'")));
    let head = server.ask(&Request::head(&format!("/{code}+")));
    assert_eq!(head.with_status(200).header("content-length"), answer.header("content-length"));
}

fn programs_get_json(server: &Signpost) {
    let body = json!({"url": "https://example.com/json", "redirect": 301, "expires_at": "2099-01-01T00:00:00Z"});
    let code = code_of(&server.caller().link(&body));
    let answer = preview(server, &code, "application/json");
    assert_eq!(answer.with_status(200).header("content-type"), Some("application/json"));
    let expected = json!({
        "code": code, "short_url": format!("http://sho.test/{code}"), "url": "https://example.com/json",
        "host": "example.com", "mixes_scripts": false, "redirect": 301, "forward_query": false, "expires_at": "2099-01-01T00:00:00.000000Z",
    });
    assert_eq!(answer.json(), expected);
}

fn the_accept_field_decides_between_page_and_json(server: &Signpost) {
    let code = server.caller().code("https://example.com/accepted");
    let (page, json) = (Some("text/html; charset=utf-8"), Some("application/json"));
    for (accept, media_type) in [
        ("*/*", page),
        ("text/*", page),
        ("text/html,application/xhtml+xml;q=0.9,*/*;q=0.8", page),
        ("application/json;q=0.5, text/html", page),
        ("text/html;q=0.5, application/json", json),
        ("application/*", json),
        ("application/json, text/plain, */*", json),
        ("application/json, text/html", page),
        ("image/png, application/json;q=0.1", json),
    ] {
        assert_eq!(preview(server, &code, accept).with_status(200).header("content-type"), media_type, "{accept}");
    }
    for accept in ["image/png", "application/xml", "text/plain", "*/*;q=0", "text/html;q=0, application/json;q=0"] {
        preview(server, &code, accept).problem(406, "not-acceptable");
    }
}

fn a_page_holds_nothing_but_text_of_the_target(server: &Signpost) {
    let url = "https://example.com/?a=1&b='\"#<script>alert(1)</script>'onclick='x";
    let code = server.caller().code(url);
    let page = server.get(&format!("/{code}+")).with_status(200).text();
    assert!(!page.contains("<script>") && !page.contains("'onclick"), "{page}");
    assert!(page.contains("a=1&amp;b="), "{page}");
}

fn a_code_without_an_active_link_has_no_preview(server: &Signpost) {
    let caller = server.caller();
    let code = caller.code("https://example.com/deleted");
    caller.delete(&code).with_status(200);
    server.get(&format!("/{code}+")).problem(410, "gone");
    for missing in ["zzzzzzzz+", "ab+", "+", "++", "a.b+"] {
        server.get(&format!("/{missing}")).problem(404, "not-found");
    }
}

#[track_caller]
fn preview(server: &Signpost, code: &str, accept: &str) -> Answer {
    server.ask(&Request::get(&format!("/{code}+")).header("Accept", accept))
}

fn a_host_name_that_imitates_another_is_marked(server: &Signpost) {
    let code = server.caller().code("https://pаypal.com/with-a-cyrillic-letter");
    let told = preview(server, &code, "application/json").json();
    assert_eq!(
        (&told["url"], &told["host"]),
        (&json!("https://xn--pypal-4ve.com/with-a-cyrillic-letter"), &json!("pаypal.com"))
    );
    assert_eq!(told["mixes_scripts"], true);
    let page = preview(server, &code, "text/html").text();
    assert!(page.contains("pаypal.com") && page.contains("Careful"), "{page}");
}
