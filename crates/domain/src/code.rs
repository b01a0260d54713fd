//! Codes: the path segment that names a link, generated or chosen.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

pub use crate::alphabet::CODE_ALPHABET;
use crate::{alphabet::draw_characters, entropy::Entropy, key_id::KEY_PREFIX};

/// The path segment that names a link. Case-sensitive, 1 to 64 characters of `A-Z a-z 0-9 _ -`, with single dots
/// between them.
///
/// A code belongs to one link permanently, even after that link is deleted.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Code(Box<str>);

impl Code {
    /// Maximum number of characters of a code.
    pub const MAX_LENGTH: usize = 64;

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Reads a stored code. It does not apply the rules for new codes: those may become stricter, and existing codes
    /// stay valid, even if they are reserved words now.
    pub fn from_stored(text: &str) -> Result<Self, InvalidCode> {
        if !(1..=Self::MAX_LENGTH).contains(&text.len()) {
            return Err(InvalidCode::Length);
        }
        if !text.bytes().all(|byte| is_code_byte(byte) || byte == b'.') {
            return Err(InvalidCode::Character);
        }
        Ok(Self(text.into()))
    }

    /// Parses a code that a caller chose. It rejects reserved words, text that begins like an API key, and text that
    /// ends like the address of a QR code.
    pub fn parse_alias(text: &str) -> Result<Self, InvalidCode> {
        let code = text.parse()?;
        if is_reserved(text) {
            Err(InvalidCode::Reserved)
        } else if text.starts_with(KEY_PREFIX) {
            Err(InvalidCode::Key)
        } else if text.ends_with(PICTURE) {
            Err(InvalidCode::Picture)
        } else {
            Ok(code)
        }
    }

    /// The code at the beginning of a pasted text. It cuts the text at the first character that ends an address or
    /// begins its query. Then it drops trailing characters with which no code can end.
    pub fn from_pasted(text: &str) -> Result<Self, InvalidCode> {
        // A trailing `+` asks for a preview. It is kept, so that parsing fails and the link is not followed.
        let is_last = |character: char| character == '+' || (character.is_ascii() && is_code_byte(character as u8));
        Self::address_in(text).trim_end_matches(|character| !is_last(character)).parse()
    }

    /// The part of a pasted text before the first character that ends an address or begins its query.
    pub fn address_in(text: &str) -> &str {
        text.split(['&', '?', '#', '<', '>', '"', '|', ']', ';']).next().unwrap_or(text)
    }
}

impl FromStr for Code {
    type Err = InvalidCode;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if !(1..=Self::MAX_LENGTH).contains(&text.len()) {
            return Err(InvalidCode::Length);
        }
        // Each dot must stand between two other characters.
        let mut after_other = false;
        for byte in text.bytes() {
            let is_other = is_code_byte(byte);
            let may_stand = is_other || (byte == b'.' && after_other);
            if !may_stand {
                return Err(InvalidCode::Character);
            }
            after_other = is_other;
        }
        if after_other { Ok(Self(text.into())) } else { Err(InvalidCode::Character) }
    }
}

fn is_code_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-'
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Code> for String {
    fn from(code: Code) -> Self {
        code.0.into()
    }
}

impl TryFrom<String> for Code {
    type Error = InvalidCode;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// Why a text is not a valid code or alias.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCode {
    /// No characters, or more than 64.
    #[error("must have 1 to 64 characters")]
    Length,
    /// A character outside `A-Z a-z 0-9 _ -`, or a dot that is not between two of them.
    #[error("may only contain A-Z, a-z, 0-9, `_`, `-`, and single dots between them")]
    Character,
    /// A word that is reserved for the service's own paths.
    #[error("must not be one of the reserved words {}", RESERVED_WORDS.join(", "))]
    Reserved,
    /// It begins like an API key.
    #[error("must not begin with `{KEY_PREFIX}`, as API keys do")]
    Key,
    /// It ends like the address of a QR code.
    #[error("must not end in `{PICTURE}`, as the pictures of links do")]
    Picture,
}

/// What follows a code in the address of its QR code.
const PICTURE: &str = ".qr";

/// Words that are never given out as codes, in upper or lower case: the service's root paths, present and planned.
pub const RESERVED_WORDS: &[&str] = &[
    "admin",
    "ads.txt",
    "api",
    "assets",
    "console",
    "docs",
    "domains",
    "events",
    "export",
    "favicon.ico",
    "health",
    "import",
    "live",
    "livez",
    "logs",
    "metrics",
    "openapi.json",
    "readyz",
    "regions",
    "rest",
    "robots.txt",
    "sitemap.xml",
    "static",
    "stats",
    "yourls-api",
];

/// Whether `word` is reserved for the service's own paths.
pub fn is_reserved(word: &str) -> bool {
    RESERVED_WORDS.iter().any(|reserved| reserved.eq_ignore_ascii_case(word))
}

/// How long generated codes are: 6 to 32 characters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeLength(u8);

impl CodeLength {
    /// `None` outside 6 to 32.
    pub fn new(characters: u8) -> Option<Self> {
        (6..=32).contains(&characters).then_some(Self(characters))
    }
}

/// Eight characters: 58⁸ ≈ 1.3 × 10¹⁴ codes.
impl Default for CodeLength {
    fn default() -> Self {
        Self(8)
    }
}

