//! The port of recorded answers.

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

    /// Deletes the answers recorded at `moment` or earlier, and says how many.
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
