//! How long the calls of a store took, for metrics.

use std::{
    array::from_fn,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

/// Upper bounds of the buckets, in microseconds. Above the last one is one more bucket.
const BOUNDS: [u32; 10] = [100, 500, 1_000, 5_000, 10_000, 50_000, 100_000, 500_000, 1_000_000, 2_500_000];

/// A histogram of durations that any thread may add to.
#[derive(Debug)]
pub struct DurationCounter {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    /// In nanoseconds.
    sum: AtomicU64,
}

/// What a [`DurationCounter`] has counted.
#[derive(Clone, Copy, Debug, Default)]
pub struct DurationCounts {
    buckets: [u64; BOUNDS.len() + 1],
    /// The sum of all durations.
    pub sum: Duration,
}

impl DurationCounter {
    /// Adds a duration.
    pub fn add(&self, took: Duration) {
        let bucket = BOUNDS.iter().position(|bound| took <= Duration::from_micros((*bound).into()));
        self.buckets[bucket.unwrap_or(BOUNDS.len())].fetch_add(1, Ordering::Relaxed);
        self.sum.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was added so far.
    pub fn counts(&self) -> DurationCounts {
        DurationCounts {
            buckets: from_fn(|bucket| self.buckets[bucket].load(Ordering::Relaxed)),
            sum: Duration::from_nanos(self.sum.load(Ordering::Relaxed)),
        }
    }
}

impl Default for DurationCounter {
    fn default() -> Self {
        Self { buckets: from_fn(|_| AtomicU64::new(0)), sum: AtomicU64::new(0) }
    }
}

impl DurationCounts {
    /// The upper bound of each bucket in seconds, and how many durations are in it alone. The last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS.iter().map(|micros| f64::from(*micros) / 1e6);
        bounds.chain([f64::INFINITY]).zip(self.buckets)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_duration_is_in_the_first_bucket_that_is_not_below_it() {
        let counter = DurationCounter::default();
        for micros in [0, 100, 101, 2_500_000, 2_500_001] {
            counter.add(Duration::from_micros(micros));
        }
        let counts = counter.counts();
        let filled: Vec<_> = counts.buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(filled, [(0.0001, 2), (0.0005, 1), (2.5, 1), (f64::INFINITY, 1)]);
        assert_eq!(counts.sum, Duration::from_micros(5_000_202));
    }
}
