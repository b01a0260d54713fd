//! `/api/v1/domains`, and links on short domains: what the host of a request decides.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Answer, Caller, PATIENCE, Request, Setup, Signpost, eventually, unique};

on_both_stores! {
    a_short_domain_is_shown_as_it_was_added_and_edited,
    wrong_fields_of_a_short_domain_are_named,
    a_host_is_added_once,
    only_administrators_manage_short_domains,
    one_code_leads_elsewhere_on_each_short_domain,
    the_host_is_found_in_every_spelling,
    a_link_is_named_by_code_and_short_domain,
    claims_share_a_link_within_their_short_domain,
    a_batch_names_short_domains_claim_by_claim,
    a_short_domain_that_does_not_exist_is_refused,
    a_retired_short_domain_takes_no_new_links,
    a_short_domain_with_links_is_not_removed,
    a_short_domain_is_no_target,
    pages_of_a_short_domain_are_its_own,
    crawlers_are_told_what_each_short_domain_says,
    links_have_the_redirect_of_their_short_domain,
    a_code_is_taken_down_on_one_short_domain,
    a_key_that_is_bound_to_short_domains_reaches_no_other,
    statistics_tell_short_domains_apart,
    a_repeated_addition_is_answered_once,
}

alone_on_both_stores! {
    an_unknown_host_is_the_default_one_or_not_found,
    a_trusted_proxy_names_the_host,
    the_default_short_domain_has_pages_too,
    commands_manage_short_domains_of_a_running_server,
    a_public_url_that_names_another_short_domain_is_refused,
    a_short_domain_with_the_public_host_takes_no_link_away,
}

/// Another process knows a new short domain within this time.
const KNOWN: Duration = Duration::from_secs(5);

fn fresh_host() -> String {
    format!("{}.example.com", unique("go"))
}

/// A new short domain with these settings.
fn domain(server: &Signpost, mut settings: Value) -> String {
    let host = fresh_host();
    settings["host"] = json!(host);
    server.admin().post("/api/v1/domains", &settings).with_status(201);
    host
}

fn edit(server: &Signpost, host: &str, settings: &Value) -> Answer {
    let admin = server.admin();
    admin.ask(&admin.request("PATCH", &format!("/api/v1/domains/{host}")).json(settings))
}

fn remove(server: &Signpost, host: &str) -> Answer {
    let admin = server.admin();
    admin.ask(&admin.request("DELETE", &format!("/api/v1/domains/{host}")))
}

/// A visit to the path of a host.
fn visit(server: &Signpost, host: &str, path: &str) -> Answer {
    server.ask(&Request::get(path).at(host))
}

fn claimed(caller: &Caller, host: &str, url: &str, alias: &str) -> Value {
    caller.claim(&json!({"url": url, "domain": host, "alias": alias})).with_status(201).json()
}

fn a_short_domain_is_shown_as_it_was_added_and_edited(server: &Signpost) {
    let (host, admin) = (fresh_host(), server.admin());
    let body = json!({"host": host.to_uppercase(), "landing_url": "https://example.com/", "redirect": 301});
    let added = admin.post("/api/v1/domains", &body).with_status(201).clone();
    assert_eq!(added.header("location"), Some(format!("/api/v1/domains/{host}").as_str()));
    let mut shown = added.json();
    assert_eq!(shown["created_at"], shown["updated_at"]);
    for moment in ["created_at", "updated_at"] {
        shown.as_object_mut().expect("an object").remove(moment);
    }
    let expected = json!({
        "host": host, "is_default": false, "landing_url": "https://example.com/", "not_found_url": null,
        "gone_url": null, "blocked_url": null, "redirect": 301, "robots": "noindex", "accepts_links": true,
    });
    assert_eq!(shown, expected);
    let edited = edit(server, &host, &json!({"landing_url": null, "robots": "index", "redirect": null}));
    let edited = edited.with_status(200).json();
    assert_eq!(
        (&edited["landing_url"], &edited["robots"], &edited["redirect"]),
        (&json!(null), &json!("index"), &json!(null))
    );
    assert_eq!(admin.get(&format!("/api/v1/domains/{host}")).with_status(200).json(), edited);
    let all = admin.get("/api/v1/domains").with_status(200).json();
    let all = all["items"].as_array().expect("a list");
    assert_eq!((&all[0]["host"], &all[0]["is_default"]), (&json!("sho.test"), &json!(true)));
    assert!(all.contains(&edited));
    remove(server, &host).with_status(204);
    remove(server, &host).problem(404, "not-found");
}

