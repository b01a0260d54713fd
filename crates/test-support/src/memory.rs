//! The in-memory store: the pure rules under one lock. The SQL stores are compared with it.

mod clicks;

use std::{
    collections::{BTreeMap, HashMap},
    sync::{Mutex, MutexGuard},
};

use async_trait::async_trait;
use domain::{
    actor::Actor,
    address::Address,
    address::DomainId,
    api_key::{ApiKey, KeyId},
    block::{Block, Lifted, Subject},
    history::{LinkEvent, Provenance},
    idempotency::{Fingerprint, IdempotencyRecord, IdempotentRequest},
    lifecycle::{self, Candidate, Change, Claim, Naming, Resolution},
    link::{Generation, Link},
    ports::{Adding, NewShortDomain, Removal, ShortDomainRepository},
    ports::{
        ApiKeyRepository, Applied, BlockPosition, BlockRepository, Blocking, Claims, IdempotencyRepository,
        KeyCreation, KeyPosition, LinkRepository, LinkResolver, ListQuery, Ping, Position, Repeated, RepositoryError,
        Resolved, Revision, Sort, StoredKey,
    },
    short_domain::{ShortDomain, ShortDomains},
    time::Timestamp,
};
use uuid::Uuid;

use clicks::ClickTables;

/// Links, keys, blocks, idempotency records and counts of clicks in memory. They are lost when it is dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    tables: Mutex<Tables>,
    clicks: Mutex<ClickTables>,
}

#[derive(Clone, Debug, Default)]
struct Tables {
    links: BTreeMap<Address, Link>,
    events: HashMap<Address, Vec<LinkEvent>>,
    answers: HashMap<(String, String), Recorded>,
    keys: BTreeMap<KeyId, StoredKey>,
    blocks: BTreeMap<Uuid, Block>,
    blocks_revision: u128,
    domains: BTreeMap<DomainId, ShortDomain>,
    /// The highest number that a short domain ever had.
    last_domain: u16,
}

#[derive(Clone, Debug)]
struct Recorded {
    fingerprint: Fingerprint,
    answer: IdempotencyRecord,
    at: Timestamp,
}

impl MemoryStore {
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().expect("no test panics while it holds the lock")
    }
}

impl Tables {
    fn has_domain(&self, id: DomainId) -> bool {
        id.is_default() || self.domains.contains_key(&id)
    }

    /// The link that answers a claim, as [`lifecycle::claim`] defines it.
    fn met_by(&self, candidate: &Candidate) -> Option<&Link> {
        let wanted = &candidate.link;
        match candidate.naming {
            Naming::Alias => self.links.get(&wanted.address()),
            Naming::Shared => self.links.values().find(|link| link.deduplicated && shares(link, wanted)),
            Naming::Separate => None,
        }
    }

    /// `None` if the drawn code belongs to another link.
    fn settle(&mut self, candidate: &Candidate) -> Option<Claim> {
        let claim = lifecycle::claim(self.met_by(candidate), candidate);
        let (link, kind) = match &claim {
            Claim::Existing(_) | Claim::AliasTaken => return Some(claim),
            Claim::Created(link) if self.links.contains_key(&link.address()) => return None,
            Claim::Created(link) => (link.clone(), domain::history::EventKind::Created),
            Claim::Reactivated(link) => (link.clone(), domain::history::EventKind::Reactivated),
        };
        let event = LinkEvent { kind, generation: link.generation, provenance: candidate.provenance.clone() };
        self.store(link, event);
        Some(claim)
    }

    fn store(&mut self, link: Link, event: LinkEvent) {
        self.events.entry(link.address()).or_default().push(event);
        self.links.insert(link.address(), link);
    }

    fn recall(&self, request: &IdempotentRequest) -> Option<Repeated> {
        let recorded = self.answers.get(&answer_key(request))?;
        if recorded.at <= request.forgotten_before() {
            None
        } else if recorded.fingerprint == request.fingerprint {
            Some(Repeated::Answer(Box::new(recorded.answer.clone())))
        } else {
            Some(Repeated::KeyReused)
        }
    }

