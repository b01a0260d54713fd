//! Bounds the memory held for clients: bodies that are received, answers that are not taken. The bound covers all
//! connections. A client that holds much loses it to one that holds little.

use std::{
    collections::{BTreeMap, HashMap},
    mem,
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::{Duration, Instant},
};

use domain::api_key::KeyId;
use slog::{Logger, warn};

/// The client for which bytes are held: its key if it has shown a valid one, otherwise its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Holder {
    Key(KeyId),
    Address(IpAddr),
}

/// Something held that can be given up at once to make room.
pub(crate) trait Revocable: Send + Sync {
    /// Gives it up. Its bytes are not counted any more.
    fn revoke(&self);
}

/// What to do when the client which asks for room is the one that holds most.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OwnShare {
    /// What it holds stays, and it gets no more.
    Keep,
    /// Its oldest holding is given up to make room.
    Replace,
}

/// Bounds the bytes that are held, over all connections.
#[derive(Debug)]
pub(crate) struct MemoryBudget {
    most: usize,
    own_share: OwnShare,
    accounts: Mutex<Accounts>,
    /// Logs that something was given up.
    log: Logger,
}

#[derive(Default)]
struct Accounts {
    held: usize,
    /// How often something was given up since the last warning.
    revoked: u64,
    /// When the last warning was logged.
    last_warning: Option<Instant>,
    last_number: u64,
    /// By number, so oldest first.
    entries: BTreeMap<u64, Entry>,
}

struct Entry {
    holder: Holder,
    bytes: usize,
    /// `None` if it cannot be given up any more.
    revocable: Option<Weak<dyn Revocable>>,
}

/// The budget has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many bytes are held for clients")]
pub(crate) struct Exhausted;

/// A part of the budget, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Share {
    budget: Arc<MemoryBudget>,
    number: u64,
}

impl MemoryBudget {
    pub(crate) fn new(most: usize, own_share: OwnShare, log: &Logger) -> Arc<Self> {
        Arc::new(Self { most, own_share, accounts: Mutex::default(), log: log.clone() })
    }

    /// Bytes that are held now.
    pub(crate) fn held(&self) -> usize {
        self.accounts().held
    }

    /// An empty share.
    pub(crate) fn open(self: &Arc<Self>, holder: Holder, revocable: Weak<dyn Revocable>) -> Share {
        let mut accounts = self.accounts();
        accounts.last_number += 1;
        let number = accounts.last_number;
        accounts.entries.insert(number, Entry { holder, bytes: 0, revocable: Some(revocable) });
        drop(accounts);
        Share { budget: Arc::clone(self), number }
    }

    /// Logs that something was given up, at most once in ten seconds.
    fn warn_of_revoked(&self) {
        const EVERY: Duration = Duration::from_secs(10);
        let mut accounts = self.accounts();
        if accounts.last_warning.is_some_and(|last_warning| last_warning.elapsed() < EVERY) {
            return;
        }
        accounts.last_warning = Some(Instant::now());
        let revoked = mem::take(&mut accounts.revoked);
        drop(accounts);
        warn!(self.log, "{revoked} slow clients disconnected: the memory for bodies and answers is full";
            "event.name" => "http.slow_clients_disconnected", "clients" => revoked, "bytes.most" => self.most);
    }

    fn accounts(&self) -> MutexGuard<'_, Accounts> {
        self.accounts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Changes the share to `bytes` in all, more or fewer than before. Other shares that make room for it are given up
    /// by the time this returns.
    pub(crate) fn resize(&self, bytes: usize) -> Result<(), Exhausted> {
        let mut given_up = Vec::new();
        let mut accounts = self.budget.accounts();
        let outcome = accounts.resize(self.number, bytes, &self.budget, &mut given_up);
        drop(accounts);
        // Not under the lock: revoking may free much memory, and drop shares, which takes the lock.
        let warns = !given_up.is_empty();
        for revocable in given_up {
            revocable.revoke();
        }
        if warns {
            self.budget.warn_of_revoked();
        }
        outcome
    }

    /// From now on it cannot be given up.
    pub(crate) fn pin(&self) {
        if let Some(entry) = self.budget.accounts().entries.get_mut(&self.number) {
            entry.revocable = None;
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        let mut accounts = self.budget.accounts();
        let entry = accounts.entries.remove(&self.number);
        accounts.held -= entry.map_or(0, |entry| entry.bytes);
    }
}

impl Accounts {
    fn resize(
        &mut self,
        number: u64,
        bytes: usize,
        budget: &MemoryBudget,
        given_up: &mut Vec<Arc<dyn Revocable>>,
    ) -> Result<(), Exhausted> {
        let Some(entry) = self.entries.get(&number) else {
            // This share itself was given up.
            return Err(Exhausted);
        };
        let (before, holder) = (entry.bytes, entry.holder.clone());
        while self.held - before + bytes > budget.most && bytes > before {
            let Some(victim) = self.victim(number, &holder, bytes - before, budget.own_share) else {
                // A share larger than the whole budget is admitted if it is the only one.
                if budget.own_share == OwnShare::Replace && self.held == before {
                    break;
                }
                return Err(Exhausted);
            };
            let entry = self.entries.remove(&victim).expect("it was just found");
            self.held -= entry.bytes;
            self.revoked += 1;
            given_up.extend(entry.revocable.and_then(|revocable| revocable.upgrade()));
        }
        let entry = self.entries.get_mut(&number).expect("no share is its own victim");
        entry.bytes = bytes;
        self.held = self.held - before + bytes;
        Ok(())
    }

