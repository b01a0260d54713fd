//! Redirects, claims and changes of links; what is blocked.

use adapter_http::metrics::{ClaimOutcome, LinkEvent, RequestTotals};

use super::{Label, Metric, counter, gauge, label};

const CACHE: Label = label("cache_result", RequestTotals::cache_results);
const OUTCOME: Label = label("outcome", || ClaimOutcome::ALL.iter().map(|outcome| outcome.name()).collect());
const EVENT: Label = label("event", || LinkEvent::ALL.iter().map(|event| event.name()).collect());
const SUBJECT: Label = label("subject", || SUBJECTS.to_vec());
const LIST: Label = label("list", || vec!["deny", "allow"]);
const SUBJECTS: [&str; 4] = ["code", "host", "owner", "key"];

#[rustfmt::skip]
pub(super) static ROWS: &[Metric] = &[
    counter("signpost_redirects_total", &[CACHE],
        "Codes that were looked up for a redirect, by what the caches had: hit and negative from the L1 cache, shared from Redis, miss from the store, stale from an expired entry",
        "stale: the store is unavailable; a rise of miss: the cache is too small (cache.capacity)",
        |it, out| out.each(it.requests.redirects())),
    counter("signpost_claims_total", &[OUTCOME],
        "Claims, each of a batch on its own, by their outcome",
        "The rate of failed",
        |it, out| out.each(it.requests.claims())),
    counter("signpost_link_changes_total", &[EVENT],
        "Edits, deletions and reactivations that were accepted, those included that changed nothing",
        "",
        |it, out| out.each(it.requests.events())),
    counter("signpost_code_collisions_total", &[],
        "Codes that were drawn again because a link had them",
        "A rise: codes.length is too small for the number of links",
        |it, out| out.one(it.requests.code_collisions)),
    gauge("signpost_blocks_in_force", &[SUBJECT],
        "Subjects that are blocked in this process, from the store and from blocks.file",
        "A fall without a lifted block",
        |it, out| out.each(it.blocks.unwrap_or(SUBJECTS.map(|subject| (subject, 0))))),
    gauge("signpost_blocks_unreadable", &[],
        "Blocks that cannot be read and are not in force",
        "Anything above 0",
        |it, out| out.one(it.unreadable_blocks)),
    gauge("signpost_listed_hosts", &[LIST],
        "Hosts of targets.deny_file and targets.allow_file that are in effect",
        "A fall to 0: the list is empty",
        |it, out| out.each([("deny", it.hosts[0]), ("allow", it.hosts[1])])),
];
