//! What the shared cache is doing, for metrics.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// The shared cache, as this process sees it at one moment.
#[derive(Clone, Copy, Debug)]
pub struct SharedMemoryStatus {
    /// Whether there is a connection.
    pub is_connected: bool,
    /// Whether entries are trusted.
    pub is_trusted: bool,
    /// Processes that share the store, this one included.
    pub processes: u32,
    /// Time since the last heartbeat that Redis answered; `None` before the first on this connection.
    pub heartbeat_age: Option<Duration>,
    /// Lookups that found a link, since the start.
    pub hits: u64,
    /// Lookups that found none in time, since the start.
    pub misses: u64,
    /// Lookups that did not ask Redis because its entries were not trusted, since the start.
    pub skips: u64,
}

/// Counts lookups.
#[derive(Debug, Default)]
pub(crate) struct LookupCounter {
    hits: AtomicU64,
    misses: AtomicU64,
    skips: AtomicU64,
}

impl LookupCounter {
    pub(crate) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn missed(&self) {
        self.misses.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn skipped(&self) {
        self.skips.fetch_add(1, Ordering::Relaxed);
    }

    /// Hits, misses and skips.
    pub(crate) fn get(&self) -> [u64; 3] {
        [&self.hits, &self.misses, &self.skips].map(|count| count.load(Ordering::Relaxed))
    }
}