fn wrong_fields_of_a_short_domain_are_named(server: &Signpost) {
    let body = json!({
        "host": "https://go.example", "landing_url": "javascript:x", "redirect": 303, "robots": "none",
        "accepts_links": "yes", "colour": "red",
    });
    server.admin().post("/api/v1/domains", &body).refuses(&[
        ("/host", "not-a-host"),
        ("/landing_url", "scheme"),
        ("/redirect", "not-a-redirect"),
        ("/robots", "unknown-value"),
        ("/accepts_links", "wrong-type"),
        ("/colour", "unknown-field"),
    ]);
    for host in ["", "127.0.0.1", "[::1]", "go.example:8080", "a b"] {
        server.admin().post("/api/v1/domains", &json!({"host": host})).refuses(&[("/host", "not-a-host")]);
    }
    let host = domain(server, json!({}));
    edit(server, &host, &json!({"host": "other.example"})).refuses(&[("/host", "unknown-field")]);
}

fn a_host_is_added_once(server: &Signpost) {
    let host = domain(server, json!({}));
    for taken in [host.clone(), host.to_uppercase(), format!("{host}."), "sho.test".to_owned()] {
        server.admin().post("/api/v1/domains", &json!({"host": taken})).problem(409, "domain-taken");
    }
}

fn only_administrators_manage_short_domains(server: &Signpost) {
    let host = domain(server, json!({}));
    let caller = server.caller();
    caller.post("/api/v1/domains", &json!({"host": fresh_host()})).problem(403, "forbidden");
    caller.get("/api/v1/domains").problem(403, "forbidden");
    caller.ask(&caller.request("DELETE", &format!("/api/v1/domains/{host}"))).problem(403, "forbidden");
    server.get("/api/v1/domains").problem(401, "unauthenticated");
}

fn one_code_leads_elsewhere_on_each_short_domain(server: &Signpost) {
    let (one, other, caller) = (domain(server, json!({})), domain(server, json!({})), server.caller());
    let alias = unique("promo");
    let mut links = Vec::new();
    for host in [&one, &other] {
        let link = claimed(&caller, host, &format!("https://example.com/{host}"), &alias);
        assert_eq!((&link["domain"], &link["short_url"]), (&json!(host), &json!(format!("http://{host}/{alias}"))));
        links.push(link);
    }
    for (host, link) in [&one, &other].into_iter().zip(&links) {
        let answer = visit(server, host, &format!("/{alias}"));
        assert_eq!(answer.with_status(302).header("location"), link["url"].as_str());
        let preview = Request::get(&format!("/{alias}+")).at(host).header("Accept", "application/json");
        let preview = server.ask(&preview);
        assert_eq!(preview.with_status(200).json()["short_url"], link["short_url"]);
        visit(server, host, &format!("/{alias}.qr")).with_status(200);
    }
    visit(server, "sho.test", &format!("/{alias}")).problem(404, "not-found");
    // A change of one leaves its namesake alone, also in caches.
    let path = format!("/api/v1/links/{alias}?domain={one}");
    caller.ask(&caller.request("DELETE", &path)).with_status(200);
    visit(server, &one, &format!("/{alias}")).problem(410, "gone");
    visit(server, &other, &format!("/{alias}")).with_status(302);
}