    fn record(&mut self, request: &IdempotentRequest, answer: IdempotencyRecord) {
        let recorded = Recorded { fingerprint: request.fingerprint, answer, at: request.at };
        self.answers.insert(answer_key(request), recorded);
    }
}

/// Whether claims of one behaviour share these links.
fn shares(one: &Link, other: &Link) -> bool {
    (one.domain, &one.owner, one.dedup_key()) == (other.domain, &other.owner, other.dedup_key())
}

fn answer_key(request: &IdempotentRequest) -> (String, String) {
    (request.actor.to_string(), request.key.to_string())
}

#[async_trait]
impl LinkRepository for MemoryStore {
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError> {
        let mut tables = self.tables();
        if let Some(before) = once.and_then(|request| tables.recall(request)) {
            return Ok(Claims::Repeated(before));
        }
        if candidates.iter().any(|candidate| !tables.has_domain(candidate.link.domain)) {
            return Ok(Claims::UnknownDomain);
        }
        let mut after = tables.clone();
        let settled: Option<Vec<_>> = candidates.iter().map(|candidate| after.settle(candidate)).collect();
        let Some(claims) = settled else {
            return Ok(Claims::CodeCollision);
        };
        if let Some(request) = once {
            after.record(request, request.answered_by(claims.clone()));
        }
        *tables = after;
        Ok(Claims::Settled(claims))
    }

    async fn find(&self, address: &Address) -> Result<Option<Link>, RepositoryError> {
        Ok(self.tables().links.get(address).cloned())
    }

    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        let mut tables = self.tables();
        if let Some(before) = once.and_then(|request| tables.recall(request)) {
            return Ok(Applied::Repeated(before));
        }
        let Some(link) = tables.links.get(&change.after.address()) else {
            return Ok(Applied::Missing);
        };
        if link.generation != change.from {
            return Ok(Applied::Stale);
        }
        tables.store(change.after.clone(), change.event(provenance.clone()));
        if let Some(request) = once {
            tables.record(request, IdempotencyRecord::Link(change.after.clone()));
        }
        Ok(Applied::Done)
    }

    async fn with_ids(&self, ids: &[Uuid]) -> Result<Vec<Link>, RepositoryError> {
        Ok(self.tables().links.values().filter(|link| ids.contains(&link.id)).cloned().collect())
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        let tables = self.tables();
        let visible = |link: &&Link| query.access.includes(link) && query.filter.matches(link);
        let mut links: Vec<_> = tables.links.values().filter(visible).cloned().collect();
        links.sort_by_key(|link| Position::from(link));
        if query.sort == Sort::NewestFirst {
            links.reverse();
        }
        links.retain(|link| match (query.after, query.sort) {
            (None, _) => true,
            (Some(after), Sort::NewestFirst) => Position::from(link) < after,
            (Some(after), Sort::OldestFirst) => Position::from(link) > after,
        });
        links.truncate(query.limit as usize);
        Ok(links)
    }

    async fn history(
        &self,
        address: &Address,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        let tables = self.tables();
        let events = tables.events.get(address).into_iter().flatten().rev();
        let wanted = events.filter(|event| before.is_none_or(|before| event.generation < before));
        Ok(wanted.take(limit as usize).cloned().collect())
    }
}

#[async_trait]
impl LinkResolver for MemoryStore {
    async fn resolve(&self, address: &Address) -> Result<Resolved, RepositoryError> {
        Ok(Resolved::by_store(self.tables().links.get(address).map(Resolution::from)))
    }
}

#[async_trait]
impl IdempotencyRepository for MemoryStore {
    async fn recall(&self, request: &IdempotentRequest) -> Result<Option<Repeated>, RepositoryError> {
        Ok(self.tables().recall(request))
    }

    async fn answered_at(&self, request: &IdempotentRequest) -> Result<Option<Timestamp>, RepositoryError> {
        let tables = self.tables();
        let known = tables.recall(request).and_then(|_| tables.answers.get(&answer_key(request)));
        Ok(known.map(|recorded| recorded.at))
    }

