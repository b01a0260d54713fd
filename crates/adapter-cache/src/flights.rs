//! Flights: questions to the store that are under way. Many who ask for one code share one, and one that a change
//! has overtaken is worth nothing.

use std::{
    collections::HashMap,
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use domain::{
    code::Code,
    link::Generation,
    ports::{RepositoryError, Resolved},
};
use tokio::sync::watch;

/// What came of a flight.
#[derive(Clone, Debug)]
pub(crate) enum Landing {
    /// The store said this.
    Found(Resolved),
    /// The link changed meanwhile: ask again.
    Overtaken,
    /// The store failed.
    Failed(Arc<RepositoryError>),
}

/// Questions under way, and the lock under which everything about one code is ordered.
pub(crate) struct Flights {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    count: AtomicUsize,
}

/// The questions about some codes. While it is locked, nothing about them changes.
#[derive(Default)]
pub(crate) struct Shard(HashMap<Code, Flight>);

struct Flight {
    landing: watch::Receiver<Option<Landing>>,
    /// The change that was heard of while it was under way.
    overtaken_by: Option<Generation>,
}

/// A place in a flight: the one that flies it, or one that waits for it.
pub(crate) enum Seat {
    Pilot(watch::Sender<Option<Landing>>, watch::Receiver<Option<Landing>>),
    Passenger(watch::Receiver<Option<Landing>>),
}

impl Flights {
    /// Enough that workers seldom meet.
    const SHARDS: usize = 64;
    /// Most questions under way. More could not be answered in time, and would only wait.
    pub(crate) const MOST: usize = 4_096;

    pub(crate) fn new() -> Self {
        let shards = (0..Self::SHARDS).map(|_| Mutex::default()).collect();
        Self { shards, hasher: RandomState::new(), count: AtomicUsize::new(0) }
    }

    pub(crate) fn shard(&self, code: &Code) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(code) % Self::SHARDS as u64).expect("below 64");
        self.shards[index].lock().expect("nothing panics while it is held")
    }

    /// A seat in the flight for `code`; none if there are too many flights.
    pub(crate) fn board(&self, code: &Code) -> Option<Seat> {
        let mut shard = self.shard(code);
        if let Some(flight) = shard.0.get(code) {
            return Some(Seat::Passenger(flight.landing.clone()));
        }
        if self.count.fetch_add(1, Ordering::AcqRel) >= Self::MOST {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let (tell, landing) = watch::channel(None);
        shard.0.insert(code.clone(), Flight { landing: landing.clone(), overtaken_by: None });
        Some(Seat::Pilot(tell, landing))
    }

    /// Ends the flight for `code`, with the shard still locked for whatever follows from it. Says which change has
    /// overtaken it.
    pub(crate) fn land(&self, code: &Code) -> (MutexGuard<'_, Shard>, Option<Generation>) {
        let mut shard = self.shard(code);
        let flight = shard.0.remove(code);
        self.count.fetch_sub(1, Ordering::AcqRel);
        (shard, flight.and_then(|flight| flight.overtaken_by))
    }
}

impl Shard {
    /// A change of `code` is known that a flight under way may not have seen.
    pub(crate) fn overtake(&mut self, code: &Code, generation: Generation) {
        if let Some(flight) = self.0.get_mut(code) {
            flight.overtaken_by = flight.overtaken_by.max(Some(generation));
        }
    }
}
