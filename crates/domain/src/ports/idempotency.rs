//! The port of idempotency records.

use std::time::Duration;

use async_trait::async_trait;

use super::RepositoryError;
use crate::{
    idempotency::{IdempotencyRecord, IdempotentRequest},
    time::Timestamp,
};

/// Stores the idempotency records of requests with an `Idempotency-Key`.
///
/// A call with an effect writes the record itself, in its own transaction. This port looks up records, writes records
/// of requests without an effect, and deletes old records.
#[async_trait]
pub trait IdempotencyRepository: Send + Sync {
    /// The idempotency record of the request; `None` if there is none, or if it has expired.
    async fn recall(&self, request: &IdempotentRequest) -> Result<Option<Repeated>, RepositoryError>;

    /// When the request was first answered; `None` if it was not, or if its record has expired. A different request
    /// under the same key counts as this one here.
    async fn answered_at(&self, request: &IdempotentRequest) -> Result<Option<Timestamp>, RepositoryError>;

    /// Records the answer of a request that changed nothing. If the request has a record already, that record MUST stay
    /// and be returned.
    async fn record(
        &self,
        request: &IdempotentRequest,
        answer: &IdempotencyRecord,
    ) -> Result<Option<Repeated>, RepositoryError>;

    /// Deletes the idempotency records from `moment` or earlier, and returns how many. It MUST delete in steps that do
    /// not block other calls for long, however many records there are. If a step fails, the earlier steps stay done.
    async fn forget(&self, moment: Timestamp) -> Result<u64, RepositoryError>;
}

/// A request whose idempotency key was used before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// The same request. This was its answer.
    Answer(Box<IdempotencyRecord>),
    /// The key was used for a different request.
    KeyReused,
}

/// How many idempotency records to delete in one step. A step is small enough that no other call waits for long,
/// whether a record has a hundred bytes or a million. It is large enough to delete records faster than new ones arrive.
#[derive(Clone, Copy, Debug)]
pub struct ForgettingSteps {
    most: i64,
    forgotten: u64,
}

impl Default for ForgettingSteps {
    fn default() -> Self {
        Self { most: Self::MIN, forgotten: 0 }
    }
}

impl ForgettingSteps {
    const MIN: i64 = 16;
    const MAX: i64 = 4_096;
    /// After a step faster than this, the next one is twice as large.
    const FAST: Duration = Duration::from_millis(50);
    /// After a step slower than this, the next one is a quarter as large.
    const SLOW: Duration = Duration::from_millis(200);

    /// Maximum number of records that the next step deletes.
    pub fn most(&self) -> i64 {
        self.most
    }

    /// Notes that a step deleted `count` records in `time`. Returns whether more may be left.
    pub fn took(&mut self, count: u64, time: Duration) -> bool {
        let more = i64::try_from(count).is_ok_and(|count| count >= self.most);
        self.forgotten += count;
        if time < Self::FAST {
            self.most = (self.most * 2).min(Self::MAX);
        } else if time > Self::SLOW {
            self.most = (self.most / 4).max(Self::MIN);
        }
        more
    }

    /// Number of records deleted so far.
    pub fn forgotten(&self) -> u64 {
        self.forgotten
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_grow_while_they_are_fast_and_shrink_when_they_are_slow() {
        let mut steps = ForgettingSteps::default();
        let mut total = 0;
        for _ in 0..20 {
            let count = u64::try_from(steps.most()).expect("positive");
            total += count;
            assert!(steps.took(count, Duration::from_millis(1)));
        }
        assert_eq!((steps.most(), steps.forgotten()), (ForgettingSteps::MAX, total));
        for _ in 0..20 {
            let count = u64::try_from(steps.most()).expect("positive");
            assert!(steps.took(count, Duration::from_secs(1)));
        }
        assert_eq!(steps.most(), ForgettingSteps::MIN);
        assert!(!steps.took(15, Duration::ZERO), "none was left");
    }
}
