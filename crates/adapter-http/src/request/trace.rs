//! The ids of a request: its request id, and its place in a distributed trace (W3C Trace Context).

use std::ops::Range;

use actix_web::http::header::{HeaderMap, HeaderName};
use domain::{api_key::carries_key, history::RequestId};

pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Random bytes for a request id, a span id and a trace id.
pub(crate) const RANDOM_BYTES: usize = 16 + 8 + 16;

/// The id that the client gave, or a random one.
pub(crate) fn request_id(headers: &HeaderMap, random: &[u8; RANDOM_BYTES]) -> RequestId {
    given_request_id(headers).unwrap_or_else(|| drawn_request_id(random))
}

/// The valid id that the client gave. An API key in the wrong field is none: ids are stored, logged and sent back.
fn given_request_id(headers: &HeaderMap) -> Option<RequestId> {
    let given = headers.get(&X_REQUEST_ID)?.to_str().ok()?;
    given.parse().ok().filter(|_| !carries_key(given))
}

fn drawn_request_id(random: &[u8; RANDOM_BYTES]) -> RequestId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&random[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().into()
}

/// A request's place in a distributed trace (W3C Trace Context), as the text of the answer's `traceparent`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace([u8; Self::LENGTH]);

impl Trace {
    const LENGTH: usize = 55;
    /// 32 lower-case hex digits, not all zero.
    const TRACE_ID: Range<usize> = 3..35;
    const SPAN_ID: Range<usize> = 36..52;
    const FLAGS: Range<usize> = 53..55;

    /// Continues the caller's trace if it is valid, otherwise starts a new one. The span is always new.
    pub(crate) fn of(headers: &HeaderMap, random: &[u8; RANDOM_BYTES]) -> Self {
        Self::continued(headers, &random[16..])
    }

    fn continued(headers: &HeaderMap, random: &[u8]) -> Self {
        let mut given = headers.get_all(&TRACEPARENT);
        let parent = match (given.next(), given.next()) {
            (Some(value), None) => value.to_str().ok().and_then(parse_traceparent),
            _ => None,
        };
        let (span, trace) = random.split_at(8);
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(span, &mut text[Self::SPAN_ID]);
        match parent {
            Some((trace_id, flags)) => {
                text[Self::TRACE_ID].copy_from_slice(trace_id.as_bytes());
                text[Self::FLAGS].copy_from_slice(flags.as_bytes());
            }
            None => write_hex(trace, &mut text[Self::TRACE_ID]),
        }
        Self(text)
    }

    /// The `traceparent` field of the answer.
    pub(crate) fn traceparent(&self) -> &str {
        str::from_utf8(&self.0).expect("it is ASCII")
    }

    pub(crate) fn trace_id(&self) -> &str {
        &self.traceparent()[Self::TRACE_ID]
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = vec![0; 2 * bytes.len()];
    write_hex(bytes, &mut digits);
    String::from_utf8(digits).expect("digits are ASCII")
}

/// Two lower-case digits for each byte.
fn write_hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// Trace id and flags of a `traceparent` field of version 00, or of a later version that begins like it.
fn parse_traceparent(text: &str) -> Option<(&str, &str)> {
    let hex =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split('-');
    let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let shaped = hex(version, 2) && hex(trace_id, 32) && hex(parent_id, 16) && hex(flags, 2);
    let nonzero = |part: &str| part.bytes().any(|byte| byte != b'0');
    let ends = version != "00" || parts.next().is_none();
    (shaped && ends && version != "ff" && nonzero(trace_id) && nonzero(parent_id)).then_some((trace_id, flags))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    #[test]
    fn a_trace_continues_its_parent_or_starts_anew() {
        let random: Vec<u8> = (0x10..0x10 + 24).collect();
        let mut headers = HeaderMap::new();
        let own = Trace::continued(&headers, &random);
        assert_eq!(own.traceparent(), "00-18191a1b1c1d1e1f2021222324252627-1011121314151617-00");
        assert_eq!(own.trace_id(), "18191a1b1c1d1e1f2021222324252627");
        let given = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        headers.insert(HeaderName::from_static("traceparent"), given);
        let continued = Trace::continued(&headers, &random);
        assert_eq!(continued.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-1011121314151617-01");
    }

    #[test]
    fn a_trace_is_continued_only_from_a_valid_parent() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(parse_traceparent(&good), Some((trace, "01")));
        assert!(parse_traceparent(&format!("cc-{trace}-00f067aa0ba902b7-01-what-ever")).is_some());
        for bad in [
            String::new(),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-01-x"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{trace}-00f067aa0ba902b7"),
        ] {
            assert_eq!(parse_traceparent(&bad), None, "{bad}");
        }
    }
}
