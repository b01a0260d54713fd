//! The ports of links: the repository, and the resolver of the redirect path.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use super::{Repeated, RepositoryError};
use crate::{
    access::Access,
    address::{Address, DomainId},
    history::{LinkEvent, Provenance},
    idempotency::IdempotentRequest,
    lifecycle::{Candidate, Change, Claim, Resolution},
    link::{Generation, Link},
    target::Target,
    time::Timestamp,
};

/// Stores links and their history.
#[async_trait]
pub trait LinkRepository: Send + Sync {
    /// Settles claims as [`lifecycle::claim`](crate::lifecycle::claim) decides, all in one atomic change.
    ///
    /// - Candidates with the same naming that meet the same link MUST be settled in order: each MUST see the effect of
    ///   those before it. Candidates of different namings may be settled in any order.
    /// - An alias that is taken MUST fail its own candidate only.
    /// - If a candidate is on a short domain that does not exist, the call MUST change nothing and return
    ///   [`Claims::UnknownDomain`].
    /// - Links of other short domains MUST NOT answer a claim.
    /// - Two claims that should share a link MUST get the same one, however many claims run concurrently.
    /// - An address MUST never be given to a second link, even after the first is deleted. If a drawn code belongs to
    ///   another link of its short domain, the call MUST change nothing and return [`Claims::CodeCollision`].
    /// - An active link MUST be returned without any write.
    /// - Each creation and reactivation MUST add one history entry in the same transaction.
    /// - With `once`, the call MUST write the idempotency record in the same transaction. If the request has a record
    ///   already, the call MUST change nothing and return [`Claims::Repeated`].
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError>;

    /// The link at this address, deleted or not. It MUST see every change acknowledged before the call.
    async fn find(&self, address: &Address) -> Result<Option<Link>, RepositoryError>;

    /// The links with these ids, deleted or not, in any order. Ids that no link has are left out.
    async fn with_ids(&self, ids: &[Uuid]) -> Result<Vec<Link>, RepositoryError>;

    /// Stores a change if the link still has the generation it starts from.
    ///
    /// - If the generation differs, the call MUST change nothing and return [`Applied::Stale`].
    /// - The history entry MUST be added in the same transaction.
    /// - With `once`, the call MUST record the changed link as the answer in the same transaction. If the request has
    ///   an idempotency record already, the call MUST change nothing and return [`Applied::Repeated`].
    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError>;

    /// Up to `limit` links, in the order of the query, after its position.
    ///
    /// - A walk over all pages MUST show each link that exists during the whole walk exactly once.
    /// - Fewer than `limit` links MUST mean that no more follow, even if links that cannot be read were left out.
    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError>;

    /// Up to `limit` history entries of a link, newest first, below the generation `before`.
    async fn history(
        &self,
        address: &Address,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError>;
}

/// The outcome of [`LinkRepository::claim`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claims {
    /// One claim for each candidate, in their order.
    Settled(Vec<Claim>),
    /// A drawn code belongs to another link. Nothing changed.
    CodeCollision,
    /// A candidate is on a short domain that does not exist. Nothing changed.
    UnknownDomain,
    /// The request was answered before. Nothing changed.
    Repeated(Repeated),
}

/// The outcome of [`LinkRepository::apply`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is stored.
    Done,
    /// The link has changed since. Nothing was stored.
    Stale,
    /// There is no such link.
    Missing,
    /// The request was answered before. Nothing changed.
    Repeated(Repeated),
}

/// Which links to list, in which order, from which position on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Whose links.
    pub access: Access,
    /// Which of these links.
    pub filter: LinkFilter,
    /// In which order.
    pub sort: Sort,
    /// The position after which the page begins.
    pub after: Option<Position>,
    /// How many at most.
    pub limit: u32,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFilter {
    /// On this short domain.
    pub domain: Option<DomainId>,
    /// In this state.
    pub state: Option<StateFilter>,
    /// With this text in its code, target or title. The case of ASCII letters does not matter.
    pub text: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// With exactly this target.
    pub target: Option<Target>,
    /// Created later than this.
    pub created_after: Option<Timestamp>,
    /// Created earlier than this.
    pub created_before: Option<Timestamp>,
}

impl LinkFilter {
    /// Whether `link` meets every condition.
    pub fn matches(&self, link: &Link) -> bool {
        self.domain.is_none_or(|domain| domain == link.domain)
            && self.state.is_none_or(|state| state.name() == link.state.name())
            && self.text.as_deref().is_none_or(|text| mentions(link, text))
            && self.tag.as_ref().is_none_or(|tag| link.tags.as_slice().contains(tag))
            && self.target.as_ref().is_none_or(|target| *target == link.behaviour.target)
            && self.created_after.is_none_or(|moment| link.created_at > moment)
            && self.created_before.is_none_or(|moment| link.created_at < moment)
    }
}

