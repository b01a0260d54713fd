//! An in-memory store that fails as a test tells it to.

use std::{
    future::pending,
    sync::{
        Mutex,
        atomic::{AtomicU64, Ordering},
    },
};

use async_trait::async_trait;
use domain::{
    actor::Actor,
    address::Address,
    api_key::{ApiKey, KeyId},
    history::{LinkEvent, Provenance},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    lifecycle::{Candidate, Change},
    link::{Generation, Link},
    ports::{
        ApiKeyRepository, Applied, Claims, IdempotencyRepository, KeyCreation, KeyPosition, LinkRepository,
        LinkResolver, ListQuery, Ping, Repeated, RepositoryError, RepositoryErrorKind, Resolved, StoredKey,
    },
    time::Timestamp,
};
use test_support::MemoryStore;
use uuid::Uuid;

/// What is wrong with the store. Keys always work, so that a request gets as far as the failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    None,
    Fails(RepositoryErrorKind),
    Hangs,
    Panics,
    PanicsAtOnce,
}

#[derive(Debug)]
pub(crate) struct TroubledStore {
    inner: MemoryStore,
    trouble: Mutex<Trouble>,
    pings: AtomicU64,
}

impl TroubledStore {
    pub(crate) fn new() -> Self {
        Self { inner: MemoryStore::default(), trouble: Mutex::new(Trouble::None), pings: AtomicU64::new(0) }
    }

    pub(crate) fn suffer(&self, trouble: Trouble) {
        *self.trouble.lock().expect("no thread panics while holding it") = trouble;
    }

    pub(crate) fn pings(&self) -> u64 {
        self.pings.load(Ordering::SeqCst)
    }

    async fn trouble(&self) -> Result<(), RepositoryError> {
        let trouble = *self.trouble.lock().expect("no thread panics while holding it");
        match trouble {
            Trouble::None | Trouble::PanicsAtOnce => Ok(()),
            Trouble::Fails(kind) => {
                Err(RepositoryError::new(kind, "doing its work").caused_by("10.0.0.7:5432 SELECT secret"))
            }
            Trouble::Hangs => pending().await,
            Trouble::Panics => panic!("the store panics"),
        }
    }
}

#[async_trait]
impl LinkRepository for TroubledStore {
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError> {
        self.trouble().await?;
        self.inner.claim(candidates, once).await
    }

    async fn find(&self, address: &Address) -> Result<Option<Link>, RepositoryError> {
        self.trouble().await?;
        LinkRepository::find(&self.inner, address).await
    }

    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        self.trouble().await?;
        self.inner.apply(change, provenance, once).await
    }

    async fn with_ids(&self, ids: &[Uuid]) -> Result<Vec<Link>, RepositoryError> {
        self.trouble().await?;
        self.inner.with_ids(ids).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        self.trouble().await?;
        LinkRepository::list(&self.inner, query).await
    }

    async fn history(
        &self,
        address: &Address,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        self.trouble().await?;
        self.inner.history(address, before, limit).await
    }
}

#[async_trait]
impl LinkResolver for TroubledStore {
    async fn resolve(&self, address: &Address) -> Result<Resolved, RepositoryError> {
        self.trouble().await?;
        self.inner.resolve(address).await
    }

    fn resolve_at_once(&self, _: &Address) -> Option<Resolved> {
        let trouble = *self.trouble.lock().expect("no thread panics while holding it");
        assert_ne!(trouble, Trouble::PanicsAtOnce, "the store panics");
        None
    }
}

#[async_trait]
impl IdempotencyRepository for TroubledStore {
    async fn recall(&self, request: &IdempotentRequest) -> Result<Option<Repeated>, RepositoryError> {
        self.trouble().await?;
        self.inner.recall(request).await
    }

    async fn answered_at(&self, request: &IdempotentRequest) -> Result<Option<Timestamp>, RepositoryError> {
        self.trouble().await?;
        self.inner.answered_at(request).await
    }

    async fn record(
        &self,
        request: &IdempotentRequest,
        answer: &IdempotencyRecord,
    ) -> Result<Option<Repeated>, RepositoryError> {
        self.trouble().await?;
        self.inner.record(request, answer).await
    }

    async fn forget(&self, moment: Timestamp) -> Result<u64, RepositoryError> {
        self.inner.forget(moment).await
    }
}

#[async_trait]
impl ApiKeyRepository for TroubledStore {
    async fn create(
        &self,
        key: &StoredKey,
        once: Option<(&IdempotentRequest, &IdempotencyRecord)>,
    ) -> Result<KeyCreation, RepositoryError> {
        self.inner.create(key, once).await
    }

    async fn create_first(&self, key: &StoredKey) -> Result<bool, RepositoryError> {
        self.inner.create_first(key).await
    }

    async fn find(&self, id: &KeyId) -> Result<Option<StoredKey>, RepositoryError> {
        ApiKeyRepository::find(&self.inner, id).await
    }

    async fn list(&self, after: Option<&KeyPosition>, limit: u32) -> Result<Vec<ApiKey>, RepositoryError> {
        ApiKeyRepository::list(&self.inner, after, limit).await
    }

    async fn revoke(&self, id: &KeyId, at: Timestamp, by: &Actor) -> Result<bool, RepositoryError> {
        self.inner.revoke(id, at, by).await
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> Result<(), RepositoryError> {
        self.inner.note_use(id, at).await
    }
}

#[async_trait]
impl Ping for TroubledStore {
    async fn ping(&self) -> Result<(), RepositoryError> {
        self.pings.fetch_add(1, Ordering::SeqCst);
        self.trouble().await
    }
}