    async fn record(
        &self,
        request: &IdempotentRequest,
        answer: &IdempotencyRecord,
    ) -> Result<Option<Repeated>, RepositoryError> {
        let mut tables = self.tables();
        let before = tables.recall(request);
        if before.is_none() {
            tables.record(request, answer.clone());
        }
        Ok(before)
    }

    async fn forget(&self, moment: Timestamp) -> Result<u64, RepositoryError> {
        let mut tables = self.tables();
        let before = tables.answers.len();
        tables.answers.retain(|_, recorded| recorded.at > moment);
        Ok((before - tables.answers.len()) as u64)
    }
}

#[async_trait]
impl ApiKeyRepository for MemoryStore {
    async fn create(
        &self,
        key: &StoredKey,
        once: Option<(&IdempotentRequest, &IdempotencyRecord)>,
    ) -> Result<KeyCreation, RepositoryError> {
        let mut tables = self.tables();
        if let Some((request, answer)) = once {
            if let Some(before) = tables.recall(request) {
                return Ok(KeyCreation::Repeated(before));
            }
            tables.record(request, answer.clone());
        }
        tables.keys.insert(key.key.id.clone(), key.clone());
        Ok(KeyCreation::Done)
    }

    async fn create_first(&self, key: &StoredKey) -> Result<bool, RepositoryError> {
        let mut tables = self.tables();
        let none = tables.keys.is_empty();
        if none {
            tables.keys.insert(key.key.id.clone(), key.clone());
        }
        Ok(none)
    }

    async fn find(&self, id: &KeyId) -> Result<Option<StoredKey>, RepositoryError> {
        Ok(self.tables().keys.get(id).cloned())
    }

    async fn list(&self, after: Option<&KeyPosition>, limit: u32) -> Result<Vec<ApiKey>, RepositoryError> {
        let tables = self.tables();
        let order = |key: &ApiKey| (key.created_at, key.id.clone());
        let mut keys: Vec<_> = tables.keys.values().map(|stored| stored.key.clone()).collect();
        keys.sort_by_key(order);
        keys.reverse();
        keys.retain(|key| after.is_none_or(|after| order(key) < (after.created_at, after.id.clone())));
        keys.truncate(limit as usize);
        Ok(keys)
    }

    async fn revoke(&self, id: &KeyId, at: Timestamp, by: &Actor) -> Result<bool, RepositoryError> {
        let mut tables = self.tables();
        let Some(stored) = tables.keys.get_mut(id) else {
            return Ok(false);
        };
        if stored.key.revoked_at.is_none() {
            (stored.key.revoked_at, stored.key.revoked_by) = (Some(at), Some(by.clone()));
        }
        Ok(true)
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> Result<(), RepositoryError> {
        if let Some(stored) = self.tables().keys.get_mut(id) {
            stored.key.last_used_at = stored.key.last_used_at.max(Some(at));
        }
        Ok(())
    }
}

#[async_trait]
impl BlockRepository for MemoryStore {
    async fn block(&self, block: &Block, once: Option<&IdempotentRequest>) -> Result<Blocking, RepositoryError> {
        let mut tables = self.tables();
        if let Some(before) = once.and_then(|request| tables.recall(request)) {
            return Ok(Blocking::Repeated(before));
        }
        let in_force = |other: &&Block| other.lifted.is_none() && other.subject == block.subject;
        let before = tables.blocks.values().find(in_force).cloned();
        let (block, added) = (before.clone().unwrap_or_else(|| block.clone()), before.is_none());
        if added {
            tables.blocks.insert(block.id, block.clone());
            tables.blocks_revision += 1;
        }
        if let Some(request) = once {
            tables.record(request, IdempotencyRecord::Block { block: block.clone(), added });
        }
        Ok(if added { Blocking::Added(block) } else { Blocking::InForce(block) })
    }

