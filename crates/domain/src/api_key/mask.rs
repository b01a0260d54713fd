//! Masks API keys in texts where they do not belong, such as a path or the name of a program. Only their ids stay.

use std::borrow::Cow;

use crate::{
    alphabet::CODE_ALPHABET,
    key_id::{KEY_PREFIX, KeyId},
};

/// The text that replaces a secret.
const MASK: &str = "[masked]";

/// The text with the secrets of all API keys in it masked, even if they are percent-encoded several times over. The
/// public id of each key stays.
pub fn mask_keys(text: &str) -> Cow<'_, str> {
    // Almost no text contains either byte. The fold does not stop early, so that it compares many bytes in one step.
    let has = |sign| text.bytes().fold(0, |any, byte| any | u8::from(byte == sign)) != 0;
    let may_hold_one = has(b'%') || (has(b'_') && text.contains(KEY_PREFIX));
    if !may_hold_one {
        return Cow::Borrowed(text);
    }
    let mut masked = String::new();
    let (mut at, mut copied) = (0, 0);
    while at < text.len() {
        let Some(body) = after_prefix(&text[at..]).map(|length| at + length) else {
            at += text[at..].chars().next().map_or(1, char::len_utf8);
            continue;
        };
        let secret = after_key_characters(text, body, KeyId::LENGTH);
        let end = after_key_characters(text, secret, usize::MAX);
        if end > secret {
            masked.push_str(&text[copied..secret]);
            masked.push_str(MASK);
            copied = end;
        }
        at = end;
    }
    if copied == 0 {
        return Cow::Borrowed(text);
    }
    masked.push_str(&text[copied..]);
    Cow::Owned(masked)
}

/// Whether the text contains an API key, or the beginning of one.
pub fn carries_key(text: &str) -> bool {
    text.contains(KEY_PREFIX)
}

/// How many bytes the prefix of a key takes, if the text begins with one.
fn after_prefix(text: &str) -> Option<usize> {
    KEY_PREFIX.bytes().try_fold(0, |length, wanted| {
        let (byte, taken) = decoded(&text.as_bytes()[length..])?;
        (byte == wanted).then_some(length + taken)
    })
}

/// The end of the key characters that begin at `start`, or of the first `most` of them.
fn after_key_characters(text: &str, start: usize, most: usize) -> usize {
    let (mut at, mut count) = (start, 0);
    while count < most
        && let Some((byte, taken)) = decoded(&text.as_bytes()[at..])
        && CODE_ALPHABET.contains(&byte)
    {
        at += taken;
        count += 1;
    }
    at
}

/// The first character, decoded, and how many bytes it takes. It may be percent-encoded several times over (`%2541`).
fn decoded(bytes: &[u8]) -> Option<(u8, usize)> {
    let first = *bytes.first()?;
    if first != b'%' {
        return Some((first, 1));
    }
    let mut digits = 1;
    while bytes.get(digits..digits + 2) == Some(b"25") {
        digits += 2;
    }
    let hex = |at: usize| char::from(*bytes.get(at)?).to_digit(16);
    let value = hex(digits)? * 16 + hex(digits + 1)?;
    Some((u8::try_from(value).ok()?, digits + 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "sgn_SSnBEMJK7Gb7abcdefghijkmnopqrstuvwxyz123456ABCDEF";

    #[test]
    fn a_key_is_masked_anywhere_in_a_text_except_for_its_id() {
        let masked = "sgn_SSnBEMJK7Gb7[masked]";
        for around in
            [["", ""], ["/", ""], ["/api/v1/keys/", "/x"], ["x", "-y"], ["\u{e9}%", "%zz"], ["%4", "\u{1f511}"]]
        {
            let text = around.join(KEY);
            assert_eq!(mask_keys(&text), around.join(masked), "{text}");
        }
        assert_eq!(mask_keys(&format!("{KEY} and {KEY}")), format!("{masked} and {masked}"));
    }

    #[test]
    fn no_percent_encoding_of_a_key_shows_its_secret() {
        let secret = &KEY["sgn_".len() + KeyId::LENGTH..];
        let encoded = |text: &str, percent: &str| {
            text.bytes().fold(String::new(), |encoded, byte| encoded + &format!("{percent}{byte:02x}"))
        };
        let upper = |text: &str| text.bytes().fold(String::new(), |upper, byte| upper + &format!("%{byte:02X}"));
        for spelled in [
            KEY.replace("sgn_", "%73gn_"),
            KEY.replace("sgn_", "sgn%5F"),
            KEY.replace("sgn_", "sgn%5f"),
            KEY.replace("sgn_", "%2573gn%25255F"),
            KEY.replace("7Gb7", "%37Gb%2537"),
            KEY[..40].to_owned(),
        ] {
            let masked = mask_keys(&spelled);
            assert!(masked.ends_with("[masked]") && !masked.contains(&secret[..10]), "{spelled}: {masked}");
        }
        for spelled in [encoded(KEY, "%"), encoded(KEY, "%25"), upper(KEY)] {
            let masked = mask_keys(&spelled);
            assert!(masked.ends_with("[masked]"), "{masked}");
            assert!(
                !masked.contains(&encoded(&secret[..4], "%")) && !masked.contains(&upper(&secret[..4])),
                "{masked}"
            );
        }
    }

    #[test]
    fn text_without_a_key_is_unchanged() {
        for text in
            ["", "sgn", "sgn_", "sgn_before", "sgn-x", "%", "%7", "%25", "%2525", "100% sgn", "s%67n", KEY_PREFIX]
        {
            assert_eq!(mask_keys(text), text);
        }
    }

    #[test]
    fn a_text_with_the_key_prefix_carries_a_key() {
        assert!(carries_key(KEY) && carries_key("x sgn_"));
        assert!(!carries_key("sgn") && !carries_key("") && !carries_key("signpost_"));
    }
}
