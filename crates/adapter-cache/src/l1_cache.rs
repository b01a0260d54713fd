//! The L1 cache: links and unknown addresses, and how old they may be.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{
    address::Address,
    lifecycle::Resolution,
    link::{Generation, LinkState},
    ports::{Resolved, Source},
};
use quick_cache::{DefaultHashBuilder, Weighter, sync::Cache};
use tokio::time::Instant;

use crate::{CacheOptions, status::Evictions};

/// One unknown address is cached for every ten links. Unknown addresses have room of their own, so that guessed addresses cannot
/// push links out.
const UNKNOWN_SHARE: usize = 10;

/// Cached links and unknown addresses. A lookup holds no lock for long.
pub(crate) struct L1Cache {
    links: Cache<Address, Known, ByLength, DefaultHashBuilder, Evictions>,
    evictions: Evictions,
    /// The unknown addresses, and when each of them expires.
    unknown: Cache<Address, Instant>,
    options: CacheOptions,
    jitter: RandomState,
    /// Raised when changes may have been missed (a gap). What was cached before is looked up again.
    epoch: AtomicU32,
    born: Instant,
    /// For each of the last gaps: until when the change feed confirms links that were cached since it; in milliseconds
    /// since `born`.
    assured_until: [AtomicU64; Self::GAPS],
}

/// One link, as it was when the store was asked. There may be millions of them, so it is small.
#[derive(Clone)]
struct Known {
    resolution: Arc<Resolution>,
    /// When its time to live ends, in milliseconds since the cache was made.
    until: u64,
    epoch: u32,
    /// Whether a change of it ended with an unknown outcome since.
    doubted: bool,
}

/// When a lookup started: its answer is as old as that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    at: Instant,
    epoch: u32,
}

impl Asked {
    /// The number of gaps before it.
    pub(crate) fn epoch(self) -> u32 {
        self.epoch
    }

    /// The same lookup, as if it had started `ago` earlier.
    pub(crate) fn ago(self, ago: Duration) -> Self {
        Self { at: self.at.checked_sub(ago).unwrap_or(self.at), ..self }
    }
}

/// Weight of a link. A link with a long target counts as several, so that the cache is bounded by bytes, not only by
/// links.
#[derive(Clone, Debug)]
struct ByLength;

impl Weighter<Address, Known> for ByLength {
    fn weight(&self, _: &Address, known: &Known) -> u64 {
        1 + known.resolution.behaviour.target.as_str().len() as u64 / 1024
    }
}

/// What the cache holds of an address.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// A fresh answer.
    Fresh(Resolved),
    /// A fresh answer that is about to expire: time to refresh it.
    RefreshDue(Resolved),
    /// An expired or outdated answer, only for use if the store does not answer.
    Stale(Resolved),
    /// No answer.
    Miss,
}

impl L1Cache {
    /// Number of gaps for which confirmations are kept. After more gaps, only a link's own time to live decides how
    /// long it may be served as stale.
    const GAPS: usize = 64;

