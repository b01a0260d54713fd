//! What the spool and its threads share.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use uuid::Uuid;

use crate::{
    accounting::Accounting, ledger::Totals, medium::Medium, options::SpoolOptions, stream::Stream, worker::Worker,
};

/// What the spool and its threads share.
pub(crate) struct Shared {
    pub(crate) options: SpoolOptions,
    pub(crate) medium: Medium,
    pub(crate) new_stream_id: Box<dyn Fn() -> Uuid + Send + Sync>,
    streams: Mutex<Streams>,
    workers: Mutex<Vec<Arc<Worker>>>,
    /// Held while a segment is made.
    pub(crate) making: Mutex<()>,
    /// How many segments were wholly acknowledged so far.
    kept: AtomicU64,
    sync_failures: AtomicU64,
}

#[derive(Debug, Default)]
struct Streams {
    present: BTreeMap<Uuid, Arc<Stream>>,
    /// Counters of those that are removed.
    past: Totals,
}

impl Shared {
    /// Without a stream.
    pub(crate) fn new(
        options: SpoolOptions,
        medium: Medium,
        new_stream_id: Box<dyn Fn() -> Uuid + Send + Sync>,
    ) -> Self {
        Self {
            options,
            medium,
            new_stream_id,
            streams: Mutex::default(),
            workers: Mutex::default(),
            making: Mutex::default(),
            kept: AtomicU64::new(0),
            sync_failures: AtomicU64::new(0),
        }
    }

    fn lock_streams(&self) -> MutexGuard<'_, Streams> {
        held(&self.streams)
    }

    /// All streams, oldest first.
    pub(crate) fn streams(&self) -> Vec<Arc<Stream>> {
        self.lock_streams().present.values().cloned().collect()
    }

    /// One of them.
    pub(crate) fn stream(&self, id: &Uuid) -> Option<Arc<Stream>> {
        self.lock_streams().present.get(id).cloned()
    }

    /// Adds a stream.
    pub(crate) fn add_stream(&self, stream: Stream) -> Arc<Stream> {
        let stream = Arc::new(stream);
        self.lock_streams().present.insert(stream.id, stream.clone());
        stream
    }

    /// Forgets a stream, except for its counters.
    pub(crate) fn forget_stream(&self, stream: &Stream) {
        let mut streams = self.lock_streams();
        if streams.present.remove(&stream.id).is_some() {
            let (totals, _) = stream.account(&stream.state());
            streams.past += totals;
        }
    }

    /// All workers there were.
    pub(crate) fn workers(&self) -> Vec<Arc<Worker>> {
        held(&self.workers).clone()
    }

    /// Adds a worker.
    pub(crate) fn add_worker(&self, worker: Arc<Worker>) {
        held(&self.workers).push(worker);
    }

    /// A number that is larger with each call.
    pub(crate) fn next_turn(&self) -> u64 {
        self.kept.fetch_add(1, Ordering::Relaxed)
    }

    /// Writing through to the disk has failed.
    pub(crate) fn add_sync_failure(&self) {
        self.sync_failures.fetch_add(1, Ordering::Relaxed);
    }

    /// Size of all segments.
    pub(crate) fn bytes(&self) -> u64 {
        let size = |stream: &Arc<Stream>| stream.state().segments.iter().map(|segment| segment.size).sum::<u64>();
        self.streams().iter().map(size).sum()
    }

    /// What became of every click.
    pub(crate) fn accounting(&self) -> Accounting {
        let no_space = self.workers().iter().map(|worker| worker.no_space()).sum();
        let mut accounting =
            Accounting { no_space, sync_failures: self.sync_failures.load(Ordering::Relaxed), ..Accounting::default() };
        let streams = self.lock_streams();
        let mut totals = streams.past;
        for stream in streams.present.values() {
            let state = stream.state();
            let (of_stream, waiting) = stream.account(&state);
            totals += of_stream;
            let is_claimed = state.ledger.acked().is_some();
            *if is_claimed { &mut accounting.spooled } else { &mut accounting.unclaimed } += waiting;
            accounting.bytes += state.segments.iter().map(|segment| segment.size).sum::<u64>();
        }
        let Totals { accepted, adopted, acknowledged, over_limit, damaged } = totals;
        Accounting { accepted: accepted + no_space, adopted, acknowledged, over_limit, damaged, ..accounting }
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Shared").field("options", &self.options).field("medium", &self.medium).finish_non_exhaustive()
    }
}

/// Locks a mutex. What it protects is sound at every moment, so that a panic of another thread does not matter.
pub(crate) fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
