//! Addresses: a short domain and a code, which is what a visitor types.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

use crate::code::{Code, InvalidCode};

/// The number of a short domain in its store. It is never given to another one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "u16", try_from = "u16")]
pub struct DomainId(u16);

impl DomainId {
    /// The default short domain. It exists in every store.
    pub const DEFAULT: Self = Self(0);
    /// The highest number. It fits in a `SMALLINT` of SQL.
    pub const MAX: u16 = i16::MAX.unsigned_abs();

    /// `None` above [`MAX`](Self::MAX).
    pub fn new(number: u16) -> Option<Self> {
        (number <= Self::MAX).then_some(Self(number))
    }

    /// The number.
    pub fn get(self) -> u16 {
        self.0
    }

    /// Whether it is the default short domain.
    pub fn is_default(self) -> bool {
        self == Self::DEFAULT
    }
}

impl From<DomainId> for u16 {
    fn from(id: DomainId) -> Self {
        id.0
    }
}

impl From<DomainId> for i16 {
    fn from(id: DomainId) -> Self {
        id.0.cast_signed()
    }
}

impl TryFrom<u16> for DomainId {
    type Error = InvalidDomainId;

    fn try_from(number: u16) -> Result<Self, Self::Error> {
        Self::new(number).ok_or(InvalidDomainId)
    }
}

impl TryFrom<i16> for DomainId {
    type Error = InvalidDomainId;

    fn try_from(number: i16) -> Result<Self, Self::Error> {
        u16::try_from(number).map_or(Err(InvalidDomainId), Self::try_from)
    }
}

impl fmt::Display for DomainId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A number that no short domain can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the number of a short domain is 0 to {}", DomainId::MAX)]
pub struct InvalidDomainId;

/// Where a link lives: a code is unique within its short domain.
///
/// As text it is `h7RkQ2mX` on the default short domain, and `7/h7RkQ2mX` on number 7. Stores, caches and notifications
/// use this text as the key of a link.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Address {
    /// The short domain.
    pub domain: DomainId,
    /// The code.
    pub code: Code,
}

impl Address {
    /// The address of `code` on `domain`.
    pub fn new(domain: DomainId, code: Code) -> Self {
        Self { domain, code }
    }
}

/// The address on the default short domain.
impl From<Code> for Address {
    fn from(code: Code) -> Self {
        Self { domain: DomainId::DEFAULT, code }
    }
}

/// Reads the text of a stored address. As [`Code::from_stored`], it does not apply the rules for new codes.
impl FromStr for Address {
    type Err = InvalidAddress;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (domain, code) = match text.split_once('/') {
            None => (DomainId::DEFAULT, text),
            Some((number, code)) => {
                // Each address has one text only: `0/a`, `07/a` and `+7/a` are none.
                let domain = number.parse().ok().and_then(DomainId::new).ok_or(InvalidDomainId)?;
                if domain.is_default() || !number.starts_with(|first: char| matches!(first, '1'..='9')) {
                    return Err(InvalidDomainId.into());
                }
                (domain, code)
            }
        };
        Ok(Self { domain, code: Code::from_stored(code)? })
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.domain.is_default() { self.code.fmt(f) } else { write!(f, "{}/{}", self.domain, self.code) }
    }
}

impl From<Address> for String {
    fn from(address: Address) -> Self {
        if address.domain.is_default() { address.code.into() } else { address.to_string() }
    }
}

impl TryFrom<String> for Address {
    type Error = InvalidAddress;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The text of an address as a store has it, whether it can be read or not.
pub fn text_of(domain: i16, code: &str) -> String {
    if domain == 0 { code.to_owned() } else { format!("{domain}/{code}") }
}

/// The short domain and the code of a text that [`text_of`] made.
pub fn parts_of(text: &str) -> (i16, &str) {
    let parts = text.split_once('/').and_then(|(domain, code)| Some((domain.parse().ok()?, code)));
    parts.unwrap_or((0, text))
}

/// Why a text is no address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidAddress {
    /// No short domain can have that number.
    #[error(transparent)]
    Domain(#[from] InvalidDomainId),
    /// The code is invalid.
    #[error(transparent)]
    Code(#[from] InvalidCode),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_read_as_it_is_written() {
        for text in ["h7RkQ2mX", "1/a", "32767/readyz", "7/a.b"] {
            assert_eq!(text.parse::<Address>().expect(text).to_string(), text);
        }
        assert_eq!("a".parse(), Ok(Address::from("a".parse::<Code>().expect("a code"))));
    }

    #[test]
    fn an_address_has_one_text_only() {
        for bad in ["0/a", "07/a", "+7/a", "-1/a", "32768/a", "65536/a", "/a", "x/a"] {
            assert_eq!(bad.parse::<Address>(), Err(InvalidDomainId.into()), "{bad}");
        }
        for bad in ["", "7/", "7/a/b", "7/a b"] {
            assert!(matches!(bad.parse::<Address>(), Err(InvalidAddress::Code(_))), "{bad}");
        }
    }

    #[test]
    fn the_text_of_a_stored_address_has_two_parts() {
        for (domain, code) in [(0, "a"), (7, "a.b"), (-7, "unreadable")] {
            assert_eq!(parts_of(&text_of(domain, code)), (domain, code));
        }
        assert_eq!(text_of(7, "a"), "7/a".parse::<Address>().expect("valid").to_string());
    }

    #[test]
    fn stored_numbers_of_short_domains_are_checked() {
        assert_eq!(DomainId::try_from(-1_i16), Err(InvalidDomainId));
        assert_eq!(DomainId::try_from(DomainId::MAX + 1), Err(InvalidDomainId));
        assert_eq!(DomainId::try_from(i16::MAX).map(i16::from), Ok(i16::MAX));
    }
}
