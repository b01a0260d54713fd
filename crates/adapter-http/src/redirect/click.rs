//! Recording a click: the one place where a followed link is counted.

use actix_web::{
    dev::RequestHead,
    http::{
        Method,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
};
use domain::{
    click::{Click, ClientNetwork, Day, VisitorHash},
    lifecycle::Resolution,
    time::Timestamp,
};

use crate::request::context::Context;

static DNT: HeaderName = HeaderName::from_static("dnt");
static SEC_GPC: HeaderName = HeaderName::from_static("sec-gpc");
static SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
/// What browsers sent before `Sec-Purpose`.
static PURPOSE: HeaderName = HeaderName::from_static("purpose");

/// Records that `link` was followed, before its redirect is handed over. Only `GET` is a click.
pub(super) fn record(context: &Context, head: &RequestHead, link: &Resolution, at: Timestamp) {
    let Some(recorder) = context.recorder.as_deref().filter(|_| head.method == Method::GET) else {
        return;
    };
    let (client, settings) = (context.tally.client.ip(), &context.state.settings.clicks);
    if settings.ignored.iter().any(|network| network.contains(&client)) {
        return;
    }
    let headers = head.headers();
    let opted_out = settings.respect_opt_out && (is_one(headers, &SEC_GPC) || is_one(headers, &DNT));
    let user_agent = headers.get(header::USER_AGENT).map_or(&b""[..], HeaderValue::as_bytes);
    let mut click = Click {
        at,
        link: link.id,
        visitor: None,
        network: None,
        referrer: "",
        user_agent: text(user_agent, Click::MAX_USER_AGENT),
        language: "",
        is_prefetch: is_prefetch(headers),
        opted_out,
    };
    if !opted_out {
        let salt = context.state.services.clicks.salts.of(Day::of(at));
        click.visitor = salt.map(|salt| VisitorHash::new(&salt, &link.owner, client, user_agent));
        click.network = Some(ClientNetwork::of(client));
        click.referrer = headers.get(header::REFERER).map_or("", host);
        click.language = headers.get(header::ACCEPT_LANGUAGE).map_or("", language);
    }
    recorder.record(&click);
}

/// Sec-GPC and DNT are in force with the value `1` (Global Privacy Control §3.2, Tracking Preference Expression §5.2).
fn is_one(headers: &HeaderMap, name: &HeaderName) -> bool {
    headers.get(name).is_some_and(|value| value.as_bytes() == b"1")
}

/// Whether a browser asks ahead of a visit that may never come (`Sec-Purpose` of the Fetch standard).
fn is_prefetch(headers: &HeaderMap) -> bool {
    let says_so = |name: &HeaderName| headers.get(name).is_some_and(|value| value.as_bytes().starts_with(b"prefetch"));
    says_so(&SEC_PURPOSE) || says_so(&PURPOSE)
}

/// The longest beginning that is UTF-8 and not longer than `most` bytes.
fn text(bytes: &[u8], most: usize) -> &str {
    let bytes = &bytes[..bytes.len().min(most)];
    match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(error) => std::str::from_utf8(&bytes[..error.valid_up_to()]).expect("it is valid up to there"),
    }
}

/// The host of a URL, as it is written; empty if there is none, or if it is longer than a host can be.
fn host(url: &HeaderValue) -> &str {
    let Some((_scheme, rest)) = url.to_str().ok().and_then(|url| url.split_once("://")) else {
        return "";
    };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_user, host)| host);
    // Of an IPv6 address, the colons are inside of brackets.
    let host = match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
        _ => host,
    };
    if host.len() > Click::MAX_REFERRER { "" } else { host }
}

/// The primary subtag of the first language (RFC 9110 §12.5.4); empty if there is none.
fn language(accepted: &HeaderValue) -> &str {
    let first = accepted.to_str().unwrap_or_default().trim_start();
    let end = first.find(|character: char| !character.is_ascii_alphabetic()).unwrap_or(first.len());
    if end > Click::MAX_LANGUAGE { "" } else { &first[..end] }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(text: &'static str) -> HeaderValue {
        HeaderValue::from_static(text)
    }

    #[test]
    fn a_referring_page_is_kept_as_its_host() {
        for (url, expected) in [
            ("https://example.com/path?query#fragment", "example.com"),
            ("https://user:secret@Example.com:8443/", "Example.com"),
            ("android-app://com.example.app/", "com.example.app"),
            ("https://[2001:db8::1]:8080/", "[2001:db8::1]"),
            ("https://[2001:db8::1]/", "[2001:db8::1]"),
            ("https://example.com?q=a@b", "example.com"),
            ("example.com", ""),
            ("", ""),
        ] {
            assert_eq!(host(&value(url)), expected, "{url}");
        }
        let long = HeaderValue::try_from(format!("https://{}/", "a".repeat(254))).expect("a value");
        assert_eq!(host(&long), "");
    }

    #[test]
    fn the_first_language_is_kept_without_its_region() {
        for (accepted, expected) in
            [("de-DE,de;q=0.9,en;q=0.8", "de"), ("en", "en"), (" fr;q=1", "fr"), ("*", ""), ("", ""), ("abcdefghi", "")]
        {
            assert_eq!(language(&value(accepted)), expected, "{accepted}");
        }
    }

    #[test]
    fn a_user_agent_is_cut_where_a_character_ends() {
        assert_eq!(text("agent".as_bytes(), 256), "agent");
        assert_eq!(text("aé".as_bytes(), 2), "a");
        assert_eq!(text(b"agent \xff more", 256), "agent ");
    }
}
