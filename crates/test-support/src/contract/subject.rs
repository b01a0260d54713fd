//! The store under test, with time and randomness under control, and helpers for the cases.

use std::{fmt, slice, sync::Arc};

use domain::{
    access::Access,
    actor::Actor,
    address::{Address, DomainId},
    api_key::{ApiKey, Caller, KeySecret, Scope, Scopes},
    behaviour::{Behaviour, RedirectStatus},
    code::{Code, CodeLength, draw_code},
    history::{EventKind, LinkEvent, Provenance, RequestId},
    idempotency::{Fingerprint, IdempotencyKey, IdempotentRequest},
    lifecycle::{self, BehaviourEdit, Candidate, Claim, Edit, Naming, Step},
    link::{Generation, Link, LinkState, Owner, Tags, Title},
    ports::{
        ApiKeyRepository, Applied, BlockRepository, Claims, Clock, CodeGenerator, Entropy, IdempotencyRepository,
        LinkFilter, LinkRepository, LinkResolver, ListQuery, Ping, RandomCodes, ShortDomainRepository, Sort, StoredKey,
    },
    service::{BlockService, Blocked, Call, ClaimRequest, KeyService, LinkService, ResolveService},
    target::{Target, TargetPolicy},
    time::Timestamp,
};
use tokio::{sync::Barrier, task::JoinHandle};
use uuid::Uuid;

use super::{LinkStore, Store};
use crate::{ManualClock, MemoryStore, ScriptedCodes, SeededEntropy};

/// A store under test, with time and randomness under control. Its clones share all of it.
#[derive(Clone)]
pub struct Subject {
    /// The store as a repository of links.
    pub links: Arc<dyn LinkRepository>,
    /// The store as a resolver.
    pub resolver: Arc<dyn LinkResolver>,
    /// The store as a repository of idempotency records.
    pub answers: Arc<dyn IdempotencyRepository>,
    /// The store as a repository of API keys.
    pub keys: Arc<dyn ApiKeyRepository>,
    /// The store as a repository of blocks.
    pub blocks: Arc<dyn BlockRepository>,
    /// The store as a repository of short domains.
    pub domains: Arc<dyn ShortDomainRepository>,
    /// The store as a target of health checks.
    pub health: Arc<dyn Ping>,
    /// The clock.
    pub clock: Arc<ManualClock>,
    /// The source of ids, codes and secrets.
    pub entropy: Arc<SeededEntropy>,
}

impl fmt::Debug for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Subject").field("clock", &self.clock).finish_non_exhaustive()
    }
}

/// Construction, time and services.
impl Subject {
    /// A subject over `store`, whose randomness follows from `seed`.
    pub fn over<S: Store + 'static>(store: Arc<S>, seed: u64) -> Self {
        let (keys, blocks, domains, health) = (store.clone(), store.clone(), store.clone(), store.clone());
        Self { keys, blocks, domains, health, ..Self::over_links(store, seed) }
    }

    /// A subject over a `store` that keeps links alone. API keys and blocks are kept in memory.
    pub fn over_links<S: LinkStore + 'static>(store: Arc<S>, seed: u64) -> Self {
        let others = Arc::new(MemoryStore::default());
        Self {
            links: store.clone(),
            resolver: store.clone(),
            answers: store,
            keys: others.clone(),
            blocks: others.clone(),
            domains: others.clone(),
            health: others,
            clock: Arc::default(),
            entropy: Arc::new(SeededEntropy::new(seed)),
        }
    }

    /// The present moment.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The moment so many seconds from now.
    pub fn in_seconds(&self, seconds: i64) -> Timestamp {
        self.now().plus_seconds(seconds).expect("tests stay in four-digit years")
    }

    /// The links service over the store, with random codes.
    pub fn service(&self) -> LinkService {
        self.service_drawing(Arc::new(RandomCodes::new(CodeLength::default(), self.entropy.clone())))
    }

    /// The links service over the store, with these codes.
    pub fn service_drawing(&self, codes: Arc<dyn CodeGenerator>) -> LinkService {
        LinkService::new(self.links.clone(), self.answers.clone(), self.clock.clone(), codes, self.entropy.clone())
    }

    /// The keys service over the store.
    pub fn key_service(&self) -> KeyService {
        KeyService::new(self.keys.clone(), self.answers.clone(), self.clock.clone(), self.entropy.clone())
    }

    /// The blocks service over the store, as a process of its own.
    pub fn block_service(&self) -> BlockService {
        BlockService::new(self.blocks.clone(), Blocked::default(), self.clock.clone(), self.entropy.clone())
    }

    /// The redirect path over the store.
    pub fn resolve_service(&self) -> ResolveService {
        ResolveService::new(self.resolver.clone(), Blocked::default(), self.clock.clone())
    }
}

