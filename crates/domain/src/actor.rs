//! Actors: who changed something.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::key_id::KeyId;

/// The originator of a change.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum Actor {
    /// The holder of an API key.
    ApiKey(KeyId),
    /// Signpost itself, or its operator at the command line.
    System,
    /// A caller without a key.
    Anonymous,
}

/// `api_key:<id>`, `system` or `anonymous`.
impl fmt::Display for Actor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ApiKey(id) => write!(f, "api_key:{id}"),
            Self::System => f.write_str("system"),
            Self::Anonymous => f.write_str("anonymous"),
        }
    }
}

impl FromStr for Actor {
    type Err = InvalidActor;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "system" => Ok(Self::System),
            "anonymous" => Ok(Self::Anonymous),
            other => {
                other.strip_prefix("api_key:").and_then(|id| id.parse().ok()).map(Self::ApiKey).ok_or(InvalidActor)
            }
        }
    }
}

impl From<Actor> for String {
    fn from(actor: Actor) -> Self {
        actor.to_string()
    }
}

impl TryFrom<String> for Actor {
    type Error = InvalidActor;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The text names no actor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an actor")]
pub struct InvalidActor;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_actor_parses_back_from_its_text() {
        let key = Actor::ApiKey("A".repeat(KeyId::LENGTH).parse().expect("valid"));
        for actor in [key, Actor::System, Actor::Anonymous] {
            assert_eq!(actor.to_string().parse(), Ok(actor));
        }
        assert_eq!("api_key:?".parse::<Actor>(), Err(InvalidActor));
    }
}
