//! Blocks: takedowns of one link, of all links to a host, or of all links of an owner. A block deletes nothing. After
//! it is lifted, the links work as before.

use std::{
    borrow::Cow,
    collections::HashSet,
    fmt,
    net::{IpAddr, Ipv6Addr},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    actor::Actor,
    address::{Address, DomainId},
    api_key::KeyId,
    code::Code,
    hosts::{comparable_name, covering_names},
    lifecycle::Resolution,
    link::{InvalidText, Owner, check_text},
    target::{InvalidTarget, Target, TargetPolicy},
    time::Timestamp,
};

/// One takedown, in force or lifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Block {
    /// Its id.
    pub id: Uuid,
    /// What is blocked.
    pub subject: Subject,
    /// Why it is blocked.
    pub reason: Reason,
    /// When it began.
    pub created_at: Timestamp,
    /// Who blocked it.
    pub created_by: Actor,
    /// When it ended, and who ended it.
    pub lifted: Option<Lifted>,
}

/// The end of a block.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lifted {
    /// When.
    pub at: Timestamp,
    /// Who did it.
    pub by: Actor,
}

/// What a block applies to.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    /// One link.
    #[serde(rename = "code")]
    Address(Address),
    /// All links to a host and to the names below it.
    Host(Host),
    /// All links of an owner, who cannot create new ones.
    Owner(Owner),
}

impl Subject {
    /// The names of the kinds.
    pub const KINDS: [&str; 3] = ["code", "host", "owner"];

    /// The kind, as stores and callers write it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Address(_) => "code",
            Self::Host(_) => "host",
            Self::Owner(_) => "owner",
        }
    }

    /// The value, as stores and callers write it.
    pub fn value(&self) -> Cow<'_, str> {
        match self {
            Self::Address(address) if address.domain.is_default() => Cow::Borrowed(address.code.as_str()),
            Self::Address(address) => Cow::Owned(address.to_string()),
            Self::Host(host) => Cow::Borrowed(&host.0),
            Self::Owner(owner) => Cow::Borrowed(owner.as_str()),
        }
    }

    /// Reads a stored subject. It does not apply the rules for new subjects: those may become stricter, and existing
    /// blocks must stay in force.
    pub fn from_stored(kind: &str, value: &str) -> Result<Self, InvalidSubject> {
        match kind {
            "code" => value.parse().map(Self::Address).map_err(|_| InvalidSubject::Code),
            "host" => Host::from_stored(value).map(Self::Host).ok_or(InvalidSubject::Host),
            "owner" => value.parse().map(Self::Owner).map_err(|_| InvalidSubject::Owner),
            _ => Err(InvalidSubject::Kind),
        }
    }

    /// Parses a subject that a caller wrote. A code is meant on `domain`.
    pub fn parse(kind: &str, value: &str, domain: DomainId) -> Result<Self, InvalidSubject> {
        match kind {
            "code" => match Code::parse_alias(value) {
                Ok(code) => Ok(Self::Address(Address::new(domain, code))),
                Err(_) => Err(InvalidSubject::Code),
            },
            "host" => value.parse().map(Self::Host).map_err(|_| InvalidSubject::Host),
            "owner" => value.parse().map(Self::Owner).map_err(|_| InvalidSubject::Owner),
            _ => Err(InvalidSubject::Kind),
        }
    }
}

/// Why a text is not a valid subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidSubject {
    /// The kind is unknown.
    #[error("must be code, host or owner")]
    Kind,
    /// Not a valid code.
    #[error("must be a code alone, as in `h7RkQ2mX`")]
    Code,
    /// Not a valid host, or one that covers too much, such as a top-level domain.
    #[error(
        "must be a host name alone, as in `evil.example`, without scheme, port or path; names below it are part of it, so a whole top-level domain is refused"
    )]
    Host,
    /// Not a valid owner.
    #[error("must be an owner, of a-z, 0-9, _ and -")]
    Owner,
}

/// A host in the form in which targets are compared: lower case, no trailing dot, punycode.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Host(String);

impl Host {
    /// Reads a stored host, in its stored spelling.
    fn from_stored(text: &str) -> Option<Self> {
        let plain = |byte: u8| byte.is_ascii_graphic() && !byte.is_ascii_uppercase();
        ((1..=253).contains(&text.len()) && text.bytes().all(plain)).then(|| Self(text.to_owned()))
    }
}

