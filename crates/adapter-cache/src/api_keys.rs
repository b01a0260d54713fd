//! A cache of API keys: nearly every request brings one of the same few keys.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    actor::Actor,
    api_key::{ApiKey, KeyId},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    ports::{ApiKeyRepository, KeyCreation, KeyPosition, RepositoryError, StoredKey},
    time::Timestamp,
};
use quick_cache::sync::Cache;
use tokio::time::Instant;

/// A repository that caches keys for [`CachedApiKeys::TIME_TO_LIVE`]. A revocation by this process takes effect at
/// once, one by another process within that time. Only keys that exist are cached, so that clients cannot fill it with
/// made-up keys.
pub struct CachedApiKeys {
    keys: Arc<dyn ApiKeyRepository>,
    known: Cache<KeyId, Known>,
    /// Number of revocations so far. A key that was read before the last one is not used.
    revocations: AtomicU64,
}

#[derive(Clone)]
struct Known {
    key: StoredKey,
    until: Instant,
    /// Number of revocations before the key was read.
    revocations: u64,
}

impl fmt::Debug for CachedApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedApiKeys").finish_non_exhaustive()
    }
}

impl CachedApiKeys {
    /// How long a key is used without being read again.
    pub const TIME_TO_LIVE: Duration = Duration::from_secs(2);
    /// Maximum cached keys.
    const MAX: usize = 10_000;

    /// Caches keys of `keys`.
    pub fn new(keys: Arc<dyn ApiKeyRepository>) -> Self {
        Self { keys, known: Cache::new(Self::MAX), revocations: AtomicU64::new(0) }
    }
}

/// Raises a number when it is dropped.
struct Raise<'a>(&'a AtomicU64);

impl Drop for Raise<'_> {
    fn drop(&mut self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

#[async_trait]
impl ApiKeyRepository for CachedApiKeys {
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
        let asked = Instant::now();
        let revocations = self.revocations.load(Ordering::Acquire);
        let good = |known: &Known| asked < known.until && known.revocations == revocations;
        if let Some(known) = self.known.get(id).filter(good) {
            return Ok(Some(known.key));
        }
        let found = self.keys.find(id).await?;
        if let Some(key) = &found {
            let (key, until) = (key.clone(), asked + Self::TIME_TO_LIVE);
            self.known.insert(id.clone(), Known { key, until, revocations });
        }
        Ok(found)
    }

    async fn list(&self, after: Option<&KeyPosition>, limit: u32) -> Result<Vec<ApiKey>, RepositoryError> {
        self.keys.list(after, limit).await
    }

    async fn revoke(&self, id: &KeyId, at: Timestamp, by: &Actor) -> Result<bool, RepositoryError> {
        // Counted even if the outcome is unknown, or the caller has gone away.
        let _then = Raise(&self.revocations);
        self.keys.revoke(id, at, by).await
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> Result<(), RepositoryError> {
        // Done first, so that concurrent requests do not note the use as well.
        if let Some(mut known) = self.known.get(id) {
            known.key.key.last_used_at = known.key.key.last_used_at.max(Some(at));
            self.known.insert(id.clone(), known);
        }
        self.keys.note_use(id, at).await
    }
}
