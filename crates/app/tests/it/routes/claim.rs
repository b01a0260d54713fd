//! `POST /api/v1/links`: claim a link for a target.

use serde_json::{Value, json};

use crate::support::{Answer, Caller, PATIENCE, Request, Setup, Signpost, code_of, eventually, padded, unique};

on_both_stores! {
    a_claim_creates_then_finds_then_reactivates,
    a_link_shows_exactly_the_documented_fields,
    a_link_keeps_what_was_asked_for,
    the_short_url_never_follows_the_host_of_the_request,
    an_alias_is_found_again_by_the_same_url_only,
    a_known_url_with_a_new_alias_is_a_new_link,
    a_taken_alias_does_not_show_its_owner,
    a_deleted_link_keeps_its_alias,
    reserved_and_misshapen_aliases_are_refused,
    owners_have_links_of_their_own_to_the_same_url,
    a_link_that_behaves_differently_is_another_link,
    two_spellings_of_one_url_are_one_link,
    a_claim_leaves_title_and_tags_of_a_known_link_alone,
    force_new_gives_a_separate_link_every_time,
    everything_wrong_with_a_body_is_named_at_once,
    titles_and_tags_are_bounded,
    a_body_that_is_no_object_is_refused,
    fields_given_twice_are_refused,
    hostile_targets_are_refused_in_every_spelling,
    a_url_may_have_8192_bytes_once_it_is_encoded,
    white_space_around_a_url_is_removed,
    short_aliases_and_names_of_files_are_aliases,
    a_byte_order_mark_is_accepted_and_other_encodings_are_explained,
    an_expiry_lies_in_the_future_and_is_given_once,
    only_json_in_utf8_is_understood,
    a_broken_body_is_malformed_json,
    a_body_may_have_64_kib,
    a_repeated_request_has_one_effect_and_one_answer,
    a_repeated_request_is_answered_also_after_the_expiry_it_asked_for,
    an_idempotency_key_names_one_request_only,
    callers_do_not_share_idempotency_keys,
    an_idempotency_key_is_one_visible_word,
    without_a_valid_key_nothing_is_claimed,
    either_field_carries_the_key,
    the_scope_to_write_is_needed,
}

fn a_claim_creates_then_finds_then_reactivates(server: &Signpost) {
    let caller = server.caller();
    let body = json!({"url": "https://example.com/a?b=1"});

    let created = caller.claim(&body);
    let link = created.with_status(201).json();
    assert_eq!(link["outcome"], "created");
    let code = code_of(&link);
    let location = format!("/api/v1/links/{code}");
    assert_eq!(created.header("location"), Some(location.as_str()));
    assert_eq!(created.header("etag"), Some("\"1\""));
    assert_eq!(created.header("content-type"), Some("application/json"));

    let found = caller.claim(&body);
    assert_eq!(found.with_status(200).json(), with(&link, "outcome", json!("existing")));
    assert_eq!(found.header("location"), Some(location.as_str()));
    assert_eq!(found.header("etag"), Some("\"1\""));

    caller.delete(&code).with_status(200);
    let back = caller.claim(&body);
    let revived = back.with_status(200).json();
    assert_eq!(revived["outcome"], "reactivated");
    assert_eq!(revived["code"], link["code"]);
    assert_eq!(revived["id"], link["id"]);
    assert_eq!(revived["state"], "active");
    assert_eq!(revived["generation"], 3);
    assert_eq!(revived["deleted_at"], Value::Null);
    assert_eq!(revived["reactivated_at"], revived["updated_at"]);
    assert_eq!(back.header("location"), Some(location.as_str()));
    assert_eq!(back.header("etag"), Some("\"3\""));
}

fn a_link_shows_exactly_the_documented_fields(server: &Signpost) {
    let caller = server.caller();
    let link = caller.link(&json!({"url": "https://example.com"}));
    let code = code_of(&link);
    let expected = json!({
        "id": link["id"],
        "domain": "sho.test",
        "code": code,
        "short_url": format!("http://sho.test/{code}"),
        "url": "https://example.com/",
        "state": "active",
        "expired": false,
        "redirect": 302,
        "forward_query": false,
        "expires_at": null,
        "title": null,
        "tags": [],
        "owner": caller.owner,
        "generation": 1,
        "created_at": link["created_at"],
        "updated_at": link["created_at"],
        "deleted_at": null,
        "reactivated_at": null,
        "outcome": "created",
    });
    assert_eq!(link, expected);
    assert_eq!(code.len(), 8);
    assert!(code.bytes().all(|byte| byte.is_ascii_alphanumeric() && !b"0OIl".contains(&byte)), "{code}");
    let id = link["id"].as_str().expect("a text");
    assert!(id.len() == 36 && id.as_bytes()[14] == b'7', "no UUID of version 7: {id}");
    let created_at = link["created_at"].as_str().expect("a text");
    assert!(created_at.len() == 27 && created_at.ends_with('Z'), "no time in UTC: {created_at}");
}

