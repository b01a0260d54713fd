//! The ports of links: the repository, and the resolver of the redirect path.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use uuid::Uuid;

use super::{Repeated, RepositoryError};
use crate::{
    access::Access,
    code::Code,
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
    /// - Two claims that should share a link MUST get the same one, however many claims run concurrently.
    /// - A code MUST never be given to a second link, even after the first is deleted. If a drawn code belongs to
    ///   another link, the call MUST change nothing and return [`Claims::CodeCollision`].
    /// - An active link MUST be returned without any write.
    /// - Each creation and reactivation MUST add one history entry in the same transaction.
    /// - With `once`, the call MUST write the idempotency record in the same transaction. If the request has a record
    ///   already, the call MUST change nothing and return [`Claims::Repeated`].
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError>;

    /// The link with this code, deleted or not. It MUST see every change acknowledged before the call.
    async fn find(&self, code: &Code) -> Result<Option<Link>, RepositoryError>;

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
        code: &Code,
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
        self.state.is_none_or(|state| state.name() == link.state.name())
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
    /// What following `code` would do. It MUST see every change acknowledged before the call. A resolver that answers
    /// from a cache MUST see the changes acknowledged by its own process, and states how long it may miss those of
    /// other processes.
    async fn resolve(&self, code: &Code) -> Result<Resolved, RepositoryError>;

    /// The same, if it is known without waiting and without asking the store. `None` says nothing about the link.
    fn resolve_at_once(&self, _code: &Code) -> Option<Resolved> {
        None
    }

    /// Whether a link may have that code, without asking the store.
    fn existence(&self, _code: &Code) -> Existence {
        Existence::Unsure
    }
}

/// Whether a link has a code, as far as that is known without asking the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// Nothing is known.
    Unsure,
    /// Nothing is known yet: the existing codes are being read for the first time.
    Pending,
    /// No link that was acknowledged more than two seconds ago has it, unless the change feed has a gap.
    Absent,
    /// A link has it, or it is a false positive. Of the codes that no link has, at most one in a hundred is one.
    Possible,
}

/// The codes of all links, deleted or not.
#[async_trait]
pub trait CodeCatalog: Send + Sync {
    /// The approximate number of codes.
    async fn estimate(&self) -> Result<u64, RepositoryError>;

    /// Up to `limit` codes in byte order, after the code `after`. A walk over all pages MUST show each code that exists
    /// during the whole walk.
    async fn codes(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, RepositoryError>;

    /// Which of these words are codes of links, even of links whose other columns cannot be read.
    async fn codes_among(&self, words: &[&str]) -> Result<Vec<String>, RepositoryError>;
}

/// What a resolver knows of a code.
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
    /// The link with this code had this generation at some time until now. The first generation means that it was
    /// created.
    fn changed(&self, code: &Code, generation: Generation);

    /// Every change acknowledged until `ago` before now has been reported, back to the last gap.
    fn synced_until(&self, ago: Duration);

    /// Changes until now may be missing from the reports.
    fn gap(&self);
}
