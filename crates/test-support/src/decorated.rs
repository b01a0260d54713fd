//! Joins a store and decorators of some of its ports into one store, as the contract suite needs it.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use domain::{
    actor::Actor,
    api_key::{ApiKey, KeyId},
    block::{Block, Lifted},
    code::Code,
    history::{LinkEvent, Provenance},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    lifecycle::{Candidate, Change},
    link::{Generation, Link},
    ports::{
        ApiKeyRepository, Applied, BlockPosition, BlockRepository, Blocking, Claims, IdempotencyRepository,
        KeyCreation, KeyPosition, LinkRepository, LinkResolver, ListQuery, Ping, Repeated, RepositoryError, Resolved,
        Revision, StoredKey,
    },
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
    async fn resolve(&self, code: &Code) -> Result<Resolved, RepositoryError> {
        self.resolver.resolve(code).await
    }

    fn resolve_at_once(&self, code: &Code) -> Option<Resolved> {
        self.resolver.resolve_at_once(code)
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

    async fn find(&self, code: &Code) -> Result<Option<Link>, RepositoryError> {
        self.links.find(code).await
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
        code: &Code,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        self.links.history(code, before, limit).await
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
impl Ping for Decorated {
    async fn ping(&self) -> Result<(), RepositoryError> {
        self.store.ping().await
    }
}
