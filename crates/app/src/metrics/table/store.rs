//! The store.

use crate::store_status::StoreStatus;

use super::{Label, Metric, When, counter, gauge, histogram, label};

const POOL: Label = label("pool", || vec!["api", "redirects", "lists", "shipping", "statistics"]);
const STATE: Label = label("state", || vec!["idle", "used"]);
const FILE: Label = label("file", || vec!["links", "clicks"]);
const QUEUE: Label = label("queue", || vec!["writes", "lookups", "scans"]);
const CALLS: Label = label("calls", || vec!["changes", "lookups"]);

#[rustfmt::skip]
pub(super) static ROWS: &[Metric] = &[
    gauge("signpost_store_failed_ratio", &[CALLS],
        "Share of the calls of the last six seconds that failed because of the store, as /health shows it",
        "Above 0.5: /health is warn or fail",
        |it, out| out.each([("changes", it.failed.changes), ("lookups", it.failed.lookups)])),
    gauge("signpost_store_breaker_open", &[],
        "1 while the circuit breaker is open, else 0",
        "1: redirects come from the cache, and the store is tried once a second",
        |it, out| out.one(it.cache.breaker_is_open)),
    counter("signpost_store_breaker_openings_total", &[],
        "How often the circuit breaker opened",
        "",
        |it, out| out.one(it.cache.breaker_openings)),
    counter("signpost_store_retries_total", &[],
        "Lookups for redirects that were retried",
        "A rise: connections break, or the store is slow",
        |it, out| out.one(it.cache.retries)),
    gauge("signpost_store_lookups_in_flight", &[],
        "Codes that are looked up in Redis or the store",
        "Near 4096: the store is too slow for the misses",
        |it, out| out.one(it.cache.in_flight)),
    gauge("signpost_store_pool_connections", &[POOL, STATE],
        "PostgreSQL connections of each pool",
        "idle at 0 for long: the pool is too small, or statements are slow",
        |it, out| if let StoreStatus::Postgres { pools, .. } = &it.store {
            for pool in pools {
                out.with([pool.name, "idle"], pool.idle);
                out.with([pool.name, "used"], pool.size.saturating_sub(pool.idle));
            }
        }).only(When::Postgres),
    gauge("signpost_store_pool_max_connections", &[POOL],
        "Most connections of each pool (store.*_pool_size)",
        "",
        |it, out| if let StoreStatus::Postgres { pools, .. } = &it.store {
            out.each(pools.iter().map(|pool| (pool.name, pool.max)));
        }).only(When::Postgres),
    gauge("signpost_store_pool_waiting", &[POOL],
        "Calls that wait for a connection; in the pool redirects these are batches of up to 64 lookups",
        "Above 0 for long",
        |it, out| if let StoreStatus::Postgres { pools, .. } = &it.store {
            out.each(pools.iter().map(|pool| (pool.name, pool.waiting)));
        }).only(When::Postgres),
    histogram("signpost_store_pool_wait_seconds", &[POOL],
        "How long calls waited for a connection, with or without success",
        "Waits above 50 ms",
        |it, out| if let StoreStatus::Postgres { pools, .. } = &it.store {
            for pool in pools {
                out.histogram([pool.name], pool.waits.sum.as_secs_f64(), pool.waits.buckets());
            }
        }).only(When::Postgres),
    histogram("signpost_store_pool_use_seconds", &[POOL],
        "How long calls used their connection: the time of their statements",
        "api above 50 ms: the database is slow",
        |it, out| if let StoreStatus::Postgres { pools, .. } = &it.store {
            for pool in pools {
                out.histogram([pool.name], pool.uses.sum.as_secs_f64(), pool.uses.buckets());
            }
        }).only(When::Postgres),
    counter("signpost_store_pool_timeouts_total", &[POOL],
        "Calls that got no connection within store.pool_timeout",
        "Any",
        |it, out| if let StoreStatus::Postgres { pools, .. } = &it.store {
            out.each(pools.iter().map(|pool| (pool.name, pool.timeouts)));
        }).only(When::Postgres),
    gauge("signpost_store_lookups_waiting", &[],
        "Lookups of redirects that wait for a connection",
        "Near 4096: lookups are rejected",
        |it, out| if let StoreStatus::Postgres { waiting_lookups, .. } = &it.store {
            out.one(*waiting_lookups);
        }).only(When::Postgres),
    gauge("signpost_sqlite_queue_length", &[FILE, QUEUE],
        "Calls that wait for a thread of SQLite",
        "Near 4096: calls are rejected",
        |it, out| if let StoreStatus::Sqlite(files) = &it.store {
            for file in files {
                for queue in &file.queues {
                    out.with([file.name, queue.name], queue.waiting);
                }
            }
        }).only(When::Sqlite),
    histogram("signpost_sqlite_call_seconds", &[FILE, QUEUE],
        "How long calls of SQLite took, including their wait for a thread",
        "writes above 50 ms: the disk is slow, or batches are large",
        |it, out| if let StoreStatus::Sqlite(files) = &it.store {
            for file in files {
                for queue in &file.queues {
                    out.histogram([file.name, queue.name], queue.calls.sum.as_secs_f64(), queue.calls.buckets());
                }
            }
        }).only(When::Sqlite),
    gauge("signpost_sqlite_file_bytes", &[FILE],
        "Size of each file of SQLite",
        "The room on its disk",
        |it, out| if let StoreStatus::Sqlite(files) = &it.store {
            out.each(files.iter().map(|file| (file.name, file.bytes)));
        }).only(When::Sqlite),
    gauge("signpost_sqlite_wal_bytes", &[FILE],
        "Size of the write-ahead log of each file",
        "Above 64 MiB for long: a reader keeps the log from being moved into the file",
        |it, out| if let StoreStatus::Sqlite(files) = &it.store {
            out.each(files.iter().map(|file| (file.name, file.log_bytes)));
        }).only(When::Sqlite),
];
