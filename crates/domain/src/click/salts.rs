//! What the redirect path reads while clicks are recorded: the salts of today and tomorrow; and what it counts in
//! memory: visits that led nowhere.

use std::{
    collections::HashMap,
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{DailySalt, Day, OrphanReason};
use crate::address::DomainId;

/// The salts that are known. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct DailySalts(Arc<RwLock<Vec<DailySalt>>>);

impl DailySalts {
    /// Replaces all salts.
    pub fn replace(&self, salts: Vec<DailySalt>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = salts;
    }

    /// The salt of a day, if it is known.
    pub fn of(&self, day: Day) -> Option<DailySalt> {
        let salts = self.0.read().unwrap_or_else(PoisonError::into_inner);
        salts.iter().find(|salt| salt.day() == day).copied()
    }
}

/// Visits of one day that led nowhere, for one reason, on one short domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Orphan {
    /// The day.
    pub day: Day,
    /// The short domain.
    pub domain: DomainId,
    /// Why they led nowhere.
    pub reason: OrphanReason,
}

/// Visits that led nowhere and are not stored yet. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OrphanCounters(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    of_default: [AtomicU64; OrphanReason::ALL.len()],
    /// Those of other short domains. There are at most as many as short domains.
    of_others: Mutex<HashMap<(DomainId, OrphanReason), u64>>,
}

impl OrphanCounters {
    /// Counts one visit.
    pub fn add(&self, domain: DomainId, reason: OrphanReason) {
        self.add_many(domain, reason, 1);
    }

    /// Takes all counts, as those of `day`.
    pub fn take(&self, day: Day) -> HashMap<Orphan, u64> {
        let of_default = OrphanReason::ALL.into_iter().map(|reason| {
            let count = self.0.of_default[place(reason)].swap(0, Ordering::Relaxed);
            ((DomainId::DEFAULT, reason), count)
        });
        let of_others = mem::take(&mut *self.others());
        let counts = of_default.filter(|(_, count)| *count > 0).chain(of_others);
        counts.map(|((domain, reason), count)| (Orphan { day, domain, reason }, count)).collect()
    }

    /// Gives back counts that could not be stored.
    pub fn give_back(&self, counts: &HashMap<Orphan, u64>) {
        for (Orphan { domain, reason, .. }, count) in counts {
            self.add_many(*domain, *reason, *count);
        }
    }

    fn add_many(&self, domain: DomainId, reason: OrphanReason, count: u64) {
        if domain.is_default() {
            self.0.of_default[place(reason)].fetch_add(count, Ordering::Relaxed);
        } else {
            *self.others().entry((domain, reason)).or_default() += count;
        }
    }

    fn others(&self) -> MutexGuard<'_, HashMap<(DomainId, OrphanReason), u64>> {
        self.0.of_others.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn place(reason: OrphanReason) -> usize {
    OrphanReason::ALL.iter().position(|one| *one == reason).expect("all reasons are listed")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_salt_is_known_for_its_day_only() {
        let salts = DailySalts::default();
        assert_eq!(salts.of(Day(1)), None);
        let salt = DailySalt::new(Day(1), [7; DailySalt::BYTES]);
        salts.clone().replace(vec![salt]);
        assert_eq!((salts.of(Day(1)), salts.of(Day(2))), (Some(salt), None));
    }

    #[test]
    fn orphans_are_taken_once_and_given_back_if_they_cannot_be_stored() {
        let counters = OrphanCounters::default();
        let other = DomainId::new(7).expect("in range");
        for (domain, reason) in [
            (DomainId::DEFAULT, OrphanReason::Gone),
            (other, OrphanReason::Gone),
            (DomainId::DEFAULT, OrphanReason::Gone),
            (DomainId::DEFAULT, OrphanReason::Bare),
        ] {
            counters.add(domain, reason);
        }
        let taken = counters.take(Day(5));
        let orphan = |domain, reason| Orphan { day: Day(5), domain, reason };
        let expected = HashMap::from([
            (orphan(DomainId::DEFAULT, OrphanReason::Gone), 2),
            (orphan(other, OrphanReason::Gone), 1),
            (orphan(DomainId::DEFAULT, OrphanReason::Bare), 1),
        ]);
        assert_eq!(taken, expected);
        assert!(counters.take(Day(5)).is_empty());
        counters.give_back(&taken);
        assert_eq!(counters.take(Day(5)), expected);
    }
}
