//! Services: the operations of the product, on top of the ports.

mod blocks;
mod keys;
mod links;
mod resolve;
mod short_domains;
mod statistics;

pub use blocks::{BlockService, Blocked};
pub use keys::{FirstKey, IssuedKey, KeyService, NewKey, Refused};
pub use links::{AliasNeedsKey, ClaimRequest, ClaimSummary, LinkPage, LinkService, Precondition};
pub use resolve::{Follow, Followed, Previewed, ResolveService};
pub use short_domains::{DomainError, DomainService, KnownDomains};
pub use statistics::{
    Bots, Breakdowns, Edge, Interval, InvalidQuery, Statistics, StatisticsQuery, StatisticsService, UnknownZone, Zone,
};

use crate::{
    api_key::Caller,
    history::{Provenance, RequestId},
    idempotency::{Fingerprint, IdempotencyKey, IdempotentRequest},
    ports::{Repeated, RepositoryError},
    time::Timestamp,
};

/// Who calls, in which request.
#[derive(Clone, Debug)]
pub struct Call {
    /// Who.
    pub caller: Caller,
    /// In which request.
    pub request_id: RequestId,
    /// What identifies a repetition of the request, if the caller sent an idempotency key.
    pub idempotency: Option<(IdempotencyKey, Fingerprint)>,
}

impl Call {
    fn provenance(&self, at: Timestamp) -> Provenance {
        Provenance { actor: self.caller.actor.clone(), request_id: self.request_id.clone(), at }
    }

    fn once(&self, at: Timestamp) -> Option<IdempotentRequest> {
        let (key, fingerprint) = self.idempotency.clone()?;
        Some(IdempotentRequest { actor: self.caller.actor.clone(), key, fingerprint, at, refusals: None })
    }
}

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum ServiceError {
    /// It does not exist, or this caller may not see it.
    #[error("not found")]
    NotFound,
    /// The link must be reactivated first.
    #[error("the link is deleted")]
    LinkDeleted,
    /// The link has changed since the caller last saw it.
    #[error("the link is not in the expected generation")]
    Stale,
    /// An expiry that is not in the future.
    #[error("the expiry is not in the future")]
    ExpiryNotInFuture,
    /// The idempotency key was used for another request.
    #[error("the idempotency key was used for another request")]
    IdempotencyKeyReused,
    /// The key of the caller is bound to other short domains.
    #[error("the key is bound to other short domains")]
    ForbiddenDomain,
    /// The short domain of a claim does not exist.
    #[error("the short domain does not exist")]
    UnknownDomain,
    /// Every code drawn belongs to another link.
    #[error("no free code found in {attempts} attempts")]
    CodesExhausted {
        /// How many codes were drawn.
        attempts: u32,
    },
    /// Concurrent changes of the link won every attempt.
    #[error("the link changed {attempts} times meanwhile")]
    Contended {
        /// How often it was tried.
        attempts: u32,
    },
    /// The store failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

/// The idempotency record, if it is of the kind that this operation gives. An answer of another kind can only belong to a
/// different request.
fn repeated<T>(
    repeated: Repeated,
    of_this_verb: impl FnOnce(crate::idempotency::IdempotencyRecord) -> Option<T>,
) -> Result<T, ServiceError> {
    match repeated {
        Repeated::Answer(answer) => of_this_verb(*answer).ok_or(ServiceError::IdempotencyKeyReused),
        Repeated::KeyReused => Err(ServiceError::IdempotencyKeyReused),
    }
}
