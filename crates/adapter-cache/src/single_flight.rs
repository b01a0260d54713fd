//! What is under way: questions to the store, one for each code, however many ask for it; and changes made by this process.
//! And floors: the generations that were heard of, below which nothing is remembered any more.

use std::{
    collections::{BTreeSet, HashMap},
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
use tokio::{sync::watch, time::Instant};

use crate::l1_cache::Asked;

/// What came of a flight.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The store said this.
    Found(Resolved),
    /// The link changed meanwhile: ask again.
    Outdated,
    /// The store failed.
    Failed(Arc<RepositoryError>),
}

/// Questions under way, floors, and the lock under which everything about one code is ordered.
pub(crate) struct SingleFlight {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    count: AtomicUsize,
    floors: Arc<AtomicUsize>,
    writes: Mutex<Writes>,
}

/// The questions about some codes, and their floors. While it is locked, nothing about them changes.
pub(crate) struct Shard {
    flights: HashMap<Code, Flight>,
    floors: HashMap<Code, Floor>,
    /// In all shards.
    count: Arc<AtomicUsize>,
}

struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    invalidated: Invalidation,
}

/// What happened to a link while it was asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Invalidation {
    /// The change that was heard of.
    by: Option<Generation>,
    /// A change was begun whose outcome is unknown.
    doubted: bool,
}

impl Invalidation {
    /// Whether an answer of that generation, or that there is no link, may be older than what happened.
    pub(crate) fn outdates(self, generation: Option<Generation>) -> bool {
        self.doubted || self.by > generation
    }
}

/// The highest generation of a link that was heard of. An answer below it comes from behind.
#[derive(Clone, Copy, Debug)]
struct Floor {
    /// None if all that is known of it is a doubt.
    generation: Option<Generation>,
    raised: Instant,
    /// The number of the next write then: those before it may tell of older generations.
    write: u64,
    /// The gap before it. What is asked after a later gap may be another server's word, and is not held against it.
    epoch: u32,
    /// Writes before this one say nothing of how the link is: a later one ended without an answer.
    doubted: u64,
}

/// Changes by this process that are under way. Each may tell of its generation later than others tell of a newer one.
#[derive(Default)]
struct Writes {
    next: u64,
    under_way: BTreeSet<u64>,
}

/// A place in a flight: the one that flies it, or one that waits for it.
pub(crate) enum Role {
    Leader(watch::Sender<Option<Outcome>>, watch::Receiver<Option<Outcome>>),
    Follower(watch::Receiver<Option<Outcome>>),
}

/// There are too many floors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FloorsOverflow;

impl SingleFlight {
    /// Enough that workers seldom meet.
    const SHARDS: usize = 64;
    /// Floors that each shard keeps room for.
    const ROOM: usize = 64;
    /// Most questions under way. More could not be answered in time, and would only wait.
    pub(crate) const MAX: usize = 4_096;
    /// Most floors. More are raised only while nothing is heard from the history.
    pub(crate) const MAX_FLOORS: usize = 100_000;

    pub(crate) fn new() -> Self {
        let floors = Arc::new(AtomicUsize::new(0));
        let shard = |_| {
            let count = Arc::clone(&floors);
            Mutex::new(Shard { flights: HashMap::new(), floors: HashMap::new(), count })
        };
        let shards = (0..Self::SHARDS).map(shard).collect();
        let (count, writes) = (AtomicUsize::new(0), Mutex::default());
        Self { shards, hasher: RandomState::new(), count, floors, writes }
    }

