//! API keys: who may call, for which owner, to do what.

use std::{collections::BTreeSet, fmt, str::FromStr};

use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    code::{CODE_ALPHABET, draw_characters},
    history::Actor,
    lifecycle::Access,
    link::{InvalidText, Owner, check_text},
    ports::Entropy,
    time::Timestamp,
};

/// What is known of an API key; its secret is not among it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ApiKey {
    /// The public part, safe to log.
    pub id: KeyId,
    /// What people call it.
    pub name: KeyName,
    /// Whose links it sees and claims.
    pub owner: Owner,
    /// What it may do.
    pub scopes: Scopes,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it.
    #[serde(default = "system")]
    pub created_by: Actor,
    /// From when on it is refused.
    pub expires_at: Option<Timestamp>,
    /// When it was last used, within about a minute.
    pub last_used_at: Option<Timestamp>,
    /// Since when it is revoked.
    pub revoked_at: Option<Timestamp>,
    /// Who revoked it.
    #[serde(default)]
    pub revoked_by: Option<Actor>,
}

/// Who made the keys of which it was not noted.
fn system() -> Actor {
    Actor::System
}

impl ApiKey {
    /// How stale `last_used_at` may become before a use is written down, in seconds.
    const LAST_USED_PRECISION_SECONDS: u64 = 60;

    /// Whether it opens anything at `now`.
    pub fn is_live(&self, now: Timestamp) -> bool {
        self.revoked_at.is_none() && self.expires_at.is_none_or(|expiry| expiry > now)
    }

    /// Whether a use at `now` should be written down.
    pub fn use_is_worth_noting(&self, now: Timestamp) -> bool {
        self.last_used_at.is_none_or(|last| now.seconds_since(last) >= Self::LAST_USED_PRECISION_SECONDS)
    }

    /// Whoever presents it.
    pub fn caller(&self) -> Caller {
        Caller { actor: Actor::ApiKey(self.id.clone()), owner: self.owner.clone(), scopes: self.scopes.clone() }
    }
}

/// Who is calling and what they may do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Caller {
    /// Who, for the history.
    pub actor: Actor,
    /// Whose links they claim.
    pub owner: Owner,
    /// What they may do.
    pub scopes: Scopes,
}

impl Caller {
    /// A caller without a key, where the operator lets those shorten.
    pub fn anonymous() -> Self {
        Self { actor: Actor::Anonymous, owner: Owner::anonymous(), scopes: Scopes::default() }
    }

    /// Whose links they may see and change.
    pub fn access(&self) -> Access {
        if self.scopes.allow(Scope::Admin) { Access::All } else { Access::Owner(self.owner.clone()) }
    }
}

/// One thing a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read and list links and their history.
    LinksRead,
    /// Claim links, and nothing else.
    LinksCreate,
    /// Claim, edit, delete and reactivate links.
    LinksWrite,
    /// Read statistics.
    StatsRead,
    /// Everything, for every owner, and manage keys.
    Admin,
}

impl Scope {
    /// Every one of them.
    pub const ALL: [Self; 5] = [Self::LinksRead, Self::LinksCreate, Self::LinksWrite, Self::StatsRead, Self::Admin];

    /// The name stores and callers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::LinksRead => "links:read",
            Self::LinksCreate => "links:create",
            Self::LinksWrite => "links:write",
            Self::StatsRead => "stats:read",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidScopes;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.name() == name).ok_or(InvalidScopes::Unknown)
    }
}

/// What a key may do: at least one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// `None` when empty: such a key would be of no use.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Option<Self> {
        let scopes: BTreeSet<_> = scopes.into_iter().collect();
        (!scopes.is_empty()).then_some(Self(scopes))
    }

    /// Everything.
    pub fn admin() -> Self {
        Self(BTreeSet::from([Scope::Admin]))
    }

    /// Whether they include `scope`; `admin` includes every other, and `links:write` includes `links:create`.
    pub fn allow(&self, scope: Scope) -> bool {
        let wider = scope == Scope::LinksCreate && self.0.contains(&Scope::LinksWrite);
        wider || self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }

    /// Their names, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|scope| scope.name()).collect()
    }
}

