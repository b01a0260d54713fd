//! The link: one short address and what it leads to.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{
    address::{Address, DomainId},
    behaviour::{Behaviour, DedupKey},
    code::Code,
    time::Timestamp,
};

/// One short address and what it leads to; the aggregate.
///
/// It changes only through the functions of [`lifecycle`](crate::lifecycle). Each change raises the generation by one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Link {
    /// UUID version 7, so that ids sort by creation time.
    pub id: Uuid,
    /// The short domain it lives on. It never changes.
    #[serde(default)]
    pub domain: DomainId,
    /// The path segment that names it there. It never changes.
    pub code: Code,
    /// The namespace it belongs to. It never changes.
    pub owner: Owner,
    /// What following it does.
    pub behaviour: Behaviour,
    /// Whether claims of the same behaviour find it. True for shared links with a generated code, until an edit changes
    /// the behaviour; then false permanently.
    pub deduplicated: bool,
    /// The title, for people.
    pub title: Option<Title>,
    /// The tags, for people to sort links by.
    pub tags: Tags,
    /// Active, or deleted at a moment.
    pub state: LinkState,
    /// Its version, counting from 1: each change adds one.
    pub generation: Generation,
    /// When it was first claimed.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
    /// When it was last brought back.
    pub reactivated_at: Option<Timestamp>,
}

impl Link {
    /// Its address, by which visitors and caches know it.
    pub fn address(&self) -> Address {
        Address::new(self.domain, self.code.clone())
    }

    /// The key by which claims find links that behave like this one.
    pub fn dedup_key(&self) -> DedupKey {
        self.behaviour.dedup_key()
    }

    /// When it was deleted; `None` if it is active.
    pub fn deleted_at(&self) -> Option<Timestamp> {
        match self.state {
            LinkState::Active => None,
            LinkState::Deleted { at } => Some(at),
        }
    }
}

/// The state of a link. *Reactivated* is an event that leads back to `Active`. *Expired* is not a state: it follows
/// from the clock ([`Behaviour::is_expired`]).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "state")]
pub enum LinkState {
    /// It redirects (unless it is expired).
    Active,
    /// It does not redirect, and can be reactivated.
    Deleted {
        /// When it was deleted.
        at: Timestamp,
    },
}

impl LinkState {
    /// `active` or `deleted`, as stores and callers write it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Deleted { .. } => "deleted",
        }
    }
}

/// The version of a link, counting from 1: each change adds one. It is the link's `ETag`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "i64", try_from = "i64")]
pub struct Generation(i64);

impl Generation {
    /// The generation of a new link.
    pub const FIRST: Self = Self(1);

    /// `None` below 1.
    pub fn new(number: i64) -> Option<Self> {
        (number >= 1).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> i64 {
        self.0
    }

    /// The generation after one more change.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.checked_add(1).expect("no link changes 2^63 times"))
    }
}

impl From<Generation> for i64 {
    fn from(generation: Generation) -> Self {
        generation.0
    }
}

impl TryFrom<i64> for Generation {
    type Error = InvalidGeneration;

    fn try_from(number: i64) -> Result<Self, Self::Error> {
        Self::new(number).ok_or(InvalidGeneration)
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Generations count from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a generation is at least 1")]
pub struct InvalidGeneration;

/// The namespace that links and API keys belong to: 1 to 64 characters of `a-z 0-9 _ -`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Owner(String);

impl Owner {
    /// Maximum number of characters of an owner.
    pub const MAX_LENGTH: usize = 64;

    /// The owner of the links that callers without a key claim.
    pub fn anonymous() -> Self {
        Self("anonymous".to_owned())
    }

    /// The owner as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// `default`, the owner of the first key.
impl Default for Owner {
    fn default() -> Self {
        Self("default".to_owned())
    }
}

impl FromStr for Owner {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_' || byte == b'-';
        if text.is_empty() {
            Err(InvalidText::Empty)
        } else if text.len() > Self::MAX_LENGTH {
            Err(InvalidText::TooLong { most: Self::MAX_LENGTH })
        } else if text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidText::NotPlain)
        }
    }
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Owner> for String {
    fn from(owner: Owner) -> Self {
        owner.0
    }
}

impl TryFrom<String> for Owner {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The title of a link: 1 to 200 characters, none of them a control character.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Title(String);

impl Title {
    /// Maximum number of characters of a title.
    pub const MAX_LENGTH: usize = 200;

