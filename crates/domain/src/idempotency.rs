//! Idempotency: a request sent twice with one `Idempotency-Key` has one effect and one answer.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{actor::Actor, lifecycle::Claim, link::Link, time::Timestamp};

/// How long an idempotency record is kept, in seconds: 24 hours.
pub const IDEMPOTENCY_WINDOW_SECONDS: i64 = 24 * 60 * 60;

/// A request that must not have its effect twice.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotentRequest {
    /// The caller. Two callers may use the same key for different requests.
    pub actor: Actor,
    /// The idempotency key that the caller sent.
    pub key: IdempotencyKey,
    /// Distinguishes this request from a different one under the same key.
    pub fingerprint: Fingerprint,
    /// When it was sent. Idempotency records that are [`IDEMPOTENCY_WINDOW_SECONDS`] older than this have expired.
    pub at: Timestamp,
    /// The errors of the parts that were rejected before any claim was tried, as the adapter wrote them. They belong to
    /// the idempotency record: the rules may change, but the answer to a repeated request must not.
    pub refusals: Option<String>,
}

impl IdempotentRequest {
    /// Idempotency records from this moment or earlier have expired.
    pub fn forgotten_before(&self) -> Timestamp {
        self.at.plus_seconds(-IDEMPOTENCY_WINDOW_SECONDS).unwrap_or(self.at)
    }

    /// The idempotency record to keep if the request leads to these claims.
    pub fn answered_by(&self, claims: Vec<Claim>) -> IdempotencyRecord {
        match self.refusals.clone() {
            None => IdempotencyRecord::Claims(claims),
            Some(refusals) => IdempotencyRecord::PartlyRefused { claims, refusals },
        }
    }
}

/// The `Idempotency-Key` of a request: 1 to 255 visible ASCII characters.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct IdempotencyKey(String);

impl IdempotencyKey {
    /// The key as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl IdempotencyKey {
    /// The key for a caller of whom only `scope` is known. It is a SHA-256 hash: it differs for each scope and shows
    /// neither the caller's key nor the scope.
    #[must_use]
    pub fn within(&self, scope: &[u8]) -> Self {
        use fmt::Write;
        let mut hash = Sha256::new();
        hash.update((scope.len() as u64).to_be_bytes());
        hash.update(scope);
        hash.update(self.0.as_bytes());
        let mut text = String::with_capacity(64);
        for byte in hash.finalize() {
            write!(text, "{byte:02x}").expect("writing to a string cannot fail");
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

/// SHA-256 over the method, path and body of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Fingerprint([u8; 32]);

impl Fingerprint {
    /// The fingerprint of a request.
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

/// The idempotency record of a request. A store writes it in the same transaction as the effect.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum IdempotencyRecord {
    /// Claims, in the order of the request.
    Claims(Vec<Claim>),
    /// Claims of a request of which other parts were rejected before any claim was tried.
    PartlyRefused {
        /// The claims of the parts that were not rejected, in the order of the request.
        claims: Vec<Claim>,
        /// See [`IdempotentRequest::refusals`].
        refusals: String,
    },
    /// A change of one link, such as a reactivation: the link as it was answered then.
    Link(Link),
    /// A new API key, and the salt to derive it again from the caller's own key.
    ApiKey {
        /// The key, without its secret.
        key: crate::api_key::ApiKey,
        /// See [`KeySecret::derive`](crate::api_key::KeySecret::derive).
        salt: [u8; 16],
    },
    /// A new short domain.
    Domain(crate::short_domain::ShortDomain),
    /// A block.
    Block {
        /// The block that was placed, or that was in force already.
        block: crate::block::Block,
        /// Whether this request placed it.
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
    fn a_key_differs_per_scope_and_shows_neither_key_nor_scope() {
        let key: IdempotencyKey = "order-7".parse().expect("valid");
        let (here, there) = (key.within(b"203.0.113.7"), key.within(b"203.0.113.8"));
        assert_eq!(here, key.within(b"203.0.113.7"));
        assert!(here != there && here != key);
        assert!(!here.as_str().contains("order") && !here.as_str().contains("203"));
        assert_eq!(here.as_str().parse(), Ok(here));
    }

    #[test]
    fn fingerprints_depend_on_where_the_path_ends() {
        assert_eq!(Fingerprint::of("POST", "/a", b"b"), Fingerprint::of("POST", "/a", b"b"));
        assert_ne!(Fingerprint::of("POST", "/a", b"b"), Fingerprint::of("POST", "/ab", b""));
    }

    #[test]
    fn an_idempotency_record_is_kept_for_24_hours() {
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
    fn fingerprint_bytes_are_stable_and_distinct() {
        let of = |body: &[u8]| Fingerprint::of("POST", "/", body);
        assert_ne!(of(b"a").as_bytes(), of(b"b").as_bytes());
        assert_eq!(of(b"a").as_bytes(), of(b"a").as_bytes());
    }
}
