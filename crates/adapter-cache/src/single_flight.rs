//! Single-flight: one lookup in flight for each address, however many callers wait for it. Also the writes of this process
//! that are in flight, and floors: reported generations below which nothing is cached.

use std::{
    collections::{BTreeSet, HashMap},
    hash::{BuildHasher, RandomState},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicUsize, Ordering},
    },
};

use domain::{
    address::Address,
    link::Generation,
    ports::{RepositoryError, Resolved},
};
use tokio::{sync::watch, time::Instant};

use crate::l1_cache::Asked;

/// The outcome of a lookup.
#[derive(Clone, Debug)]
pub(crate) enum Outcome {
    /// The store answered this.
    Found(Resolved),
    /// The link changed meanwhile: ask again.
    Outdated,
    /// The store failed.
    Failed(Arc<RepositoryError>),
}

/// Lookups and writes in flight, floors, and the locks that order everything about one address.
pub(crate) struct SingleFlight {
    shards: Vec<Mutex<Shard>>,
    hasher: RandomState,
    count: AtomicUsize,
    floors: Arc<AtomicUsize>,
    writes: Mutex<Writes>,
}

/// The lookups of some addresses, and their floors. While it is locked, nothing about these addresses changes.
pub(crate) struct Shard {
    flights: HashMap<Address, Flight>,
    floors: HashMap<Address, Floor>,
    /// The number of floors in all shards.
    count: Arc<AtomicUsize>,
}

struct Flight {
    outcome: watch::Receiver<Option<Outcome>>,
    invalidated: Invalidation,
}

/// What happened to a link while its lookup was in flight.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Invalidation {
    /// The highest generation that was reported.
    by: Option<Generation>,
    /// A change ended with an unknown outcome.
    doubted: bool,
}

impl Invalidation {
    /// Whether an answer of that generation (`None`: no link) may be older than what happened.
    pub(crate) fn outdates(self, generation: Option<Generation>) -> bool {
        self.doubted || self.by > generation
    }
}

/// The highest reported generation of a link. An answer below it is outdated.
#[derive(Clone, Copy, Debug)]
struct Floor {
    /// `None` if the link is only doubted.
    generation: Option<Generation>,
    raised: Instant,
    /// The number of the next write when the floor was raised. Writes before it may report older generations.
    write: u64,
    /// The number of gaps before it. A lookup after a later gap may be answered by another server, and the floor does
    /// not apply to it.
    epoch: u32,
    /// Writes before this one do not tell the state of the link: a later one ended with an unknown outcome.
    doubted: u64,
}

/// Writes of this process that are in flight. Each may report its generation after another process reported a newer
/// one.
#[derive(Default)]
struct Writes {
    next: u64,
    under_way: BTreeSet<u64>,
}

/// The role of a caller: the leader asks the store, a follower waits for the outcome.
pub(crate) enum Role {
    Leader(watch::Sender<Option<Outcome>>, watch::Receiver<Option<Outcome>>),
    Follower(watch::Receiver<Option<Outcome>>),
}

/// There are too many floors.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct FloorsOverflow;

impl SingleFlight {
    /// Enough that workers rarely wait for one lock.
    const SHARDS: usize = 64;
    /// Number of floors for which each shard keeps room.
    const ROOM: usize = 64;
    /// Maximum lookups in flight. More are rejected: they could not be answered in time.
    pub(crate) const MAX: usize = 4_096;
    /// Maximum floors. There are more only while the change feed reports nothing.
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

    /// Lookups in flight, and floors.
    pub(crate) fn sizes(&self) -> (usize, usize) {
        (self.count.load(Ordering::Relaxed), self.floors.load(Ordering::Relaxed))
    }

