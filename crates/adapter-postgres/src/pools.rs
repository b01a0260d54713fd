//! What the connection pools are doing, for metrics.

use std::{
    array::from_fn,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets of waits, in microseconds. Above the last one is one more bucket.
const BOUNDS: [u32; 9] = [100, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 2_500_000];

/// A connection pool at one moment.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    /// Its name.
    pub name: &'static str,
    /// Most connections.
    pub max: usize,
    /// Connections that are open.
    pub size: usize,
    /// Open connections that no call uses.
    pub idle: usize,
    /// Calls that wait for a connection.
    pub waiting: usize,
    /// Calls that got no connection in time, since the start.
    pub timeouts: u64,
    /// How long calls waited for a connection.
    pub waits: PoolWaits,
}

/// How long calls waited for a connection since the start.
#[derive(Clone, Copy, Debug, Default)]
pub struct PoolWaits {
    buckets: [u64; BOUNDS.len() + 1],
    /// The sum of all waits.
    pub sum: Duration,
}

impl PoolWaits {
    /// The upper bound of each bucket in seconds, and how many waits are in it alone. The last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS.iter().map(|micros| f64::from(*micros) / 1e6);
        bounds.chain([f64::INFINITY]).zip(self.buckets)
    }
}

/// Counts the waits for the connections of one pool.
#[derive(Debug)]
pub(crate) struct WaitCounter {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// In nanoseconds.
    sum: AtomicU64,
    timeouts: AtomicU64,
}

impl WaitCounter {
    pub(crate) fn new() -> Self {
        Self { buckets: from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0), timeouts: AtomicU64::new(0) }
    }

    /// A call waited so long, with or without success.
    pub(crate) fn waited(&self, wait: Duration) {
        let bucket = BOUNDS.iter().position(|bound| wait <= Duration::from_micros((*bound).into()));
        self.buckets[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(u64::try_from(wait.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// A call got no connection in time.
    pub(crate) fn timed_out(&self) {
        self.timeouts.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn timeouts(&self) -> u64 {
        self.timeouts.load(Ordering::Relaxed)
    }

    pub(crate) fn waits(&self) -> PoolWaits {
        PoolWaits {
            buckets: from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum.load(Ordering::Relaxed)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_wait_is_in_the_first_bucket_that_is_not_below_it() {
        let counter = WaitCounter::new();
        for micros in [0, 100, 101, 2_500_000, 2_500_001] {
            counter.waited(Duration::from_micros(micros));
        }
        let filled: Vec<_> = counter.waits().buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0001, 2), (0.001, 1), (2.5, 1), (f64::INFINITY, 1)]);
    }
}