fn the_host_is_found_in_every_spelling(server: &Signpost) {
    let (host, caller) = (domain(server, json!({})), server.caller());
    let alias = unique("spelled");
    claimed(&caller, &host, "https://example.com/spelled", &alias);
    for spelling in [host.to_uppercase(), format!("{host}:8443"), format!("{host}."), format!("{host}.:80")] {
        visit(server, &spelling, &format!("/{alias}")).with_status(302);
    }
    // The target in absolute form decides over `Host` (RFC 9112 §3.2.2).
    let absolute = Request::get(&format!("http://{host}/{alias}")).at("sho.test");
    server.ask(&absolute).with_status(302);
    let forwarded = Request::get(&format!("/{alias}")).at("sho.test").header("X-Forwarded-Host", &host);
    server.ask(&forwarded).problem(404, "not-found");
    let idn = format!("{}.bücher.example", unique("go"));
    let added = server.admin().post("/api/v1/domains", &json!({"host": idn})).with_status(201).json();
    let encoded = added["host"].as_str().expect("a host").to_owned();
    assert!(encoded.contains("xn--bcher-kva"));
    claimed(&caller, &idn, "https://example.com/idn", &alias);
    visit(server, &encoded, &format!("/{alias}")).with_status(302);
    // HTTP/1.0 needs no host: it is the default short domain.
    let code = caller.code("https://example.com/http10");
    let mut connection = server.connect();
    connection.write(format!("GET /{code} HTTP/1.0\r\n\r\n").as_bytes()).expect("it is sent");
    connection.read().expect("an answer").expect("an answer").with_status(302);
}

fn a_link_is_named_by_code_and_short_domain(server: &Signpost) {
    let host = domain(server, json!({}));
    let caller = server.caller_of(&unique("owner"), &["links:read", "links:write", "stats:read"]);
    let alias = unique("named");
    let answer = caller.claim(&json!({"url": "https://example.com/named", "domain": host, "alias": alias}));
    let location = answer.with_status(201).header("location").expect("a location").to_owned();
    assert_eq!(location, format!("/api/v1/links/{alias}?domain={host}"));
    caller.read(&alias).problem(404, "not-found");
    let read = caller.get(&location).with_status(200).json();
    assert_eq!(read["domain"], json!(host));
    for part in ["history", "qr", "stats"] {
        caller.get(&format!("/api/v1/links/{alias}/{part}?domain={host}")).with_status(200);
        caller.get(&format!("/api/v1/links/{alias}/{part}")).problem(404, "not-found");
    }
    let edit = caller.request("PATCH", &location).json(&json!({"title": "edited"}));
    assert_eq!(caller.ask(&edit).with_status(200).json()["title"], "edited");
    caller.ask(&caller.request("DELETE", &location)).with_status(200);
    let reactivate = caller.request("POST", &format!("/api/v1/links/{alias}/reactivate?domain={host}"));
    caller.ask(&reactivate).with_status(200);
    let listed = caller.get(&format!("/api/v1/links?domain={host}")).with_status(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1));
    let others = caller.get("/api/v1/links?domain=sho.test").with_status(200).json();
    assert_eq!(others["items"], json!([]));
    for path in
        [format!("/api/v1/links/{alias}?domain=nowhere.example"), "/api/v1/links?domain=nowhere.example".to_owned()]
    {
        caller.get(&path).refuses(&[("query/domain", "unknown-domain")]);
    }
}

fn claims_share_a_link_within_their_short_domain(server: &Signpost) {
    let (host, caller) = (domain(server, json!({})), server.caller());
    let body = json!({"url": "https://example.com/shared"});
    let here = caller.claim(&body).with_status(201).json();
    let mut there = body.clone();
    there["domain"] = json!(host);
    let link = caller.claim(&there).with_status(201).json();
    assert_ne!(here["id"], link["id"]);
    assert_eq!(caller.claim(&there).with_status(200).json()["id"], link["id"]);
    // The default one may be named.
    there["domain"] = json!("SHO.test");
    assert_eq!(caller.claim(&there).with_status(200).json()["id"], here["id"]);
    assert_eq!(here["domain"], "sho.test");
}