    pub(crate) fn shard(&self, code: &Code) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(code) % Self::SHARDS as u64).expect("below 64");
        lock(&self.shards[index])
    }

    /// A seat in the flight for `code`; none if there are too many flights.
    pub(crate) fn join(&self, code: &Code) -> Option<Role> {
        let mut shard = self.shard(code);
        if let Some(flight) = shard.flights.get(code) {
            return Some(Role::Follower(flight.outcome.clone()));
        }
        if self.count.fetch_add(1, Ordering::AcqRel) >= Self::MAX {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let (tell, outcome) = watch::channel(None);
        shard.flights.insert(code.clone(), Flight { outcome: outcome.clone(), invalidated: Invalidation::default() });
        Some(Role::Leader(tell, outcome))
    }

    /// Ends the flight for `code`, with the shard still locked for whatever follows from it. Says what has overtaken it.
    pub(crate) fn complete(&self, code: &Code) -> (MutexGuard<'_, Shard>, Invalidation) {
        let mut shard = self.shard(code);
        let flight = shard.flights.remove(code);
        self.count.fetch_sub(1, Ordering::AcqRel);
        (shard, flight.map(|flight| flight.invalidated).unwrap_or_default())
    }

    /// A write begins; its number.
    pub(crate) fn begin_write(&self) -> u64 {
        let mut writes = lock(&self.writes);
        let number = writes.next;
        writes.next += 1;
        writes.under_way.insert(number);
        number
    }

    /// That write has told all it has to tell.
    pub(crate) fn end_write(&self, number: u64) {
        lock(&self.writes).under_way.remove(&number);
    }

    /// The number of the next write, and whether another one is under way.
    pub(crate) fn next_write(&self) -> (u64, bool) {
        let writes = lock(&self.writes);
        (writes.next, !writes.under_way.is_empty())
    }

    /// Every change until `moment` has been heard of: floors of before end when every write that began before them has
    /// ended. The others stay.
    pub(crate) fn end_floors(&self, moment: Instant) {
        let oldest = {
            let writes = lock(&self.writes);
            writes.under_way.first().copied().unwrap_or(writes.next)
        };
        if self.floors.load(Ordering::Acquire) > 0 {
            self.retain_floors(|floor| floor.raised > moment || floor.write > oldest);
        }
    }

    /// Ends all floors.
    pub(crate) fn drop_floors(&self) {
        self.retain_floors(|_| false);
    }

    fn retain_floors(&self, stays: impl Fn(&Floor) -> bool) {
        for shard in &self.shards {
            let mut shard = lock(shard);
            let before = shard.floors.len();
            shard.floors.retain(|_, floor| stays(floor));
            let left = shard.floors.len();
            self.floors.fetch_sub(before - left, Ordering::AcqRel);
            // Room for many is needed again only when many change again.
            if shard.floors.capacity() > Self::ROOM + 4 * left {
                shard.floors.shrink_to(Self::ROOM / 2 + 2 * left);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it is held")
}

impl Shard {
    /// A change of `code` is known that a flight under way may not have seen.
    pub(crate) fn invalidate(&mut self, code: &Code, generation: Generation) {
        if let Some(flight) = self.flights.get_mut(code) {
            flight.invalidated.by = flight.invalidated.by.max(Some(generation));
        }
    }

    /// A change of `code` may have been made that neither a flight under way nor a write before `write` may have seen.
    pub(crate) fn doubt(&mut self, code: &Code, write: u64, epoch: u32) -> Result<(), FloorsOverflow> {
        if let Some(flight) = self.flights.get_mut(code) {
            flight.invalidated.doubted = true;
        }
        let floor = Floor { generation: None, raised: Instant::now(), write, epoch, doubted: write };
        match self.floors.get_mut(code) {
            Some(known) => *known = Floor { generation: known.generation, epoch: known.epoch, ..floor },
            None => self.add_floor(code, floor)?,
        }
        Ok(())
    }

    /// Whether what the write of that number did may be over, by a change that ended without an answer.
    pub(crate) fn is_doubted(&self, code: &Code, write: u64) -> bool {
        self.floors.get(code).is_some_and(|floor| write < floor.doubted)
    }

    /// From now on nothing older is remembered of `code`; `write` is the number of the next write, and `epoch` the last
    /// gap. A first generation needs no floor: there is nothing older.
    pub(crate) fn raise_floor(
        &mut self,
        code: &Code,
        generation: Generation,
        write: u64,
        epoch: u32,
    ) -> Result<(), FloorsOverflow> {
        let floor = Floor { generation: Some(generation), raised: Instant::now(), write, epoch, doubted: 0 };
        if let Some(known) = self.floors.get_mut(code) {
            if known.generation <= Some(generation) || known.epoch != epoch {
                *known = Floor { doubted: known.doubted, ..floor };
            }
        } else if generation > Generation::FIRST {
            self.add_floor(code, floor)?;
        }
        Ok(())
    }

    fn add_floor(&mut self, code: &Code, floor: Floor) -> Result<(), FloorsOverflow> {
        if self.count.fetch_add(1, Ordering::AcqRel) >= SingleFlight::MAX_FLOORS {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return Err(FloorsOverflow);
        }
        self.floors.insert(code.clone(), floor);
        Ok(())
    }

    /// Whether what was asked then, and has that generation, comes from behind.
    pub(crate) fn is_below_floor(&self, code: &Code, generation: Option<Generation>, asked: Asked) -> bool {
        let floor = self.floors.get(code).filter(|floor| !is_later(asked, floor));
        floor.is_some_and(|floor| generation < floor.generation)
    }
}

/// Whether a gap lies between the floor and what was asked after it.
fn is_later(asked: Asked, floor: &Floor) -> bool {
    asked.epoch().wrapping_sub(floor.epoch).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A floor that is doubted keeps what it says, and belongs to the gap it was raised after.
    #[tokio::test(start_paused = true)]
    async fn a_doubt_takes_nothing_from_a_floor() {
        let single_flight = SingleFlight::new();
        let code: Code = "known".parse().expect("a code");
        let third = Generation::new(3).expect("positive");
        let mut shard = single_flight.shard(&code);
        shard.raise_floor(&code, third, 1, 7).expect("there is room");
        shard.doubt(&code, 2, 8).expect("there is room");
        let floor = shard.floors[&code];
        assert_eq!((floor.generation, floor.epoch, floor.write, floor.doubted), (Some(third), 7, 2, 2));
        // And a later floor takes nothing from the doubt.
        shard.raise_floor(&code, third.next(), 3, 7).expect("there is room");
        let floor = shard.floors[&code];
        assert_eq!((floor.generation, floor.write, floor.doubted), (Some(third.next()), 3, 2));
    }
}
