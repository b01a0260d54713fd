//! What the cache and the store client are doing, for metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use quick_cache::Lifecycle;

/// The cache and the store client, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct CacheStatus {
    /// Links in the cache.
    pub links: usize,
    /// Most links; a link with a long target counts as several.
    pub capacity: usize,
    /// How much of that is used.
    pub weight: u64,
    /// Codes in the cache that no link has.
    pub unknown: usize,
    /// Links that were pushed out by others since the start.
    pub evictions: u64,
    /// How often changes may have been missed since the start.
    pub gaps: u32,
    /// Lookups in the store that are in flight.
    pub in_flight: usize,
    /// Reported generations below which nothing is cached.
    pub floors: usize,
    /// Codes in the filter of existing codes; `None` if there is no filter.
    pub known_codes: Option<usize>,
    /// Whether the circuit breaker is open.
    pub breaker_is_open: bool,
    /// How often it opened since the start.
    pub breaker_openings: u64,
    /// Lookups in the store that were retried since the start.
    pub retries: u64,
}

/// Counts the entries that a cache pushes out.
#[derive(Clone, Debug, Default)]
pub(crate) struct Evictions(Arc<AtomicU64>);

impl Evictions {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl<Key, Value> Lifecycle<Key, Value> for Evictions {
    type RequestState = ();

    fn on_evict(&self, (): &mut (), _: Key, _: Value) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}
