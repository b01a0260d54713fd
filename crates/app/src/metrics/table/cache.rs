//! The caches, and the change feed that keeps them right.

use super::{Label, Metric, When, counter, gauge, label};

const KIND: Label = label("kind", || vec!["links", "unknown"]);
const RESULT: Label = label("result", || vec!["hit", "miss", "skip"]);

#[rustfmt::skip]
pub(super) static ROWS: &[Metric] = &[
    gauge("signpost_cache_entries", &[KIND],
        "Entries of the L1 cache: links, and codes that no link has",
        "",
        |it, out| out.each([("links", it.cache.links), ("unknown", it.cache.unknown)])),
    gauge("signpost_cache_weight", &[],
        "How much of the capacity is used; a link with a long target counts as several",
        "",
        |it, out| out.one(it.cache.weight)),
    gauge("signpost_cache_capacity", &[],
        "Most links in the L1 cache (cache.capacity)",
        "",
        |it, out| out.one(it.cache.capacity)),
    counter("signpost_cache_evictions_total", &[],
        "Links that were pushed out of the L1 cache by others",
        "A sustained rate with many misses: raise cache.capacity",
        |it, out| out.one(it.cache.evictions)),
    counter("signpost_cache_gaps_total", &[],
        "How often changes may have been missed, so that every cached link was looked up again",
        "Several an hour: the change feed breaks",
        |it, out| out.one(it.cache.gaps)),
    gauge("signpost_cache_floors", &[],
        "Links whose changes the change feed has not confirmed yet",
        "Near 100000: counts as a gap",
        |it, out| out.one(it.cache.floors)),
    gauge("signpost_known_codes", &[],
        "Codes in the filter of existing codes; missing while there is none",
        "Missing for long: cache.known_codes is too small, and visitors of new links need the quota unknown",
        |it, out| out.maybe(it.cache.known_codes)),
    gauge("signpost_change_feed_age_seconds", &[],
        "Time since the moment until which all changes are known here; missing before the change feed began",
        "Above 10: deletions by other processes are not seen",
        |it, out| out.maybe(it.feed_age)),
    gauge("signpost_redis_connected", &[],
        "1 while there is a connection to Redis, else 0",
        "0: each process allows its share of every limit",
        |it, out| out.maybe(it.shared.map(|shared| shared.is_connected))).only(When::Redis),
    gauge("signpost_redis_epoch_trusted", &[],
        "1 while this process is in an epoch, so that entries of Redis are used, else 0",
        "0 for more than a minute",
        |it, out| out.maybe(it.shared.map(|shared| shared.is_trusted))).only(When::Redis),
    gauge("signpost_redis_heartbeat_age_seconds", &[],
        "Time since the last heartbeat that Redis answered; missing without a connection",
        "Above 5",
        |it, out| out.maybe(it.shared.and_then(|shared| shared.heartbeat_age).map(|age| age.as_secs_f64()))).only(When::Redis),
    gauge("signpost_redis_processes", &[],
        "Processes that share the store, as Redis knows them",
        "Another number than there are",
        |it, out| out.maybe(it.shared.map(|shared| shared.processes))).only(When::Redis),
    counter("signpost_redis_lookups_total", &[RESULT],
        "Lookups at Redis: hit, miss (no entry, or no answer in time), skip (entries not trusted)",
        "A rise of skip",
        |it, out| if let Some(shared) = it.shared {
            out.each([("hit", shared.hits), ("miss", shared.misses), ("skip", shared.skips)]);
        }).only(When::Redis),
];