fn a_link_keeps_what_was_asked_for(server: &Signpost) {
    let caller = server.caller();
    let alias = unique("kept");
    let asked = json!({
        "url": "https://example.com/kept", "alias": alias, "redirect": 308, "forward_query": true,
        "expires_at": "2099-01-02T03:04:05+02:00", "title": "Größe", "tags": ["one", "two"],
    });
    let code = code_of(&caller.link(&asked));
    assert_eq!(code, alias);
    let link = caller.read(&code).with_status(200).json();
    assert_eq!(link["redirect"], 308);
    assert_eq!(link["forward_query"], true);
    assert_eq!(link["expires_at"], "2099-01-02T01:04:05.000000Z");
    assert_eq!(link["title"], "Größe");
    assert_eq!(link["tags"], json!(["one", "two"]));
}

fn the_short_url_never_follows_the_host_of_the_request(server: &Signpost) {
    // Every request of these tests names another host than the public one.
    let link = server.caller().link(&json!({"url": "https://example.com/"}));
    assert!(link["short_url"].as_str().is_some_and(|url| url.starts_with("http://sho.test/")), "{link}");
}

fn an_alias_is_found_again_by_the_same_url_only(server: &Signpost) {
    let caller = server.caller();
    let alias = unique("alias");
    let body = json!({"url": "https://example.com/a", "alias": alias});
    assert_eq!(caller.claim(&body).with_status(201).json()["code"], alias.as_str());
    assert_eq!(caller.claim(&body).with_status(200).json()["outcome"], "existing");
    let elsewhere = json!({"url": "https://example.com/b", "alias": alias});
    caller.claim(&elsewhere).problem(409, "alias-taken");
    let otherwise = json!({"url": "https://example.com/a", "alias": alias, "redirect": 301});
    caller.claim(&otherwise).problem(409, "alias-taken");
}

fn a_known_url_with_a_new_alias_is_a_new_link(server: &Signpost) {
    let caller = server.caller();
    let url = "https://example.com/known";
    let code = caller.code(url);
    let alias = caller.link(&json!({"url": url, "alias": unique("second")}));
    assert_ne!(alias["code"], code.as_str());
    assert_eq!(caller.claim(&json!({"url": url})).with_status(200).json()["code"], code.as_str());
}

fn a_taken_alias_does_not_show_its_owner(server: &Signpost) {
    let (holder, stranger) = (server.caller(), server.caller());
    let (theirs, own) = (unique("theirs"), unique("own"));
    let secret = holder.link(&json!({"url": "https://example.com/secret", "alias": theirs, "title": "Secret"}));
    stranger.link(&json!({"url": "https://example.com/other", "alias": own}));

    let about_theirs = stranger.claim(&json!({"url": "https://example.com/new", "alias": theirs}));
    let about_own = stranger.claim(&json!({"url": "https://example.com/new", "alias": own}));
    let unnamed = |problem: Value| with(&problem, "request_id", Value::Null);
    assert_eq!(unnamed(about_theirs.problem(409, "alias-taken")), unnamed(about_own.problem(409, "alias-taken")));
    for told in [holder.owner.as_str(), &theirs, "secret", "Secret", secret["id"].as_str().expect("a text")] {
        assert!(!about_theirs.text().contains(told), "{told}: {about_theirs:?}");
    }
    // The answer does not even show that the link behaves as requested.
    stranger.claim(&json!({"url": "https://example.com/secret", "alias": theirs})).problem(409, "alias-taken");
}

fn a_deleted_link_keeps_its_alias(server: &Signpost) {
    let (holder, stranger) = (server.caller(), server.caller());
    let alias = unique("gone");
    let body = json!({"url": "https://example.com/gone", "alias": alias});
    holder.link(&body);
    holder.delete(&alias).with_status(200);
    stranger.claim(&body).problem(409, "alias-taken");
    holder.claim(&json!({"url": "https://example.com/else", "alias": alias})).problem(409, "alias-taken");
    let back = holder.claim(&body).with_status(200).json();
    assert_eq!(back["outcome"], "reactivated");
    assert_eq!(back["generation"], 3);
}

fn reserved_and_misshapen_aliases_are_refused(server: &Signpost) {
    let caller = server.caller();
    let long = "x".repeat(65);
    for (alias, fault) in [
        (long.as_str(), "length"),
        ("", "length"),
        ("a b", "character"),
        ("a/b", "character"),
        ("abc+", "character"),
        ("abc\r\nX-Evil: 1", "character"),
        ("abc\0", "character"),
        ("äöü", "character"),
        ("..%2f", "character"),
        (".a", "character"),
        ("a.", "character"),
        ("a..b", "character"),
        ("api", "reserved"),
        ("API", "reserved"),
        ("Health", "reserved"),
        ("docs", "reserved"),
        ("metrics", "reserved"),
        ("robots.txt", "reserved"),
        ("Favicon.ico", "reserved"),
        ("console", "reserved"),
        ("sgn_x", "reserved"),
        ("promo.qr", "reserved"),
    ] {
        caller.claim(&json!({"url": "https://example.com/", "alias": alias})).refuses(&[("/alias", fault)]);
    }
    // The error lists all words, so that the next attempt need not be a guess.
    let told = caller.claim(&json!({"url": "https://example.com/", "alias": "stats"})).text();
    assert!(told.contains("console, docs, domains"), "{told}");
}

