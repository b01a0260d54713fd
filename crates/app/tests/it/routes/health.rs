//! `/livez`, `/readyz`, `/health`: whether the process is alive, whether it accepts traffic, and what is wrong.

use serde_json::json;

use crate::support::{PATIENCE, Request, Signpost, eventually};

on_both_stores! {
    a_live_server_says_so,
    a_ready_server_accepts_traffic,
    health_shows_the_store,
    health_shows_the_background_tasks,
    health_asks_the_store_once_a_second_at_most,
    head_answers_as_get_does,
}

fn a_live_server_says_so(server: &Signpost) {
    let answer = server.get("/livez");
    assert_eq!(answer.with_status(200).text(), "alive\n");
    assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

fn a_ready_server_accepts_traffic(server: &Signpost) {
    let answer = server.get("/readyz");
    assert_eq!(answer.with_status(200).text(), "ready\n");
    assert_eq!(answer.header("cache-control"), Some("no-store"));
}

fn health_shows_the_store(server: &Signpost) {
    let answer = server.get("/health");
    assert_eq!(answer.with_status(200).header("content-type"), Some("application/health+json"));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let health = answer.json();
    let probe = &health["checks"]["store:responseTime"][0];
    assert!(probe["observedValue"].is_u64() && probe["time"].is_string(), "{health}");
    let none_failed =
        json!([{"componentType": "datastore", "status": "pass", "observedUnit": "percent", "observedValue": 0}]);
    let expected = json!({
        "status": "pass", "version": env!("CARGO_PKG_VERSION"), "serviceId": "signpost", "phase": "ready",
        "checks": {
            "store:responseTime": [{
                "componentType": "datastore", "status": "pass", "observedUnit": "ms",
                "observedValue": probe["observedValue"], "time": probe["time"],
            }],
            "changes:failed": none_failed,
            "lookups:failed": none_failed,
            "tasks:lastSuccess": health["checks"]["tasks:lastSuccess"],
        },
    });
    assert_eq!(health, expected);
}

fn health_shows_the_background_tasks(server: &Signpost) {
    let tasks = || server.get("/health").with_status(200).json()["checks"]["tasks:lastSuccess"].clone();
    let names: Vec<_> = tasks().as_array().expect("a list").iter().map(|task| task["componentId"].clone()).collect();
    let expected =
        ["change-feed", "known-codes", "short-domains", "blocks", "file-of-blocks", "lists-of-hosts", "retention"];
    let of_clicks = ["click-retention", "click-shipper", "visitor-salts", "click-lists"];
    assert_eq!(names, [&expected[..], &of_clicks[..]].concat());
    // The retention task does nothing in its first minute.
    let have_worked = || tasks().as_array().is_some_and(|tasks| tasks[..6].iter().all(|task| task["time"].is_string()));
    assert!(eventually(PATIENCE, have_worked), "{}", tasks());
    let task = &tasks()[3];
    let expected = json!({
        "componentId": "blocks", "componentType": "component", "status": "pass",
        "observedValue": 0, "observedUnit": "restarts", "time": task["time"],
    });
    assert_eq!(*task, expected);
}

fn health_asks_the_store_once_a_second_at_most(server: &Signpost) {
    let asked = || server.get("/health").with_status(200).json()["checks"]["store:responseTime"][0]["time"].clone();
    let begun = std::time::Instant::now();
    let mut probes: Vec<_> = (0..20).map(|_| asked()).collect();
    assert!(probes.iter().all(serde_json::Value::is_string), "{probes:?}");
    probes.dedup();
    let seconds = begun.elapsed().as_secs();
    assert!(u64::try_from(probes.len()).is_ok_and(|probes| probes <= seconds + 2), "{probes:?} in {seconds} s");
}

fn head_answers_as_get_does(server: &Signpost) {
    for path in ["/livez", "/readyz", "/health"] {
        let head = server.ask(&Request::head(path));
        assert_eq!(head.with_status(200).header("content-type"), server.get(path).header("content-type"), "{path}");
    }
}
