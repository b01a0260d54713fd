//! API keys: making, showing, revoking and checking them.

use std::{fmt, sync::Arc};

use super::{Call, ServiceError, repeated};
use crate::{
    actor::Actor,
    address::DomainId,
    api_key::{ApiKey, Caller, KeyId, KeyName, KeySecret, Scopes},
    idempotency::IdempotencyRecord,
    link::Owner,
    ports::{
        ApiKeyRepository, Clock, Entropy, IdempotencyRepository, KeyCreation, KeyPosition, Repeated, RepositoryError,
        StoredKey,
    },
    time::Timestamp,
};

/// A new key, as a caller requests it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewKey {
    /// Its name, for people.
    pub name: KeyName,
    /// Whose links it sees and claims.
    pub owner: Owner,
    /// What it may do.
    pub scopes: Scopes,
    /// The short domains to which it is bound; empty if it is bound to none.
    pub domains: Vec<DomainId>,
    /// From this moment on, it is rejected.
    pub expires_at: Option<Timestamp>,
}

/// A key with its secret, for the one answer that shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IssuedKey {
    /// The key, without its secret.
    pub key: ApiKey,
    /// The whole key.
    pub secret: KeySecret,
}

/// The outcome of [`KeyService::add_first`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FirstKey {
    /// It was added. The secret cannot be read again later.
    Added,
    /// There are keys already.
    NotNeeded,
}

/// Why a presented key is rejected. Callers learn only that it is rejected.
#[derive(Debug, thiserror::Error)]
pub enum Refused {
    /// Not a key, not a key of this store, revoked or expired.
    #[error("the key is not valid")]
    Invalid,
    /// The store failed.
    #[error(transparent)]
    Repository(#[from] RepositoryError),
}

/// All operations on API keys.
#[derive(Clone)]
pub struct KeyService {
    keys: Arc<dyn ApiKeyRepository>,
    idempotency: Arc<dyn IdempotencyRepository>,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for KeyService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyService").finish_non_exhaustive()
    }
}

impl KeyService {
    /// A service over these ports.
    pub fn new(
        keys: Arc<dyn ApiKeyRepository>,
        idempotency: Arc<dyn IdempotencyRepository>,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { keys, idempotency, clock, entropy }
    }

    /// The present moment, by the clock the service decides with.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The key that was made before, if the call repeats an earlier one. Call it before validating the request.
    pub async fn recall(&self, call: &Call, presented: &KeySecret) -> Result<Option<IssuedKey>, ServiceError> {
        let Some(once) = call.once(self.clock.now()) else {
            return Ok(None);
        };
        match self.idempotency.recall(&once).await? {
            None => Ok(None),
            Some(before) => issued_before(before, presented).map(Some),
        }
    }

    /// Makes a key. `presented` is the key of the caller. A repeated request gets the same secret again: it is derived
    /// from `presented`, and is not stored. Without `presented`, the request is not repeatable.
    pub async fn create(
        &self,
        call: &Call,
        presented: Option<&KeySecret>,
        new: &NewKey,
    ) -> Result<IssuedKey, ServiceError> {
        let now = self.clock.now();
        let repeatable = call.once(now).zip(presented);
        if let Some((once, parent)) = &repeatable
            && let Some(before) = self.idempotency.recall(once).await?
        {
            return issued_before(before, parent);
        }
        if new.expires_at.is_some_and(|expiry| expiry <= now) {
            return Err(ServiceError::ExpiryNotInFuture);
        }
        let Some((once, parent)) = repeatable else {
            let secret = KeySecret::draw(self.entropy.as_ref());
            let stored = stored_key(new, &secret, now, &call.caller.actor);
            return match self.keys.create(&stored, None).await? {
                KeyCreation::Done => Ok(IssuedKey { key: stored.key, secret }),
                KeyCreation::Repeated(_) => unreachable!("no request was named that could be a repetition"),
            };
        };
        let mut salt = [0; 16];
        self.entropy.fill(&mut salt);
        let secret = KeySecret::derive(parent, &salt);
        let stored = stored_key(new, &secret, now, &call.caller.actor);
        let answer = IdempotencyRecord::ApiKey { key: stored.key.clone(), salt };
        match self.keys.create(&stored, Some((&once, &answer))).await? {
            KeyCreation::Done => Ok(IssuedKey { key: stored.key, secret }),
            KeyCreation::Repeated(before) => issued_before(before, parent),
        }
    }