    async fn lift(&self, id: &Uuid, lifted: &Lifted) -> Result<bool, RepositoryError> {
        let mut tables = self.tables();
        let Some(block) = tables.blocks.get_mut(id) else {
            return Ok(false);
        };
        let changes = block.lifted.is_none();
        block.lifted.get_or_insert_with(|| lifted.clone());
        tables.blocks_revision += u128::from(changes);
        Ok(true)
    }

    async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<Vec<Block>, RepositoryError> {
        let tables = self.tables();
        let order = |block: &Block| (block.created_at, block.id);
        let mut blocks: Vec<_> =
            tables.blocks.values().filter(|block| lifted_too || block.lifted.is_none()).cloned().collect();
        blocks.sort_by_key(order);
        blocks.reverse();
        blocks.retain(|block| after.is_none_or(|after| order(block) < (after.created_at, after.id)));
        blocks.truncate(limit as usize);
        Ok(blocks)
    }

    async fn in_force(&self, known: Option<Uuid>) -> Result<Option<Revision>, RepositoryError> {
        let tables = self.tables();
        let in_force = tables.blocks.values().filter(|block| block.lifted.is_none());
        let subjects = in_force.map(|block| block.subject.clone()).collect();
        let revision = Revision { id: Uuid::from_u128(tables.blocks_revision), subjects, left_out: 0 };
        Ok(Some(revision).filter(|revision| known != Some(revision.id)))
    }
}

#[async_trait]
impl ShortDomainRepository for MemoryStore {
    async fn add(&self, new: &NewShortDomain, once: Option<&IdempotentRequest>) -> Result<Adding, RepositoryError> {
        let mut tables = self.tables();
        if let Some(before) = once.and_then(|request| tables.recall(request)) {
            return Ok(Adding::Repeated(before));
        }
        if tables.domains.values().any(|domain| domain.host.as_ref() == Some(&new.host)) {
            return Ok(Adding::Taken);
        }
        if tables.domains.len() + 1 >= ShortDomains::MAX {
            return Ok(Adding::Full);
        }
        tables.last_domain += 1;
        let domain = ShortDomain {
            id: DomainId::new(tables.last_domain).expect("tests add few"),
            host: Some(new.host.clone()),
            settings: new.settings.clone(),
            generation: Generation::FIRST,
            created_at: new.at,
            updated_at: new.at,
        };
        tables.domains.insert(domain.id, domain.clone());
        if let Some(request) = once {
            tables.record(request, IdempotencyRecord::Domain(domain.clone()));
        }
        Ok(Adding::Added(domain))
    }

    async fn all(&self) -> Result<Vec<ShortDomain>, RepositoryError> {
        let tables = self.tables();
        let default = tables.domains.get(&DomainId::DEFAULT).cloned();
        let default = default.unwrap_or_else(|| ShortDomains::default().default_domain().clone());
        let others = tables.domains.values().filter(|domain| !domain.id.is_default()).cloned();
        Ok(std::iter::once(default).chain(others).collect())
    }

    async fn update(&self, after: &ShortDomain, from: Generation) -> Result<bool, RepositoryError> {
        let before = self.all().await?.into_iter().find(|domain| domain.id == after.id);
        let found = before.is_some_and(|domain| domain.generation == from);
        if found {
            self.tables().domains.insert(after.id, after.clone());
        }
        Ok(found)
    }

    async fn remove(&self, id: DomainId) -> Result<Removal, RepositoryError> {
        let mut tables = self.tables();
        if tables.links.keys().any(|address| address.domain == id) {
            return Ok(Removal::HasLinks);
        }
        let is_on_it = |block: &Block| matches!(&block.subject, Subject::Address(address) if address.domain == id);
        if !id.is_default() && tables.blocks.values().any(|block| block.lifted.is_none() && is_on_it(block)) {
            return Ok(Removal::HasBlocks);
        }
        let found = !id.is_default() && tables.domains.remove(&id).is_some();
        Ok(if found { Removal::Done } else { Removal::Missing })
    }
}

#[async_trait]
impl Ping for MemoryStore {
    async fn ping(&self) -> Result<(), RepositoryError> {
        Ok(())
    }
}