fn a_batch_names_short_domains_claim_by_claim(server: &Signpost) {
    let (host, caller) = (domain(server, json!({})), server.caller());
    let url = "https://example.com/batch";
    let answer = caller.batch(&[
        json!({"url": url}),
        json!({"url": url, "domain": host}),
        json!({"url": url, "domain": "nowhere.example"}),
    ]);
    let results = answer.with_status(200).json()["results"].clone();
    assert_eq!((&results[0]["link"]["domain"], &results[1]["link"]["domain"]), (&json!("sho.test"), &json!(host)));
    let error = &results[2]["problem"]["errors"][0];
    assert_eq!((&error["pointer"], &error["code"]), (&json!("/links/2/domain"), &json!("unknown-domain")));
}

fn a_short_domain_that_does_not_exist_is_refused(server: &Signpost) {
    let caller = server.caller();
    let refused = |domain: &str, code: &str| {
        caller.claim(&json!({"url": "https://example.com/", "domain": domain})).refuses(&[("/domain", code)]);
    };
    refused("nowhere.example", "unknown-domain");
    refused("https://nowhere.example/", "not-a-host");
    let host = domain(server, json!({}));
    remove(server, &host).with_status(204);
    refused(&host, "unknown-domain");
}

fn a_retired_short_domain_takes_no_new_links(server: &Signpost) {
    let (host, caller) = (domain(server, json!({})), server.caller());
    let alias = unique("old");
    claimed(&caller, &host, "https://example.com/old", &alias);
    edit(server, &host, &json!({"accepts_links": false})).with_status(200);
    let claim = json!({"url": "https://example.com/new", "domain": host});
    caller.claim(&claim).refuses(&[("/domain", "retired-domain")]);
    visit(server, &host, &format!("/{alias}")).with_status(302);
    edit(server, &host, &json!({"accepts_links": true})).with_status(200);
    caller.claim(&claim).with_status(201);
}

fn a_short_domain_with_links_is_not_removed(server: &Signpost) {
    let (host, caller) = (domain(server, json!({})), server.caller());
    let alias = unique("kept");
    claimed(&caller, &host, "https://example.com/kept", &alias);
    caller.ask(&caller.request("DELETE", &format!("/api/v1/links/{alias}?domain={host}"))).with_status(200);
    remove(server, &host).problem(409, "domain-in-use");
    remove(server, "sho.test").problem(409, "domain-in-use");
}

fn a_short_domain_is_no_target(server: &Signpost) {
    let (host, caller) = (domain(server, json!({})), server.caller());
    for url in [format!("https://{host}/abc"), format!("http://{}:8080/", host.to_uppercase())] {
        caller.claim(&json!({"url": url})).refuses(&[("/url", "own-host")]);
    }
    let page = json!({"not_found_url": format!("https://{host}/page")});
    edit(server, &host, &page).refuses(&[("/not_found_url", "own-host")]);
}

