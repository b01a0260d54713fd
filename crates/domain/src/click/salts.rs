//! What the redirect path reads while clicks are recorded: the salts of today and tomorrow; and what it counts in
//! memory: visits that led nowhere.

use std::{
    collections::HashMap,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU64, Ordering},
    },
};

use super::{DailySalt, Day, OrphanReason};

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

/// Visits that led nowhere and are not stored yet. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct OrphanCounters(Arc<[AtomicU64; OrphanReason::ALL.len()]>);

impl OrphanCounters {
    /// Counts one visit.
    pub fn add(&self, reason: OrphanReason) {
        self.counter(reason).fetch_add(1, Ordering::Relaxed);
    }

    /// Takes all counts, as those of `day`.
    pub fn take(&self, day: Day) -> HashMap<(Day, OrphanReason), u64> {
        let counts =
            OrphanReason::ALL.into_iter().map(|reason| (reason, self.counter(reason).swap(0, Ordering::Relaxed)));
        counts.filter(|(_, count)| *count > 0).map(|(reason, count)| ((day, reason), count)).collect()
    }

    /// Gives back counts that could not be stored.
    pub fn give_back(&self, counts: &HashMap<(Day, OrphanReason), u64>) {
        for ((_, reason), count) in counts {
            self.counter(*reason).fetch_add(*count, Ordering::Relaxed);
        }
    }

    fn counter(&self, reason: OrphanReason) -> &AtomicU64 {
        let place = OrphanReason::ALL.iter().position(|one| *one == reason).expect("all reasons are listed");
        &self.0[place]
    }
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
        counters.add(OrphanReason::Gone);
        counters.add(OrphanReason::Gone);
        counters.add(OrphanReason::Bare);
        let taken = counters.take(Day(5));
        let expected = HashMap::from([((Day(5), OrphanReason::Gone), 2), ((Day(5), OrphanReason::Bare), 1)]);
        assert_eq!(taken, expected);
        assert!(counters.take(Day(5)).is_empty());
        counters.give_back(&taken);
        assert_eq!(counters.take(Day(5)), expected);
    }
}
