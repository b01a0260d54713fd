//! Targets: the URL a link leads to, and which URLs may be one.
//!
//! | file     | holds                                        |
//! |----------|----------------------------------------------|
//! | `mod`    | what a target is, under any policy     |
//! | `policy` | which hosts links may lead to                |
//! | `invalid` | why a URL cannot be one                      |

mod invalid;
mod policy;

use std::{
    borrow::Cow,
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use serde::{Deserialize, Serialize};
use url::{ParseError, Url};

pub use self::{invalid::InvalidTarget, policy::TargetPolicy};

/// The URL a link leads to, exactly as the [WHATWG parser](https://url.spec.whatwg.org/) serialises
/// the caller's input.
///
/// Always `http` or `https` with a host and without user information, every byte a visible ASCII character: it can go
/// into a `Location` header as it is.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Target(Box<str>);

impl Target {
    /// Maximum number of bytes of a target that any policy allows and any store keeps.
    pub const MAX_LENGTH: usize = invalid::MAX_LENGTH;

    const LONGEST_JOINED: usize = 8_192;

    /// Parses a target that a caller sent. White space around it is removed. Control characters inside it, tabs and
    /// line breaks included, are rejected. Other white space inside it is percent-encoded.
    pub fn parse(input: &str, policy: &TargetPolicy) -> Result<Self, InvalidTarget> {
        let url = parse_syntax(undelimited(input.trim_matches(is_blank)))?;
        let bytes = url.as_str().len();
        if bytes > policy.max_length() {
            return Err(InvalidTarget::TooLong { most: policy.max_length(), bytes });
        }
        policy.check(&url)?;
        Self::from_stored(url.into())
    }

    /// Reads a stored target. It checks the syntax again. It does not apply the present policy to existing links.
    pub fn from_stored(text: String) -> Result<Self, InvalidTarget> {
        let visible = text.bytes().all(|byte| matches!(byte, 0x21..=0x7e));
        let web = text.starts_with("http://") || text.starts_with("https://");
        if text.len() > Self::MAX_LENGTH {
            Err(InvalidTarget::TooLong { most: Self::MAX_LENGTH, bytes: text.len() })
        } else if visible && web {
            Ok(Self(text.into()))
        } else {
            Err(InvalidTarget::NotAUrl)
        }
    }

    /// The target as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The host in the form in which hosts are compared: no trailing dot, an address in canonical form without
    /// brackets.
    pub fn host(&self) -> Cow<'_, str> {
        let authority = self.0.split_once("://").map_or("", |(_, rest)| rest);
        let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
        if let Some((address, _)) = authority.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            let address = address.parse::<Ipv6Addr>();
            return address.map_or("".into(), |address| IpAddr::V6(address).to_canonical().to_string().into());
        }
        let host = authority.split_once(':').map_or(authority, |(host, _)| host);
        host.trim_end_matches('.').into()
    }

    /// The target with `query` added after its own query, before its fragment.
    ///
    /// Characters that are not allowed in a query are percent-encoded. A query that makes the target longer than 8,192
    /// bytes is left out.
    pub fn with_query(&self, query: &str) -> String {
        let pairs: Vec<_> = query.split('&').filter(|pair| !pair.is_empty()).collect();
        if pairs.is_empty() {
            return self.0.to_string();
        }
        let query = pairs.join("&");
        // A target that does not parse, such as a row written by hand, is returned as it is, without the query.
        let Ok(mut url) = Url::parse(&self.0) else {
            return self.0.to_string();
        };
        let joined = match url.query() {
            Some(own) if !own.is_empty() => format!("{}&{query}", own.trim_end_matches('&')),
            Some(_) | None => query,
        };
        url.set_query(Some(&joined));
        // Clients do not accept longer header fields, and a connection should not hold more.
        if url.as_str().len() > Self::LONGEST_JOINED.max(self.0.len()) { self.0.to_string() } else { url.into() }
    }
}

/// The text inside a pair of URL delimiters, `<…>` or `"…"` (RFC 3986 appendix C).
fn undelimited(text: &str) -> &str {
    let between = |first, last| text.strip_prefix(first)?.strip_suffix(last);
    between('<', '>').or_else(|| between('"', '"')).map_or(text, |inner: &str| inner.trim_matches(is_blank))
}