fn pages_of_a_short_domain_are_its_own(server: &Signpost) {
    let page = |name: &str| format!("https://pages.example.com/{name}");
    let host = domain(
        server,
        json!({
            "landing_url": page("landing"), "not_found_url": page("unknown"), "gone_url": page("gone"),
            "blocked_url": page("blocked"),
        }),
    );
    let caller = server.caller();
    let alias = unique("paged");
    claimed(&caller, &host, "https://example.com/paged", &alias);
    caller.ask(&caller.request("DELETE", &format!("/api/v1/links/{alias}?domain={host}"))).with_status(200);
    let blocked = unique("taken-down");
    claimed(&caller, &host, "https://example.com/taken-down", &blocked);
    let block = json!({"kind": "code", "value": blocked, "domain": host, "reason": "phishing"});
    server.admin().post("/api/v1/blocks", &block).with_status(201);
    let browser = |path: &str| Request::get(path).at(&host).header("Accept", "text/html,*/*;q=0.8");
    for (path, status, expected) in [
        (format!("/{}", unique("nothing")), 404, "unknown"),
        (format!("/{alias}"), 410, "gone"),
        (format!("/{alias}+"), 410, "gone"),
        (format!("/{blocked}"), 451, "blocked"),
    ] {
        let answer = server.ask(&browser(&path));
        assert_eq!(answer.with_status(302).header("location"), Some(page(expected).as_str()), "{path}");
        assert_eq!(answer.header("cache-control"), Some("no-store"));
        // Programs still get the problem.
        assert_eq!(server.ask(&Request::get(&path).at(&host).header("Accept", "*/*")).status, status);
    }
    assert_eq!(visit(server, &host, "/").with_status(302).header("location"), Some(page("landing").as_str()));
    visit(server, "sho.test", "/").with_status(200);
}

fn crawlers_are_told_what_each_short_domain_says(server: &Signpost) {
    let caller = server.caller();
    for (rule, tag, is_open) in
        [("noindex", Some("noindex"), true), ("index", None, true), ("disallow", Some("noindex"), false)]
    {
        let host = domain(server, json!({"robots": rule}));
        let alias = unique("crawled");
        claimed(&caller, &host, "https://example.com/crawled", &alias);
        let answer = visit(server, &host, &format!("/{alias}"));
        assert_eq!(answer.with_status(302).header("x-robots-tag"), tag, "{rule}");
        let robots = visit(server, &host, "/robots.txt").with_status(200).text();
        assert_eq!(robots.lines().any(|line| line == "Disallow: /"), !is_open, "{rule}: {robots}");
    }
}

fn links_have_the_redirect_of_their_short_domain(server: &Signpost) {
    let (host, caller) = (domain(server, json!({"redirect": 308})), server.caller());
    let claim = |extra: Value| {
        let mut body = json!({"url": "https://example.com/permanent", "domain": host});
        body.as_object_mut().expect("an object").extend(extra.as_object().expect("an object").clone());
        caller.claim(&body).with_status(201).json()["redirect"].clone()
    };
    assert_eq!((claim(json!({})), claim(json!({"redirect": 307}))), (json!(308), json!(307)));
}

fn a_code_is_taken_down_on_one_short_domain(server: &Signpost) {
    let (one, other, caller) = (domain(server, json!({})), domain(server, json!({})), server.caller());
    let alias = unique("blocked");
    for host in [&one, &other] {
        claimed(&caller, host, &format!("https://example.com/{host}"), &alias);
    }
    let admin = server.admin();
    let block = json!({"kind": "code", "value": alias, "domain": one, "reason": "phishing"});
    let placed = admin.post("/api/v1/blocks", &block).with_status(201).json();
    assert_eq!((&placed["value"], &placed["domain"]), (&json!(alias), &json!(one)));
    visit(server, &one, &format!("/{alias}")).problem(451, "blocked");
    visit(server, &other, &format!("/{alias}")).with_status(302);
    let misplaced = json!({"kind": "owner", "value": "acme", "domain": one, "reason": "x"});
    admin.post("/api/v1/blocks", &misplaced).refuses(&[("/domain", "conflict")]);
    let owner = json!({"kind": "owner", "value": unique("acme"), "reason": "x"});
    assert_eq!(admin.post("/api/v1/blocks", &owner).with_status(201).json()["domain"], json!(null));
}

