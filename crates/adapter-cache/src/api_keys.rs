//! API keys as requests use them: read again only now and then, as nearly every request brings the same few.

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
    idempotency::{IdempotentRequest, RecordedAnswer},
    ports::{ApiKeyRepository, KeyCreation, KeyPosition, RepositoryError, StoredKey},
    time::Timestamp,
};
use quick_cache::sync::Cache;
use tokio::time::Instant;

/// A repository that remembers keys for a moment. A revocation by this process is seen at once, one by another within
/// [`CachedApiKeys::TIME_TO_LIVE`]. Only keys that exist are remembered, so that nobody can fill it with others.
pub struct CachedApiKeys {
    keys: Arc<dyn ApiKeyRepository>,
    known: Cache<KeyId, Known>,
    /// Rises with every revocation: what was read before one is worth nothing after it.
    revocations: AtomicU64,
}

#[derive(Clone)]
struct Known {
    key: StoredKey,
    until: Instant,
    /// As it was before the key was read.
    revocations: u64,
}

impl fmt::Debug for CachedApiKeys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RememberedKeys").finish_non_exhaustive()
    }
}

impl CachedApiKeys {
    /// How long a key is known without being read again.
    pub const TIME_TO_LIVE: Duration = Duration::from_secs(2);
    /// Most keys that are known.
    const MAX: usize = 10_000;

    /// Remembers what `keys` holds.
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
        once: Option<(&IdempotentRequest, &RecordedAnswer)>,
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
        // Also where its outcome is unknown, or nobody waits for it any more.
        let _then = Raise(&self.revocations);
        self.keys.revoke(id, at, by).await
    }

    async fn note_use(&self, id: &KeyId, at: Timestamp) -> Result<(), RepositoryError> {
        // First, so that those who use it at the same time do not note it as well.
        if let Some(mut known) = self.known.get(id) {
            known.key.key.last_used_at = known.key.key.last_used_at.max(Some(at));
            self.known.insert(id.clone(), known);
        }
        self.keys.note_use(id, at).await
    }
}
