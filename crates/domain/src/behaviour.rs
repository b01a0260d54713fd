//! Behaviour: everything that decides what following a link does, and the dedup key. Links that behave the same have
//! the same dedup key.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::{target::Target, time::Timestamp};

/// Everything that decides what following a link does.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Behaviour {
    /// Where it leads.
    pub target: Target,
    /// Which redirect it answers with.
    pub redirect: RedirectStatus,
    /// Whether the query of the request is added to the target's.
    pub forward_query: bool,
    /// From this moment on, the link answers 410.
    pub expires_at: Option<Timestamp>,
}

impl Behaviour {
    /// A temporary redirect to `target` that never expires.
    pub fn to(target: Target) -> Self {
        Self { target, redirect: RedirectStatus::default(), forward_query: false, expires_at: None }
    }

    /// Whether releases before 0.1 computed a different key: they decoded percent-escapes in the fragment too. Stores
    /// recompute these keys at the upgrade.
    pub fn has_escapes_in_fragment(&self) -> bool {
        self.target.as_str().split_once('#').is_some_and(|(_, fragment)| fragment.contains('%'))
    }

    /// Whether the link has expired at `now`.
    pub fn is_expired(&self, now: Timestamp) -> bool {
        self.expires_at.is_some_and(|expiry| expiry <= now)
    }

    /// The key shared by all behaviours equal to this one.
    pub fn dedup_key(&self) -> DedupKey {
        DedupKey::of(self)
    }
}

/// The HTTP status of a redirect (RFC 9110 §15.4).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub enum RedirectStatus {
    /// 301
    MovedPermanently,
    /// 302
    #[default]
    Found,
    /// 307
    TemporaryRedirect,
    /// 308
    PermanentRedirect,
}

impl RedirectStatus {
    /// Every one of them, in rising order.
    pub const ALL: [Self; 4] = [Self::MovedPermanently, Self::Found, Self::TemporaryRedirect, Self::PermanentRedirect];

    /// The status code.
    pub fn as_u16(self) -> u16 {
        match self {
            Self::MovedPermanently => 301,
            Self::Found => 302,
            Self::TemporaryRedirect => 307,
            Self::PermanentRedirect => 308,
        }
    }
}

impl From<RedirectStatus> for u16 {
    fn from(status: RedirectStatus) -> Self {
        status.as_u16()
    }
}

impl TryFrom<u16> for RedirectStatus {
    type Error = InvalidRedirectStatus;

    fn try_from(status: u16) -> Result<Self, Self::Error> {
        Self::ALL.into_iter().find(|known| known.as_u16() == status).ok_or(InvalidRedirectStatus)
    }
}

/// Not one of the statuses a link may answer with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be 301, 302, 307 or 308")]
pub struct InvalidRedirectStatus;

/// SHA-256 over everything that decides how a link behaves: two links with the same key are the same link. Title and
/// tags are not included.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DedupKey([u8; 32]);

impl DedupKey {
    /// Raise it when the meaning of the key changes: old keys then match no new claim.
    const RULES_VERSION: u8 = 1;

    fn of(behaviour: &Behaviour) -> Self {
        let canonical = canonical_form(behaviour.target.as_str());
        let mut hash = Sha256::new();
        hash.update([Self::RULES_VERSION]);
        hash.update((canonical.len() as u64).to_be_bytes());
        hash.update(canonical.as_bytes());
        hash.update(behaviour.redirect.as_u16().to_be_bytes());
        match behaviour.expires_at {
            None => hash.update([0]),
            Some(expiry) => {
                hash.update([1]);
                hash.update(expiry.unix_micros().to_be_bytes());
            }
        }
        hash.update([u8::from(behaviour.forward_query)]);
        Self(hash.finalize().into())
    }

    /// The 32 bytes, as stores keep them.
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

/// The target with percent-encodings in one spelling: hex digits in upper case, unreserved characters (RFC 3986 §2.3)
/// decoded. Slashes, `www.` and the query order stay as they are. So does the fragment, because scripts read it as it
/// is written.
fn canonical_form(target: &str) -> String {
    let (mut rest, fragment) = target.split_at(target.find('#').unwrap_or(target.len()));
    let mut canonical = String::with_capacity(target.len());
    while let Some(at) = rest.find('%') {
        canonical.push_str(&rest[..at]);
        rest = &rest[at..];
        let Some(byte) = percent_encoded_byte(rest) else {
            canonical.push('%');
            rest = &rest[1..];
            continue;
        };
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            canonical.push(char::from(byte));
        } else {
            canonical.push_str(&rest[..3].to_ascii_uppercase());
        }
        rest = &rest[3..];
    }
    canonical.push_str(rest);
    canonical.push_str(fragment);
    canonical
}

