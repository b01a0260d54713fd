//! A histogram of durations, with one writer.

use std::{array::from_fn, time::Duration};

use super::count::Count;

/// Upper bounds of the buckets, in microseconds. Above the last one is one more bucket.
const BOUNDS: [u32; 15] = [
    250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000, 1_000_000, 2_500_000, 5_000_000,
    10_000_000,
];

/// Counts durations by bucket, and adds them up.
#[derive(Debug)]
pub(super) struct Durations {
    buckets: [Count; BOUNDS.len() + 1],
    /// In nanoseconds.
    sum: Count,
}

impl Durations {
    pub(super) fn new() -> Self {
        Self { buckets: from_fn(|_| Count::default()), sum: Count::default() }
    }

    pub(super) fn add(&self, took: Duration) {
        // Nearly all redirects fall into the first bucket.
        let bucket = BOUNDS.iter().position(|bound| took <= Duration::from_micros((*bound).into()));
        self.buckets[bucket.unwrap_or(BOUNDS.len())].add(1);
        self.sum.add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    pub(super) fn add_to(&self, totals: &mut DurationTotals) {
        for (bucket, total) in self.buckets.iter().zip(&mut totals.buckets) {
            *total += bucket.get();
        }
        totals.sum += Duration::from_nanos(self.sum.get());
    }
}

/// A histogram of durations.
#[derive(Clone, Debug, Default)]
pub struct DurationTotals {
    buckets: [u64; BOUNDS.len() + 1],
    /// The sum of all durations.
    pub sum: Duration,
}

impl DurationTotals {
    /// The upper bound of each bucket in seconds, and how many durations are in it alone. The last bound is infinite.
    pub fn buckets(&self) -> impl Iterator<Item = (f64, u64)> {
        let bounds = BOUNDS.iter().map(|micros| f64::from(*micros) / 1e6);
        bounds.chain([f64::INFINITY]).zip(self.buckets)
    }
}
