//! Idempotency: a request sent twice with one `Idempotency-Key` has one effect and one answer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{actor::Actor, lifecycle::Claim, link::Link, time::Timestamp};

/// For how long an answer is kept, in seconds: 24 hours.
pub const IDEMPOTENCY_WINDOW_SECONDS: i64 = 24 * 60 * 60;

/// A request that must not have its effect twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentRequest {
    /// Whose key it is: two callers may use the same key for different things.
    pub actor: Actor,
    /// What the caller named the request.
    pub key: IdempotencyKey,
    /// Tells the same request from another one under the same key.
    pub fingerprint: Fingerprint,
    /// When it was sent. Answers [`IDEMPOTENCY_WINDOW_SECONDS`] older than this are forgotten.
    pub at: Timestamp,
    /// What is told of its parts that were refused before anything was tried, in the words of the adapter that refused
    /// them. It belongs to the answer: rules change, and the answer must not.
    pub refusals: Option<String>,
}

impl IdempotentRequest {
    /// Answers recorded at this moment or earlier are forgotten.
    pub fn forgotten_before(&self) -> Timestamp {
        self.at.plus_seconds(-IDEMPOTENCY_WINDOW_SECONDS).unwrap_or(self.at)
    }

    /// What is recorded if it leads to these claims.
    pub fn answered_by(&self, claims: Vec<Claim>) -> RecordedAnswer {
        match self.refusals.clone() {
            None => RecordedAnswer::Claims(claims),
            Some(refusals) => RecordedAnswer::PartlyRefused { claims, refusals },
        }
    }
}

/// What a caller named a request: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IdempotencyKey {
    /// The same word by a caller of whom nothing is known but `scope`: another key for each scope, from which neither
    /// can be read.
    #[must_use]
    pub fn within(&self, scope: &[u8]) -> Self {
        use fmt::Write;
        let mut hash = Sha256::new();
        hash.update((scope.len() as u64).to_be_bytes());
        hash.update(scope);
        hash.update(self.0.as_bytes());
        let mut text = String::with_capacity(64);
        for byte in hash.finalize() {
            write!(text, "{byte:02x}").expect("a text has room");
        }
        Self(text)
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidIdempotencyKey;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if (1..=255).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic()) {
            Ok(Self(text.to_owned()))
        } else {
            Err(InvalidIdempotencyKey)
        }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The text is no idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must have 1 to 255 visible ASCII characters")]
pub struct InvalidIdempotencyKey;

/// SHA-256 over what makes a request itself: method, path and body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// Of a request.
    pub fn of(method: &str, path: &str, body: &[u8]) -> Self {
        let mut hash = Sha256::new();
        for part in [method.as_bytes(), path.as_bytes(), body] {
            hash.update((part.len() as u64).to_be_bytes());
            hash.update(part);
        }
        Self(hash.finalize().into())
    }

    /// The 32 bytes, as stores keep them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// What a store keeps of an answered request, in the same transaction as the effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RecordedAnswer {
    /// Of claims, in the order they were asked for.
    Claims(Vec<Claim>),
    /// Of claims beside which others were refused before anything was tried.
    PartlyRefused {
        /// The others, in the order they were asked for.
        claims: Vec<Claim>,
        /// See [`IdempotentRequest::refusals`].
        refusals: String,
    },
    /// Of a reactivation: the link as it was then.
    Link(Link),
    /// Of a new API key: its id, and the salt from which the caller's own key leads to it again.
    ApiKey {
        /// What is known of the key.
        key: crate::api_key::ApiKey,
        /// See [`KeySecret::derive`](crate::api_key::KeySecret::derive).
        salt: [u8; 16],
    },
    /// Of a block.
    Block {
        /// The one that was placed, or was in force.
        block: crate::block::Block,
        /// Whether it was placed.
        added: bool,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn idempotency_keys_are_visible_ascii() {
        assert!("8e03978e-40d5".parse::<IdempotencyKey>().is_ok());
        for bad in ["", "a b", "é", "a\n", &"x".repeat(256)] {
            assert_eq!(bad.parse::<IdempotencyKey>(), Err(InvalidIdempotencyKey), "{bad:?}");
        }
    }

    #[test]
    fn one_word_is_another_key_in_each_scope_and_shows_neither() {
        let key: IdempotencyKey = "order-7".parse().expect("valid");
        let (here, there) = (key.within(b"203.0.113.7"), key.within(b"203.0.113.8"));
        assert_eq!(here, key.within(b"203.0.113.7"));
        assert!(here != there && here != key);
        assert!(!here.as_str().contains("order") && !here.as_str().contains("203"));
        assert_eq!(here.as_str().parse(), Ok(here));
    }

    #[test]
    fn fingerprints_tell_where_one_part_ends() {
        assert_eq!(Fingerprint::of("POST", "/a", b"b"), Fingerprint::of("POST", "/a", b"b"));
        assert_ne!(Fingerprint::of("POST", "/a", b"b"), Fingerprint::of("POST", "/ab", b""));
    }

    #[test]
    fn an_answer_is_kept_for_a_day() {
        assert_eq!(IDEMPOTENCY_WINDOW_SECONDS, 86_400);
        let request = IdempotentRequest {
            actor: Actor::System,
            key: "key".parse().expect("visible"),
            fingerprint: Fingerprint::of("POST", "/", b""),
            refusals: None,
            at: Timestamp::from_unix_micros(200_000_000_000).expect("in range"),
        };
        assert_eq!(request.forgotten_before().unix_micros(), 113_600_000_000);
    }

    #[test]
    fn a_fingerprint_is_kept_as_it_is() {
        let of = |body: &[u8]| Fingerprint::of("POST", "/", body);
        assert_ne!(of(b"a").as_bytes(), of(b"b").as_bytes());
        assert_eq!(of(b"a").as_bytes(), of(b"a").as_bytes());
    }
}