impl FromStr for Host {
    type Err = InvalidSubject;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Ok(address) = text.parse::<Ipv6Addr>() {
            return Ok(Self(IpAddr::V6(address).to_canonical().to_string()));
        }
        let plain = !text.is_empty() && !text.contains([':', '/', '?', '#', '@', '*']) || text.starts_with('[');
        let name = plain
            .then(|| comparable_name(text))
            .flatten()
            .filter(|name| name.len() <= 253 && name.contains(['.', ':']));
        name.map(Self).ok_or(InvalidSubject::Host)
    }
}

impl From<Host> for String {
    fn from(host: Host) -> Self {
        host.0
    }
}

impl TryFrom<String> for Host {
    type Error = InvalidSubject;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Why something is blocked: 1 to 500 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Reason(String);

impl Reason {
    /// Most characters.
    pub const MAX_LENGTH: usize = 500;

    /// The reason as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_text(text, Self::MAX_LENGTH)?;
        Ok(Self(text.to_owned()))
    }
}

impl From<Reason> for String {
    fn from(reason: Reason) -> Self {
        reason.0
    }
}

impl TryFrom<String> for Reason {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// All blocks in force at one moment.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct InForce {
    addresses: HashSet<Address>,
    hosts: HashSet<String>,
    owners: HashSet<Owner>,
    keys: HashSet<KeyId>,
}

/// Shows counts only, because there may be many subjects.
impl fmt::Debug for InForce {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "InForce({} links, {} hosts, {} owners)", self.addresses.len(), self.hosts.len(), self.owners.len())
    }
}

/// The owner is blocked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the owner is blocked")]
pub struct OwnerBlocked;

impl InForce {
    /// Whether nothing is blocked.
    pub fn is_empty(&self) -> bool {
        self.addresses.is_empty() && self.hosts.is_empty() && self.owners.is_empty() && self.keys.is_empty()
    }

