//! What became of the numbers of one stream: pure arithmetic.

use std::{collections::BTreeMap, ops::AddAssign};

/// Why records are lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// Their segment was dropped, because the spool had reached its limit.
    OverLimit,
    /// They cannot be read.
    Damaged,
}

/// Counters of one or of many streams. They only grow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Totals {
    pub(crate) accepted: u64,
    pub(crate) adopted: u64,
    pub(crate) acknowledged: u64,
    pub(crate) over_limit: u64,
    pub(crate) damaged: u64,
}

impl AddAssign for Totals {
    fn add_assign(&mut self, other: Self) {
        self.accepted += other.accepted;
        self.adopted += other.adopted;
        self.acknowledged += other.acknowledged;
        self.over_limit += other.over_limit;
        self.damaged += other.damaged;
    }
}

/// What became of the numbers of one stream.
#[derive(Clone, Debug)]
pub(crate) struct Ledger {
    /// All up to this number are acknowledged; `None` until the store has told it.
    acked: Option<u64>,
    /// The number before the first record that was there when the stream was adopted.
    floor: u64,
    /// What is lost above `acked`: after which number, until which one, and why. They do not overlap.
    lost: BTreeMap<u64, (u64, Cause)>,
    totals: Totals,
}

impl Ledger {
    /// That of a new stream of this process.
    pub(crate) fn own() -> Self {
        Self { acked: Some(0), floor: 0, lost: BTreeMap::new(), totals: Totals::default() }
    }

    /// That of a stream that another process has written. Its first record has the number after `floor`.
    pub(crate) fn adopted(floor: u64) -> Self {
        Self { acked: None, floor, lost: BTreeMap::new(), totals: Totals::default() }
    }

    /// The number up to which the store has acknowledged; `None` if it has not told yet.
    pub(crate) fn acked(&self) -> Option<u64> {
        self.acked
    }

    /// The counters, without those that were accepted.
    pub(crate) fn totals(&self) -> Totals {
        self.totals
    }

    /// Numbers up to `last` that wait for the store. Before the store has told how far it is, they are unclaimed.
    pub(crate) fn waiting(&self, last: u64) -> u64 {
        let lost: u64 = self.lost.iter().map(|(after, (until, _))| until - after).sum();
        last.saturating_sub(self.acked.unwrap_or(self.floor)).saturating_sub(lost)
    }

    /// The store counts on after the number `after`, of a stream whose last number is `last`. If it has acknowledged more
    /// before, it went back.
    pub(crate) fn resume(&mut self, after: u64, last: u64) {
        let after = after.min(last);
        match self.acked {
            None => {
                self.totals.adopted += last - after;
                self.acked = Some(after);
                let lost = std::mem::take(&mut self.lost);
                for (begin, (until, cause)) in lost {
                    self.lose(begin, until, cause);
                }
            }
            Some(acked) if after < acked => {
                self.totals.adopted += acked - after;
                self.acked = Some(after);
            }
            Some(_) => {}
        }
    }

    /// The numbers after `after` up to `until` are lost. What is acknowledged, or lost already, does not count again.
    pub(crate) fn lose(&mut self, after: u64, until: u64, cause: Cause) {
        let mut begin = after.max(self.acked.unwrap_or(0));
        let known: Vec<_> = self.lost.range(..until).map(|(&from, &(to, _))| (from, to)).collect();
        for (from, to) in known.into_iter().filter(|&(_, to)| to > after) {
            self.add_lost(begin, from.min(until), cause);
            begin = begin.max(to);
        }
        self.add_lost(begin, until, cause);
    }

    fn add_lost(&mut self, after: u64, until: u64, cause: Cause) {
        if after >= until {
            return;
        }
        self.lost.insert(after, (until, cause));
        if self.acked.is_some() {
            let total = match cause {
                Cause::OverLimit => &mut self.totals.over_limit,
                Cause::Damaged => &mut self.totals.damaged,
            };
            *total += until - after;
        }
    }