fn percent_encoded_byte(text: &str) -> Option<u8> {
    let hex = text.get(1..3)?;
    let all_hex = hex.bytes().all(|byte| byte.is_ascii_hexdigit());
    all_hex.then(|| u8::from_str_radix(hex, 16).expect("two hex digits"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::target::TargetPolicy;

    fn behaviour(url: &str) -> Behaviour {
        Behaviour::to(Target::parse(url, &TargetPolicy::default()).expect("valid"))
    }

    #[test]
    fn spellings_of_one_url_share_a_key() {
        for (one, other) in [
            ("https://example.com", "https://EXAMPLE.com:443/"),
            ("https://example.com/%7euser", "https://example.com/~user"),
            ("https://example.com/%c3%bc", "https://example.com/%C3%BC"),
            ("https://example.com/?a=%41", "https://example.com/?a=A"),
            ("https://example.com/%41?%42#%43", "https://example.com/A?B#%43"),
        ] {
            assert_eq!(behaviour(one).dedup_key(), behaviour(other).dedup_key(), "{one}");
        }
    }

    #[test]
    fn urls_that_may_differ_have_different_keys() {
        for (one, other) in [
            ("https://example.com/a", "https://example.com/a/"),
            ("https://example.com/", "https://www.example.com/"),
            ("https://example.com/", "http://example.com/"),
            ("https://example.com/?a=1&b=2", "https://example.com/?b=2&a=1"),
            ("https://example.com/#a", "https://example.com/"),
            ("https://example.com/a%2Fb", "https://example.com/a/b"),
            ("https://example.com/#%41", "https://example.com/#A"),
            ("https://example.com/#%c3%bc", "https://example.com/#%C3%BC"),
            ("https://example.com/#a?b=%7e#%41", "https://example.com/#a?b=~#A"),
            ("https://example.com/%25", "https://example.com/%"),
            ("https://example.com/%2541", "https://example.com/A"),
        ] {
            assert_ne!(behaviour(one).dedup_key(), behaviour(other).dedup_key(), "{one}");
        }
    }

    #[test]
    fn everything_that_changes_behaviour_changes_the_key() {
        let plain = behaviour("https://example.com/");
        let expiring = |micros| Behaviour { expires_at: Timestamp::from_unix_micros(micros), ..plain.clone() };
        let variants = [
            plain.clone(),
            Behaviour { redirect: RedirectStatus::MovedPermanently, ..plain.clone() },
            Behaviour { forward_query: true, ..plain.clone() },
            expiring(0),
            expiring(1),
        ];
        let keys: std::collections::BTreeSet<_> = variants.iter().map(Behaviour::dedup_key).collect();
        assert_eq!(keys.len(), variants.len());
    }

    #[test]
    fn only_four_statuses_redirect() {
        for status in RedirectStatus::ALL {
            assert_eq!(RedirectStatus::try_from(status.as_u16()), Ok(status));
        }
        assert_eq!(RedirectStatus::try_from(303), Err(InvalidRedirectStatus));
    }

    #[test]
    fn a_link_is_expired_from_its_expiry_time_on() {
        let at = Timestamp::from_unix_micros(10).expect("in range");
        let link = Behaviour { expires_at: Some(at), ..behaviour("https://example.com/") };
        assert!(!link.is_expired(Timestamp::from_unix_micros(9).expect("in range")));
        assert!(link.is_expired(at));
    }

    #[test]
    fn percent_escapes_in_the_fragment_are_detected() {
        for (url, told) in [("#%41", true), ("?a=%41#b", false), ("%41", false), ("#a", false), ("#a#%", true)] {
            assert_eq!(behaviour(&format!("https://example.com/{url}")).has_escapes_in_fragment(), told, "{url}");
        }
    }

    #[test]
    fn dedup_key_bytes_are_stable_and_distinct() {
        let keys = ["https://example.com/a", "https://example.com/b"].map(|url| behaviour(url).dedup_key());
        assert_ne!(keys[0].as_bytes(), keys[1].as_bytes());
        assert_eq!(keys[0].as_bytes(), behaviour("https://example.com/a").dedup_key().as_bytes());
    }
}
