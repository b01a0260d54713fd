//! The port of API keys.

use async_trait::async_trait;

use super::{Repeated, RepositoryError};
use crate::{
    actor::Actor,
    api_key::{ApiKey, KeyDigest, KeyId},
    idempotency::{IdempotentRequest, RecordedAnswer},
    time::Timestamp,
};

/// Keeps API keys; of their secrets only a digest.
#[async_trait]
pub trait ApiKeyRepository: Send + Sync {
    /// Adds a key. With `once`, the given answer MUST be recorded in the same transaction; if one is
    /// recorded already, nothing MUST change and [`KeyCreation::Repeated`] be returned.
    async fn create(
        &self,
        key: &StoredKey,
        once: Option<(&IdempotentRequest, &RecordedAnswer)>,
    ) -> Result<KeyCreation, RepositoryError>;

    /// Adds a key only if there is none at all, revoked ones included; of many at once, one MUST win.
    /// Says whether it was added.
    async fn create_first(&self, key: &StoredKey) -> Result<bool, RepositoryError>;

    /// The key of that id, revoked and expired ones too.
    async fn find(&self, id: &KeyId) -> Result<Option<StoredKey>, RepositoryError>;

    /// Up to `limit` keys, newest first, behind `after`.
    async fn list(&self, after: Option<&KeyPosition>, limit: u32) -> Result<Vec<ApiKey>, RepositoryError>;

    /// Revokes a key for good; time and actor of the first revocation MUST stay. Says whether there is such a key.
    async fn revoke(&self, id: &KeyId, at: Timestamp, by: &Actor) -> Result<bool, RepositoryError>;

    /// Notes a use; MUST never move `last_used_at` back.
    async fn note_use(&self, id: &KeyId, at: Timestamp) -> Result<(), RepositoryError>;
}

/// A key as a store keeps it.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// What is known of it.
    pub key: ApiKey,
    /// What is left of its secret.
    pub digest: KeyDigest,
}

/// What became of a call of [`ApiKeyRepository::create`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyCreation {
    /// It is stored.
    Done,
    /// The request was answered before; nothing changed.
    Repeated(Repeated),
}

/// A place in the list of keys: right behind this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyPosition {
    /// When the key was made.
    pub created_at: Timestamp,
    /// Its id.
    pub id: KeyId,
}

impl From<&ApiKey> for KeyPosition {
    fn from(key: &ApiKey) -> Self {
        Self { created_at: key.created_at, id: key.id.clone() }
    }
}