    /// A secret for a first key. Save it before [`KeyService::add_first`] makes it valid.
    pub fn draw_secret(&self) -> KeySecret {
        KeySecret::draw(self.entropy.as_ref())
    }

    /// Makes `secret` the first key, with every scope, unless there are keys already.
    pub async fn add_first(&self, name: KeyName, secret: &KeySecret) -> Result<FirstKey, RepositoryError> {
        let new =
            NewKey { name, owner: Owner::default(), scopes: Scopes::admin(), domains: Vec::new(), expires_at: None };
        let added = self.keys.create_first(&stored_key(&new, secret, self.clock.now(), &Actor::System)).await?;
        Ok(if added { FirstKey::Added } else { FirstKey::NotNeeded })
    }

    /// One page of keys, newest first, and the position where the next page begins.
    pub async fn list(
        &self,
        after: Option<&KeyPosition>,
        limit: u32,
    ) -> Result<(Vec<ApiKey>, Option<KeyPosition>), RepositoryError> {
        let mut keys = self.keys.list(after, limit + 1).await?;
        let more = keys.len() > limit as usize;
        keys.truncate(limit as usize);
        let next = keys.last().filter(|_| more).map(KeyPosition::from);
        Ok((keys, next))
    }

    /// Revokes a key permanently. Other processes may accept it until their cache entry of the key expires.
    pub async fn revoke(&self, call: &Call, id: &KeyId) -> Result<(), ServiceError> {
        if self.keys.revoke(id, self.clock.now(), &call.caller.actor).await? {
            Ok(())
        } else {
            Err(ServiceError::NotFound)
        }
    }

    /// The caller that presents this key. If the second value is true, call [`KeyService::note_use`] in the background.
    pub async fn authenticate(&self, presented: &KeySecret) -> Result<(Caller, bool), Refused> {
        let stored = self.keys.find(&presented.id()).await?.ok_or(Refused::Invalid)?;
        let now = self.clock.now();
        if stored.digest.matches(&presented.digest()) && stored.key.is_live(now) {
            Ok((stored.key.caller(), stored.key.use_is_worth_noting(now)))
        } else {
            Err(Refused::Invalid)
        }
    }

    /// The key with this id, without its secret.
    pub async fn find(&self, id: &KeyId) -> Result<ApiKey, ServiceError> {
        Ok(self.keys.find(id).await?.ok_or(ServiceError::NotFound)?.key)
    }

    /// Records that a key was used now.
    pub async fn note_use(&self, id: &KeyId) -> Result<(), RepositoryError> {
        self.keys.note_use(id, self.clock.now()).await
    }
}

fn stored_key(new: &NewKey, secret: &KeySecret, now: Timestamp, by: &Actor) -> StoredKey {
    let key = ApiKey {
        id: secret.id(),
        name: new.name.clone(),
        owner: new.owner.clone(),
        scopes: new.scopes.clone(),
        domains: new.domains.clone(),
        created_at: now,
        created_by: by.clone(),
        expires_at: new.expires_at,
        last_used_at: None,
        revoked_at: None,
        revoked_by: None,
    };
    StoredKey { key, digest: secret.digest() }
}

/// The key of the earlier request. Its secret is derived from the caller's own key.
fn issued_before(before: Repeated, parent: &KeySecret) -> Result<IssuedKey, ServiceError> {
    let (key, salt) = repeated(before, recorded_key)?;
    Ok(IssuedKey { key, secret: KeySecret::derive(parent, &salt) })
}

fn recorded_key(answer: IdempotencyRecord) -> Option<(ApiKey, [u8; 16])> {
    match answer {
        IdempotencyRecord::ApiKey { key, salt } => Some((key, salt)),
        IdempotencyRecord::Claims(_)
        | IdempotencyRecord::PartlyRefused { .. }
        | IdempotencyRecord::Link(_)
        | IdempotencyRecord::Domain(_)
        | IdempotencyRecord::Block { .. } => None,
    }
}