    /// The share to give up for `more` bytes of `holder`: the oldest one of the client that holds most. Clients that
    /// hold less than `holder` would then are spared. Only with [`OwnShare::Replace`] the oldest share of `holder`
    /// itself comes next, and then the oldest of all.
    fn victim(&self, asking: u64, holder: &Holder, more: usize, own_share: OwnShare) -> Option<u64> {
        let mut sums: HashMap<&Holder, usize> = HashMap::new();
        for entry in self.entries.values() {
            *sums.entry(&entry.holder).or_default() += entry.bytes;
        }
        let own = sums.get(holder).copied().unwrap_or_default() + more;
        let can_go = |number: &u64, entry: &Entry| *number != asking && entry.bytes > 0 && entry.revocable.is_some();
        let oldest_of = |holder: &Holder| {
            let fits = |(number, entry): &(&u64, &Entry)| entry.holder == *holder && can_go(number, entry);
            self.entries.iter().find(fits).map(|(number, _)| *number)
        };
        let mut others: Vec<_> = sums.into_iter().filter(|(other, sum)| *other != holder && *sum >= own).collect();
        others.sort_unstable_by_key(|(_, sum)| std::cmp::Reverse(*sum));
        let of_others = others.into_iter().find_map(|(other, _)| oldest_of(other));
        match own_share {
            OwnShare::Keep => of_others,
            OwnShare::Replace => of_others.or_else(|| oldest_of(holder)).or_else(|| {
                // Others hold less, and there is still no room: the oldest share of all is given up.
                self.entries.iter().find(|(number, entry)| can_go(number, entry)).map(|(number, _)| *number)
            }),
        }
    }
}

impl std::fmt::Debug for Accounts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Accounts").field("held", &self.held).field("revoked", &self.revoked).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn of(most: usize, own_share: OwnShare) -> Arc<MemoryBudget> {
        MemoryBudget::new(most, own_share, &Logger::root(slog::Discard, slog::o!()))
    }

    #[derive(Default)]
    struct Thing(AtomicBool);

    impl Revocable for Thing {
        fn revoke(&self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }

    /// Something that a client holds.
    struct Held {
        thing: Arc<Thing>,
        share: Share,
    }

    impl Held {
        fn is_there(&self) -> bool {
            !self.thing.0.load(Ordering::Relaxed)
        }
    }

    fn open(budget: &Arc<MemoryBudget>, client: u8) -> Held {
        let thing = Arc::new(Thing::default());
        let weak: Weak<Thing> = Arc::downgrade(&thing);
        let share = budget.open(Holder::Address([10, 0, 0, client].into()), weak);
        Held { thing, share }
    }

    fn hold(budget: &Arc<MemoryBudget>, client: u8, bytes: usize) -> Result<Held, Exhausted> {
        let held = open(budget, client);
        held.share.resize(bytes)?;
        Ok(held)
    }

    #[test]
    fn dropped_shares_make_room() {
        let budget = of(100, OwnShare::Keep);
        let first = hold(&budget, 1, 100).expect("there is room");
        assert!(hold(&budget, 1, 1).is_err());
        first.share.resize(40).expect("it shrinks");
        let second = hold(&budget, 1, 60).expect("there is room again");
        drop((first, second));
        hold(&budget, 1, 100).expect("all of it is free");
    }

    #[test]
    fn a_client_that_holds_much_loses_it_to_one_that_holds_little() {
        for own_share in [OwnShare::Keep, OwnShare::Replace] {
            let budget = of(100, own_share);
            let greedy: Vec<_> = (0..10).map(|_| hold(&budget, 1, 10).expect("there is room")).collect();
            let modest: Vec<_> = (0..5).map(|_| hold(&budget, 2, 10).expect("its share is small")).collect();
            let left: Vec<_> = greedy.iter().map(Held::is_there).collect();
            assert_eq!(left, [[false; 5], [true; 5]].concat(), "the oldest go first");
            assert!(modest.iter().all(Held::is_there));
        }
    }

    #[test]
    fn a_client_alone_keeps_what_it_has_or_replaces_it() {
        let keeping = of(100, OwnShare::Keep);
        let kept = hold(&keeping, 1, 80).expect("there is room");
        assert!(hold(&keeping, 1, 30).is_err());
        assert!(kept.is_there());

        let replacing = of(100, OwnShare::Replace);
        let replaced = hold(&replacing, 1, 80).expect("there is room");
        hold(&replacing, 1, 30).expect("it takes the place of the other");
        assert!(!replaced.is_there());
        assert_eq!(replaced.share.resize(1), Err(Exhausted));
    }

    #[test]
    fn pinned_shares_are_not_given_up() {
        let budget = of(100, OwnShare::Keep);
        let pinned = hold(&budget, 1, 100).expect("there is room");
        pinned.share.pin();
        assert!(hold(&budget, 2, 10).is_err());
        assert!(pinned.is_there());
    }

    #[test]
    fn a_share_larger_than_the_budget_may_be_alone_if_it_replaces() {
        let budget = of(100, OwnShare::Replace);
        let small = hold(&budget, 1, 50).expect("there is room");
        hold(&budget, 2, 500).expect("it is alone");
        assert!(!small.is_there());
        assert!(hold(&of(100, OwnShare::Keep), 2, 500).is_err());
    }
}