/// Claims and changes of links.
impl Subject {
    /// The candidate for a claim of this draft. Its id and code are drawn now.
    pub fn candidate(&self, draft: &LinkDraft) -> Candidate {
        let now = self.now();
        let draw = || draw_code(CodeLength::default(), &*self.entropy);
        let link = Link {
            id: self.draw_id(),
            domain: draft.domain,
            code: draft.code.clone().unwrap_or_else(draw),
            owner: draft.owner.clone(),
            behaviour: draft.behaviour.clone(),
            deduplicated: draft.naming == Naming::Shared,
            title: draft.title.clone(),
            tags: draft.tags.clone(),
            state: LinkState::Active,
            generation: Generation::FIRST,
            created_at: now,
            updated_at: now,
            reactivated_at: None,
        };
        let provenance = Provenance { actor: draft.actor.clone(), request_id: draft.request_id.clone(), at: now };
        Candidate { link, naming: draft.naming, provenance }
    }

    pub(super) fn draw_id(&self) -> Uuid {
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        uuid::Builder::from_unix_timestamp_millis(self.now().unix_millis(), &random).into_uuid()
    }

    /// Claims all drafts in one call and returns the bare outcome.
    pub async fn claims(&self, drafts: &[LinkDraft], once: Option<&IdempotentRequest>) -> Claims {
        let candidates: Vec<_> = drafts.iter().map(|draft| self.candidate(draft)).collect();
        self.links.claim(&candidates, once).await.expect("the store works")
    }

    /// Claims all drafts in one call that must be settled.
    pub async fn settle(&self, drafts: &[LinkDraft]) -> Vec<Claim> {
        match self.claims(drafts, None).await {
            Claims::Settled(claims) => claims,
            refused @ (Claims::CodeCollision | Claims::UnknownDomain | Claims::Repeated(_)) => {
                panic!("expected claims, got {refused:?}")
            }
        }
    }

    /// Claims one draft.
    pub async fn claim(&self, draft: &LinkDraft) -> Claim {
        self.settle(slice::from_ref(draft)).await.remove(0)
    }

    /// A link that was not there before, deleted if the draft says so.
    pub async fn given(&self, draft: &LinkDraft) -> Link {
        let link = match self.claim(draft).await {
            Claim::Created(link) => link,
            other @ (Claim::Existing(_) | Claim::Reactivated(_) | Claim::AliasTaken) => {
                panic!("expected a new link, got {other:?}")
            }
        };
        if draft.deleted { self.delete(&link).await } else { link }
    }

    /// Edits an active link that has not changed since it was read.
    pub async fn edit(&self, link: &Link, edit: &Edit) -> Link {
        self.store(lifecycle::edit(link, edit, self.now()).expect("the link is active")).await
    }

    /// Deletes an active link that has not changed since it was read.
    pub async fn delete(&self, link: &Link) -> Link {
        self.store(lifecycle::delete(link, self.now())).await
    }

    /// Brings back a deleted link that has not changed since it was read.
    pub async fn reactivate(&self, link: &Link) -> Link {
        self.store(lifecycle::reactivate(link, self.now())).await
    }

    async fn store(&self, step: Step) -> Link {
        assert_eq!(self.apply(&step, None).await, Applied::Done);
        after(step)
    }

    /// Applies a step, which must be a change, to the store and returns the bare outcome.
    pub async fn apply(&self, step: &Step, once: Option<&IdempotentRequest>) -> Applied {
        let Step::Changed(change) = step else {
            panic!("the step changes nothing");
        };
        let provenance = Provenance { actor: Actor::System, request_id: request_id("test"), at: self.now() };
        self.links.apply(change, &provenance, once).await.expect("the store works")
    }
}

/// Looking at what is stored.
impl Subject {
    /// The link at that address.
    pub async fn look_up(&self, address: &Address) -> Option<Link> {
        self.links.find(address).await.expect("the store works")
    }

    /// A link that must be there, as it is now.
    pub async fn find(&self, link: &Link) -> Link {
        self.look_up(&link.address()).await.expect("the link is there")
    }

    /// One page of links.
    pub async fn list(&self, query: &ListQuery) -> Vec<Link> {
        self.links.list(query).await.expect("the store works")
    }

    /// The history of a link, newest first.
    pub async fn history(&self, link: &Link) -> Vec<LinkEvent> {
        self.links.history(&link.address(), None, MANY).await.expect("the store works")
    }

    /// What happened to a link, oldest first.
    pub async fn story(&self, link: &Link) -> Vec<EventKind> {
        self.history(link).await.iter().rev().map(|event| event.kind).collect()
    }

