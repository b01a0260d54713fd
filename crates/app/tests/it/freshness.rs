//! How soon every process knows a change that one process acknowledged.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::{Signpost, eventually, rounds};

/// What a person does who checks whether an alias is free, claims it, and shares the link.
#[test]
fn a_code_cached_as_unknown_redirects_everywhere_within_a_second_of_its_claim() {
    let one = Signpost::on_postgres().patient().start();
    let other = one.another().start();
    let caller = one.caller();
    let mut latest = Duration::ZERO;
    for number in 0..rounds(40, 400) {
        let (alias, url) = (format!("wanted-{number}"), format!("https://example.com/{number}"));
        let path = format!("/{alias}");
        for process in [&one, &other] {
            process.get(&path).problem(404, "not-found");
        }
        caller.link(&json!({"url": url, "alias": alias}));
        let acknowledged = Instant::now();
        assert_eq!(one.get(&path).with_status(302).header("location"), Some(url.as_str()));
        let known = eventually(Duration::from_secs(1), || other.get(&path).status == 302);
        latest = latest.max(acknowledged.elapsed());
        assert!(known, "{alias} is unknown to the other process after {:?}", acknowledged.elapsed());
    }
    assert!(latest <= Duration::from_secs(1), "{latest:?}");
}