fn a_key_that_is_bound_to_short_domains_reaches_no_other(server: &Signpost) {
    let (host, admin, owner) = (domain(server, json!({})), server.admin(), unique("bound"));
    let scopes = ["links:read", "links:write", "stats:read"];
    let body = json!({"name": "bound", "owner": owner, "scopes": scopes, "domains": [host]});
    let issued = admin.post("/api/v1/keys", &body).with_status(201).json();
    assert_eq!(issued["domains"], json!([host]));
    let free = server.caller_of(&owner, &scopes);
    assert_eq!(admin.get("/api/v1/keys").with_status(200).json()["items"][0]["domains"], json!([]));
    let mut bound = free.clone();
    issued["key"].as_str().expect("a key").clone_into(&mut bound.key);
    let (alias, url) = (unique("bound"), "https://example.com/bound");
    let here = claimed(&bound, &host, url, &alias);
    claimed(&free, "sho.test", url, &alias);
    bound.claim(&json!({"url": url})).refuses(&[("/domain", "forbidden-domain")]);
    let results = bound.batch(&[json!({"url": url}), json!({"url": url, "domain": host})]).with_status(200).json();
    assert_eq!((&results["summary"]["failed"], &results["summary"]["created"]), (&json!(1), &json!(1)));
    bound.read(&alias).problem(404, "not-found");
    bound.edit(&alias, &json!({"title": "mine"})).problem(404, "not-found");
    bound.get(&format!("/api/v1/links/{alias}/stats")).problem(404, "not-found");
    assert_eq!(bound.get(&format!("/api/v1/links/{alias}?domain={host}")).with_status(200).json()["id"], here["id"]);
    let listed = bound.get("/api/v1/links").with_status(200).json();
    assert!(listed["items"].as_array().expect("a list").iter().all(|link| link["domain"] == json!(host)));
    assert_eq!(bound.get("/api/v1/stats").with_status(200).json()["totals"]["clicks"], 0);
    bound.get("/api/v1/stats/top").problem(403, "forbidden");
    let admins = json!({"name": "x", "scopes": ["admin"], "domains": [host]});
    admin.post("/api/v1/keys", &admins).refuses(&[("/domains", "conflict")]);
    let unknown = json!({"name": "x", "scopes": ["links:read"], "domains": ["nowhere.example"]});
    admin.post("/api/v1/keys", &unknown).refuses(&[("/domains/0", "unknown-domain")]);
}

fn statistics_tell_short_domains_apart(server: &Signpost) {
    let host = domain(server, json!({}));
    let caller = server.caller_of(&unique("owner"), &["links:read", "links:write", "stats:read"]);
    let alias = unique("counted");
    claimed(&caller, &host, "https://example.com/counted", &alias);
    claimed(&caller, "sho.test", "https://example.com/counted", &alias);
    let agent = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0";
    for at in [host.as_str(), host.as_str(), "sho.test"] {
        let follow = Request::get(&format!("/{alias}")).at(at).header("User-Agent", agent);
        server.ask(&follow).with_status(302);
    }
    let clicks =
        |query: &str| caller.get(&format!("/api/v1/{query}")).with_status(200).json()["totals"]["clicks"].clone();
    assert!(eventually(PATIENCE, || clicks("stats") == 3), "not counted");
    assert_eq!(clicks(&format!("stats?domain={host}")), 2);
    assert_eq!(clicks("stats?domain=sho.test"), 1);
    assert_eq!(clicks(&format!("links/{alias}/stats?domain={host}")), 2);
    let admin = server.admin();
    let of_all = admin.get(&format!("/api/v1/stats?domain={host}")).with_status(200).json();
    assert_eq!(of_all["totals"]["clicks"], 2);
    visit(server, &host, &format!("/{}", unique("nothing"))).problem(404, "not-found");
    let orphans = || admin.get("/api/v1/stats/orphans").with_status(200).json()["items"].clone();
    let is_counted = |item: &Value| item["domain"] == json!(host) && item["reason"] == "unknown" && item["visits"] == 1;
    assert!(eventually(PATIENCE, || orphans().as_array().expect("a list").iter().any(is_counted)));
    let top = caller.get("/api/v1/stats/top").with_status(200).json()["items"].clone();
    assert_eq!((&top[0]["domain"], &top[0]["clicks"]), (&json!(host), &json!(2)));
}

