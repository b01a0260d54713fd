//! `GET /{code}`: the only path that most visitors use.

use serde_json::json;

use crate::support::{Answer, PATIENCE, Request, Signpost, code_of, eventually, unique};

on_both_stores! {
    a_visitor_is_sent_to_the_target,
    head_answers_as_get_does_without_a_body,
    each_link_redirects_with_its_own_status,
    the_target_is_sent_byte_for_byte,
    a_redirect_may_be_cached_only_briefly,
    an_unknown_code_is_not_found,
    a_link_that_expires_is_gone,
    browsers_get_errors_as_pages,
    a_redirect_is_not_cached_beyond_the_expiry,
    the_query_is_forwarded_only_if_the_link_says_so,
    a_percent_encoded_code_is_the_code,
    codes_are_case_sensitive,
    a_key_makes_no_difference,
    a_link_redirects_as_soon_as_it_is_claimed,
    what_was_pasted_behind_a_code_is_no_part_of_it,
    links_with_307_or_308_redirect_every_method,
}

fn what_was_pasted_behind_a_code_is_no_part_of_it(server: &Signpost) {
    let caller = server.caller();
    let code = code_of(&caller.link(&json!({"url": "https://example.com/pasted", "alias": unique("promo.x")})));
    for end in [
        ".",
        ",",
        ")",
        "!",
        ";",
        ":",
        "'",
        "]",
        "...",
        ").",
        "/",
        "*",
        "%22",
        "%3E",
        "%20",
        "%0A",
        "%E2%80%8B",
        "%EF%BB%BF",
        "%C2%A0",
        "%E2%80%9D",
        "%E3%80%82",
        "%5B%5D",
        ".)%20",
        "&gt;",
        "&utm_source=x",
        "%3Futm_source=x",
        "%3Cbr%3E",
        "%7Ctext",
        "]",
        ">",
        "\"",
        "”",
        "。",
    ] {
        let answer = server.get(&format!("/{code}{end}"));
        assert_eq!(answer.with_status(302).header("location"), Some("https://example.com/pasted"), "{end}");
    }
    for preview in [
        "+",
        "%2B",
        "%2b",
        "+.",
        "%2B)",
        "+%20",
        "+/",
        ".+",
        "++",
        "+&gt;",
        "+&utm_source=x",
        "+%3Futm_source=x",
        "+%3Cbr%3E",
        "+%7Ctext",
        "+]",
    ] {
        let answer = server.ask(&Request::get(&format!("/{code}{preview}")).header("Accept", "application/json"));
        assert_eq!(answer.with_status(200).json()["url"], "https://example.com/pasted", "{preview}");
    }
    for other in ["%20x", "/x", ".)x", "%00x"] {
        server.get(&format!("/{code}{other}")).problem(404, "not-found");
    }
    server.get("/zzzzzzzz.").problem(404, "not-found");
}

fn links_with_307_or_308_redirect_every_method(server: &Signpost) {
    let caller = server.caller();
    for status in [301, 302, 307, 308] {
        let code = code_of(&caller.link(&json!({"url": "https://example.com/m", "redirect": status})));
        for method in ["POST", "PUT", "PATCH", "DELETE"] {
            let answer = server.ask(&Request::new(method, &format!("/{code}")).body("a=b"));
            if status < 307 {
                answer.problem(405, "method-not-allowed");
                assert_eq!(answer.header("allow"), Some("GET, HEAD, OPTIONS"));
            } else {
                assert_eq!(answer.with_status(status).header("location"), Some("https://example.com/m"));
            }
        }
    }
    let code = code_of(&caller.link(&json!({"url": "https://example.com/p", "redirect": 308})));
    server.ask(&Request::new("PUT", &format!("/{code}+"))).problem(405, "method-not-allowed");
    for unknown in ["/zzzzzzzz", "/zzzzzzz1"] {
        server.ask(&Request::post(unknown)).problem(404, "not-found");
    }
}

fn a_visitor_is_sent_to_the_target(server: &Signpost) {
    let code = server.caller().code("https://example.com/a?b=1#c");
    let answer = follow(server, &code);
    assert_eq!(answer.with_status(302).header("location"), Some("https://example.com/a?b=1#c"));
    assert_eq!(answer.header("x-robots-tag"), Some("noindex"));
    assert_eq!(answer.header("referrer-policy"), Some("no-referrer-when-downgrade"));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("content-length"), Some("0"));
    assert!(answer.header_names().all(|name| !name.to_lowercase().contains("ratelimit")), "{answer:?}");
    assert_eq!(answer.header("set-cookie"), None);
}