fn mentions(link: &Link, text: &str) -> bool {
    let wanted = text.to_ascii_lowercase();
    let found = |place: &str| place.to_ascii_lowercase().contains(&wanted);
    found(link.code.as_str())
        || found(link.behaviour.target.as_str())
        || link.title.as_ref().is_some_and(|title| found(title.as_str()))
}

/// A link state without its data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StateFilter {
    /// Active ones, expired or not.
    Active,
    /// Deleted ones.
    Deleted,
}

impl StateFilter {
    /// The name stores and callers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted => "deleted",
        }
    }
}

/// The order of a list. Links created at the same moment are ordered by id.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By creation, latest first.
    #[default]
    NewestFirst,
    /// By creation, earliest first.
    OldestFirst,
}

/// A position in a list: directly after this link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Position {
    /// When the link was created.
    pub created_at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

impl From<&Link> for Position {
    fn from(link: &Link) -> Self {
        Self { created_at: link.created_at, id: link.id }
    }
}

/// Looks up links for the redirect path.
#[async_trait]
pub trait LinkResolver: Send + Sync {
    /// What following the link at `address` would do. It MUST see every change acknowledged before the call. A resolver that answers
    /// from a cache MUST see the changes acknowledged by its own process, and states how long it may miss those of
    /// other processes.
    async fn resolve(&self, address: &Address) -> Result<Resolved, RepositoryError>;

    /// The same, if it is known without waiting and without asking the store. `None` says nothing about the link.
    fn resolve_at_once(&self, _address: &Address) -> Option<Resolved> {
        None
    }

    /// Whether a link may have that address, without asking the store.
    fn existence(&self, _address: &Address) -> Existence {
        Existence::Unsure
    }
}

/// Whether a link has an address, as far as that is known without asking the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// Nothing is known.
    Unsure,
    /// Nothing is known yet: the existing addresses are being read for the first time.
    Pending,
    /// No link that was acknowledged more than two seconds ago has it, unless the change feed has a gap.
    Absent,
    /// A link has it, or it is a false positive. Of the addresses that no link has, at most one in a hundred is one.
    Possible,
}

/// The addresses of all links, deleted or not, as text.
#[async_trait]
pub trait AddressCatalog: Send + Sync {
    /// The approximate number of addresses.
    async fn estimate(&self) -> Result<u64, RepositoryError>;

    /// Up to `limit` addresses, ordered by the bytes of the code, then by the number of the short domain, after the
    /// address `after`. A walk over all pages MUST show each address that exists during the whole walk.
    async fn addresses(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, RepositoryError>;

    /// The addresses whose code is one of these words, even of links whose other columns cannot be read.
    async fn with_codes(&self, words: &[&str]) -> Result<Vec<String>, RepositoryError>;
}

/// What a resolver knows of an address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What following it would do; `None` if no link has it.
    pub resolution: Option<Arc<Resolution>>,
    /// Where the answer comes from.
    pub source: Source,
}

impl Resolved {
    /// An answer of the store.
    pub fn by_store(resolution: Option<Resolution>) -> Self {
        Self { resolution: resolution.map(Arc::new), source: Source::Store }
    }
}

/// Where an answer comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The store, asked just now.
    Store,
    /// The cache that all processes share. It was certainly up to date `ago` before now.
    SharedMemory {
        /// How long ago it was certainly up to date. Later changes may be missing.
        ago: Duration,
    },
    /// An L1 cache entry that has not expired.
    Memory,
    /// Stale: store unavailable, served from an expired cache entry.
    StaleMemory,
}

/// The change feed: every change of every link, by any process, as soon as this process can know of it.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// Reports every change that is committed from now on to `subscriber`, creations included. Returns when it cannot
    /// continue. The subscriber then gets no more reports, and all changes until the next subscription are a gap.
    ///
    /// - The first report MUST be a [gap](ChangeSubscriber::gap). Every change committed after it MUST be reported, in
    ///   any order, once or more often.
    /// - Before [`synced_until`](ChangeSubscriber::synced_until) is called, every change that was acknowledged before
    ///   that moment MUST have been reported.
    /// - Changes that cannot be reported (too many at once, another server, a rewound history) MUST be reported as a
    ///   gap.
    async fn subscribe(&self, subscriber: Arc<dyn ChangeSubscriber>) -> RepositoryError;
}

/// Receives changes of links, so that it can discard outdated copies. Its methods do not block.
pub trait ChangeSubscriber: Send + Sync {
    /// The link at this address had this generation at some time until now. The first generation means that it was
    /// created.
    fn changed(&self, address: &Address, generation: Generation);

    /// Every change acknowledged until `ago` before now has been reported, back to the last gap.
    fn synced_until(&self, ago: Duration);

    /// Changes until now may be missing from the reports.
    fn gap(&self);
}