fn short_aliases_and_names_of_files_are_aliases(server: &Signpost) {
    let caller = server.caller();
    let word = unique("word");
    for alias in ["report.pdf", "a.b.c-d", "help", "status", "about", "x"] {
        // Other tests share both stores, and a code exists only once.
        let alias = if alias.len() > 1 { format!("{word}.{alias}") } else { alias.to_owned() };
        let link = caller.claim(&json!({"url": "https://example.com/file", "alias": alias}));
        assert_eq!(code_of(&link.with_status(201).json()), alias);
        assert_eq!(
            server.get(&format!("/{alias}")).with_status(302).header("location"),
            Some("https://example.com/file")
        );
        caller.read(&alias).with_status(200);
        server.get(&format!("/{alias}+")).with_status(200);
    }
}

fn owners_have_links_of_their_own_to_the_same_url(server: &Signpost) {
    let body = json!({"url": "https://example.com/shared"});
    let (one, other) = (server.caller().link(&body), server.caller().link(&body));
    assert_ne!(one["code"], other["code"]);
    assert_ne!(one["owner"], other["owner"]);
}

fn a_link_that_behaves_differently_is_another_link(server: &Signpost) {
    let caller = server.caller();
    let url = "https://example.com/behaviour";
    let bodies = [
        json!({"url": url}),
        json!({"url": url, "redirect": 301}),
        json!({"url": url, "forward_query": true}),
        json!({"url": url, "expires_at": "2099-01-01T00:00:00Z"}),
        json!({"url": "https://example.com/behaviour/"}),
        json!({"url": "https://example.com/behaviour?"}),
        json!({"url": "https://example.com/behaviour#part"}),
        json!({"url": "http://example.com/behaviour"}),
        json!({"url": "https://www.example.com/behaviour"}),
    ];
    let mut codes: Vec<_> = bodies.iter().map(|body| code_of(&caller.link(body))).collect();
    codes.sort_unstable();
    codes.dedup();
    assert_eq!(codes.len(), bodies.len());
    for body in &bodies {
        caller.claim(body).with_status(200);
    }
}

fn two_spellings_of_one_url_are_one_link(server: &Signpost) {
    let caller = server.caller();
    let first = caller.link(&json!({"url": "https://example.com/%7euser/%c3%9c?q=%2F"}));
    for spelling in [
        "HTTPS://EXAMPLE.com:443/~user/%C3%9C?q=%2f",
        "https:\\\\example.com\\~user\\Ü?q=%2F",
        "https://example.com/x/../~user/%C3%9c?q=%2F",
    ] {
        let again = caller.claim(&json!({"url": spelling})).with_status(200).json();
        assert_eq!(again["code"], first["code"], "{spelling}");
        // The redirect goes to the target as it was first written.
        assert_eq!(again["url"], "https://example.com/%7euser/%c3%9c?q=%2F");
    }
}

fn a_claim_leaves_title_and_tags_of_a_known_link_alone(server: &Signpost) {
    let caller = server.caller();
    let url = "https://example.com/titled";
    caller.link(&json!({"url": url, "title": "First", "tags": ["first"]}));
    let again = caller.claim(&json!({"url": url, "title": "Second", "tags": ["second"]})).with_status(200).json();
    assert_eq!(again["title"], "First");
    assert_eq!(again["tags"], json!(["first"]));
    assert_eq!(again["generation"], 1);
}

fn force_new_gives_a_separate_link_every_time(server: &Signpost) {
    let caller = server.caller();
    let url = "https://example.com/separate";
    let shared = caller.code(url);
    let separate = json!({"url": url, "force_new": true});
    let (one, other) = (caller.link(&separate), caller.link(&separate));
    assert_ne!(one["code"], other["code"]);
    assert_ne!(one["code"], shared.as_str());
    assert_eq!(caller.claim(&json!({"url": url})).with_status(200).json()["code"], shared.as_str());
}

fn everything_wrong_with_a_body_is_named_at_once(server: &Signpost) {
    let body = json!({
        "url": "ftp://example.com/", "alias": "", "redirect": 303, "forward_query": 1, "expires_at": "tomorrow",
        "expires_in": "7", "title": "", "tags": [1], "force_new": "yes", "owner": "admin", "a/b~": 1,
    });
    server.caller().claim(&body).refuses(&[
        ("/url", "scheme"),
        ("/alias", "length"),
        ("/redirect", "not-a-redirect"),
        ("/forward_query", "wrong-type"),
        ("/expires_at", "not-a-time"),
        ("/expires_in", "not-a-lifetime"),
        ("/title", "empty"),
        ("/tags/0", "wrong-type"),
        ("/force_new", "wrong-type"),
        ("/owner", "unknown-field"),
        ("/a~1b~0", "unknown-field"),
    ]);
}

