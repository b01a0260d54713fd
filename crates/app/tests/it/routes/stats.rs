//! `GET /api/v1/links/{code}/stats`, `/stats`, `/stats/top`, `/stats/orphans`: questions about clicks.

use serde_json::json;

use crate::support::{Caller, PATIENCE, Request, Signpost, eventually, unique};

on_both_stores! {
    a_series_has_no_holes_and_says_its_zone,
    dates_stand_for_whole_days,
    wrong_questions_are_refused_with_all_their_faults,
    statistics_need_their_scope_and_show_no_other_owners_links,
    statistics_of_all_links_are_those_of_the_owner,
    the_most_clicked_links_come_first,
    a_table_is_sent_on_request,
    lists_have_clicks_on_request,
}

fn reader(server: &Signpost) -> Caller {
    server.caller_of(&unique("owner"), &["links:read", "links:write", "stats:read"])
}

/// A link that was followed so often, all counted.
fn followed(server: &Signpost, caller: &Caller, url: &str, times: u64) -> String {
    let code = caller.code(url);
    let follow = Request::get(&format!("/{code}"))
        .header("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0");
    for _ in 0..times {
        server.ask(&follow).with_status(302);
    }
    let counted = || caller.get(&format!("/api/v1/links/{code}?include=clicks")).json()["clicks"]["total"] == times;
    assert!(eventually(PATIENCE, counted), "not counted");
    code
}

fn a_series_has_no_holes_and_says_its_zone(server: &Signpost) {
    let caller = reader(server);
    let code = followed(server, &caller, "https://example.com/series", 2);
    let path = format!("/api/v1/links/{code}/stats");
    let query = "from=2026-03-27&to=2026-03-30&interval=day&tz=Europe/Berlin&compare=previous";
    let found = caller.get(&format!("{path}?{query}")).with_status(200).json();
    let starts: Vec<_> =
        found["series"].as_array().expect("a series").iter().map(|part| part["start"].clone()).collect();
    // Clocks go forward on 2026-03-29.
    let expected = ["2026-03-26T23", "2026-03-27T23", "2026-03-28T23", "2026-03-29T22"];
    assert_eq!(json!(starts), json!(expected.map(|hour| format!("{hour}:00:00.000000Z"))));
    assert_eq!(found["to"], "2026-03-30T22:00:00.000000Z");
    assert_eq!(
        (&found["time_zone"], &found["interval"], &found["bots"]),
        (&json!("Europe/Berlin"), &json!("day"), &json!("exclude"))
    );
    assert_eq!(found["previous"], json!({"clicks": 0, "humans": 0, "bots": 0}));
    assert_eq!(
        (&found["breakdowns"]["first_day"], &found["breakdowns"]["last_day"]),
        (&json!("2026-03-26"), &json!("2026-03-30"))
    );
    for interval in ["hour", "day", "week", "month"] {
        let found = caller.get(&format!("{path}?interval={interval}")).with_status(200).json();
        assert_eq!(found["totals"], json!({"clicks": 2, "humans": 2, "bots": 0}), "{interval}");
        assert!(found["as_of"].as_str() > found["from"].as_str(), "{found}");
        assert_eq!(found["previous"], json!(null));
    }
}

fn dates_stand_for_whole_days(server: &Signpost) {
    let caller = reader(server);
    let code = caller.code("https://example.com/dates");
    let found =
        caller.get(&format!("/api/v1/links/{code}/stats?from=2026-11-01&to=2026-11-01")).with_status(200).json();
    assert_eq!(
        (&found["from"], &found["to"]),
        (&json!("2026-11-01T00:00:00.000000Z"), &json!("2026-11-02T00:00:00.000000Z"))
    );
    assert_eq!(found["breakdowns"]["last_day"], "2026-11-01");
}

fn wrong_questions_are_refused_with_all_their_faults(server: &Signpost) {
    let caller = reader(server);
    let code = caller.code("https://example.com/wrong-question");
    let ask = |query: &str| caller.get(&format!("/api/v1/links/{code}/stats?{query}"));
    ask("from=yesterday&interval=year&tz=Mars&bots=maybe&compare=next&color=red").refuses(&[
        ("query/from", "not-a-time"),
        ("query/interval", "unknown-value"),
        ("query/tz", "unknown-zone"),
        ("query/bots", "unknown-value"),
        ("query/compare", "unknown-value"),
        ("query/color", "unknown-parameter"),
    ]);
    ask("from=2026-11-02&to=2026-11-01").refuses(&[("query/to", "not-after-begin")]);
    ask("from=2020-01-01&to=2026-01-01&interval=hour").refuses(&[("query/interval", "too-many-parts")]);
    ask("interval=hour&tz=Asia/Kolkata").refuses(&[("query/tz", "no-whole-hours")]);
    ask("from=0001-01-01&to=2026-01-01").refuses(&[("query/from", "before-1970")]);
    ask("interval=day&interval=day").refuses(&[("query/interval", "duplicate")]);
    caller.get("/api/v1/stats/top?limit=0").refuses(&[("query/limit", "out-of-range")]);
    caller.get(&format!("/api/v1/links/{code}?include=everything")).refuses(&[("query/include", "unknown-value")]);
}

