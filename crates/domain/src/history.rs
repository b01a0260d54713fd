//! History: who changed a link, how and when. There is one entry per change. Entries are never edited.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::{actor::Actor, link::Generation, time::Timestamp};

/// One change of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkEvent {
    /// What happened.
    pub kind: EventKind,
    /// The generation after the change. A link has exactly one event per generation.
    pub generation: Generation,
    /// Who did it, when, in which request.
    pub provenance: Provenance,
}

/// What can happen to a link.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKind {
    /// First claimed.
    Created,
    /// Edited.
    Edited,
    /// Deleted.
    Deleted,
    /// Brought back after a deletion.
    Reactivated,
}

impl EventKind {
    /// Every one of them.
    pub const ALL: [Self; 4] = [Self::Created, Self::Edited, Self::Deleted, Self::Reactivated];

    /// The name stores and callers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Edited => "edited",
            Self::Deleted => "deleted",
            Self::Reactivated => "reactivated",
        }
    }

    /// The kind with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

/// Who did something, when, in which request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Provenance {
    /// Who.
    pub actor: Actor,
    /// In which request.
    pub request_id: RequestId,
    /// When.
    pub at: Timestamp,
}

/// The id of one request: 1 to 64 characters of `A-Z a-z 0-9 . _ -`.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct RequestId(String);

impl RequestId {
    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RequestId {
    type Err = InvalidRequestId;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        if (1..=64).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidRequestId)
        }
    }
}

impl From<uuid::Uuid> for RequestId {
    fn from(id: uuid::Uuid) -> Self {
        Self(id.to_string())
    }
}

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<RequestId> for String {
    fn from(id: RequestId) -> Self {
        id.0
    }
}

impl TryFrom<String> for RequestId {
    type Error = InvalidRequestId;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The text is no request id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a request id has 1 to 64 characters of A-Z a-z 0-9 . _ -")]
pub struct InvalidRequestId;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_kind_parses_back_from_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::from_name(kind.name()), Some(kind));
        }
        assert_eq!(EventKind::from_name("expired"), None);
    }

    #[test]
    fn request_ids_are_short_and_plain() {
        assert!("0198c5b2-a.b_C".parse::<RequestId>().is_ok());
        for bad in ["", "a b", "a\n", "ü", &"x".repeat(65)] {
            assert_eq!(bad.parse::<RequestId>(), Err(InvalidRequestId), "{bad:?}");
        }
    }
}
