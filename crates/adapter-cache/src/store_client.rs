//! The store client: lookups in the store, with a timeout, a retry budget and a circuit breaker.

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
    ports::{FailureReason, LinkResolver, RepositoryError, RepositoryErrorKind, Resolved},
};
use slog::Logger;
use tokio::time::{Instant, sleep, timeout_at};

use crate::breaker::Breaker;

pub(crate) const DOING: &str = "resolving a code";

/// A store, with its circuit breaker and retry budget.
pub(crate) struct StoreClient {
    store: Arc<dyn LinkResolver>,
    timeout: Duration,
    pub(crate) breaker: Breaker,
    budget: RetryBudget,
    retries: AtomicU64,
}

impl StoreClient {
    /// Maximum retries of one lookup.
    const RETRIES: u32 = 2;
    /// Maximum wait before the first retry. It doubles for the second one.
    const FIRST_WAIT: Duration = Duration::from_millis(20);

    pub(crate) fn new(store: Arc<dyn LinkResolver>, timeout: Duration, log: Logger) -> Self {
        let (breaker, budget, retries) = (Breaker::new(log), RetryBudget::default(), AtomicU64::new(0));
        Self { store, timeout, breaker, budget, retries }
    }

    /// How many lookups were retried since the start.
    pub(crate) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Looks `address` up in the store. Reads are idempotent, so a lookup that fails early is retried: a restarted server
    /// leaves broken connections behind, each of which fails once.
    pub(crate) async fn ask(&self, address: &Address) -> Result<Resolved, RepositoryError> {
        let asked = Instant::now();
        let deadline = asked + self.timeout;
        self.budget.earn();
        let mut retries = 0;
        loop {
            let Ok(answer) = timeout_at(deadline, self.store.resolve(address)).await else {
                self.breaker.timed_out(asked);
                let error = RepositoryError::new(RepositoryErrorKind::Unavailable, DOING);
                return Err(error.because(FailureReason::TimedOut).caused_by("no answer in time"));
            };
            let error = match answer {
                Ok(resolved) => {
                    self.breaker.succeeded();
                    return Ok(resolved);
                }
                Err(error) => error,
            };
            match error.kind() {
                RepositoryErrorKind::Unavailable | RepositoryErrorKind::Indeterminate => {
                    self.breaker.failed_because(error.reason());
                }
                RepositoryErrorKind::StorageFull | RepositoryErrorKind::Corrupt | RepositoryErrorKind::Internal => {
                    self.breaker.succeeded();
                    return Err(error);
                }
            }
            let wait = full_jitter(Self::FIRST_WAIT * 2_u32.pow(retries));
            let in_time = Instant::now() + wait < deadline;
            if retries == Self::RETRIES || !in_time || self.breaker.is_open() || !self.budget.spend() {
                return Err(error);
            }
            retries += 1;
            self.retries.fetch_add(1, Ordering::Relaxed);
            sleep(wait).await;
        }
    }
}

/// A random wait up to `most`, so that lookups that failed together are not retried together.
fn full_jitter(most: Duration) -> Duration {
    let share = u32::try_from(RandomState::new().hash_one(()) % 1_000).expect("below 1000");
    most * share / 1_000
}

/// The retry budget. Ten lookups pay for one retry: when everything fails, load rises by a tenth instead of tripling.
struct RetryBudget(AtomicU32);

impl RetryBudget {
    const PRICE: u32 = 10;
    const MAX: u32 = 100 * Self::PRICE;

    fn earn(&self) {
        // At the limit the update is refused, and nothing is lost.
        let _full =
            self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |saved| (saved < Self::MAX).then_some(saved + 1));
    }

    fn spend(&self) -> bool {
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, |saved| saved.checked_sub(Self::PRICE)).is_ok()
    }
}

/// Starts with ten retries: enough for the broken connections of one pool.
impl Default for RetryBudget {
    fn default() -> Self {
        Self(AtomicU32::new(10 * Self::PRICE))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_lookups_pay_for_one_retry() {
        let budget = RetryBudget::default();
        while budget.spend() {}
        for _ in 0..RetryBudget::PRICE - 1 {
            budget.earn();
            assert!(!budget.spend());
        }
        budget.earn();
        assert!(budget.spend() && !budget.spend());
    }

    #[test]
    fn no_more_retries_are_saved_up_than_the_limit() {
        let budget = RetryBudget::default();
        for _ in 0..10 * RetryBudget::MAX {
            budget.earn();
        }
        let most = RetryBudget::MAX / RetryBudget::PRICE;
        assert!((0..most).all(|_| budget.spend()) && !budget.spend());
    }

    #[test]
    fn waits_are_spread_over_all_that_is_allowed() {
        let waits: Vec<_> = (0..100).map(|_| full_jitter(Duration::from_millis(20))).collect();
        assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(20)));
        assert!(waits.iter().collect::<std::collections::BTreeSet<_>>().len() > 20);
    }
}