fn head_answers_as_get_does_without_a_body(server: &Signpost) {
    let code = server.caller().code("https://example.com/head");
    let (get, head) = (follow(server, &code), server.ask(&Request::head(&format!("/{code}"))));
    assert_eq!(head.with_status(302).text(), "");
    for field in ["location", "cache-control", "x-robots-tag", "referrer-policy", "content-length"] {
        assert_eq!(head.header(field), get.header(field), "{field}");
    }
    let missing = server.ask(&Request::head("/zzzzzzzz"));
    assert_eq!(missing.with_status(404).text(), "");
    assert_eq!(missing.header("content-type"), Some("application/problem+json"));
    assert!(missing.header("content-length").is_some_and(|length| length != "0"), "{missing:?}");
}

fn each_link_redirects_with_its_own_status(server: &Signpost) {
    let caller = server.caller();
    for status in [301, 302, 307, 308] {
        let code = code_of(&caller.link(&json!({"url": "https://example.com/", "redirect": status})));
        assert_eq!(follow(server, &code).with_status(status).header("location"), Some("https://example.com/"));
    }
}

fn the_target_is_sent_byte_for_byte(server: &Signpost) {
    let caller = server.caller();
    for (given, sent) in [
        ("https://example.com", "https://example.com/"),
        ("HTTPS://EXAMPLE.com:443/A/../b?C#D", "https://example.com/b?C#D"),
        ("https://example.com/%7euser/%c3%9c", "https://example.com/%7euser/%c3%9c"),
        ("https://bücher.example/ü?ü#ü", "https://xn--bcher-kva.example/%C3%BC?%C3%BC#%C3%BC"),
        ("https://example.com/?a=%0d%0aSet-Cookie:%20x", "https://example.com/?a=%0d%0aSet-Cookie:%20x"),
        ("https://example.com/\"<>'`{}|", "https://example.com/%22%3C%3E'%60%7B%7D|"),
        ("https://example.com/?q=%", "https://example.com/?q=%"),
    ] {
        let answer = follow(server, &caller.code(given));
        assert_eq!(answer.with_status(302).header("location"), Some(sent), "{given}");
    }
}

fn a_redirect_may_be_cached_only_briefly(server: &Signpost) {
    let caller = server.caller();
    for status in [301, 302, 307, 308] {
        let code = code_of(&caller.link(&json!({"url": "https://example.com/cached", "redirect": status})));
        let max_age = max_age(&follow(server, &code));
        assert!(max_age <= 10, "{status}: {max_age}");
    }
}

fn an_unknown_code_is_not_found(server: &Signpost) {
    let long = "x".repeat(65);
    for code in ["zzzzzzzz", "ab", "with.dot", "a%00b", "%ff%ff%ff", "a%2fb", "abc%0d%0aX-Evil:%201", long.as_str()] {
        let answer = follow(server, code);
        answer.problem(404, "not-found");
        assert_eq!(answer.header("cache-control"), Some("no-store"), "{code}");
        assert_eq!(answer.header("x-evil"), None);
    }
}

fn a_link_that_expires_is_gone(server: &Signpost) {
    let caller = server.caller();
    let code = code_of(&caller.link(&json!({"url": "https://example.com/brief", "expires_in": "1s"})));
    assert!(eventually(PATIENCE, || follow(server, &code).status == 410));
    let gone = follow(server, &code);
    gone.problem(410, "gone");
    assert_eq!(gone.header("cache-control"), Some("no-store"));
    let link = caller.read(&code).with_status(200).json();
    assert_eq!((&link["state"], &link["expired"]), (&json!("active"), &json!(true)));
    // A claim of the same URL creates another link than the expired one.
    let again = caller.link(&json!({"url": "https://example.com/brief", "expires_in": "1h"}));
    assert_ne!(again["code"], code.as_str());
    caller.edit(&code, &json!({"expires_at": null})).with_status(200);
    follow(server, &code).with_status(302);
}

fn a_redirect_is_not_cached_beyond_the_expiry(server: &Signpost) {
    let body = json!({"url": "https://example.com/soon", "expires_in": "5s"});
    let code = code_of(&server.caller().link(&body));
    let max_age = max_age(follow(server, &code).with_status(302));
    assert!(max_age < 5, "{max_age}");
}

