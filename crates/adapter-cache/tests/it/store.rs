//! A store that counts its lookups, and answers when and as the test wants.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
};

use async_trait::async_trait;
use domain::{
    actor::Actor,
    address::{Address, DomainId},
    behaviour::Behaviour,
    history::{LinkEvent, Provenance},
    idempotency::IdempotentRequest,
    lifecycle::{self, Candidate, Change, Resolution, Step},
    link::{Generation, Link, LinkState, Owner, Tags},
    ports::{Applied, Claims, LinkRepository, LinkResolver, ListQuery, RepositoryError, RepositoryErrorKind, Resolved},
    target::{Target, TargetPolicy},
    time::Timestamp,
};
use tokio::sync::{Semaphore, mpsc};
use uuid::Uuid;

/// How the store responds to a lookup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Mood {
    /// Answers.
    Well,
    /// Fails at once.
    Failing(RepositoryErrorKind),
    /// Never answers.
    Frozen,
}

/// The store of the tests.
pub(crate) struct AskedStore {
    links: Mutex<HashMap<Address, Link>>,
    mood: Mutex<Mood>,
    asked: AtomicUsize,
    /// An answer is read first, and sent only with a permit.
    permits: Semaphore,
    questions: mpsc::UnboundedSender<Address>,
}

impl AskedStore {
    /// A store that answers at once, and a channel that receives the code of each lookup.
    pub(crate) fn new() -> (Arc<Self>, mpsc::UnboundedReceiver<Address>) {
        let (questions, notice) = mpsc::unbounded_channel();
        let store = Self {
            links: Mutex::default(),
            mood: Mutex::new(Mood::Well),
            asked: AtomicUsize::new(0),
            permits: Semaphore::new(Semaphore::MAX_PERMITS),
            questions,
        };
        (Arc::new(store), notice)
    }

    pub(crate) fn be(&self, mood: Mood) {
        *self.mood.lock().expect("no panic") = mood;
    }

    /// Holds every answer back from now on.
    pub(crate) fn hold(&self) {
        self.permits.forget_permits(Semaphore::MAX_PERMITS);
    }

    /// Sends `count` answers that were held back.
    pub(crate) fn release(&self, count: usize) {
        self.permits.add_permits(count);
    }

    pub(crate) fn times_asked(&self) -> usize {
        self.asked.load(Ordering::SeqCst)
    }

    /// Stores a link, or a new state of it.
    pub(crate) fn put(&self, link: &Link) {
        self.links.lock().expect("no panic").insert(link.address().clone(), link.clone());
    }
}

#[async_trait]
impl LinkResolver for AskedStore {
    async fn resolve(&self, code: &Address) -> Result<Resolved, RepositoryError> {
        self.asked.fetch_add(1, Ordering::SeqCst);
        let mood = *self.mood.lock().expect("no panic");
        let answer = self.links.lock().expect("no panic").get(code).map(Resolution::from);
        // Some tests do not listen.
        let _unheard = self.questions.send(code.clone());
        match mood {
            Mood::Well => {}
            Mood::Failing(kind) => return Err(RepositoryError::new(kind, "resolving a code")),
            Mood::Frozen => return std::future::pending().await,
        }
        self.permits.acquire().await.expect("it is never closed").forget();
        Ok(Resolved::by_store(answer))
    }
}

/// A repository that answers every change in one way, and does nothing else.
pub(crate) enum Changing {
    /// It is made.
    Done,
    /// Its outcome is unknown.
    Lost,
}

#[async_trait]
impl LinkRepository for Changing {
    async fn claim(&self, _: &[Candidate], _: Option<&IdempotentRequest>) -> Result<Claims, RepositoryError> {
        unreachable!("nothing is claimed")
    }

    async fn find(&self, _: &Address) -> Result<Option<Link>, RepositoryError> {
        unreachable!("nothing is found")
    }

    async fn apply(
        &self,
        _: &Change,
        _: &Provenance,
        _: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        match self {
            Self::Done => Ok(Applied::Done),
            Self::Lost => Err(RepositoryError::new(RepositoryErrorKind::Indeterminate, "changing a link")),
        }
    }

    async fn list(&self, _: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        unreachable!("nothing is listed")
    }

    async fn with_ids(&self, _: &[Uuid]) -> Result<Vec<Link>, RepositoryError> {
        unreachable!("no ids are looked up")
    }

    async fn history(&self, _: &Address, _: Option<Generation>, _: u32) -> Result<Vec<LinkEvent>, RepositoryError> {
        unreachable!("no history is read")
    }
}

pub(crate) fn code(text: &str) -> Address {
    text.parse().expect("valid")
}

pub(crate) fn moment() -> Timestamp {
    Timestamp::from_unix_micros(1_000_000).expect("in range")
}

/// An active link in its first generation.
pub(crate) fn link(text: &str) -> Link {
    let target = Target::parse(&format!("https://example.com/{text}"), &TargetPolicy::default()).expect("valid");
    Link {
        id: uuid(text),
        domain: DomainId::DEFAULT,
        code: text.parse().expect("a code"),
        owner: Owner::default(),
        behaviour: Behaviour::to(target),
        deduplicated: true,
        title: None,
        tags: Tags::default(),
        state: LinkState::Active,
        generation: Generation::FIRST,
        created_at: moment(),
        updated_at: moment(),
        reactivated_at: None,
    }
}

fn uuid(text: &str) -> Uuid {
    let mut bytes = [0; 16];
    bytes[..text.len().min(16)].copy_from_slice(&text.as_bytes()[..text.len().min(16)]);
    Uuid::from_bytes(bytes)
}

/// The same link, deleted.
pub(crate) fn deleted(link: &Link) -> Link {
    changed(lifecycle::delete(link, moment()))
}

/// The same link, reactivated.
pub(crate) fn reactivated(link: &Link) -> Link {
    changed(lifecycle::reactivate(link, moment()))
}

fn changed(step: Step) -> Link {
    match step {
        Step::Changed(change) => change.after,
        Step::Unchanged => panic!("it changes something"),
    }
}

/// A caller, for tests in which it does not matter.
pub(crate) fn a_caller() -> Provenance {
    Provenance { actor: Actor::System, request_id: "test".parse().expect("valid"), at: moment() }
}
