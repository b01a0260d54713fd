//! Memory: what is known of links and of codes without one, and how old it may be.

use std::{
    hash::{BuildHasher, RandomState},
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::{
    code::Code,
    lifecycle::Resolution,
    link::{Generation, LinkState},
    ports::{Resolved, Source},
};
use quick_cache::{Weighter, sync::Cache};
use tokio::time::Instant;

use crate::CacheOptions;

/// Codes without a link that are remembered, for each link that is: whoever tries codes out must not push links out.
const UNKNOWN_SHARE: usize = 10;

/// Known links and known unknown codes. Reading takes no lock that is held for longer than a look.
pub(crate) struct L1Cache {
    links: Cache<Code, Known, ByLength>,
    /// Until when each of them is known to be unknown.
    unknown: Cache<Code, Instant>,
    options: CacheOptions,
    jitter: RandomState,
    /// Raised when changes may have been missed: what was known before is asked for again.
    epoch: AtomicU32,
    born: Instant,
    /// Until when what is known since each of the last gaps needs no asking, since all changes are heard of; in
    /// milliseconds since `born`.
    assured_until: [AtomicU64; Self::GAPS],
}

/// One link, as it was when the store was asked. There are millions of them, so it is small.
#[derive(Clone)]
struct Known {
    resolution: Arc<Resolution>,
    /// Until when it is good without asking again, in milliseconds since the memory was made.
    until: u64,
    epoch: u32,
    /// Whether a change was begun since whose outcome is unknown.
    doubted: bool,
}

/// When something was asked: what comes of it is as old as that.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Asked {
    at: Instant,
    epoch: u32,
}

impl Asked {
    /// The last gap before it.
    pub(crate) fn epoch(self) -> u32 {
        self.epoch
    }

    /// As if it had been asked so much earlier.
    pub(crate) fn ago(self, ago: Duration) -> Self {
        Self { at: self.at.checked_sub(ago).unwrap_or(self.at), ..self }
    }
}

/// A link with a long target counts as several: memory is bounded by bytes, not by links alone.
#[derive(Clone, Debug)]
struct ByLength;

impl Weighter<Code, Known> for ByLength {
    fn weight(&self, _: &Code, known: &Known) -> u64 {
        1 + known.resolution.behaviour.target.as_str().len() as u64 / 1024
    }
}

/// What is remembered of a code, and what it is good for.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Lookup {
    /// An answer.
    Fresh(Resolved),
    /// An answer, and time to ask again so that there is one later too.
    RefreshDue(Resolved),
    /// An answer only if there is no other.
    Stale(Resolved),
    /// Nothing.
    Miss,
}

impl L1Cache {
    /// So many gaps a link outlives as one to redirect to while there is no store.
    const GAPS: usize = 64;

    pub(crate) fn new(options: CacheOptions) -> Self {
        Self {
            links: Cache::with_weighter(options.capacity, options.capacity as u64, ByLength),
            unknown: Cache::new((options.capacity / UNKNOWN_SHARE).max(1)),
            options,
            jitter: RandomState::new(),
            epoch: AtomicU32::new(0),
            born: Instant::now(),
            assured_until: std::array::from_fn(|_| AtomicU64::new(0)),
        }
    }

    /// The moment before a question.
    pub(crate) fn asked(&self) -> Asked {
        Asked { at: Instant::now(), epoch: self.epoch.load(Ordering::Acquire) }
    }

    pub(crate) fn look_up(&self, code: &Code) -> Lookup {
        let now = Instant::now();
        if let Some(known) = self.links.get(code) {
            return self.look_up_link(&known, now);
        }
        match self.unknown.get(code) {
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

    /// All changes until `moment` are known. Those after it may go unseen as long as anything may.
    pub(crate) fn assure(&self, moment: Instant) {
        let assured = self.assured_since(self.epoch.load(Ordering::Acquire));
        assured.fetch_max(self.milliseconds(moment + self.options.ttl), Ordering::AcqRel);
    }

    fn assured_since(&self, epoch: u32) -> &AtomicU64 {
        &self.assured_until[epoch as usize % Self::GAPS]
    }

    /// Since the memory was made.
    fn milliseconds(&self, moment: Instant) -> u64 {
        milliseconds(moment - self.born)
    }

    /// A tenth less at most, not the same for every code: what was learnt together is not asked for again together.
    fn time_to_live(&self, code: &Code) -> Duration {
        let share = u32::try_from(self.jitter.hash_one(code) % 256).expect("below 256");
        self.options.ttl * (2_560 - share) / 2_560
    }

    /// Remembers a link as it was when that was asked, unless changes may have gone untold since. The caller holds what
    /// orders the changes of this code.
    pub(crate) fn keep(&self, code: &Code, resolution: Arc<Resolution>, asked: Asked) {
        self.unknown.remove(code);
        if asked.epoch != self.epoch.load(Ordering::Acquire) {
            return;
        }
        // What was known before a gap may have been another server's: it may be newer than all there is now.
        let newer = |known: &Known| known.epoch == asked.epoch && known.resolution.generation > resolution.generation;
        if self.links.peek(code).is_some_and(|known| newer(&known)) {
            return;
        }
        let until = self.milliseconds(asked.at + self.time_to_live(code));
        self.links.insert(code.clone(), Known { resolution, until, epoch: asked.epoch, doubted: false });
    }

    /// Remembers that no link had that code when that was asked.
    pub(crate) fn insert_unknown(&self, code: &Code, asked: Asked) {
        if asked.epoch == self.epoch.load(Ordering::Acquire) {
            self.unknown.insert(code.clone(), asked.at + self.options.negative_ttl);
        }
    }

    /// Asks again for what is known, if there is a store to ask. The caller holds what orders the changes of this code.
    pub(crate) fn doubt(&self, code: &Code) {
        self.unknown.remove(code);
        if let Some(known) = self.links.peek(code) {
            let until = known.until.min(self.milliseconds(Instant::now()));
            self.links.insert(code.clone(), Known { until, doubted: true, ..known });
        }
    }

    /// Forgets what is older than `generation`.
    pub(crate) fn remove_older(&self, code: &Code, generation: Generation) {
        self.unknown.remove(code);
        self.links.remove_if(code, |known| known.resolution.generation < generation);
    }

    /// Trusts nothing of what is known now without asking again.
    pub(crate) fn invalidate_all(&self) {
        // In this order: for a moment it looks as if less were assured, never more.
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
