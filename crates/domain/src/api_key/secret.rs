//! The whole key. It is drawn or derived, shown once, and stored only as a digest.

use std::{
    fmt,
    str::FromStr,
    sync::atomic::{AtomicU32, Ordering},
};

use hmac::{Hmac, Mac};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::{
    alphabet::{CODE_ALPHABET, draw_characters},
    entropy::Entropy,
    key_id::{KEY_PREFIX, KeyId, MalformedKey},
};

/// A whole key: `sgn_`, 12 characters of id, 30 of secret (175 random bits), 6 of checksum.
///
/// The checksum distinguishes a mistyped or truncated key from an unknown one without asking the store. Scanners of
/// leaked secrets can verify a find with it. `Debug` shows the id only.
#[derive(Clone, PartialEq, Eq)]
pub struct KeySecret(String);

impl KeySecret {
    const PREFIX: &str = KEY_PREFIX;
    const RANDOM: usize = KeyId::LENGTH + 30;
    const CHECKSUM: usize = 6;

    /// A new key from fresh randomness.
    pub fn draw(entropy: &dyn Entropy) -> Self {
        Self::from_random(&draw_characters(Self::RANDOM, entropy))
    }

    /// Derives a key from `parent` and `salt`. The same inputs always give the same key. A repeated request can
    /// therefore show its key again, although no store ever held it.
    pub fn derive(parent: &Self, salt: &[u8]) -> Self {
        let stream = DerivedBytes { parent, salt, block: AtomicU32::new(0) };
        Self::from_random(&draw_characters(Self::RANDOM, &stream))
    }

    fn from_random(random: &str) -> Self {
        Self(format!("{}{random}{}", Self::PREFIX, checksum(random)))
    }

    /// The public part.
    pub fn id(&self) -> KeyId {
        let start = Self::PREFIX.len();
        KeyId::of_plain(&self.0[start..start + KeyId::LENGTH])
    }

    /// The digest that a store keeps: SHA-256 of the whole key.
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

fn checksum(random: &str) -> String {
    let hash = Sha256::digest(random.as_bytes());
    let character = |byte: &u8| char::from(CODE_ALPHABET[usize::from(byte % 58)]);
    hash.iter().take(KeySecret::CHECKSUM).map(character).collect()
}

/// HMAC-SHA256 in counter mode (NIST SP 800-108), keyed by the parent key.
struct DerivedBytes<'a> {
    parent: &'a KeySecret,
    salt: &'a [u8],
    block: AtomicU32,
}

impl Entropy for DerivedBytes<'_> {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(32) {
            let block = self.block.fetch_add(1, Ordering::Relaxed);
            let mut mac =
                Hmac::<Sha256>::new_from_slice(self.parent.0.as_bytes()).expect("HMAC takes keys of any length");
            mac.update(b"signpost api key");
            mac.update(&block.to_be_bytes());
            mac.update(self.salt);
            chunk.copy_from_slice(&mac.finalize().into_bytes()[..chunk.len()]);
        }
    }
}

/// SHA-256 of a key: all that a store keeps of its secret.
#[derive(Clone, Copy, Debug)]
pub struct KeyDigest([u8; 32]);

impl KeyDigest {
    /// A digest as a store keeps it.
    pub fn from_stored(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether both are digests of the same key. The comparison takes constant time.
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

    #[test]
    fn a_key_parses_back_and_contains_its_id() {
        let secret = KeySecret::draw(&Fixed(3));
        assert_eq!(secret.expose().len(), 4 + 12 + 30 + 6);
        let read: KeySecret = secret.expose().parse().expect("valid");
        assert_eq!(read.id(), secret.id());
        assert_eq!(secret.id().as_str(), &secret.expose()[4..16]);
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
    fn a_stored_digest_matches_its_key_and_no_other() {
        let [one, other] = [1, 2].map(|byte| KeySecret::draw(&Fixed(byte)).digest());
        assert!(one.matches(&KeyDigest::from_stored(*one.as_bytes())));
        assert!(!one.matches(&other));
        assert_ne!(one.as_bytes(), other.as_bytes());
    }

    #[test]
    fn checksums_match_those_of_issued_keys() {
        assert_eq!(checksum("SSnBEMJK7Gb7abcdefghijkmnopqrstuvwxyz1234"), "SAUTbG");
    }
}
