//! The port of short domains.

use async_trait::async_trait;

use super::{Repeated, RepositoryError};
use crate::{
    address::DomainId,
    idempotency::IdempotentRequest,
    link::Generation,
    short_domain::{DomainHost, DomainSettings, ShortDomain},
    time::Timestamp,
};

/// Stores short domains.
#[async_trait]
pub trait ShortDomainRepository: Send + Sync {
    /// Adds a short domain in its first generation.
    ///
    /// - Its number MUST be one that no short domain of this store ever had.
    /// - If its host is taken, the call MUST change nothing and return [`Adding::Taken`]. Of concurrent calls for one
    ///   host, exactly one MUST add it.
    /// - With [`ShortDomains::MAX`](crate::short_domain::ShortDomains::MAX) short domains, the call MUST change nothing
    ///   and return [`Adding::Full`].
    /// - With `once`, the call MUST write the idempotency record in the same transaction. If the request has a record
    ///   already, the call MUST change nothing and return [`Adding::Repeated`].
    async fn add(&self, new: &NewShortDomain, once: Option<&IdempotentRequest>) -> Result<Adding, RepositoryError>;

    /// All short domains, ordered by number; the default one is the first. It MUST see every change acknowledged before
    /// the call. For a row that cannot be read, [`ShortDomain::in_place_of_unreadable`] MUST stand, if there is one.
    async fn all(&self) -> Result<Vec<ShortDomain>, RepositoryError>;

    /// Stores the settings and the times of a short domain, in its next generation. Returns whether it still had the
    /// generation `from`; if not, nothing changed.
    async fn update(&self, after: &ShortDomain, from: Generation) -> Result<bool, RepositoryError>;

    /// Removes a short domain.
    ///
    /// - If a link lives on it, deleted or not, the call MUST change nothing and return [`Removal::HasLinks`], however
    ///   many claims run concurrently.
    /// - If a block of a code on it is in force, the call MUST change nothing and return [`Removal::HasBlocks`]: should the
    ///   host be added again, it gets a new number, for which the block would not hold.
    /// - The default short domain MUST NOT be removed.
    async fn remove(&self, id: DomainId) -> Result<Removal, RepositoryError>;
}

/// A short domain to add.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewShortDomain {
    /// Its host name.
    pub host: DomainHost,
    /// How addresses on it behave.
    pub settings: DomainSettings,
    /// When it is added.
    pub at: Timestamp,
}

/// The outcome of [`ShortDomainRepository::add`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Adding {
    /// It exists now.
    Added(ShortDomain),
    /// A short domain has this host. Nothing changed.
    Taken,
    /// There are too many. Nothing changed.
    Full,
    /// The request was answered before. Nothing changed.
    Repeated(Repeated),
}

/// The outcome of [`ShortDomainRepository::remove`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Removal {
    /// It is gone.
    Done,
    /// A link lives on it. Nothing changed.
    HasLinks,
    /// A code on it is blocked. Nothing changed.
    HasBlocks,
    /// There is none with this number.
    Missing,
}
