//! The public part of an API key. History and logs identify the key by it.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::alphabet::CODE_ALPHABET;

/// The prefix of every key, so that a key is recognised wherever it appears.
pub const KEY_PREFIX: &str = "sgn_";

/// The public part of a key: 12 characters, safe to log.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct KeyId(String);

impl KeyId {
    /// Number of characters of an id.
    pub const LENGTH: usize = 12;

    /// An id that was cut from a valid key. It is not checked again.
    pub(crate) fn of_plain(text: &str) -> Self {
        Self(text.to_owned())
    }

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

/// The text is no API key: wrong prefix, length, characters or checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an API key")]
pub struct MalformedKey;