fn titles_and_tags_are_bounded(server: &Signpost) {
    let caller = server.caller();
    let with_title = |title: &str| json!({"url": "https://example.com/t", "force_new": true, "title": title});
    caller.claim(&with_title(&"ü".repeat(200))).with_status(201);
    caller.claim(&with_title(&"ü".repeat(201))).refuses(&[("/title", "too-long")]);
    caller.claim(&with_title("a\nb")).refuses(&[("/title", "character")]);
    let with_tags = |tags: &[String]| json!({"url": "https://example.com/t", "force_new": true, "tags": tags});
    let many: Vec<_> = (0..21).map(|number| format!("tag {number}")).collect();
    caller.claim(&with_tags(&many[..20])).with_status(201);
    caller.claim(&with_tags(&many)).refuses(&[("/tags", "too-many")]);
    caller.claim(&with_tags(&["ü".repeat(50)])).with_status(201);
    caller.claim(&with_tags(&["ü".repeat(51)])).refuses(&[("/tags/0", "too-long")]);
    caller.claim(&with_tags(&[String::new()])).refuses(&[("/tags/0", "empty")]);
}

fn a_body_that_is_no_object_is_refused(server: &Signpost) {
    let caller = server.caller();
    for body in [json!([]), json!("https://example.com/"), json!(1), json!(true), Value::Null] {
        caller.claim(&body).refuses(&[("", "wrong-type"), ("/url", "required")]);
    }
    caller.claim(&json!({})).refuses(&[("/url", "required")]);
}

fn fields_given_twice_are_refused(server: &Signpost) {
    let body = r#"{"url": "https://example.com/a", "title": "a", "url": "https://example.com/b"}"#;
    raw_claim(&server.caller(), body).refuses(&[("/url", "duplicate")]);
}

fn hostile_targets_are_refused_in_every_spelling(server: &Signpost) {
    let caller = server.caller();
    for &(fault, urls) in HOSTILE {
        for url in urls {
            let answer = caller.claim(&json!({"url": url}));
            assert_eq!(answer.status, 422, "{url:?}: {answer:?}");
            answer.refuses(&[("/url", fault)]);
        }
    }
    assert!(caller.walk("/api/v1/links").is_empty());
}

const HOSTILE: &[(&str, &[&str])] = &[
    ("empty", &[""]),
    (
        "control-character",
        &[
            "https://example.com/a\tb",
            "https://exam\nple.com/",
            "https://example.com/\r\nSet-Cookie: a=b",
            "https://example.com/\u{0}",
            "https://example.com/\u{7f}",
            "https://example.com/\u{85}a",
        ],
    ),
    ("no-scheme", &["example.com", "//example.com", "www.example.com/a?b", ":"]),
    ("not-a-url", &["https://", "http://[::1", "https://exa%00mple.com/", "https://exa mple.com/"]),
    (
        "scheme",
        &["javascript:alert(1)", "JAVASCRIPT:alert(1)", "data:text/html,x", "ftp://example.com/", "file:///etc"],
    ),
    (
        "user-info",
        &[
            "https://user@example.com/",
            "https://user:password@example.com/",
            "https://@example.com/",
            "https:\\\\google.com@example.com\\",
        ],
    ),
    (
        "own-host",
        &[
            "http://sho.test/abc",
            "http://SHO.TEST./",
            "https://sho.test:8443/",
            "http://s%68o.test/",
            "http://ｓho.test/",
        ],
    ),
    (
        "private-address",
        &[
            "http://127.0.0.1/",
            "http://2130706433/",
            "http://0x7f.1/",
            "http://0177.0.0.1/",
            "http://10.1/",
            "http://10.0.0.1./",
            "http:10.0.0.1",
            "http:/\\10.0.0.1/",
            "http://①②⑦.0.0.1/",
            "http://0/",
            "http://100.64.0.1/",
            "http://169.254.169.254/latest",
            "http://172.16.0.1/",
            "http://192.168.0.1:8080/",
            "http://224.0.0.1/",
            "http://[::1]/",
            "http://[::7f00:1]/",
            "http://[::ffff:10.0.0.1]/",
            "http://[64:ff9b::a00:1]/",
            "http://[2002:a00:1::]/",
            "http://[fd00::1]/",
            "http://[fe80::1]/",
        ],
    ),
    (
        "internal-name",
        &[
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://printer/",
            "http://metadata.google.internal/",
            "http://x.home.arpa/",
            "http://wiki.corp/",
            "http://x.test/",
            "http://10.0.0.1../",
            "https://example..com/",
        ],
    ),
];