impl From<Scopes> for Vec<String> {
    fn from(scopes: Scopes) -> Self {
        scopes.names().into_iter().map(str::to_owned).collect()
    }
}

impl TryFrom<Vec<String>> for Scopes {
    type Error = InvalidScopes;

    fn try_from(names: Vec<String>) -> Result<Self, Self::Error> {
        let scopes = names.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?;
        Self::new(scopes).ok_or(InvalidScopes::None)
    }
}

/// Why a list of names is no set of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScopes {
    /// A name that is none.
    #[error("must be links:read, links:create, links:write, stats:read or admin")]
    Unknown,
    /// No name at all.
    #[error("must name at least one scope")]
    None,
}

/// What people call a key: 1 to 100 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyName(String);

impl KeyName {
    /// Most characters of a name.
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

/// The public part of a key: 12 characters, safe to log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyId(String);

impl KeyId {
    /// Characters of an id.
    pub const LENGTH: usize = 12;

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for KeyId {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = text.bytes().all(|byte| CODE_ALPHABET.contains(&byte));
        if text.len() == Self::LENGTH && plain { Ok(Self(text.to_owned())) } else { Err(MalformedKey) }
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<KeyId> for String {
    fn from(id: KeyId) -> Self {
        id.0
    }
}

impl TryFrom<String> for KeyId {
    type Error = MalformedKey;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// A whole key: `sgn_`, 12 characters of id, 30 of secret (175 random bits), 6 of checksum.
///
/// The checksum tells a mistyped or truncated key from an unknown one without asking a store, and lets
/// scanners of leaked secrets be sure. `Debug` shows the id only.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

impl KeySecret {
    const PREFIX: &str = "sgn_";
    const RANDOM: usize = KeyId::LENGTH + 30;
    const CHECKSUM: usize = 6;

    /// A new key from fresh randomness.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        Self::from_random(&draw_characters(Self::RANDOM, entropy))
    }

    /// The key that follows from `parent` and `salt`, always the same one: so that repeating a request
    /// that made a key can show the key again although no store ever held it.
    pub fn derive(parent: &Self, salt: &[u8]) -> Self {
        let stream = DerivedBytes { parent, salt, block: std::sync::atomic::AtomicU32::new(0) };
        Self::from_random(&draw_characters(Self::RANDOM, &stream))
    }

    fn from_random(random: &str) -> Self {
        Self(format!("{}{random}{}", Self::PREFIX, checksum(random)))
    }

    /// The public part.
    pub fn id(&self) -> KeyId {
        let start = Self::PREFIX.len();
        KeyId(self.0[start..start + KeyId::LENGTH].to_owned())
    }

    /// What a store keeps: SHA-256 of the whole key.
    pub fn digest(&self) -> KeyDigest {
        KeyDigest(Sha256::digest(self.0.as_bytes()).into())
    }

    /// The whole key, to be shown once.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for KeySecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeySecret({}…)", self.id())
    }
}

impl FromStr for KeySecret {
    type Err = MalformedKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let body = text.strip_prefix(Self::PREFIX).ok_or(MalformedKey)?;
        let plain = body.bytes().all(|byte| CODE_ALPHABET.contains(&byte));
        if body.len() != Self::RANDOM + Self::CHECKSUM || !plain {
            return Err(MalformedKey);
        }
        let (random, given) = body.split_at(Self::RANDOM);
        if checksum(random) == given { Ok(Self(text.to_owned())) } else { Err(MalformedKey) }
    }
}

/// The text is no API key: wrong prefix, length, characters or checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an API key")]
pub struct MalformedKey;

fn checksum(random: &str) -> String {
    let hash = Sha256::digest(random.as_bytes());
    let character = |byte: &u8| char::from(CODE_ALPHABET[usize::from(byte % 58)]);
    hash.iter().take(KeySecret::CHECKSUM).map(character).collect()
}

/// HMAC-SHA256 in counter mode (NIST SP 800-108), keyed by the parent key.
struct DerivedBytes<'a> {
    parent: &'a KeySecret,
    salt: &'a [u8],
    block: std::sync::atomic::AtomicU32,
}