    /// How many subjects of each kind are blocked: codes, hosts, owners, API keys.
    pub fn counts(&self) -> [(&'static str, usize); 4] {
        let Self { addresses, hosts, owners, keys } = self;
        [("code", addresses.len()), ("host", hosts.len()), ("owner", owners.len()), ("key", keys.len())]
    }

    /// The same, with `keys` as the blocked API keys.
    #[must_use]
    pub fn with_keys(self, keys: impl IntoIterator<Item = KeyId>) -> Self {
        Self { keys: keys.into_iter().collect(), ..self }
    }

    /// The union of both.
    pub(crate) fn with(&self, other: &Self) -> Self {
        Self {
            addresses: &self.addresses | &other.addresses,
            hosts: &self.hosts | &other.hosts,
            owners: &self.owners | &other.owners,
            keys: &self.keys | &other.keys,
        }
    }

    /// Whether this API key is blocked.
    pub fn block_key(&self, key: &KeyId) -> bool {
        self.keys.contains(key)
    }

    /// Whether this link is blocked: by its address, the host of its target, or its owner.
    pub fn block(&self, address: &Address, link: &Resolution) -> bool {
        self.addresses.contains(address)
            || self.block_owner(&link.owner)
            || self.block_host(&link.behaviour.target.host())
    }

    /// Rejects a blocked owner, whose links are neither made nor changed.
    pub fn admit_owner(&self, owner: &Owner) -> Result<(), OwnerBlocked> {
        if self.block_owner(owner) { Err(OwnerBlocked) } else { Ok(()) }
    }

    /// Parses a target. It rejects a blocked host like a host that the policy rejects.
    pub fn target(&self, text: &str, policy: &TargetPolicy) -> Result<Target, InvalidTarget> {
        let target = Target::parse(text, policy)?;
        if self.block_host(&target.host()) { Err(InvalidTarget::RefusedHost) } else { Ok(target) }
    }

    /// Whether the links of `owner` are blocked.
    pub fn block_owner(&self, owner: &Owner) -> bool {
        self.owners.contains(owner)
    }

    /// Whether links to `host` are blocked. `host` is in the form in which targets are compared.
    pub fn block_host(&self, host: &str) -> bool {
        !self.hosts.is_empty() && covering_names(host).any(|name| self.hosts.contains(name))
    }
}

impl FromIterator<Subject> for InForce {
    fn from_iter<I: IntoIterator<Item = Subject>>(subjects: I) -> Self {
        let mut blocked = Self::default();
        for subject in subjects {
            match subject {
                Subject::Address(address) => drop(blocked.addresses.insert(address)),
                Subject::Host(host) => drop(blocked.hosts.insert(host.0)),
                Subject::Owner(owner) => drop(blocked.owners.insert(owner)),
            }
        }
        blocked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn no(kind: &str) -> InvalidSubject {
        match kind {
            "code" => InvalidSubject::Code,
            "host" => InvalidSubject::Host,
            _ => InvalidSubject::Owner,
        }
    }

    #[test]
    fn subjects_parse_in_any_spelling_into_one_canonical_form() {
        for (kind, given, kept) in [
            ("code", "abc-1", "abc-1"),
            ("owner", "acme", "acme"),
            ("host", "Evil.Example.COM.", "evil.example.com"),
            ("host", "bücher.example", "xn--bcher-kva.example"),
            ("host", "0x7f.1", "127.0.0.1"),
            ("host", "[2001:DB8::1]", "2001:db8::1"),
            ("host", "2001:DB8:0::1", "2001:db8::1"),
        ] {
            let subject = Subject::parse(kind, given, DomainId::DEFAULT).expect(given);
            assert_eq!((subject.kind(), &*subject.value()), (kind, kept));
            if let Subject::Host(host) = subject {
                assert_eq!(Host::try_from(String::from(host.clone())), Ok(host));
            }
        }
        assert_eq!(Subject::parse("link", "abc", DomainId::DEFAULT), Err(InvalidSubject::Kind));
        for (kind, value) in [
            ("code", "a b"),
            ("owner", "A"),
            ("host", ""),
            ("host", "https://example.com"),
            ("host", "example.com:80"),
            ("host", "*.example.com"),
            ("host", "exa mple.com"),
            ("host", ".example.com"),
            // A whole top-level domain cannot be blocked.
            ("host", "com"),
        ] {
            assert_eq!(Subject::parse(kind, value, DomainId::DEFAULT), Err(no(kind)), "{kind} {value}");
        }
    }

    #[test]
    fn stored_subjects_are_read_even_if_the_code_is_reserved_now() {
        let reserved = crate::code::RESERVED_WORDS.iter().map(|word| ("code", *word));
        let hosts = [("host", "evil.example.com"), ("host", "2001:db8::1"), ("host", "com"), ("owner", "acme")];
        for (kind, value) in reserved.chain(hosts) {
            let subject = Subject::from_stored(kind, value).expect(value);
            assert_eq!((subject.kind(), &*subject.value()), (kind, value));
        }
        assert_eq!(Subject::from_stored("link", "abc"), Err(InvalidSubject::Kind));
        for (kind, value) in [("code", "a b"), ("owner", "A"), ("host", ""), ("host", "Evil.example"), ("host", "a b")]
        {
            assert_eq!(Subject::from_stored(kind, value), Err(no(kind)), "{kind} {value}");
        }
    }

    #[test]
    fn reasons_are_short_texts() {
        assert!("phishing, ticket 7".parse::<Reason>().is_ok());
        for bad in [String::new(), "a\nb".to_owned(), "x".repeat(501)] {
            assert!(bad.parse::<Reason>().is_err());
        }
    }

    #[test]
    fn a_blocked_host_also_blocks_the_names_below_it() {
        let subjects = [
            Subject::parse("host", "example.com", DomainId::DEFAULT),
            Subject::parse("host", "203.0.113.7", DomainId::DEFAULT),
        ];
        let blocked: InForce = subjects.into_iter().map(|subject| subject.expect("valid")).collect();
        assert!(blocked.block_host("example.com") && blocked.block_host("a.b.example.com"));
        assert!(blocked.block_host("203.0.113.7"));
        assert!(!blocked.block_host("notexample.com") && !blocked.block_host("com"));
        assert!(!InForce::default().block_host("example.com") && InForce::default().is_empty());
    }
}