    /// The store has acknowledged all numbers up to `until`, of a stream whose last number is `last`.
    pub(crate) fn acknowledge(&mut self, until: u64, last: u64) {
        let until = until.min(last);
        let Some(acked) = self.acked else { return self.resume(until, last) };
        if until <= acked {
            return;
        }
        let mut lost = 0;
        while let Some((&from, &(to, cause))) = self.lost.first_key_value().filter(|&(&from, _)| from < until) {
            self.lost.remove(&from);
            lost += to.min(until) - from;
            if to > until {
                self.lost.insert(until, (to, cause));
            }
        }
        self.totals.acknowledged += until - acked - lost;
        self.acked = Some(until);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_lost_counts_once() {
        let mut ledger = Ledger::own();
        ledger.lose(10, 20, Cause::OverLimit);
        ledger.lose(5, 25, Cause::Damaged);
        ledger.lose(0, 30, Cause::Damaged);
        assert_eq!((ledger.totals.over_limit, ledger.totals.damaged, ledger.waiting(100)), (10, 20, 70));
        ledger.acknowledge(15, 100);
        assert_eq!((ledger.totals.acknowledged, ledger.waiting(100)), (0, 70));
        ledger.acknowledge(40, 100);
        assert_eq!((ledger.totals.acknowledged, ledger.waiting(100)), (10, 60));
        ledger.lose(0, 40, Cause::Damaged);
        assert_eq!(ledger.totals.damaged, 20, "what is acknowledged is not lost");
    }

    #[test]
    fn a_stream_is_adopted_when_the_store_tells_how_far_it_is() {
        let mut ledger = Ledger::adopted(50);
        ledger.lose(50, 60, Cause::OverLimit);
        assert_eq!((ledger.waiting(100), ledger.totals), (40, Totals::default()));
        ledger.resume(55, 100);
        assert_eq!((ledger.totals.adopted, ledger.totals.over_limit, ledger.waiting(100)), (45, 5, 40));
        let mut ahead = Ledger::adopted(0);
        ahead.acknowledge(1_000, 900);
        assert_eq!((ahead.totals, ahead.waiting(900)), (Totals::default(), 0));
    }

    #[test]
    fn a_store_that_went_back_adopts_again() {
        let mut ledger = Ledger::own();
        ledger.acknowledge(80, 100);
        ledger.resume(30, 100);
        assert_eq!((ledger.totals.adopted, ledger.totals.acknowledged, ledger.waiting(100)), (50, 80, 70));
    }

    #[derive(Clone, Debug)]
    enum Event {
        Append(u64),
        Lose(u64, u64, bool),
        Resume(u64),
        Acknowledge(u64),
    }

    fn events() -> impl Strategy<Value = Vec<Event>> {
        let event = prop_oneof![
            (1..50_u64).prop_map(Event::Append),
            (0..300_u64, 0..100_u64, any::<bool>())
                .prop_map(|(after, count, is_evicted)| { Event::Lose(after, after + count, is_evicted) }),
            (0..300_u64).prop_map(Event::Resume),
            (0..300_u64).prop_map(Event::Acknowledge),
        ];
        prop::collection::vec(event, 0..60)
    }

    proptest! {
        #[test]
        fn the_balance_holds_after_every_event(is_own: bool, start in 0..200_u64, events in events()) {
            let mut ledger = if is_own { Ledger::own() } else { Ledger::adopted(0) };
            let mut last = start;
            for event in events {
                match event {
                    Event::Append(count) if is_own => last += count,
                    Event::Append(_) => {}
                    Event::Lose(after, until, is_evicted) => {
                        let cause = if is_evicted { Cause::OverLimit } else { Cause::Damaged };
                        ledger.lose(after.min(last), until.min(last), cause);
                    }
                    Event::Resume(after) => ledger.resume(after, last),
                    Event::Acknowledge(until) => ledger.acknowledge(until, last),
                }
                if ledger.acked.is_some() {
                    let it = ledger.totals;
                    let given = it.adopted + if is_own { last } else { 0 };
                    let gone = it.acknowledged + it.over_limit + it.damaged;
                    prop_assert_eq!(given, gone + ledger.waiting(last), "{:?}", ledger);
                }
            }
        }
    }
}