fn a_url_may_have_8192_bytes_once_it_is_encoded(server: &Signpost) {
    let caller = server.caller();
    let url = |length: usize| format!("{:a<length$}", "https://example.com/");
    let longest = url(8_192);
    let link = caller.link(&json!({"url": longest}));
    assert_eq!(link["url"], longest.as_str());
    assert_eq!(server.get(&format!("/{}", code_of(&link))).with_status(302).header("location"), Some(longest.as_str()));
    caller.claim(&json!({"url": url(8_193)})).refuses(&[("/url", "too-long")]);
    // Each of these characters becomes six when it is encoded. The error names the encoded length.
    caller.link(&json!({"url": format!("https://example.com/{}", "Ж".repeat(340))}));
    let told = caller.claim(&json!({"url": format!("https://example.com/{}", "Ж".repeat(1_400))}));
    told.refuses(&[("/url", "too-long")]);
    assert!(told.text().contains("at most 8192 bytes once it is encoded, and has 8420"), "{told:?}");
}

fn white_space_around_a_url_is_removed(server: &Signpost) {
    let caller = server.caller();
    for (given, kept) in [
        ("https://example.com/x\n", "https://example.com/x"),
        (" \t\u{a0}\u{feff}https://example.com/x\u{200b}\r\n", "https://example.com/x"),
        ("https://example.com/a b?c d#e", "https://example.com/a%20b?c%20d#e"),
        ("https://example.com/a\u{2028}", "https://example.com/a"),
        ("https://example.com/a\u{3000}b", "https://example.com/a%E3%80%80b"),
    ] {
        assert_eq!(caller.claim(&json!({"url": given})).json()["url"], kept, "{given:?}");
    }
}

fn an_expiry_lies_in_the_future_and_is_given_once(server: &Signpost) {
    let caller = server.caller();
    let url = "https://example.com/expiring";
    caller
        .claim(&json!({"url": url, "expires_at": "2020-01-01T00:00:00Z"}))
        .refuses(&[("/expires_at", "not-in-future")]);
    let both = json!({"url": url, "expires_at": "2099-01-01T00:00:00Z", "expires_in": "7d"});
    caller.claim(&both).refuses(&[("/expires_in", "conflict")]);
    for lifetime in ["", "0s", "-1d", "1.5h", "7 d", "7D", "d", "99999999999999999999w"] {
        let body = json!({"url": url, "expires_in": lifetime});
        caller.claim(&body).refuses(&[("/expires_in", "not-a-lifetime")]);
    }
    for moment in ["2099-01-01", "2099-01-01T00:00:00", "2099-13-01T00:00:00Z", "10000-01-01T00:00:00Z", ""] {
        let body = json!({"url": url, "expires_at": moment});
        caller.claim(&body).refuses(&[("/expires_at", "not-a-time")]);
    }
}