    /// The title as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Title {
    type Err = InvalidText;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        check_text(text, Self::MAX_LENGTH)?;
        Ok(Self(text.to_owned()))
    }
}

impl From<Title> for String {
    fn from(title: Title) -> Self {
        title.0
    }
}

impl TryFrom<String> for Title {
    type Error = InvalidText;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The tags of a link: up to 20 different tags of 1 to 50 characters, kept in the given order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Tags(Vec<String>);

impl Tags {
    /// Maximum number of tags of a link.
    pub const MAX_COUNT: usize = 20;
    /// Maximum number of characters of a tag.
    pub const MAX_LENGTH: usize = 50;

    /// The tags, in the order they were given.
    pub fn as_slice(&self) -> &[String] {
        &self.0
    }

    /// Whether `text` could be a tag.
    pub fn check(text: &str) -> Result<(), InvalidText> {
        check_text(text, Self::MAX_LENGTH)
    }
}

impl From<Tags> for Vec<String> {
    fn from(tags: Tags) -> Self {
        tags.0
    }
}

/// A tag given twice counts once.
impl TryFrom<Vec<String>> for Tags {
    type Error = InvalidText;

    fn try_from(given: Vec<String>) -> Result<Self, Self::Error> {
        if given.len() > Self::MAX_COUNT {
            return Err(InvalidText::TooMany { most: Self::MAX_COUNT });
        }
        let mut tags = Vec::with_capacity(given.len());
        for tag in given {
            Self::check(&tag)?;
            if !tags.contains(&tag) {
                tags.push(tag);
            }
        }
        Ok(Self(tags))
    }
}

/// Checks a text that people wrote: 1 to `most` characters, none of them a control character.
pub(crate) fn check_text(text: &str, most: usize) -> Result<(), InvalidText> {
    if text.is_empty() {
        Err(InvalidText::Empty)
    } else if text.chars().count() > most {
        Err(InvalidText::TooLong { most })
    } else if text.chars().any(char::is_control) {
        Err(InvalidText::Character)
    } else {
        Ok(())
    }
}

/// Why a text may not be an owner, a title, a tag or a key's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// The text is empty.
    #[error("must not be empty")]
    Empty,
    /// More characters than allowed.
    #[error("must have at most {most} characters")]
    TooLong {
        /// The limit.
        most: usize,
    },
    /// More entries than allowed.
    #[error("must have at most {most} entries")]
    TooMany {
        /// The limit.
        most: usize,
    },
    /// A control character.
    #[error("must not contain control characters")]
    Character,
    /// A character that an owner may not contain.
    #[error("must consist of a-z, 0-9, _ and -")]
    NotPlain,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generations_count_from_one() {
        assert_eq!(Generation::new(0), None);
        assert_eq!(Generation::FIRST.next().get(), 2);
        assert_eq!(Generation::try_from(-1), Err(InvalidGeneration));
    }

    #[test]
    fn owners_are_plain_lower_case_names() {
        for good in ["default", "team-7_a", &"x".repeat(64)] {
            assert!(good.parse::<Owner>().is_ok(), "{good}");
        }
        for bad in ["", "Team", "a b", "a/b", "ä", &"x".repeat(65)] {
            assert!(bad.parse::<Owner>().is_err(), "{bad}");
        }
    }

    #[test]
    fn titles_and_tags_are_bounded_and_printable() {
        assert!("Ü ber — 🎉".parse::<Title>().is_ok());
        assert!("ü".repeat(200).parse::<Title>().is_ok());
        assert_eq!("ü".repeat(201).parse::<Title>(), Err(InvalidText::TooLong { most: 200 }));
        assert_eq!("a\0".parse::<Title>(), Err(InvalidText::Character));
        assert_eq!("".parse::<Title>(), Err(InvalidText::Empty));
        let many = (0..21).map(|n| n.to_string()).collect::<Vec<_>>();
        assert_eq!(Tags::try_from(many), Err(InvalidText::TooMany { most: 20 }));
        assert_eq!(Tags::try_from(vec!["x".repeat(51)]), Err(InvalidText::TooLong { most: 50 }));
    }

    #[test]
    fn a_tag_given_twice_counts_once() {
        let tags = Tags::try_from(vec!["b".to_owned(), "a".to_owned(), "b".to_owned()]).expect("valid");
        assert_eq!(tags.as_slice(), ["b", "a"]);
    }

    #[test]
    fn link_states_have_names_and_a_link_has_at_most_twenty_tags() {
        let at = Timestamp::from_unix_micros(0).expect("in range");
        assert_eq!([LinkState::Active, LinkState::Deleted { at }].map(LinkState::name), ["active", "deleted"]);
        let tags = |count: usize| Tags::try_from((0..count).map(|number| number.to_string()).collect::<Vec<_>>());
        assert!(tags(20).is_ok() && tags(21).is_err());
    }
}
