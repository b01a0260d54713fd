//! API keys: who may call, for which owner, to do what.
//!
//! | file     | holds                                                  |
//! |----------|--------------------------------------------------------|
//! | `mod`    | a key without its secret, and the caller               |
//! | `mask`   | masking of keys in texts                               |
//! | `scope`  | what a key may do                                      |
//! | `secret` | the whole key, and its digest                          |

mod mask;
mod scope;
mod secret;

use std::str::FromStr;

use serde::{Deserialize, Serialize};

pub use self::{
    mask::{carries_key, mask_keys},
    scope::{InvalidScopes, Scope, Scopes},
    secret::{KeyDigest, KeySecret},
};
pub use crate::key_id::{KEY_PREFIX, KeyId, MalformedKey};
use crate::{
    access::Access,
    actor::Actor,
    address::DomainId,
    link::{InvalidText, Owner, check_text},
    time::Timestamp,
};

/// An API key without its secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The public part, safe to log.
    pub id: KeyId,
    /// Its name, for people.
    pub name: KeyName,
    /// Whose links it sees and claims.
    pub owner: Owner,
    /// What it may do.
    pub scopes: Scopes,
    /// The short domains to which it is bound; empty if it is bound to none.
    #[serde(default)]
    pub domains: Vec<DomainId>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    #[serde(default = "system")]
    pub created_by: Actor,
    /// From this moment on, it is rejected.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, within about a minute.
    pub last_used_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// Who revoked it.
    #[serde(default)]
    pub revoked_by: Option<Actor>,
}

/// The creator of keys that were stored without one.
fn system() -> Actor {
    Actor::System
}

impl ApiKey {
    /// How old `last_used_at` may become before a use is recorded, in seconds.
    const LAST_USED_PRECISION_SECONDS: u64 = 60;

    /// Whether it is accepted at `now`: neither revoked nor expired.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| expiry > now)
    }

    /// Whether a use at `now` should be recorded.
    pub fn use_is_worth_noting(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|last| now.seconds_since(last) >= Self::LAST_USED_PRECISION_SECONDS)
    }

    /// The caller that presents this key.
    pub fn caller(&self) -> Caller {
        Caller {
            actor: Actor::ApiKey(self.id.clone()),
            owner: self.owner.clone(),
            scopes: self.scopes.clone(),
            domains: self.domains.clone(),
        }
    }
}

/// Who is calling and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// The actor, for the history.
    pub actor: Actor,
    /// The owner of the links they claim.
    pub owner: Owner,
    /// What they may do.
    pub scopes: Scopes,
    /// The short domains to which their key is bound; empty if it is bound to none.
    pub domains: Vec<DomainId>,
}

impl Caller {
    /// A caller without a key, if the operator allows such callers to claim links.
    pub fn anonymous() -> Self {
        Self { actor: Actor::Anonymous, owner: Owner::anonymous(), scopes: Scopes::default(), domains: Vec::new() }
    }

    /// Which links they may see and change.
    pub fn access(&self) -> Access {
        if self.scopes.allow(Scope::Admin) {
            Access::All
        } else if self.domains.is_empty() {
            Access::Owner(self.owner.clone())
        } else {
            Access::OwnerOn(self.owner.clone(), self.domains.clone())
        }
    }

    /// Whether they may claim links on this short domain.
    pub fn may_claim_on(&self, domain: DomainId) -> bool {
        self.domains.is_empty() || self.domains.contains(&domain)
    }
}

/// The name of a key: 1 to 100 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyName(String);

impl KeyName {
    /// Maximum number of characters of a name.
    pub const MAX_LENGTH: usize = 100;

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyName {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_text(text, Self::MAX_LENGTH)?;
        Ok(Self(text.to_owned()))
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> Self {
        name.0
    }
}

impl TryFrom<String> for KeyName {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> ApiKey {
        ApiKey {
            id: "abcdefghijkm".parse().expect("valid"),
            name: "test".parse().expect("valid"),
            owner: Owner::default(),
            scopes: Scopes::new([Scope::LinksRead]).expect("one scope"),
            domains: Vec::new(),
            created_at: at(0),
            expires_at: Some(at(100)),
            created_by: Actor::System,
            last_used_at: None,
            revoked_at: None,
            revoked_by: None,
        }
    }

    fn at(second: i64) -> Timestamp {
        Timestamp::from_unix_micros(second * 1_000_000).expect("in range")
    }

    #[test]
    fn revoked_and_expired_keys_are_not_live() {
        assert!(key().is_live(at(99)));
        assert!(!key().is_live(at(100)));
        assert!(!ApiKey { revoked_at: Some(at(1)), ..key() }.is_live(at(2)));
    }

    #[test]
    fn uses_are_noted_once_a_minute() {
        assert!(key().use_is_worth_noting(at(0)));
        let used = ApiKey { last_used_at: Some(at(10)), ..key() };
        assert!(!used.use_is_worth_noting(at(69)));
        assert!(used.use_is_worth_noting(at(70)));
    }

    #[test]
    fn a_key_that_is_bound_to_short_domains_reaches_no_other() {
        let id = |number| DomainId::new(number).expect("in range");
        let bound = ApiKey { domains: vec![id(7)], ..key() }.caller();
        assert_eq!(bound.access(), Access::OwnerOn(Owner::default(), vec![id(7)]));
        assert!(bound.may_claim_on(id(7)) && !bound.may_claim_on(DomainId::DEFAULT));
        assert!(key().caller().may_claim_on(id(7)));
    }

    #[test]
    fn admin_includes_every_scope_and_every_owner() {
        let admin = ApiKey { scopes: Scopes::admin(), ..key() }.caller();
        assert!(Scope::ALL.into_iter().all(|scope| admin.scopes.allow(scope)));
        assert_eq!(admin.access(), Access::All);
        let reader = key().caller();
        assert!(!reader.scopes.allow(Scope::LinksWrite) && !reader.scopes.allow(Scope::LinksCreate));
        let creator = Scopes::new([Scope::LinksCreate]).expect("one scope");
        assert!(
            creator.allow(Scope::LinksCreate) && !creator.allow(Scope::LinksWrite) && !creator.allow(Scope::LinksRead)
        );
        assert!(Scopes::new([Scope::LinksWrite]).expect("one scope").allow(Scope::LinksCreate));
        assert_eq!(reader.access(), Access::Owner(Owner::default()));
        assert!(!Scope::ALL.into_iter().any(|scope| Caller::anonymous().scopes.allow(scope)));
    }
}