fn only_json_in_utf8_is_understood(server: &Signpost) {
    let caller = server.caller();
    let claim = |headers: &[(&str, &str)]| {
        let request = caller.request("POST", "/api/v1/links").body(r#"{"url":"https://example.com/media"}"#);
        caller.ask(&headers.iter().fold(request, |request, (name, value)| request.header(name, value)))
    };
    for known in ["application/json", "Application/JSON; charset=UTF-8", "application/json;charset=\"utf-8\""] {
        assert!(matches!(claim(&[("Content-Type", known)]).status, 200 | 201), "{known}");
    }
    for unknown in [
        "",
        "text/plain",
        "text/json",
        "application/jsonp",
        "application/json; charset=latin1",
        "application/x-www-form-urlencoded",
        "application/merge-patch+json",
    ] {
        claim(&[("Content-Type", unknown)]).problem(415, "unsupported-media-type");
    }
    let unnamed = claim(&[]).problem(415, "unsupported-media-type");
    assert!(unnamed["detail"].as_str().is_some_and(|detail| detail.contains("application/json")), "{unnamed}");
    let latin = claim(&[("Content-Type", "application/json; charset=latin1")]).problem(415, "unsupported-media-type");
    assert!(latin["detail"].as_str().is_some_and(|detail| detail.contains("`latin1`")), "{latin}");
    let coded = [("Content-Type", "application/json"), ("Content-Encoding", "gzip")];
    claim(&coded).problem(415, "unsupported-media-type");
}

fn a_byte_order_mark_is_accepted_and_other_encodings_are_explained(server: &Signpost) {
    let caller = server.caller();
    let marked = caller.request("POST", "/api/v1/links").header("Content-Type", "application/json; charset=utf8");
    let body = [&b"\xef\xbb\xbf"[..], br#"{"url":"https://example.com/marked"}"#].concat();
    caller.ask(&marked.clone().body(body)).with_status(201);
    let wide: Vec<u8> = "\u{feff}{}".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let told = caller.ask(&marked.clone().body(wide)).problem(400, "malformed-json");
    assert!(told["detail"].as_str().is_some_and(|detail| detail.contains("UTF-16")), "{told}");
    let told = caller.ask(&marked.body(*b"")).problem(400, "malformed-json");
    assert_eq!(told["detail"], "The body is empty.");
}

fn a_broken_body_is_malformed_json(server: &Signpost) {
    let caller = server.caller();
    let deep = "[".repeat(10_000);
    for body in [
        "",
        "{",
        "nul",
        "{'url': 'https://example.com/'}",
        r#"{"url":"https://example.com/"} {}"#,
        r#"{"url":"https://example.com/",}"#,
        r#"{"url":"\ud800"}"#,
        r#"{"url":1e999}"#,
        deep.as_str(),
    ] {
        raw_claim(&caller, body).problem(400, "malformed-json");
    }
    let no_text = caller.request("POST", "/api/v1/links").header("Content-Type", "application/json");
    caller.ask(&no_text.body(*b"{\"url\":\"https://example.com/\xff\"}")).problem(400, "malformed-json");
}

fn a_body_may_have_64_kib(server: &Signpost) {
    let caller = server.caller();
    let body = |length: usize| padded(r#"{"url":"https://example.com/padded"}"#, length);
    raw_claim(&caller, &body(65_536)).with_status(201);
    let refused = raw_claim(&caller, &body(65_537));
    refused.problem(413, "payload-too-large");
    assert_eq!(refused.header("connection"), Some("close"));
}

fn a_repeated_request_has_one_effect_and_one_answer(server: &Signpost) {
    let caller = server.caller();
    let request = caller.claiming(&json!({"url": "https://example.com/once", "force_new": true}));
    let request = request.header("Idempotency-Key", "claim-1");
    let first = caller.ask(&request);
    let code = code_of(&first.with_status(201).json());
    for _ in 0..3 {
        let again = caller.ask(&request);
        assert_eq!(again.with_status(201).text(), first.text());
        assert_eq!(again.header("location"), first.header("location"));
        assert_eq!(again.header("etag"), first.header("etag"));
    }
    // A change of the link in between does not change the answer.
    caller.delete(&code).with_status(200);
    assert_eq!(caller.ask(&request).with_status(201).text(), first.text());
    assert_eq!(caller.walk("/api/v1/links").len(), 1);
    assert_eq!(caller.read(&code).json()["state"], "deleted");

    let reactivation = caller.reactivating(&code).header("Idempotency-Key", "back-1");
    let back = caller.ask(&reactivation);
    assert_eq!(back.with_status(200).json()["generation"], 3);
    caller.delete(&code).with_status(200);
    assert_eq!(caller.ask(&reactivation).with_status(200).text(), back.text());
    assert_eq!(caller.read(&code).json()["state"], "deleted");
}

fn a_repeated_request_is_answered_also_after_the_expiry_it_asked_for(server: &Signpost) {
    let caller = server.caller();
    // The server's clock decides: the second link ends when the first one does.
    let first = caller.link(&json!({"url": "https://example.com/clock", "expires_in": "3s"}));
    let claim = caller.claiming(&json!({"url": "https://example.com/ended", "expires_at": first["expires_at"]}));
    let claim = claim.header("Idempotency-Key", "ended");
    let link = caller.ask(&claim).with_status(201).json();
    let path = format!("/{}", code_of(&link));
    assert!(eventually(PATIENCE, || server.get(&path).status == 410));
    let again = caller.ask(&claim).with_status(201).json();
    assert_eq!(again["code"], link["code"]);
    // The same expiry in another request comes too late.
    let late = caller.claiming(&json!({"url": "https://example.com/late", "expires_at": first["expires_at"]}));
    caller.ask(&late).refuses(&[("/expires_at", "not-in-future")]);
}

fn an_idempotency_key_names_one_request_only(server: &Signpost) {
    let caller = server.caller();
    let named = |url: &str| caller.claiming(&json!({"url": url})).header("Idempotency-Key", "k");
    caller.ask(&named("https://example.com/one")).with_status(201);
    caller.ask(&named("https://example.com/two")).problem(422, "idempotency-key-reused");
    let batch = json!({"links": [{"url": "https://example.com/one"}]});
    let elsewhere = caller.request("POST", "/api/v1/links/batch").json(&batch).header("Idempotency-Key", "k");
    caller.ask(&elsewhere).problem(422, "idempotency-key-reused");
    assert_eq!(caller.walk("/api/v1/links").len(), 1);
}

fn callers_do_not_share_idempotency_keys(server: &Signpost) {
    let owner = unique("owner");
    for url in ["https://example.com/one", "https://example.com/two"] {
        let caller = server.caller_of(&owner, &["links:write"]);
        caller.ask(&caller.claiming(&json!({"url": url})).header("Idempotency-Key", "the-same")).with_status(201);
    }
}

fn an_idempotency_key_is_one_visible_word(server: &Signpost) {
    let caller = server.caller();
    let body = json!({"url": "https://example.com/named"});
    let (longest, too_long) = ("k".repeat(255), "k".repeat(256));
    for bad in ["", "a b", "ü", too_long.as_str()] {
        let answer = caller.ask(&caller.claiming(&body).header("Idempotency-Key", bad));
        answer.refuses(&[("header/idempotency-key", "invalid")]);
    }
    let twice = caller.claiming(&body).header("Idempotency-Key", "a").header("Idempotency-Key", "a");
    caller.ask(&twice).refuses(&[("header/idempotency-key", "invalid")]);
    caller.ask(&caller.claiming(&body).header("Idempotency-Key", &longest)).with_status(201);
}

fn without_a_valid_key_nothing_is_claimed(server: &Signpost) {
    let caller = server.caller();
    let bare = caller.claiming(&json!({"url": "https://example.com/"}));
    let without = |name: &str, value: &str| {
        let request = Request::post("/api/v1/links").header(name, value);
        caller.ask(&request.json(&json!({"url": "https://example.com/"})))
    };
    let shortened = &caller.key[..caller.key.len() - 1];
    let turned = format!("{shortened}{}", if caller.key.ends_with('z') { 'y' } else { 'z' });
    let never_issued = "sgn_111111111111111111111111111111111111111111111111";
    for (name, value) in [
        ("X-Nothing", "at all".to_owned()),
        ("Authorization", String::new()),
        ("Authorization", "Bearer".to_owned()),
        ("Authorization", format!("Basic {}", caller.key)),
        ("Authorization", caller.key.clone()),
        ("Authorization", format!("Bearer {shortened}")),
        ("Authorization", format!("Bearer {turned}")),
        ("Authorization", format!("Bearer {never_issued}")),
        ("X-API-Key", "sgn_".to_owned()),
        ("X-API-Key", turned.clone()),
    ] {
        let refused = without(name, &value);
        let problem = refused.problem(401, "unauthenticated");
        assert_eq!(refused.header("www-authenticate"), Some("Bearer"), "{name}: {value}");
        assert!(!problem.to_string().contains(shortened), "{problem}");
    }
    // Two keys in one field are no key, even if both are valid.
    let other = server.caller();
    let two = Request::post("/api/v1/links").header("X-API-Key", &other.key).header("X-API-Key", &caller.key);
    caller.ask(&two.json(&json!({"url": "https://example.com/"}))).problem(401, "unauthenticated");
    caller.ask(&bare).with_status(201);
}

fn either_field_carries_the_key(server: &Signpost) {
    let caller = server.caller();
    let body = json!({"url": "https://example.com/fields"});
    let plain = Request::post("/api/v1/links").json(&body);
    caller.ask(&plain.clone().header("X-API-Key", &caller.key)).with_status(201);
    caller.ask(&plain.header("Authorization", &format!("bEaReR {}", caller.key))).with_status(200);
    caller.ask(&caller.claiming(&body).header("X-API-Key", &caller.key)).with_status(200);
    // If `X-API-Key` is there, it decides: the other field may belong to a gateway.
    for other in ["Basic dXNlcjpwYXNz", "Bearer eyJhbGciOiJIUzI1NiJ9.e30.x", "Digest username=x", "\u{e4}"] {
        let request = plain_claim(&body).header("Authorization", other).header("X-API-Key", &caller.key);
        caller.ask(&request).with_status(200);
    }
    let bad = plain_claim(&body).header("Authorization", &format!("Bearer {}", caller.key)).header("X-API-Key", "x");
    caller.ask(&bad).problem(401, "unauthenticated");
}

fn plain_claim(body: &Value) -> Request {
    Request::post("/api/v1/links").json(body)
}

fn the_scope_to_write_is_needed(server: &Signpost) {
    let body = json!({"url": "https://example.com/scoped"});
    for scopes in [&["links:read"][..], &["stats:read"][..], &["links:read", "stats:read"][..]] {
        server.caller_of(&unique("owner"), scopes).claim(&body).problem(403, "forbidden");
    }
    server.caller_of(&unique("owner"), &["links:write"]).claim(&body).with_status(201);
    server.caller_of(&unique("owner"), &["admin"]).claim(&body).with_status(201);
}

alone_on_both_stores! {
    anonymous_callers_may_only_shorten,
    strangers_do_not_share_idempotency_keys,
    a_repeated_request_gets_the_same_answer_although_the_rules_changed,
}

fn strangers_do_not_share_idempotency_keys(setup: &Setup) {
    let server = setup.clone().set("auth.anonymous", "shorten").set("proxies.trusted", "127.0.0.1").start();
    let claim = |from: &str, url: &str| {
        let request = Request::post("/api/v1/links").json(&json!({"url": url, "force_new": true}));
        server.ask(&request.header("Idempotency-Key", "the-same").header("X-Forwarded-For", from))
    };
    let strangers = ["203.0.113.7", "203.0.113.8", "2001:db8::1", "2001:db8:0:1::1"];
    let codes =
        strangers.map(|from| code_of(&claim(from, &format!("https://example.com/{from}")).with_status(201).json()));
    for (from, code) in strangers.iter().zip(&codes) {
        let again = claim(from, &format!("https://example.com/{from}")).with_status(201).json();
        assert_eq!(code_of(&again), *code, "{from}");
    }
    // The same IPv6 network is the same caller, as for the limits.
    claim("2001:db8::2", "https://example.com/elsewhere").problem(422, "idempotency-key-reused");
    if setup.is_on_postgres() {
        let kept = server.database().sql("SELECT string_agg(actor || ' ' || key, ' ') FROM idempotency_keys");
        let kept = kept.expect("we own it");
        assert!(!kept.contains("203.0.113") && !kept.contains("2001:db8") && !kept.contains("the-same"), "{kept}");
    }
}

fn a_repeated_request_gets_the_same_answer_although_the_rules_changed(setup: &Setup) {
    let server = setup.start();
    let (admin, owner) = (server.admin(), unique("owner"));
    let caller = server.caller_of(&owner, &["links:write", "links:create"]);
    let host = format!("{}.example.com", unique("fine").replace('_', "-"));
    let url = |path: &str| format!("https://{host}/{path}");
    let named = |request: Request, key: &str| request.header("Idempotency-Key", key);
    let claim = named(caller.claiming(&json!({"url": url("one"), "force_new": true})), "one");
    let links = json!({"links": [{"url": url("two")}, {"url": url("three"), "force_new": true}]});
    let batch = named(caller.request("POST", "/api/v1/links/batch").json(&links), "two");
    let mixed = json!({"links": [{"url": url("four")}, {"url": "ftp://example.com/"}]});
    let mixed = named(caller.request("POST", "/api/v1/links/batch").json(&mixed), "three");
    let code = caller.code(&url("five"));
    caller.delete(&code).with_status(200);
    let back = named(caller.reactivating(&code), "four");
    let requests = [claim, batch, mixed, back];
    // The `request_id` in the problem of a refused claim is that of each request.
    let told = |answer: &Answer| {
        let mut body = answer.json();
        if let Some(problem) = body.pointer_mut("/results/1/problem/request_id") {
            *problem = Value::Null;
        }
        (answer.status, body)
    };
    let first: Vec<_> = requests.iter().map(|request| told(&caller.ask(request))).collect();
    assert!(first.iter().all(|(status, _)| *status < 300), "{first:?}");
    for (kind, value) in [("owner", &owner), ("host", &host)] {
        let block = json!({"kind": kind, "value": value, "reason": "for the test"});
        let block = admin.ask(&admin.request("POST", "/api/v1/blocks").json(&block)).with_status(201).json();
        assert!(caller.claim(&json!({"url": url("new"), "force_new": true})).status >= 400, "{kind} is not blocked");
        for (request, first) in requests.iter().zip(&first) {
            assert_eq!(told(&caller.ask(request)), *first, "{kind}: {request:?}");
        }
        let id = block["id"].as_str().expect("a block has an id");
        admin.ask(&admin.request("DELETE", &format!("/api/v1/blocks/{id}"))).with_status(204);
    }
}

fn anonymous_callers_may_only_shorten(setup: &Setup) {
    let server = setup.clone().set("auth.anonymous", "shorten").start();
    let claim = |body: &Value| server.ask(&Request::post("/api/v1/links").json(body));

    let link = claim(&json!({"url": "https://example.com/"})).with_status(201).json();
    assert_eq!(link["owner"], "anonymous");
    assert_eq!(claim(&json!({"url": "https://example.com/"})).with_status(200).json()["code"], link["code"]);
    claim(&json!({"url": "https://example.com/", "alias": "wanted"})).problem(401, "unauthenticated");
    let code = code_of(&link);
    server.get(&format!("/{code}")).with_status(302);
    let path = format!("/api/v1/links/{code}");
    for (method, target) in [
        ("GET", "/api/v1/links".to_owned()),
        ("POST", "/api/v1/links/batch".to_owned()),
        ("GET", "/api/v1/keys".to_owned()),
        ("GET", path.clone()),
        ("PATCH", path.clone()),
        ("DELETE", path.clone()),
        ("GET", format!("{path}/history")),
        ("POST", format!("{path}/reactivate")),
    ] {
        server.ask(&Request::new(method, &target)).problem(401, "unauthenticated");
    }
    // A wrong key is not treated like no key.
    let wrong = Request::post("/api/v1/links").key("sgn_wrong");
    server.ask(&wrong.json(&json!({"url": "https://example.com/"}))).problem(401, "unauthenticated");
    let history = server.admin().history(&code);
    assert_eq!(history[0]["actor"], "anonymous");
}

/// A claim whose body need not be JSON.
#[track_caller]
fn raw_claim(caller: &Caller, body: &str) -> Answer {
    let request = caller.request("POST", "/api/v1/links").header("Content-Type", "application/json");
    caller.ask(&request.body(body))
}

/// `object` with one field replaced.
fn with(object: &Value, field: &str, value: Value) -> Value {
    let mut changed = object.clone();
    changed[field] = value;
    changed
}