fn a_repeated_addition_is_answered_once(server: &Signpost) {
    let (host, admin) = (fresh_host(), server.admin());
    let request = admin.request("POST", "/api/v1/domains").header("Idempotency-Key", &unique("key"));
    let request = request.json(&json!({"host": host}));
    let first = admin.ask(&request).with_status(201).json();
    assert_eq!(admin.ask(&request).with_status(201).json(), first);
}

fn an_unknown_host_is_the_default_one_or_not_found(setup: &Setup) {
    let server = setup.start();
    let code = server.caller().code("https://example.com/unknown-host");
    visit(&server, "unknown.example", &format!("/{code}")).with_status(302);
    assert_eq!(server.events("domains.unknown_host").len(), 0, "with one short domain, no host is looked at");
    domain(&server, json!({}));
    for _ in 0..2 {
        visit(&server, "unknown.example", &format!("/{code}")).with_status(302);
    }
    assert!(eventually(PATIENCE, || server.events("domains.unknown_host").len() == 1));
    drop(server);

    let strict = setup.clone().set("domains.unknown_host", "not-found").start();
    visit(&strict, "sho.test", &format!("/{code}")).with_status(302);
    for path in [format!("/{code}"), format!("/{code}+"), format!("/{code}.qr"), "/".to_owned()] {
        visit(&strict, "unknown.example", &path).problem(404, "not-found");
    }
    // Probes and the API are asked by other names too.
    visit(&strict, "unknown.example", "/livez").with_status(200);
    visit(&strict, "unknown.example", "/openapi.json").with_status(200);
}

fn a_trusted_proxy_names_the_host(setup: &Setup) {
    let server = setup.clone().set("proxies.trusted", "127.0.0.0/8").start();
    let (host, caller) = (domain(&server, json!({})), server.caller());
    claimed(&caller, &host, "https://example.com/behind", "behind");
    let behind = |field: &str, value: &str| server.ask(&Request::get("/behind").at("internal").header(field, value));
    behind("X-Forwarded-Host", &host).with_status(302);
    behind("X-Forwarded-Host", &format!("made-up.example, {host}")).with_status(302);
    behind("Forwarded", &format!("for=192.0.2.1;host={host}")).with_status(302);
    behind("X-Forwarded-Host", &format!("{host}, made-up.example")).problem(404, "not-found");
}

fn the_default_short_domain_has_pages_too(setup: &Setup) {
    let server = setup.start();
    edit(&server, "sho.test", &json!({"landing_url": "https://example.com/landing", "robots": "index"}))
        .with_status(200);
    assert_eq!(
        visit(&server, "any.example", "/").with_status(302).header("location"),
        Some("https://example.com/landing")
    );
    let code = server.caller().code("https://example.com/default");
    assert_eq!(visit(&server, "sho.test", &format!("/{code}")).with_status(302).header("x-robots-tag"), None);
    drop(server);
    let public = setup.clone().set("public_url", "http://new.test").start();
    assert_eq!(public.admin().get("/api/v1/domains").with_status(200).json()["items"][0]["host"], "new.test");
    visit(&public, "new.test", &format!("/{code}")).with_status(302);
}

