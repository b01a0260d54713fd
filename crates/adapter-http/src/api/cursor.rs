//! Cursors: where a list continues, opaque and tamper-evident.
//!
//! A cursor is a position and a MAC over the position, the list and its filters, keyed by the caller's own key. It
//! works only unchanged, for the same caller and the same query, in every process. It needs no secret of the server.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::{
    api_key::KeyDigest,
    link::Generation,
    ports::{BlockPosition, KeyPosition, Position},
    time::Timestamp,
};
use hmac::{Hmac, Mac};
use sha2::Sha256;
use uuid::Uuid;

use crate::problem::{Problem, ProblemKind};

/// Bytes of the MAC that are kept.
const MAC_LENGTH: usize = 16;

/// The list a cursor belongs to, for one caller.
pub(crate) struct CursorScope {
    /// Keys the MAC.
    pub(crate) caller: KeyDigest,
    /// Names the list and its filters.
    pub(crate) question: String,
}

impl CursorScope {
    /// The text that stands for `position`.
    pub(crate) fn seal(&self, position: &impl CursorPosition) -> String {
        let mut bytes = position.to_bytes();
        let mac = self.mac(&bytes);
        bytes.extend_from_slice(&mac.finalize().into_bytes()[..MAC_LENGTH]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The position that `text` stands for.
    pub(crate) fn open<P: CursorPosition>(&self, text: &str) -> Result<P, Problem> {
        let invalid = || Problem::new(ProblemKind::InvalidCursor);
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let split = bytes.len().checked_sub(MAC_LENGTH).ok_or_else(invalid)?;
        let (position, mac) = bytes.split_at(split);
        self.mac(position).verify_truncated_left(mac).map_err(|_| invalid())?;
        P::from_bytes(position).ok_or_else(invalid)
    }

    fn mac(&self, position: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.caller.as_bytes()).expect("HMAC takes keys of any length");
        for part in [self.question.as_bytes(), position] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

/// The position where a list continues.
pub(crate) trait CursorPosition: Sized {
    fn to_bytes(&self) -> Vec<u8>;
    fn from_bytes(bytes: &[u8]) -> Option<Self>;
}

impl CursorPosition for Position {
    fn to_bytes(&self) -> Vec<u8> {
        entry(self.created_at, self.id.as_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (created_at, id) = moment_and_id(bytes)?;
        Some(Self { created_at, id: Uuid::from_slice(id).ok()? })
    }
}

impl CursorPosition for BlockPosition {
    fn to_bytes(&self) -> Vec<u8> {
        entry(self.created_at, self.id.as_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (created_at, id) = moment_and_id(bytes)?;
        Some(Self { created_at, id: Uuid::from_slice(id).ok()? })
    }
}

impl CursorPosition for KeyPosition {
    fn to_bytes(&self) -> Vec<u8> {
        entry(self.created_at, self.id.as_str().as_bytes())
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (created_at, id) = moment_and_id(bytes)?;
        Some(Self { created_at, id: std::str::from_utf8(id).ok()?.parse().ok()? })
    }
}

impl CursorPosition for Generation {
    fn to_bytes(&self) -> Vec<u8> {
        self.get().to_be_bytes().to_vec()
    }

    fn from_bytes(bytes: &[u8]) -> Option<Self> {
        bytes.try_into().ok().map(i64::from_be_bytes).and_then(Self::new)
    }
}

fn entry(created_at: Timestamp, id: &[u8]) -> Vec<u8> {
    [&created_at.unix_micros().to_be_bytes(), id].concat()
}

fn moment_and_id(bytes: &[u8]) -> Option<(Timestamp, &[u8])> {
    let (micros, id) = bytes.split_first_chunk::<8>()?;
    Some((Timestamp::from_unix_micros(i64::from_be_bytes(*micros))?, id))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_unchanged_for_the_same_caller_and_question() {
        let (own, other) = (KeyDigest::from_stored([1; 32]), KeyDigest::from_stored([2; 32]));
        let scope = |caller: &KeyDigest, question: &str| CursorScope { caller: *caller, question: question.to_owned() };
        let open = |scope: CursorScope, text: &str| scope.open::<Generation>(text);
        let cursor = scope(&own, "links").seal(&Generation::FIRST);
        assert_eq!(open(scope(&own, "links"), &cursor).ok(), Some(Generation::FIRST));
        assert!(open(scope(&other, "links"), &cursor).is_err());
        assert!(open(scope(&own, "keys"), &cursor).is_err());
        for position in 0..cursor.len() {
            let mut changed = cursor.clone();
            let replacement = if cursor.as_bytes()[position] == b'A' { "B" } else { "A" };
            changed.replace_range(position..=position, replacement);
            assert!(open(scope(&own, "links"), &changed).is_err(), "{position}");
        }
        for text in ["", "é", "AAAA", "===="] {
            assert!(open(scope(&own, "links"), text).is_err(), "{text}");
        }
    }
}