/// Draws a code of `length` characters, each equally likely, never a reserved word.
pub fn draw_code(length: CodeLength, entropy: &dyn Entropy) -> Code {
    loop {
        let text = draw_characters(usize::from(length.0), entropy);
        if !is_reserved(&text) {
            return Code(text.into());
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicU8, Ordering};

    use super::*;

    /// Hands out 0, 1, 2 … 255, 0 …
    struct Counting(AtomicU8);

    impl Entropy for Counting {
        fn fill(&self, bytes: &mut [u8]) {
            for byte in bytes {
                *byte = self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
    }

    #[test]
    fn every_character_is_equally_likely() {
        let counting = Counting(AtomicU8::new(0));
        let text = draw_characters(232 * 2, &counting);
        for character in CODE_ALPHABET {
            let seen = text.bytes().filter(|byte| byte == character).count();
            assert_eq!(seen, 8, "{}", char::from(*character));
        }
    }

    #[test]
    fn alphabet_has_58_distinct_characters_and_no_look_alikes() {
        let distinct: std::collections::BTreeSet<_> = CODE_ALPHABET.iter().collect();
        assert_eq!(distinct.len(), 58);
        assert!(!CODE_ALPHABET.iter().any(|byte| b"0OIl".contains(byte)));
    }

    #[test]
    fn aliases_are_bounded_plain_and_not_reserved() {
        for good in ["a", "cv", "abc", "A_b-9", "report.pdf", "a.b.c", "-", "_", "help", "status", &"x".repeat(64)] {
            assert!(Code::parse_alias(good).is_ok(), "{good}");
        }
        assert_eq!(Code::parse_alias(""), Err(InvalidCode::Length));
        assert_eq!(Code::parse_alias(&"x".repeat(65)), Err(InvalidCode::Length));
        for bad in ["a b", "a/b", ".a", "a.", "a..b", ".", "abc+", "ab\r\n", "äbc", "ab\0"] {
            assert_eq!(Code::parse_alias(bad), Err(InvalidCode::Character), "{bad:?}");
        }
        for reserved in ["api", "API", "Health", "robots.txt", "Yourls-API"] {
            assert_eq!(Code::parse_alias(reserved), Err(InvalidCode::Reserved));
        }
        for key in ["sgn_", "sgn_SSnBEMJK7Gb7", "sgn_-"] {
            assert_eq!(Code::parse_alias(key), Err(InvalidCode::Key));
        }
        assert_eq!(Code::parse_alias("promo.qr"), Err(InvalidCode::Picture));
        assert!(InvalidCode::Reserved.to_string().contains(" console, docs, "));
    }

    #[test]
    fn what_was_pasted_behind_a_code_is_no_part_of_it() {
        for end in [
            ".", ",", ")", "!", ";", ":", "'", "\"", ">", "]", " ", "\u{200b}", "\u{feff}", "\n", "...", ".)", "/",
            "»", "。", "**",
        ] {
            assert_eq!(Code::from_pasted(&format!("a.b{end}")).expect(end).as_str(), "a.b");
        }
        for none in ["", ".", "a b", "a)b", "\u{200b}a", "a..b."] {
            assert!(Code::from_pasted(none).is_err(), "{none:?}");
        }
    }

    #[test]
    fn a_stored_code_may_be_a_reserved_word() {
        for word in RESERVED_WORDS.iter().copied().chain(["abc", "a", "a.b"]) {
            assert_eq!(Code::from_stored(word).expect(word).as_str(), word);
        }
        for bad in ["", "a b", "a/b", "a?b", "a#b", "\u{e4}", &"x".repeat(65)] {
            assert!(Code::from_stored(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_code_may_begin_with_the_key_prefix() {
        assert!("sgn_before".parse::<Code>().is_ok());
        assert!(Code::parse_alias("sgn").is_ok() && Code::parse_alias("SGN_1").is_ok());
    }

    #[test]
    fn code_lengths_are_6_to_32() {
        assert_eq!(CodeLength::new(5), None);
        assert_eq!(CodeLength::new(33), None);
        let length = CodeLength::new(32).expect("in range");
        let code = draw_code(length, &Counting(AtomicU8::new(7)));
        assert_eq!(code.as_str().len(), 32);
    }

    #[test]
    fn a_reserved_word_is_never_drawn() {
        struct Fixed(AtomicU8);
        impl Entropy for Fixed {
            fn fill(&self, bytes: &mut [u8]) {
                let word: &[u8] = match self.0.fetch_add(1, Ordering::Relaxed) {
                    0 => b"readyz",
                    _ => b"readyx",
                };
                for (byte, wanted) in bytes.iter_mut().zip(word) {
                    let index = CODE_ALPHABET.iter().position(|c| c == wanted);
                    *byte = u8::try_from(index.expect("in the alphabet")).expect("58 fits");
                }
            }
        }
        let six = CodeLength::new(6).expect("in range");
        assert_eq!(draw_code(six, &Fixed(AtomicU8::new(0))).as_str(), "readyx");
    }

    #[test]
    fn no_extra_character_is_drawn_when_few_bytes_are_unbiased() {
        /// Gives five unbiased bytes per call.
        struct Scarce;
        impl Entropy for Scarce {
            fn fill(&self, bytes: &mut [u8]) {
                bytes.fill(255);
                bytes[..5].fill(7);
            }
        }
        assert_eq!(draw_characters(12, &Scarce).len(), 12);
    }
}