    /// Every link with its history: equal before and after a call that changes nothing.
    pub async fn everything(&self) -> Vec<(Link, Vec<LinkEvent>)> {
        let mut everything = Vec::new();
        for link in self.list(&all_links()).await {
            let history = self.history(&link).await;
            everything.push((link, history));
        }
        everything
    }
}

/// Requests and keys.
impl Subject {
    /// A request under this idempotency key, sent now.
    pub fn request(&self, key: &str) -> IdempotentRequest {
        IdempotentRequest {
            actor: Actor::System,
            key: idempotency_key(key),
            fingerprint: Fingerprint::of("POST", "/", b"one body"),
            at: self.now(),
            refusals: None,
        }
    }

    /// Another request under the same idempotency key, sent now.
    pub fn other_request(&self, key: &str) -> IdempotentRequest {
        IdempotentRequest { fingerprint: Fingerprint::of("POST", "/", b"another body"), ..self.request(key) }
    }

    /// An API key that is not stored yet.
    pub fn draw_key(&self) -> StoredKey {
        let secret = KeySecret::draw(&*self.entropy);
        let key = ApiKey {
            id: secret.id(),
            name: "a key".parse().expect("a valid name"),
            owner: Owner::default(),
            scopes: Scopes::admin(),
            domains: Vec::new(),
            created_at: self.now(),
            expires_at: None,
            created_by: Actor::System,
            last_used_at: None,
            revoked_at: None,
            revoked_by: None,
        };
        StoredKey { key, digest: secret.digest() }
    }
}

/// A link as a test wants it. Everything that the test does not set has a default.
#[derive(Clone, Debug)]
#[must_use = "a draft is no link yet"]
pub struct LinkDraft {
    owner: Owner,
    behaviour: Behaviour,
    naming: Naming,
    domain: DomainId,
    code: Option<Code>,
    title: Option<Title>,
    tags: Tags,
    actor: Actor,
    request_id: RequestId,
    deleted: bool,
}

/// A shared link of the default owner, claimed by the system.
pub fn a_link() -> LinkDraft {
    LinkDraft {
        owner: Owner::default(),
        behaviour: Behaviour::to(target("https://example.com/")),
        naming: Naming::Shared,
        domain: DomainId::DEFAULT,
        code: None,
        title: None,
        tags: Tags::default(),
        actor: Actor::System,
        request_id: request_id("test"),
        deleted: false,
    }
}

impl LinkDraft {
    /// With this target.
    pub fn to(mut self, url: &str) -> Self {
        self.behaviour.target = target(url);
        self
    }

    /// Of this owner.
    pub fn of(mut self, name: &str) -> Self {
        self.owner = owner(name);
        self
    }

    /// On this short domain.
    pub fn on(mut self, domain: DomainId) -> Self {
        self.domain = domain;
        self
    }

    /// Under a code the caller chose.
    pub fn alias(mut self, text: &str) -> Self {
        self.naming = Naming::Alias;
        self.code = Some(code(text));
        self
    }

    /// Excluded from deduplication.
    pub fn separate(mut self) -> Self {
        self.naming = Naming::Separate;
        self
    }

    /// With this code, as if the generator had drawn it.
    pub fn drawing(mut self, text: &str) -> Self {
        self.code = Some(code(text));
        self
    }

    /// Answering with this status.
    pub fn redirecting(mut self, redirect: RedirectStatus) -> Self {
        self.behaviour.redirect = redirect;
        self
    }

    /// Adding the query of the request to the target.
    pub fn forwarding_queries(mut self) -> Self {
        self.behaviour.forward_query = true;
        self
    }

    /// Expired from this moment on.
    pub fn expiring(mut self, at: Timestamp) -> Self {
        self.behaviour.expires_at = Some(at);
        self
    }

    /// With this title.
    pub fn titled(mut self, text: &str) -> Self {
        self.title = Some(title(text));
        self
    }

    /// With these tags.
    pub fn tagged(mut self, texts: &[&str]) -> Self {
        self.tags = tags(texts);
        self
    }

    /// Claimed by this actor in this request.
    pub fn by(mut self, actor: Actor, request: &str) -> Self {
        self.actor = actor;
        self.request_id = request_id(request);
        self
    }

    /// Deleted after it was created.
    pub fn deleted(mut self) -> Self {
        self.deleted = true;
        self
    }

