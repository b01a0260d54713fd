//! The port of recorded answers.

use std::time::Duration;

use async_trait::async_trait;

use super::RepositoryError;
use crate::{
    idempotency::{IdempotentRequest, RecordedAnswer},
    time::Timestamp,
};

/// Keeps the answers of requests that carried an `Idempotency-Key`.
///
/// Requests with an effect are recorded by the call that has the effect, in its transaction; this port
/// is for looking first, for requests that turned out to have none, and for forgetting.
#[async_trait]
pub trait IdempotencyRepository: Send + Sync {
    /// What the request was answered before; `None` if it was not, or is forgotten.
    async fn recall(&self, request: &IdempotentRequest) -> Result<Option<Repeated>, RepositoryError>;

    /// When the request was first answered; `None` if it was not, or is forgotten. Another request under the
    /// same key counts as this one here.
    async fn answered_at(&self, request: &IdempotentRequest) -> Result<Option<Timestamp>, RepositoryError>;

    /// Records the answer of a request that changed nothing. If one is recorded already, it MUST stay
    /// and be returned.
    async fn record(
        &self,
        request: &IdempotentRequest,
        answer: &RecordedAnswer,
    ) -> Result<Option<Repeated>, RepositoryError>;

    /// Deletes the answers recorded at `moment` or earlier, and says how many. However many there are, it MUST do so in
    /// steps that keep no other call waiting for long, and what one step has deleted stays deleted if a later one fails.
    async fn forget(&self, moment: Timestamp) -> Result<u64, RepositoryError>;
}

/// A request whose key is known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repeated {
    /// It is the same request: this was its answer.
    Answer(Box<RecordedAnswer>),
    /// The key was used for another request.
    KeyReused,
}

/// How many answers to delete in one step: few enough that no other call waits for long, whether an answer has a hundred
/// bytes or a million, and enough that old ones go faster than new ones come.
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
    /// A step that is faster may become twice as large.
    const FAST: Duration = Duration::from_millis(50);
    /// A step that is slower has to become smaller.
    const SLOW: Duration = Duration::from_millis(200);

    /// How many the next step deletes at most.
    pub fn most(&self) -> i64 {
        self.most
    }

    /// Notes that a step deleted `count` in `time`; whether more may be left.
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

    /// How many were deleted so far.
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
