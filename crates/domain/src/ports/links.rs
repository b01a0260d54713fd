//! The ports of links: the repository, and the narrow read of the redirect path.

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

/// Keeps links and their history.
#[async_trait]
pub trait LinkRepository: Send + Sync {
    /// Settles claims as [`lifecycle::claim`](crate::lifecycle::claim) decides, all in one atomic change.
    ///
    /// - Of several candidates that share a naming and meet the same link, each MUST see what those before it
    ///   did. Candidates of different namings may be settled in any order.
    /// - An alias that is taken MUST fail its own candidate only.
    /// - Two claims that should share a link MUST get the same one, however many run at once.
    /// - A code MUST never be given to a second link, also after the first is deleted. If a drawn code
    ///   belongs to another link, nothing MUST change and [`Claims::CodeCollision`] be returned.
    /// - An active link MUST be returned without any write.
    /// - Each creation and reactivation MUST add one history entry in the same transaction.
    /// - With `once`, the answer MUST be recorded in the same transaction; if one is recorded already,
    ///   nothing MUST change and [`Claims::Repeated`] be returned.
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError>;

    /// The link of that code, deleted or not. MUST see every change acknowledged before the call.
    async fn find(&self, code: &Code) -> Result<Option<Link>, RepositoryError>;

    /// Stores a change if the link still has the generation it starts from.
    ///
    /// - If the generation differs, nothing MUST change and [`Applied::Stale`] be returned.
    /// - The history entry MUST be added in the same transaction.
    /// - With `once`, the changed link MUST be recorded as the answer in the same transaction; if one
    ///   is recorded already, nothing MUST change and [`Applied::Repeated`] be returned.
    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError>;

    /// Up to `limit` links, in the order of the query, behind its position. MUST show each link that
    /// exists during a whole walk exactly once. Fewer than `limit` MUST mean that no more are behind, also where links
    /// that cannot be read were left out.
    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError>;

    /// Up to `limit` history entries of a link, newest first, below the generation `before`.
    async fn history(
        &self,
        code: &Code,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError>;
}

/// What became of a call of [`LinkRepository::claim`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Claims {
    /// One claim for each candidate, in their order.
    Settled(Vec<Claim>),
    /// A drawn code belongs to another link; nothing changed.
    CodeCollision,
    /// The request was answered before; nothing changed.
    Repeated(Repeated),
}

/// What became of a call of [`LinkRepository::apply`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Applied {
    /// It is stored.
    Done,
    /// The link has changed since; nothing was stored.
    Stale,
    /// There is no such link.
    Missing,
    /// The request was answered before; nothing changed.
    Repeated(Repeated),
}

/// Which links, in which order, from where on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListQuery {
    /// Whose.
    pub access: Access,
    /// Which of them.
    pub filter: LinkFilter,
    /// In which order.
    pub sort: Sort,
    /// Behind which link.
    pub after: Option<Position>,
    /// How many at most.
    pub limit: u32,
}

/// Conditions that must all hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkFilter {
    /// In this state.
    pub state: Option<StateFilter>,
    /// With this text in its code, target or title, whatever the case of ASCII letters.
    pub text: Option<String>,
    /// With this tag.
    pub tag: Option<String>,
    /// Leading exactly there.
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

/// The order of a list; links created in the same moment follow their ids.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Sort {
    /// By creation, latest first.
    #[default]
    NewestFirst,
    /// By creation, earliest first.
    OldestFirst,
}

/// A place in a list: right behind this link.
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

/// The narrow read of the redirect path.
#[async_trait]
pub trait LinkResolver: Send + Sync {
    /// What following `code` would do. MUST see every change acknowledged before the call; a resolver that
    /// answers from memory MUST see those acknowledged by its own process, and says for how long it may miss
    /// those of others.
    async fn resolve(&self, code: &Code) -> Result<Resolved, RepositoryError>;

    /// The same if it can be said at once, without asking anybody. `None` says nothing about the link.
    fn resolve_at_once(&self, _code: &Code) -> Option<Resolved> {
        None
    }

    /// Whether a link may have that code, without asking the store.
    fn existence(&self, _code: &Code) -> Existence {
        Existence::Unsure
    }
}

/// Whether a link has a code, as far as that can be said without asking the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Existence {
    /// Nothing is known.
    Unsure,
    /// Nothing is known yet: which codes there are is being read for the first time.
    Pending,
    /// No link that was acknowledged more than two seconds ago has it, unless changes could not be heard of.
    Absent,
    /// A link has it; of the codes that none has, one in a hundred at most is told as this.
    Possible,
}

/// Every code there is, deleted or not.
#[async_trait]
pub trait CodeCatalog: Send + Sync {
    /// About how many there are.
    async fn estimate(&self) -> Result<u64, RepositoryError>;

    /// Up to `limit` codes in the order of their bytes, behind `after`. MUST show each code that exists during a whole
    /// walk.
    async fn codes(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, RepositoryError>;

    /// Which of these words are codes of links, whatever else of those links can be read.
    async fn codes_among(&self, words: &[&str]) -> Result<Vec<String>, RepositoryError>;
}

/// What a resolver knows of a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Resolved {
    /// What following it would do; `None` if no link has it.
    pub resolution: Option<Arc<Resolution>>,
    /// Where this is known from.
    pub source: Source,
}

impl Resolved {
    /// As a store answers.
    pub fn by_store(resolution: Option<Resolution>) -> Self {
        Self { resolution: resolution.map(Arc::new), source: Source::Store }
    }
}

/// Where something is known from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// The system of record, asked just now.
    Store,
    /// A memory that processes share, which was surely up to date so long ago.
    SharedMemory {
        /// Changes since then may be missing.
        ago: Duration,
    },
    /// A memory of it that is good enough.
    Memory,
    /// A memory that is too old, while the system of record does not answer.
    StaleMemory,
}

/// The tail of the history: every change of every link, whichever process made it, as soon as it is known here.
#[async_trait]
pub trait ChangeFeed: Send + Sync {
    /// Tells `subscriber` of every change that is committed from now on, creations included. Returns when it cannot go
    /// on; the subscriber is then told nothing more, and whatever happens until the next subscription is a gap.
    ///
    /// - The first thing told MUST be a [gap](ChangeSubscriber::gap). Every change committed after it MUST be told, in any
    ///   order, once or more often.
    /// - Before [`synced_until`](ChangeSubscriber::synced_until) every change that was acknowledged before that moment
    ///   MUST have been told.
    /// - What cannot be told (too many changes at once, another server, a history that was rewound) MUST be told as a
    ///   gap.
    async fn subscribe(&self, subscriber: Arc<dyn ChangeSubscriber>) -> RepositoryError;
}

/// Hears of changes of links, so as not to remember what is over. Its methods do not block.
pub trait ChangeSubscriber: Send + Sync {
    /// The link of that code had this generation at some time until now; the first one says that it was created.
    fn changed(&self, code: &Code, generation: Generation);

    /// Every change that was acknowledged until so long ago has been told, back to the last gap.
    fn synced_until(&self, ago: Duration);

    /// Changes may have gone untold until now.
    fn gap(&self);
}
