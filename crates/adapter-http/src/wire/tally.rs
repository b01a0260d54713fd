//! What became of connections, for metrics.

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use super::Rejection;

/// What a client was too slow with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SlowStage {
    /// The first byte of a request.
    Open,
    /// The rest of a head.
    Head,
    /// A body.
    Body,
    /// Reading an answer.
    Answer,
}

impl SlowStage {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 4] = [Self::Open, Self::Head, Self::Body, Self::Answer];

    /// Its name in metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Head => "head",
            Self::Body => "body",
            Self::Answer => "answer",
        }
    }
}

/// Counts the connections of all workers.
#[derive(Debug, Default)]
pub(crate) struct ConnectionTally {
    accepted: AtomicU64,
    closed: AtomicU64,
    rejected: [AtomicU64; Rejection::ALL.len()],
    timed_out: [AtomicU64; SlowStage::ALL.len()],
}

impl ConnectionTally {
    /// Connections that were accepted since the start.
    pub(crate) fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }

    /// Connections that are open.
    pub(crate) fn open(&self) -> u64 {
        // Read in this order, the second number is never larger than the first.
        let closed = self.closed.load(Ordering::Acquire);
        self.accepted.load(Ordering::Relaxed).saturating_sub(closed)
    }

    /// Heads that were refused, by the reason.
    pub(crate) fn rejected(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Rejection::ALL.iter().map(|rejection| rejection.token()).zip(loaded(&self.rejected))
    }

    /// Clients that were too slow, by the stage.
    pub(crate) fn timed_out(&self) -> impl Iterator<Item = (&'static str, u64)> {
        SlowStage::ALL.iter().map(|stage| stage.name()).zip(loaded(&self.timed_out))
    }
}

fn loaded(counts: &[AtomicU64]) -> impl Iterator<Item = u64> {
    counts.iter().map(|count| count.load(Ordering::Relaxed))
}

/// One connection, open until this is dropped.
pub(super) struct CountedConnection(Arc<ConnectionTally>);

impl CountedConnection {
    pub(super) fn open(tally: Arc<ConnectionTally>) -> Self {
        tally.accepted.fetch_add(1, Ordering::Relaxed);
        Self(tally)
    }

    pub(super) fn rejected(&self, rejection: Rejection) {
        self.0.rejected[rejection as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn timed_out(&self, stage: SlowStage) {
        self.0.timed_out[stage as usize].fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for CountedConnection {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Release);
    }
}