fn statistics_need_their_scope_and_show_no_other_owners_links(server: &Signpost) {
    let caller = reader(server);
    let code = caller.code("https://example.com/others");
    let path = format!("/api/v1/links/{code}/stats");
    let blind = server.caller_of(&caller.owner, &["links:read", "links:write"]);
    for path in [path.as_str(), "/api/v1/stats", "/api/v1/stats/top"] {
        blind.get(path).problem(403, "forbidden");
        server.get(path).problem(401, "unauthenticated");
    }
    caller.get("/api/v1/stats/orphans").problem(403, "forbidden");
    let stranger = reader(server);
    let (others, missing) = (stranger.get(&path), stranger.get("/api/v1/links/missing-one/stats"));
    assert_eq!(others.problem(404, "not-found")["detail"], missing.problem(404, "not-found")["detail"]);
    server.admin().get(&path).with_status(200);
}

fn statistics_of_all_links_are_those_of_the_owner(server: &Signpost) {
    let caller = reader(server);
    followed(server, &caller, "https://example.com/all/1", 1);
    caller.link(&json!({"url": "https://example.com/all/2", "tags": ["campaign"]}));
    let other = reader(server);
    followed(server, &other, "https://example.com/all/3", 2);
    let clicks = |caller: &Caller, query: &str| {
        caller.get(&format!("/api/v1/stats{query}")).with_status(200).json()["totals"]["clicks"].as_u64()
    };
    assert_eq!((clicks(&caller, ""), clicks(&other, "")), (Some(1), Some(2)));
    assert_eq!(clicks(&caller, "?tag=campaign"), Some(0));
    assert!(clicks(&server.admin(), "") >= Some(3));
}

fn the_most_clicked_links_come_first(server: &Signpost) {
    let caller = reader(server);
    let rare = followed(server, &caller, "https://example.com/top/rare", 1);
    let often = followed(server, &caller, "https://example.com/top/often", 3);
    let found = caller.get("/api/v1/stats/top").with_status(200).json();
    let items: Vec<_> =
        found["items"].as_array().expect("items").iter().map(|item| (&item["code"], &item["clicks"])).collect();
    assert_eq!(items, [(&json!(often), &json!(3)), (&json!(rare), &json!(1))]);
    let one = caller.get("/api/v1/stats/top?limit=1&bots=include").with_status(200).json();
    assert_eq!(one["items"][0]["short_url"], format!("http://sho.test/{often}"));
    assert_eq!(one["items"].as_array().map(Vec::len), Some(1));
}

fn a_table_is_sent_on_request(server: &Signpost) {
    let caller = reader(server);
    let code = followed(server, &caller, "https://example.com/table", 2);
    let answer = caller
        .ask(&caller.request("GET", &format!("/api/v1/links/{code}/stats?bots=include")).header("Accept", "text/csv"));
    assert_eq!(answer.with_status(200).header("content-type"), Some("text/csv; charset=utf-8"));
    let (table, name) = (answer.text(), format!("attachment; filename=\"clicks-{code}.csv\""));
    assert_eq!(answer.header("content-disposition"), Some(name.as_str()));
    assert!(table.starts_with("section,name,clicks\r\nfilter,from,"), "{table}");
    for line in ["filter,bots,include", "total,clicks,2", "total,daily_visitors,1", "breakdown,total,2"] {
        assert!(table.lines().any(|given| given == line), "{line}: {table}");
    }
}

fn lists_have_clicks_on_request(server: &Signpost) {
    let caller = reader(server);
    let code = followed(server, &caller, "https://example.com/listed", 2);
    let clicks = json!({"total": 2, "humans": 2, "bots": 0});
    let listed = caller.get("/api/v1/links?include=clicks").with_status(200).json();
    for (name, count) in clicks.as_object().expect("an object") {
        assert_eq!(&listed["items"][0]["clicks"][name], count);
    }
    assert_eq!(caller.get("/api/v1/links").json()["items"][0].get("clicks"), None);
    let read = caller.get(&format!("/api/v1/links/{code}?include=clicks"));
    assert_eq!((read.header("etag"), caller.read(&code).header("etag")), (None, Some("\"1\"")));
}