    pub(crate) fn shard(&self, address: &Address) -> MutexGuard<'_, Shard> {
        let index = usize::try_from(self.hasher.hash_one(address) % Self::SHARDS as u64).expect("below 64");
        lock(&self.shards[index])
    }

    /// Joins the lookup of `address`, as leader or follower; `None` if too many lookups are in flight.
    pub(crate) fn join(&self, address: &Address) -> Option<Role> {
        let mut shard = self.shard(address);
        if let Some(flight) = shard.flights.get(address) {
            return Some(Role::Follower(flight.outcome.clone()));
        }
        if self.count.fetch_add(1, Ordering::AcqRel) >= Self::MAX {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let (tell, outcome) = watch::channel(None);
        shard
            .flights
            .insert(address.clone(), Flight { outcome: outcome.clone(), invalidated: Invalidation::default() });
        Some(Role::Leader(tell, outcome))
    }

    /// Ends the lookup of `address`. Returns its shard, still locked, and what happened to the link meanwhile.
    pub(crate) fn complete(&self, address: &Address) -> (MutexGuard<'_, Shard>, Invalidation) {
        let mut shard = self.shard(address);
        let flight = shard.flights.remove(address);
        self.count.fetch_sub(1, Ordering::AcqRel);
        (shard, flight.map(|flight| flight.invalidated).unwrap_or_default())
    }

    /// A write begins. Returns its number.
    pub(crate) fn begin_write(&self) -> u64 {
        let mut writes = lock(&self.writes);
        let number = writes.next;
        writes.next += 1;
        writes.under_way.insert(number);
        number
    }

    /// The write of that number has reported everything.
    pub(crate) fn end_write(&self, number: u64) {
        lock(&self.writes).under_way.remove(&number);
    }

    /// The number of the next write, and whether any write is in flight.
    pub(crate) fn next_write(&self) -> (u64, bool) {
        let writes = lock(&self.writes);
        (writes.next, !writes.under_way.is_empty())
    }

    /// All changes until `moment` were received: floors from before end once every write that began before them has
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
            // Room for many floors is needed again only when many links change again.
            if shard.floors.capacity() > Self::ROOM + 4 * left {
                shard.floors.shrink_to(Self::ROOM / 2 + 2 * left);
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no thread panics while it holds this lock")
}

impl Shard {
    /// A change of `address` was reported that a lookup in flight may not have seen.
    pub(crate) fn invalidate(&mut self, address: &Address, generation: Generation) {
        if let Some(flight) = self.flights.get_mut(address) {
            flight.invalidated.by = flight.invalidated.by.max(Some(generation));
        }
    }

    /// A change of `address` ended with an unknown outcome. Neither a lookup in flight nor a write before `write` may have
    /// seen it.
    pub(crate) fn doubt(&mut self, address: &Address, write: u64, epoch: u32) -> Result<(), FloorsOverflow> {
        if let Some(flight) = self.flights.get_mut(address) {
            flight.invalidated.doubted = true;
        }
        let floor = Floor { generation: None, raised: Instant::now(), write, epoch, doubted: write };
        match self.floors.get_mut(address) {
            Some(known) => *known = Floor { generation: known.generation, epoch: known.epoch, ..floor },
            None => self.add_floor(address, floor)?,
        }
        Ok(())
    }

    /// Whether a change with an unknown outcome may have replaced what the write of that number did.
    pub(crate) fn is_doubted(&self, address: &Address, write: u64) -> bool {
        self.floors.get(address).is_some_and(|floor| write < floor.doubted)
    }

    /// From now on nothing older than `generation` is cached for `address`. `write` is the number of the next write, and
    /// `epoch` the number of gaps. A first generation needs no floor: nothing is older.
    pub(crate) fn raise_floor(
        &mut self,
        address: &Address,
        generation: Generation,
        write: u64,
        epoch: u32,
    ) -> Result<(), FloorsOverflow> {
        let floor = Floor { generation: Some(generation), raised: Instant::now(), write, epoch, doubted: 0 };
        if let Some(known) = self.floors.get_mut(address) {
            if known.generation <= Some(generation) || known.epoch != epoch {
                *known = Floor { doubted: known.doubted, ..floor };
            }
        } else if generation > Generation::FIRST {
            self.add_floor(address, floor)?;
        }
        Ok(())
    }

    fn add_floor(&mut self, address: &Address, floor: Floor) -> Result<(), FloorsOverflow> {
        if self.count.fetch_add(1, Ordering::AcqRel) >= SingleFlight::MAX_FLOORS {
            self.count.fetch_sub(1, Ordering::AcqRel);
            return Err(FloorsOverflow);
        }
        self.floors.insert(address.clone(), floor);
        Ok(())
    }

    /// Whether an answer of that generation, to a lookup that started at `asked`, is below the floor.
    pub(crate) fn is_below_floor(&self, address: &Address, generation: Option<Generation>, asked: Asked) -> bool {
        let floor = self.floors.get(address).filter(|floor| !is_later(asked, floor));
        floor.is_some_and(|floor| generation < floor.generation)
    }
}

/// Whether a gap lies between the floor and the lookup.
fn is_later(asked: Asked, floor: &Floor) -> bool {
    asked.epoch().wrapping_sub(floor.epoch).cast_signed() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A doubted floor keeps its generation, and the number of gaps before it.
    #[tokio::test(start_paused = true)]
    async fn a_doubt_changes_neither_generation_nor_epoch_of_a_floor() {
        let single_flight = SingleFlight::new();
        let address: Address = "known".parse().expect("an address");
        let third = Generation::new(3).expect("positive");
        let mut shard = single_flight.shard(&address);
        shard.raise_floor(&address, third, 1, 7).expect("there is room");
        shard.doubt(&address, 2, 8).expect("there is room");
        let floor = shard.floors[&address];
        assert_eq!((floor.generation, floor.epoch, floor.write, floor.doubted), (Some(third), 7, 2, 2));
        // A later floor keeps the doubt.
        shard.raise_floor(&address, third.next(), 3, 7).expect("there is room");
        let floor = shard.floors[&address];
        assert_eq!((floor.generation, floor.write, floor.doubted), (Some(third.next()), 3, 2));
    }
}
