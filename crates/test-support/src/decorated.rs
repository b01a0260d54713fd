//! Joins a store and decorators of some of its ports into one store, as the contract suite needs it.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use domain::{
    actor::Actor,
    address::{Address, DomainId},
    api_key::{ApiKey, KeyId},
    block::{Block, Lifted},
    history::{LinkEvent, Provenance},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    lifecycle::{Candidate, Change},
    link::{Generation, Link},
    ports::{
        Adding, ApiKeyRepository, Applied, BlockPosition, BlockRepository, Blocking, Claims, IdempotencyRepository,
        KeyCreation, KeyPosition, LinkRepository, LinkResolver, ListQuery, NewShortDomain, Ping, Removal, Repeated,
        RepositoryError, Resolved, Revision, ShortDomainRepository, StoredKey,
    },
    short_domain::ShortDomain,
    time::Timestamp,
};

use uuid::Uuid;

use crate::contract::Store;

/// A store whose links, redirects and API keys go through decorators.
pub struct Decorated {
    /// Everything else.
    pub store: Arc<dyn Store>,
    /// Links, decorated.
    pub links: Arc<dyn LinkRepository>,
    /// Redirects, decorated.
    pub resolver: Arc<dyn LinkResolver>,
    /// API keys, decorated.
    pub keys: Arc<dyn ApiKeyRepository>,
}

impl fmt::Debug for Decorated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Decorated").finish_non_exhaustive()
    }
}

#[async_trait]
impl LinkResolver for Decorated {
    async fn resolve(&self, address: &Address) -> Result<Resolved, RepositoryError> {
        self.resolver.resolve(address).await
    }

    fn resolve_at_once(&self, address: &Address) -> Option<Resolved> {
        self.resolver.resolve_at_once(address)
    }
}

#[async_trait]
impl LinkRepository for Decorated {
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError> {
        self.links.claim(candidates, once).await
    }

    async fn find(&self, address: &Address) -> Result<Option<Link>, RepositoryError> {
        self.links.find(address).await
    }

    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        self.links.apply(change, provenance, once).await
    }

    async fn with_ids(&self, ids: &[Uuid]) -> Result<Vec<Link>, RepositoryError> {
        self.links.with_ids(ids).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        self.links.list(query).await
    }

    async fn history(
        &self,
        address: &Address,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        self.links.history(address, before, limit).await
    }
}

#[async_trait]
impl IdempotencyRepository for Decorated {
    async fn recall(&self, request: &IdempotentRequest) -> Result<Option<Repeated>, RepositoryError> {
        self.store.recall(request).await
    }

    async fn answered_at(&self, request: &IdempotentRequest) -> Result<Option<Timestamp>, RepositoryError> {
        self.store.answered_at(request).await
    }

    async fn record(
        &self,
        request: &IdempotentRequest,
        answer: &IdempotencyRecord,
    ) -> Result<Option<Repeated>, RepositoryError> {
        self.store.record(request, answer).await
    }

    async fn forget(&self, moment: Timestamp) -> Result<u64, RepositoryError> {
        self.store.forget(moment).await
    }
}

#[async_trait]
impl ApiKeyRepository for Decorated {
    async fn create(
        &self,
        key: &StoredKey,
        once: Option<(&IdempotentRequest, &IdempotencyRecord)>,
    ) -> Result<KeyCreation, RepositoryError> {
        self.keys.create(key, once).await
    }

    async fn create_first(&self, key: &StoredKey) -> Result<bool, RepositoryError> {
        self.keys.create_first(key).await
    }

    async fn find(&self, id: &KeyId) -> Result<Option<StoredKey>, RepositoryError> {
        self.keys.find(id).await
    }

    async fn list(&self, after: Option<&KeyPosition>, limit: u32) -> Result<Vec<ApiKey>, RepositoryError> {
        self.keys.list(after, limit).await
    }

    async fn revoke(&self, id: &KeyId, at: Timestamp, by: &Actor) -> Result<bool, RepositoryError> {
        self.keys.revoke(id, at, by).await
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> Result<(), RepositoryError> {
        self.keys.note_use(id, at).await
    }
}

#[async_trait]
impl BlockRepository for Decorated {
    async fn block(&self, block: &Block, once: Option<&IdempotentRequest>) -> Result<Blocking, RepositoryError> {
        self.store.block(block, once).await
    }

    async fn lift(&self, id: &Uuid, lifted: &Lifted) -> Result<bool, RepositoryError> {
        self.store.lift(id, lifted).await
    }

    async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<Vec<Block>, RepositoryError> {
        BlockRepository::list(self.store.as_ref(), lifted_too, after, limit).await
    }

    async fn in_force(&self, known: Option<Uuid>) -> Result<Option<Revision>, RepositoryError> {
        self.store.in_force(known).await
    }
}

#[async_trait]
impl ShortDomainRepository for Decorated {
    async fn add(&self, new: &NewShortDomain, once: Option<&IdempotentRequest>) -> Result<Adding, RepositoryError> {
        self.store.add(new, once).await
    }

    async fn all(&self) -> Result<Vec<ShortDomain>, RepositoryError> {
        self.store.all().await
    }

    async fn update(&self, after: &ShortDomain, from: Generation) -> Result<bool, RepositoryError> {
        self.store.update(after, from).await
    }

    async fn remove(&self, id: DomainId) -> Result<Removal, RepositoryError> {
        self.store.remove(id).await
    }
}

#[async_trait]
impl Ping for Decorated {
    async fn ping(&self) -> Result<(), RepositoryError> {
        self.store.ping().await
    }
}