impl Entropy for DerivedBytes<'_> {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = self.block.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
            let mut mac =
                Hmac::<Sha256>::new_from_slice(self.parent.0.as_bytes()).expect("HMAC takes keys of any length");
            mac.update(b"signpost api key");
            mac.update(&block.to_be_bytes());
            mac.update(self.salt);
            chunk.copy_from_slice(&mac.finalize().into_bytes()[..chunk.len()]);
        }
    }
}

/// SHA-256 of a key, all that is kept of its secret.
#[derive(Clone, Copy, Debug)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// As a store kept it.
    pub fn from_stored(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are of the same key; takes the same time either way.
    pub fn matches(&self, other: &Self) -> bool {
        self.0.ct_eq(&other.0).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Fixed(u8);

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(self.0);
        }
    }

    fn key() -> ApiKey {
        ApiKey {
            id: KeySecret::draw(&Fixed(1)).id(),
            name: "test".parse().expect("valid"),
            owner: Owner::default(),
            scopes: Scopes::new([Scope::LinksRead]).expect("one scope"),
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
    fn a_key_reads_back_and_carries_its_id() {
        let secret = KeySecret::draw(&Fixed(3));
        assert_eq!(secret.expose().len(), 4 + 12 + 30 + 6);
        let read: KeySecret = secret.expose().parse().expect("valid");
        assert_eq!(read.id(), secret.id());
        assert!(read.digest().matches(&secret.digest()));
    }

    #[test]
    fn a_key_with_any_character_changed_is_refused_by_its_checksum() {
        let secret = KeySecret::draw(&Fixed(3));
        for position in 4..secret.expose().len() {
            let mut text = secret.expose().to_owned();
            let other = if text.as_bytes()[position] == b'Z' { "Y" } else { "Z" };
            text.replace_range(position..=position, other);
            assert_eq!(text.parse::<KeySecret>(), Err(MalformedKey), "{position}");
        }
        for text in ["", "sgn_", "sgn_é", &secret.expose()[1..], &secret.expose()[..51]] {
            assert_eq!(text.parse::<KeySecret>(), Err(MalformedKey));
        }
    }

    #[test]
    fn the_secret_is_not_in_debug_output() {
        let secret = KeySecret::draw(&Fixed(3));
        let shown = format!("{secret:?}");
        assert!(shown.contains(secret.id().as_str()));
        assert!(!shown.contains(&secret.expose()[16..]));
    }

    #[test]
    fn derived_keys_repeat_for_one_parent_and_salt_only() {
        let parent = KeySecret::draw(&Fixed(3));
        let other = KeySecret::draw(&Fixed(4));
        let derived = KeySecret::derive(&parent, b"salt");
        assert_eq!(derived, KeySecret::derive(&parent, b"salt"));
        assert_ne!(derived, KeySecret::derive(&parent, b"pepper"));
        assert_ne!(derived, KeySecret::derive(&other, b"salt"));
        assert_eq!(derived.expose().parse(), Ok(derived));
    }

    #[test]
    fn revoked_and_expired_keys_open_nothing() {
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

    #[test]
    fn scopes_are_known_names_and_at_least_one() {
        assert_eq!(Scopes::try_from(vec![]), Err(InvalidScopes::None));
        assert_eq!(Scopes::try_from(vec!["root".to_owned()]), Err(InvalidScopes::Unknown));
        let names = vec!["links:write".to_owned(), "links:read".to_owned(), "links:read".to_owned()];
        assert_eq!(Scopes::try_from(names).map(|scopes| scopes.names()), Ok(vec!["links:read", "links:write"]));
    }
}
