//! The port of API keys.

use async_trait::async_trait;

use super::{Repeated, RepositoryError};
use crate::{
    actor::Actor,
    api_key::{ApiKey, KeyDigest, KeyId},
    idempotency::{IdempotencyRecord, IdempotentRequest},
    time::Timestamp,
};

/// Stores API keys. Of each secret it stores only a digest.
#[async_trait]
pub trait ApiKeyRepository: Send + Sync {
    /// Adds a key. With `once`, the call MUST write the given idempotency record in the same transaction. If the
    /// request has a record already, the call MUST change nothing and return [`KeyCreation::Repeated`].
    async fn create(
        &self,
        key: &StoredKey,
        once: Option<(&IdempotentRequest, &IdempotencyRecord)>,
    ) -> Result<KeyCreation, RepositoryError>;

    /// Adds a key only if there is none at all, revoked ones included. Of concurrent calls, exactly one MUST add its
    /// key. Returns whether the key was added.
    async fn create_first(&self, key: &StoredKey) -> Result<bool, RepositoryError>;

    /// The key with this id, even if it is revoked or expired.
    async fn find(&self, id: &KeyId) -> Result<Option<StoredKey>, RepositoryError>;

    /// Up to `limit` keys, newest first, from the position `after` on.
    async fn list(&self, after: Option<&KeyPosition>, limit: u32) -> Result<Vec<ApiKey>, RepositoryError>;

    /// Revokes a key permanently. Time and actor of the first revocation MUST stay. Returns whether the key exists.
    async fn revoke(&self, id: &KeyId, at: Timestamp, by: &Actor) -> Result<bool, RepositoryError>;

    /// Records a use. It MUST never move `last_used_at` back.
    async fn note_use(&self, id: &KeyId, at: Timestamp) -> Result<(), RepositoryError>;
}

/// A key as a store keeps it.
#[derive(Clone, Debug)]
pub struct StoredKey {
    /// The key, without its secret.
    pub key: ApiKey,
    /// The digest of its secret.
    pub digest: KeyDigest,
}

/// The outcome of [`ApiKeyRepository::create`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyCreation {
    /// It is stored.
    Done,
    /// The request was answered before. Nothing changed.
    Repeated(Repeated),
}

/// A position in the list of keys: directly after this key.
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
