//! Cursors: where a list goes on, opaque and tamper-evident.
//!
//! A cursor is its place and a MAC over the place, the list and its filters, keyed by the caller's own key:
//! it works only unchanged, for the same caller and the same question, on every process, and needs no secret
//! of the server's.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use domain::api_key::KeyDigest;
use hmac::{Hmac, Mac};
use sha2::Sha256;

use crate::problem::{Problem, ProblemKind};

/// Bytes of the MAC that are kept.
const MAC_LENGTH: usize = 16;

/// The list a cursor belongs to, for one caller.
pub(crate) struct CursorScope<'a> {
    /// Keys the MAC.
    pub(crate) caller: &'a KeyDigest,
    /// Names the list and its filters.
    pub(crate) question: String,
}

impl CursorScope<'_> {
    /// The text that stands for `place`.
    pub(crate) fn seal(&self, place: &[u8]) -> String {
        let mut bytes = place.to_vec();
        bytes.extend_from_slice(&self.mac(place).finalize().into_bytes()[..MAC_LENGTH]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The place that `text` stands for.
    pub(crate) fn open(&self, text: &str) -> Result<Vec<u8>, Problem> {
        let invalid = || Problem::new(ProblemKind::InvalidCursor);
        let bytes = URL_SAFE_NO_PAD.decode(text).map_err(|_| invalid())?;
        let split = bytes.len().checked_sub(MAC_LENGTH).ok_or_else(invalid)?;
        let (place, mac) = bytes.split_at(split);
        self.mac(place).verify_truncated_left(mac).map_err(|_| invalid())?;
        Ok(place.to_vec())
    }

    fn mac(&self, place: &[u8]) -> Hmac<Sha256> {
        let mut mac = Hmac::<Sha256>::new_from_slice(self.caller.as_bytes()).expect("HMAC takes keys of any length");
        for part in [self.question.as_bytes(), place] {
            mac.update(&(part.len() as u64).to_be_bytes());
            mac.update(part);
        }
        mac
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_unchanged_for_the_same_caller_and_question() {
        let (own, other) = (KeyDigest::from_stored([1; 32]), KeyDigest::from_stored([2; 32]));
        let scope = |caller, question: &str| CursorScope { caller, question: question.to_owned() };
        let cursor = scope(&own, "links").seal(b"place");
        assert_eq!(scope(&own, "links").open(&cursor).ok().as_deref(), Some(&b"place"[..]));
        assert!(scope(&other, "links").open(&cursor).is_err());
        assert!(scope(&own, "keys").open(&cursor).is_err());
        for position in 0..cursor.len() {
            let mut changed = cursor.clone();
            let replacement = if cursor.as_bytes()[position] == b'A' { "B" } else { "A" };
            changed.replace_range(position..=position, replacement);
            assert!(scope(&own, "links").open(&changed).is_err(), "{position}");
        }
        for text in ["", "é", "AAAA", "===="] {
            assert!(scope(&own, "links").open(text).is_err(), "{text}");
        }
    }
}