    pub(crate) fn new(options: CacheOptions) -> Self {
        let (evictions, hash) = (Evictions::default(), DefaultHashBuilder::default());
        Self {
            links: Cache::with(options.capacity, options.capacity as u64, ByLength, hash, evictions.clone()),
            evictions,
            unknown: Cache::new((options.capacity / UNKNOWN_SHARE).max(1)),
            options,
            jitter: RandomState::new(),
            epoch: AtomicU32::new(0),
            born: Instant::now(),
            assured_until: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// How many links and unknown codes there are, the weight of the links, and how many were pushed out.
    pub(crate) fn sizes(&self) -> (usize, usize, u64, u64) {
        (self.links.len(), self.unknown.len(), self.links.weight(), self.evictions.count())
    }

    /// The capacity for links.
    pub(crate) fn capacity(&self) -> usize {
        self.options.capacity
    }

    /// The start of a lookup, before the store is asked.
    pub(crate) fn asked(&self) -> Asked {
        Asked { at: Instant::now(), epoch: self.epoch.load(Ordering::Acquire) }
    }

    pub(crate) fn look_up(&self, address: &Address) -> Lookup {
        let now = Instant::now();
        if let Some(known) = self.links.get(address) {
            return self.look_up_link(&known, now);
        }
        match self.unknown.get(address) {
            Some(until) if now < until => Lookup::Fresh(Resolved { resolution: None, source: Source::Memory }),
            Some(_) | None => Lookup::Miss,
        }
    }

    fn look_up_link(&self, known: &Known, now: Instant) -> Lookup {
        let resolved = |source| Resolved { resolution: Some(Arc::clone(&known.resolution)), source };
        let gaps = self.epoch.load(Ordering::Acquire).wrapping_sub(known.epoch);
        let current = gaps == 0 && !known.doubted;
        let remembered = usize::try_from(gaps).is_ok_and(|gaps| gaps < Self::GAPS);
        let assured_until = if remembered { self.assured_since(known.epoch).load(Ordering::Acquire) } else { 0 };
        let good_until = if known.doubted { known.until } else { known.until.max(assured_until) };
        let time = self.milliseconds(now);
        if current && time + milliseconds(self.options.ttl / 5) < good_until {
            Lookup::Fresh(resolved(Source::Memory))
        } else if current && time < good_until {
            Lookup::RefreshDue(resolved(Source::Memory))
        } else if known.resolution.state == LinkState::Active
            && time < good_until + milliseconds(self.options.stale_for)
        {
            Lookup::Stale(resolved(Source::StaleMemory))
        } else {
            Lookup::Miss
        }
    }

    /// All changes until `moment` were received. Later changes may go unseen for one time to live.
    pub(crate) fn assure(&self, moment: Instant) {
        let assured = self.assured_since(self.epoch.load(Ordering::Acquire));
        assured.fetch_max(self.milliseconds(moment + self.options.ttl), Ordering::AcqRel);
    }

    fn assured_since(&self, epoch: u32) -> &AtomicU64 {
        &self.assured_until[epoch as usize % Self::GAPS]
    }

    /// Milliseconds since the cache was made.
    fn milliseconds(&self, moment: Instant) -> u64 {
        milliseconds(moment - self.born)
    }

    /// The time to live, up to a tenth shorter, by address: links that were cached together do not expire together.
    fn time_to_live(&self, address: &Address) -> Duration {
        let share = u32::try_from(self.jitter.hash_one(address) % 256).expect("below 256");
        self.options.ttl * (2_560 - share) / 2_560
    }

    /// Caches a link as it was at `asked`, unless changes may have been missed since. The caller holds the lock that
    /// orders the changes of this address.
    pub(crate) fn keep(&self, address: &Address, resolution: Arc<Resolution>, asked: Asked) {
        self.unknown.remove(address);
        if asked.epoch != self.epoch.load(Ordering::Acquire) {
            return;
        }
        // A link that was cached before a gap may come from another server, and may be newer than all that this one
        // has.
        let newer = |known: &Known| known.epoch == asked.epoch && known.resolution.generation > resolution.generation;
        if self.links.peek(address).is_some_and(|known| newer(&known)) {
            return;
        }
        let until = self.milliseconds(asked.at + self.time_to_live(address));
        self.links.insert(address.clone(), Known { resolution, until, epoch: asked.epoch, doubted: false });
    }

    /// Caches that no link had this address at `asked`.
    pub(crate) fn insert_unknown(&self, address: &Address, asked: Asked) {
        if asked.epoch == self.epoch.load(Ordering::Acquire) {
            self.unknown.insert(address.clone(), asked.at + self.options.negative_ttl);
        }
    }

    /// Marks the cached link as doubted: the store is asked again, and the link is only served as stale. The caller
    /// holds the lock that orders the changes of this address.
    pub(crate) fn doubt(&self, address: &Address) {
        self.unknown.remove(address);
        if let Some(known) = self.links.peek(address) {
            let until = known.until.min(self.milliseconds(Instant::now()));
            self.links.insert(address.clone(), Known { until, doubted: true, ..known });
        }
    }

    /// Removes what is older than `generation`.
    pub(crate) fn remove_older(&self, address: &Address, generation: Generation) {
        self.unknown.remove(address);
        self.links.remove_if(address, |known| known.resolution.generation < generation);
    }

    /// Notes a gap: everything that is cached now is looked up again before it is used.
    pub(crate) fn invalidate_all(&self) {
        // In this order: for a moment fewer links are confirmed than could be, never more.
        self.assured_since(self.epoch.load(Ordering::Acquire).wrapping_add(1)).store(0, Ordering::Release);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        self.unknown.clear();
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX / 2)
}

#[cfg(test)]
mod tests;