fn commands_manage_short_domains_of_a_running_server(setup: &Setup) {
    let server = setup.start();
    let run = |arguments: &[&str]| setup.run(&[&["domains"], arguments].concat());
    let told = run(&["add", "Go.Example.", "--landing-url", "https://example.com/", "--redirect", "301"]);
    assert!(told.code == Some(0) && told.out.contains("go.example"), "{told:?}");
    assert!(eventually(KNOWN, || visit(&server, "go.example", "/").status == 302));
    assert!(run(&["list"]).out.contains("go.example"));
    let caller = server.caller();
    claimed(&caller, "go.example", "https://example.com/command", "command");
    let refused = run(&["remove", "go.example"]);
    assert!(refused.code == Some(1) && refused.err.contains("--accepts-links false"), "{refused:?}");
    assert!(run(&["edit", "go.example", "--accepts-links", "false", "--landing-url", ""]).code == Some(0));
    let is_retired = || {
        let answer = caller.claim(&json!({"url": "https://example.com/late", "domain": "go.example"}));
        answer.status == 422
    };
    assert!(eventually(KNOWN, is_retired));
    assert!(setup.run(&["block", "code", "go.example/command", "--reason", "x"]).code == Some(0));
    assert!(eventually(KNOWN, || visit(&server, "go.example", "/command").status == 451));
    let stats = setup.run(&["stats", "command", "--domain", "go.example"]);
    assert!(stats.code == Some(0), "{stats:?}");
    assert!(run(&["remove", "nowhere.example"]).code != Some(0));
    assert!(run(&["add", "unused.example"]).code == Some(0) && run(&["remove", "unused.example"]).code == Some(0));
    let looping = run(&["add", "loop.example", "--landing-url", "http://loop.example/"]);
    assert!(looping.code == Some(1) && looping.err.contains("landing_url is on the short domain"), "{looping:?}");
    let looping = run(&["edit", "go.example", "--gone-url", "http://go.example/gone"]);
    assert!(looping.code == Some(1) && looping.err.contains("gone_url is on the short domain"), "{looping:?}");
    let bad = run(&["add", "https://go.example"]);
    assert!(bad.code == Some(1) && bad.err.contains("without scheme"), "{bad:?}");
}

/// The command below does not know the public URL of the server.
fn a_short_domain_with_the_public_host_takes_no_link_away(setup: &Setup) {
    let server = setup.start();
    let code = server.caller().code("https://example.com/public");
    let told = setup.clone().set("public_url", "http://other.test").run(&["domains", "add", "sho.test"]);
    assert_eq!(told.code, Some(0), "{told:?}");
    // Lists are read from the store, and the server knows what it lists.
    let listed = server.admin().get("/api/v1/domains").with_status(200).json();
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(2), "{listed}");
    visit(&server, "sho.test", &format!("/{code}")).with_status(302);
}

#[test]
fn visitors_of_an_unreadable_short_domain_meet_its_links() {
    let setup = Signpost::on_postgres();
    let server = setup.start();
    let (host, caller) = (domain(&server, json!({})), server.caller());
    claimed(&caller, &host, "https://example.com/there", "both");
    claimed(&caller, "sho.test", "https://example.com/here", "both");
    setup.database().sql("UPDATE short_domains SET updated_at = 'infinity' WHERE host IS NOT NULL").expect("we own it");
    let refuses = || caller.claim(&json!({"url": "https://example.com/late", "domain": host})).status == 422;
    assert!(eventually(KNOWN, refuses), "a short domain that cannot be read takes no links");
    assert_eq!(visit(&server, &host, "/both").with_status(302).header("location"), Some("https://example.com/there"));
}

fn a_public_url_that_names_another_short_domain_is_refused(setup: &Setup) {
    let server = setup.start();
    let host = domain(&server, json!({}));
    drop(server);
    let moved = setup.clone().set("public_url", &format!("https://{host}"));
    if setup.is_on_postgres() {
        let server = moved.launch();
        let refused =
            || server.events("store.unavailable").iter().any(|line| line["error.message"].to_string().contains(&host));
        assert!(eventually(PATIENCE, refused));
        assert_eq!(server.get("/readyz").status, 503);
    } else {
        let told = moved.run(&["serve"]);
        assert!(told.code == Some(1) && told.err.contains(&host), "{told:?}");
    }
}