fn the_query_is_forwarded_only_if_the_link_says_so(server: &Signpost) {
    let caller = server.caller();
    let leads = |target: &str, forward: bool, asked: &str, expected: &str| {
        let body = json!({"url": target, "forward_query": forward, "force_new": true});
        let code = code_of(&caller.link(&body));
        let answer = follow(server, &format!("{code}{asked}"));
        assert_eq!(answer.with_status(302).header("location"), Some(expected), "{target} {asked}");
    };
    leads("https://example.com/a", false, "?b=1", "https://example.com/a");
    leads("https://example.com/a", true, "", "https://example.com/a");
    leads("https://example.com/a", true, "?", "https://example.com/a");
    leads("https://example.com/a", true, "?b=1", "https://example.com/a?b=1");
    leads("https://example.com/a?own=1", true, "?b=1&b=2", "https://example.com/a?own=1&b=1&b=2");
    leads("https://example.com/a?own=1#part", true, "?b=1", "https://example.com/a?own=1&b=1#part");
    leads("https://example.com/a", true, "?b=%0d%0aSet-Cookie:x", "https://example.com/a?b=%0d%0aSet-Cookie:x");
    leads("https://example.com/a", true, "?b=%23c", "https://example.com/a?b=%23c");
}

fn a_percent_encoded_code_is_the_code(server: &Signpost) {
    let caller = server.caller();
    let alias = unique("Enc-oded");
    caller.link(&json!({"url": "https://example.com/encoded", "alias": alias}));
    for spelling in [alias.replace('E', "%45"), alias.replace('-', "%2D"), alias.replace('n', "%6e")] {
        follow(server, &spelling).with_status(302);
    }
    follow(server, &alias.replace('E', "%2545")).problem(404, "not-found");
}

fn codes_are_case_sensitive(server: &Signpost) {
    let caller = server.caller();
    let alias = unique("CaseMatters");
    caller.link(&json!({"url": "https://example.com/upper", "alias": alias}));
    follow(server, &alias.to_lowercase()).problem(404, "not-found");
    caller.link(&json!({"url": "https://example.com/lower", "alias": alias.to_lowercase()}));
    assert_eq!(follow(server, &alias).header("location"), Some("https://example.com/upper"));
    assert_eq!(follow(server, &alias.to_lowercase()).header("location"), Some("https://example.com/lower"));
}

fn a_key_makes_no_difference(server: &Signpost) {
    let code = server.caller().code("https://example.com/public");
    let stranger = server.caller();
    stranger.get(&format!("/{code}")).with_status(302);
    server.ask(&Request::get(&format!("/{code}")).key("sgn_nonsense")).with_status(302);
}

fn a_link_redirects_as_soon_as_it_is_claimed(server: &Signpost) {
    let caller = server.caller();
    let alias = unique("at-once");
    follow(server, &alias).problem(404, "not-found");
    caller.link(&json!({"url": "https://example.com/now", "alias": alias}));
    follow(server, &alias).with_status(302);
}

#[track_caller]
fn follow(server: &Signpost, code: &str) -> Answer {
    server.get(&format!("/{code}"))
}

/// For how many seconds a redirect may be cached, which has to be private.
#[track_caller]
fn max_age(answer: &Answer) -> u32 {
    let rule = answer.header("cache-control").unwrap_or_default();
    let age = rule.strip_prefix("private, max-age=").and_then(|age| age.parse().ok());
    age.unwrap_or_else(|| panic!("{answer:?}"))
}

/// Browsers say that they prefer pages.
fn browsers_get_errors_as_pages(server: &Signpost) {
    const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let caller = server.caller();
    let code = caller.code("https://example.com/paged");
    caller.delete(&code).with_status(200);
    for path in [format!("/{code}"), format!("/{code}+")] {
        let page = server.ask(&Request::get(&path).header("Accept", BROWSER));
        assert_eq!(page.with_status(410).header("content-type"), Some("text/html; charset=utf-8"));
        assert_eq!(page.header("cache-control"), Some("no-store"));
        assert_eq!(page.header("vary"), Some("accept"));
        assert_eq!(page.header("x-robots-tag"), Some("noindex"));
        let policy = page.header("content-security-policy").expect("the answer has it");
        assert!(policy.contains("default-src 'none'") && !policy.contains("script-src"), "{policy}");
        assert!(page.text().contains("This link does not work any more"), "{page:?}");
        assert!(page.text().contains(page.header("x-request-id").expect("the answer has it")), "{page:?}");
        let twin = server.ask(&Request::get(&path).header("Accept", "application/json"));
        twin.problem(410, "gone");
        assert_eq!(twin.header("vary"), Some("accept"));
    }
    for path in ["/zzzzzzzz", "/a/b/c", "/zzzzzzzz+"] {
        let page = server.ask(&Request::get(path).header("Accept", BROWSER));
        assert_eq!(page.with_status(404).header("content-type"), Some("text/html; charset=utf-8"), "{path}");
        server.get(path).problem(404, "not-found");
    }
    // The API is for programs: it answers browsers with a problem too.
    server.ask(&Request::get("/api/v1/links").header("Accept", BROWSER)).problem(401, "unauthenticated");
}