    /// The same draft as a request to the service. The call, not the request, has the actor and the owner.
    pub fn request(&self) -> ClaimRequest {
        ClaimRequest {
            behaviour: self.behaviour.clone(),
            domain: self.domain,
            alias: self.code.clone().filter(|_| self.naming == Naming::Alias),
            force_new: self.naming == Naming::Separate,
            title: self.title.clone(),
            tags: self.tags.clone(),
        }
    }
}

/// A call of a key that may read and change the links of this owner.
pub(super) fn call_of(owner_name: &str) -> Call {
    let scopes = Scopes::new([Scope::LinksRead, Scope::LinksWrite]).expect("two scopes");
    call(owner_name, scopes)
}

/// A call of an admin key.
pub(super) fn call_of_admin() -> Call {
    call("operators", Scopes::admin())
}

fn call(owner_name: &str, scopes: Scopes) -> Call {
    let seed = owner_name.bytes().fold(0_u64, |seed, byte| seed.wrapping_mul(31).wrapping_add(byte.into()));
    let actor = Actor::ApiKey(KeySecret::draw(&SeededEntropy::new(seed)).id());
    let caller = Caller { actor, owner: owner(owner_name), scopes, domains: Vec::new() };
    Call { caller, request_id: request_id("test"), idempotency: None }
}

/// The same call, sent under an idempotency key.
pub(super) fn repeatable(call: Call, key: &str, body: &[u8]) -> Call {
    Call { idempotency: Some((idempotency_key(key), Fingerprint::of("POST", "/", body))), ..call }
}

/// Codes that are drawn in this order, over and over.
pub(super) fn scripted(codes: &[&str]) -> Arc<ScriptedCodes> {
    Arc::new(ScriptedCodes::new(codes.iter().copied()))
}

/// The link after a step that changes it.
pub(super) fn after(step: Step) -> Link {
    match step {
        Step::Changed(change) => change.after,
        Step::Unchanged => panic!("the step changes nothing"),
    }
}

/// An edit that sets another target.
pub(super) fn retarget(url: &str) -> Edit {
    behave(BehaviourEdit { target: Some(target(url)), ..BehaviourEdit::default() })
}

/// An edit of the behaviour.
pub(super) fn behave(behaviour: BehaviourEdit) -> Edit {
    Edit { behaviour, ..Edit::default() }
}

/// An edit that sets a title.
pub(super) fn entitle(text: &str) -> Edit {
    Edit { title: Some(Some(title(text))), ..Edit::default() }
}

/// More than any test stores.
const MANY: u32 = 10_000;

/// The links of all owners, newest first, on one page.
pub(super) fn all_links() -> ListQuery {
    ListQuery { access: Access::All, filter: LinkFilter::default(), sort: Sort::NewestFirst, after: None, limit: MANY }
}

/// Runs `count` tasks that start together and returns their results, in their order.
pub(super) async fn at_once<T, Task>(count: usize, task: impl Fn(usize) -> Task) -> Vec<T>
where
    T: Send + 'static,
    Task: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let running: Vec<_> = (0..count)
        .map(|index| {
            let (start, task) = (start.clone(), task(index));
            tokio::spawn(async move {
                start.wait().await;
                task.await
            })
        })
        .collect();
    let mut results = Vec::with_capacity(count);
    for task in running {
        results.push(task.await.expect("no task panics"));
    }
    results
}

/// Aborts a task. Returns its result if it finished before that; panics if the task panicked.
pub(super) async fn end<T>(task: JoinHandle<T>) -> Option<T> {
    task.abort();
    match task.await {
        Ok(came_to) => Some(came_to),
        Err(ended) => {
            assert!(ended.is_cancelled(), "{ended}");
            None
        }
    }
}

pub(super) fn code(text: &str) -> Code {
    text.parse().expect("a test gives valid codes")
}

pub(super) fn address(text: &str) -> Address {
    text.parse().expect("a test gives valid addresses")
}

pub(super) fn owner(text: &str) -> Owner {
    text.parse().expect("a test gives valid owners")
}

pub(super) fn target(url: &str) -> Target {
    Target::parse(url, &TargetPolicy::default()).expect("a test gives valid targets")
}

pub(super) fn title(text: &str) -> Title {
    text.parse().expect("a test gives valid titles")
}

pub(super) fn tags(texts: &[&str]) -> Tags {
    let texts: Vec<_> = texts.iter().map(|text| (*text).to_owned()).collect();
    texts.try_into().expect("a test gives valid tags")
}

pub(super) fn moment(text: &str) -> Timestamp {
    text.parse().expect("a test gives valid times")
}

pub(super) fn request_id(text: &str) -> RequestId {
    text.parse().expect("a test gives valid request ids")
}

pub(super) fn idempotency_key(text: &str) -> IdempotencyKey {
    text.parse().expect("a test gives valid keys")
}