/// White space, and other invisible characters at the ends of pasted text.
fn is_blank(character: char) -> bool {
    character.is_whitespace() || matches!(character, '\u{200b}'..='\u{200d}' | '\u{2060}' | '\u{feff}')
}

fn parse_syntax(input: &str) -> Result<Url, InvalidTarget> {
    if input.is_empty() {
        return Err(InvalidTarget::Empty);
    }
    if input.chars().any(char::is_control) {
        return Err(InvalidTarget::Control);
    }
    let url = Url::parse(input).map_err(|error| match error {
        ParseError::RelativeUrlWithoutBase => InvalidTarget::NoScheme,
        ParseError::InvalidPort => InvalidTarget::Port,
        ParseError::EmptyHost
        | ParseError::IdnaError
        | ParseError::InvalidDomainCharacter
        | ParseError::InvalidIpv4Address
        | ParseError::InvalidIpv6Address => InvalidTarget::Host,
        _ => InvalidTarget::NotAUrl,
    })?;
    if matches!(url.host_str(), Some("http" | "https")) && url.path().starts_with("//") {
        return Err(InvalidTarget::TwoSchemes);
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(InvalidTarget::Scheme);
    }
    if !url.username().is_empty() || url.password().is_some() || has_userinfo_mark(input) {
        return Err(InvalidTarget::UserInfo);
    }
    Ok(url)
}

