//! Buckets: one state for each client. There may be only so many, and those that are full again are swept away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_governor::governor::{
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};
use dashmap::{DashMap, Entry};

/// How many buckets there are, of all policies together.
#[derive(Debug, Default)]
pub(super) struct Room(AtomicUsize);

impl Room {
    /// At some 34 to 68 bytes each.
    const MOST: usize = 3_500_000;

    fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::MOST
    }
}

/// The states of one limiter. Its clones are one.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    /// When each would be full again, in nanoseconds since the engine began.
    of_clients: Arc<DashMap<u64, AtomicU64>>,
    /// Of everybody for whom there is no room.
    of_the_crowd: Arc<AtomicU64>,
    room: Arc<Room>,
}

impl Buckets {
    /// So that sweeping one of them keeps nobody waiting for long.
    const SHARDS: usize = 256;

    pub(super) fn new(room: Arc<Room>) -> Self {
        let of_clients = Arc::new(DashMap::with_shard_amount(Self::SHARDS));
        Self { of_clients, of_the_crowd: Arc::default(), room }
    }

    /// Puts back what was taken, as so much time.
    pub(super) fn give_back(&self, client: u64, time: Duration) {
        let time = u64::from(Nanos::from(time));
        let give_back = |bucket: &AtomicU64| {
            // It always succeeds: the closure gives something for everything.
            let _before =
                bucket.fetch_update(Ordering::AcqRel, Ordering::Acquire, |full| Some(full.saturating_sub(time)));
        };
        match self.of_clients.get(&client) {
            Some(bucket) => give_back(&bucket),
            None => give_back(&self.of_the_crowd),
        }
    }
}

impl StateStore for Buckets {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, client: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(bucket) = self.of_clients.get(client) {
            return update(&bucket, decide);
        }
        if self.room.is_full() {
            return update(&self.of_the_crowd, decide);
        }
        match self.of_clients.entry(*client) {
            Entry::Occupied(bucket) => update(bucket.get(), decide),
            Entry::Vacant(place) => {
                let (decision, full) = decide(None)?;
                place.insert(AtomicU64::new(full.into()));
                self.room.0.fetch_add(1, Ordering::Relaxed);
                Ok(decision)
            }
        }
    }
}

fn update<T, E>(bucket: &AtomicU64, decide: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>) -> Result<T, E> {
    let mut before = bucket.load(Ordering::Acquire);
    loop {
        let (decision, full) = decide(Some(before.into()))?;
        match bucket.compare_exchange_weak(before, full.into(), Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => return Ok(decision),
            Err(now) => before = now,
        }
    }
}

impl ShrinkableKeyedStateStore<u64> for Buckets {
    fn retain_recent(&self, full_since: Nanos) {
        let full_since = u64::from(full_since);
        self.of_clients.retain(|_, bucket| {
            let stays = *bucket.get_mut() > full_since;
            if !stays {
                self.room.0.fetch_sub(1, Ordering::Relaxed);
            }
            stays
        });
    }

    fn shrink_to_fit(&self) {
        self.of_clients.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.of_clients.len()
    }

    fn is_empty(&self) -> bool {
        self.of_clients.is_empty()
    }
}