/// An empty user name (`https://@example.com`) leaves no trace in the parsed URL.
fn has_userinfo_mark(input: &str) -> bool {
    let after_scheme = input.split_once(':').map_or(input, |(_, rest)| rest);
    let authority = after_scheme.trim_start_matches(['/', '\\']);
    let end = authority.find(['/', '\\', '?', '#']);
    authority[..end.unwrap_or(authority.len())].contains('@')
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Target> for String {
    fn from(target: Target) -> Self {
        target.0.into()
    }
}

impl TryFrom<String> for Target {
    type Error = InvalidTarget;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::from_stored(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A policy that allows any host. The tests of the policy cover hosts.
    fn any_host() -> TargetPolicy {
        TargetPolicy::new(true, &[])
    }

    fn parse(input: &str) -> Result<String, InvalidTarget> {
        Target::parse(input, &any_host()).map(String::from)
    }

    #[test]
    fn a_target_is_what_the_whatwg_parser_serialises() {
        for (input, expected) in [
            ("https://example.com", "https://example.com/"),
            ("HTTPS://EXAMPLE.com:443/A?b#c", "https://example.com/A?b#c"),
            ("http://example.com/a/../b", "http://example.com/b"),
            ("https://bücher.example/ü?ü#ü", "https://xn--bcher-kva.example/%C3%BC?%C3%BC#%C3%BC"),
            ("http:\\\\example.com\\x", "http://example.com/x"),
            ("https://8.8.8.8/", "https://8.8.8.8/"),
            ("https://[2606:4700::1111]/", "https://[2606:4700::1111]/"),
            ("https://example.com/a@b", "https://example.com/a@b"),
            (" https://example.com/x\n", "https://example.com/x"),
            ("\u{feff}\u{a0}https://example.com/x\u{200b}\t", "https://example.com/x"),
            ("https://example.com/a b?c d#e f", "https://example.com/a%20b?c%20d#e%20f"),
            ("https://example.com/a\u{a0}b", "https://example.com/a%C2%A0b"),
        ] {
            assert_eq!(parse(input).as_deref(), Ok(expected), "{input}");
        }
    }

    #[test]
    fn the_host_of_a_target_is_in_comparable_form() {
        for (url, host) in [
            ("https://EXAMPLE.com./a?b#c", "example.com"),
            ("http://example.com:8080?x=//other.example/", "example.com"),
            ("http://example.com#@other.example", "example.com"),
            ("https://bücher.com", "xn--bcher-kva.com"),
            ("http://0x08.8.8.8/", "8.8.8.8"),
            ("http://[2606:4700:0::1111]:81/", "2606:4700::1111"),
            ("http://[::ffff:8.8.8.8]/", "8.8.8.8"),
        ] {
            assert_eq!(Target::parse(url, &any_host()).expect(url).host(), host, "{url}");
        }
        let by_hand = Target::from_stored("http://[x".to_owned()).expect("it is kept");
        assert_eq!(by_hand.host(), "[x");
    }

    #[test]
    fn input_that_is_not_a_web_address_is_rejected() {
        use InvalidTarget as E;
        let long = format!("https://example.com/{}", "a".repeat(8_173));
        let grows = format!("https://example.com/{}", "ü".repeat(2_000));
        let too_long = |bytes| E::TooLong { most: 8_192, bytes };
        for (input, expected) in [
            ("", E::Empty),
            (" \u{feff}", E::Empty),
            (long.as_str(), too_long(8_193)),
            (grows.as_str(), too_long(12_020)),
            ("https://exa\nmple.com", E::Control),
            ("https://exa mple.com", E::Host),
            ("https://example.com/a\tb", E::Control),
            ("https://example.com/a\0b", E::Control),
            ("https://example.com/\r\nSet-Cookie:x", E::Control),
            ("example.com", E::NoScheme),
            ("//example.com", E::NoScheme),
            ("https://", E::Host),
            ("https://exa%00mple.com/", E::Host),
            ("https://example.com:99999/", E::Port),
            ("https://https://example.com/", E::TwoSchemes),
            ("https://256.1.1.1/", E::Host),
            ("javascript:alert(1)", E::Scheme),
            ("ftp://example.com/", E::Scheme),
            ("data:text/html,x", E::Scheme),
            ("https://user@example.com/", E::UserInfo),
            ("https://user:pass@example.com/", E::UserInfo),
            ("https://:pass@example.com/", E::UserInfo),
            ("https://@example.com/", E::UserInfo),
            ("https:\\\\google.com@example.com\\", E::UserInfo),
        ] {
            assert_eq!(parse(input), Err(expected), "{input:?}");
        }
        let longest = format!("https://example.com/{}", "a".repeat(8_172));
        assert!(parse(&longest).is_ok());
    }

    #[test]
    fn a_forwarded_query_goes_after_the_targets_query_and_before_its_fragment() {
        for (target, query, expected) in [
            ("https://example.com/", "a=1", "https://example.com/?a=1"),
            ("https://example.com/?x=0#f", "a=1&b", "https://example.com/?x=0&a=1&b#f"),
            ("https://example.com/?", "a", "https://example.com/?a"),
            ("https://example.com/?x", "", "https://example.com/?x"),
            ("https://example.com/?x", "&", "https://example.com/?x"),
            ("https://example.com/?x&", "&a&&b&", "https://example.com/?x&a&b"),
            ("https://example.com/", "a=\"<\u{fc}#\r\n", "https://example.com/?a=%22%3C%C3%BC%23"),
        ] {
            let target = Target::parse(target, &any_host()).expect("valid");
            assert_eq!(target.with_query(query), expected);
        }
    }

    #[test]
    fn a_query_that_makes_the_target_too_long_is_left_out() {
        let target = Target::parse("https://example.com/", &any_host()).expect("valid");
        assert_eq!(target.with_query(&"'".repeat(2_000)).len(), 21 + 3 * 2_000);
        assert_eq!(target.with_query(&"'".repeat(3_000)), "https://example.com/");
    }

    #[test]
    fn a_target_that_does_not_parse_takes_no_query() {
        let target = Target::from_stored("http://[".to_owned()).expect("visible ASCII");
        assert_eq!(target.with_query("a=1"), "http://[");
    }

    #[test]
    fn stored_text_that_is_invalid_in_a_header_is_rejected() {
        for text in ["https://exa mple.com/", "https://example.com/ü", "ftp://example.com/", "https://example.com/\n"]
        {
            assert_eq!(Target::from_stored(text.to_owned()), Err(InvalidTarget::NotAUrl));
        }
        let long = format!("https://example.com/{}", "a".repeat(32_749));
        assert_eq!(Target::from_stored(long), Err(InvalidTarget::TooLong { most: 32_768, bytes: 32_769 }));
    }
}
