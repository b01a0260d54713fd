//! Request heads: which complete ones may pass, and how long the body is that follows.
//!
//! Two kinds of heads are refused: those that two readers could understand differently (RFC 9112 sections 3.2 and 6),
//! and those that the parser behind would answer by itself, without our body, log line and request id.

use std::{
    mem::{self, MaybeUninit},
    ops::Range,
};

use actix_web::http::{Method, Uri};

use super::{REJECTED_HEADER, Rejection, WireLimits, body::Body, chunked::ChunkedBody};

/// Most header fields that can be judged.
const MAX_HEADERS: usize = 100;
/// Most header fields that the parser behind can read.
const MAX_READABLE: usize = 96;

/// The fields that are read behind the guard. If a head has more than [`MAX_READABLE`] fields, others are left out.
const READ: [&str; 20] = [
    "accept",
    "accept-encoding",
    "access-control-request-method",
    "authorization",
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "forwarded",
    "host",
    "idempotency-key",
    "if-match",
    "if-none-match",
    "origin",
    "traceparent",
    "transfer-encoding",
    "user-agent",
    "x-api-key",
    "x-forwarded-for",
    "x-request-id",
];

/// A head that may pass.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Acceptable {
    /// The body it announces.
    pub(super) body: Option<Body>,
    /// What passes in its place, if the parser behind would misread it.
    pub(super) instead: Option<Vec<u8>>,
    /// Whether the client waits for `100 Continue` before it sends that body (RFC 9110 section 10.1.1).
    pub(super) expects_continue: bool,
}

/// Judges a head whose lines all end in CRLF.
///
/// Several clients send an address exactly as it was typed. Bytes that are not allowed in a target, and mean nothing to
/// the framing, pass percent-encoded, as browsers send them (WHATWG URL).
pub(super) fn judge(head: &[u8], limits: &WireLimits) -> Result<Acceptable, Rejection> {
    let Some(encoded) = with_encoded_target(head, limits.head_bytes)? else {
        return judge_as_it_is(head, limits);
    };
    let mut accepted = judge_as_it_is(&encoded, limits)?;
    accepted.instead.get_or_insert(encoded);
    Ok(accepted)
}

/// The head with those bytes of its target encoded, if there are any.
fn with_encoded_target(head: &[u8], most: usize) -> Result<Option<Vec<u8>>, Rejection> {
    const DIGITS: &[u8; 16] = b"0123456789ABCDEF";
    let must_be_encoded = |byte: &u8| *byte >= 0x80 || b"<>\"`".contains(byte);
    // Empty lines before the request are no part of it (RFC 9112 section 2.2).
    let start = head.iter().position(|byte| !matches!(byte, b'\r' | b'\n')).unwrap_or_default();
    let line = head[start..].iter().position(|byte| *byte == b'\r').map_or(&head[..0], |end| &head[start..start + end]);
    let count = line.iter().filter(|byte| must_be_encoded(byte)).count();
    let blank = |byte: &u8| *byte == b' ';
    let (Some(first), Some(last)) = (line.iter().position(blank), line.iter().rposition(blank)) else {
        return Ok(None);
    };
    let Some(target) = line.get(first + 1..last).filter(|_| count > 0) else {
        return Ok(None);
    };
    // If the line has more blanks, or such bytes elsewhere, two readers could see different targets.
    if target.contains(&b' ') || target.iter().filter(|byte| must_be_encoded(byte)).count() < count {
        return Ok(None);
    }
    if head.len() + 2 * count > most {
        return Err(Rejection::HeadersTooLarge);
    }
    let mut encoded = Vec::with_capacity(head.len() + 2 * count);
    encoded.extend_from_slice(&head[..=start + first]);
    for byte in target {
        if must_be_encoded(byte) {
            encoded.extend([b'%', DIGITS[usize::from(byte >> 4)], DIGITS[usize::from(byte & 0xf)]]);
        } else {
            encoded.push(*byte);
        }
    }
    encoded.extend_from_slice(&head[start + last..]);
    Ok(Some(encoded))
}

fn judge_as_it_is(head: &[u8], limits: &WireLimits) -> Result<Acceptable, Rejection> {
    let mut headers = [const { MaybeUninit::uninit() }; MAX_HEADERS];
    let mut request = httparse::Request::new(&mut []);
    match request.parse_with_uninit_headers(head, &mut headers[..limits.headers.min(MAX_HEADERS)]) {
        Ok(httparse::Status::Complete(_)) => {}
        Err(httparse::Error::TooManyHeaders) => return Err(Rejection::HeadersTooLarge),
        Ok(httparse::Status::Partial) | Err(_) => return Err(Rejection::Malformed),
    }
    let (Some(method), Some(target), Some(minor_version)) = (request.method, request.path, request.version) else {
        return Err(Rejection::Malformed);
    };
    // After CONNECT the parser behind treats everything up to the end of the connection as a body.
    let method = Method::from_bytes(method.as_bytes()).ok().filter(|method| *method != Method::CONNECT);
    let method = method.ok_or(Rejection::Malformed)?;
    if !is_target(target) {
        return Err(Rejection::Malformed);
    }
    let mut fields = Fields::default();
    for header in &*request.headers {
        fields.note(header)?;
    }
    let is_readable = match minor_version {
        0 => !fields.is_chunked,
        _ => fields.has_host,
    };
    if !is_readable {
        return Err(Rejection::Malformed);
    }
    // The parser behind requires a length in a POST of HTTP/1.0 (RFC 1945 section 7.2.2). By RFC 9112 section 6.3 a
    // missing length is zero.
    let lacks_length = minor_version == 0 && method == Method::POST && fields.length.is_none();
    let surplus = (request.headers.len() + usize::from(lacks_length)).saturating_sub(MAX_READABLE);
    // The parser behind would send `100 Continue` before anything has judged the request.
    let expects_continue = fields.expects == Some(Expectation::Continue) && minor_version > 0;
    let instead = if surplus > 0 || lacks_length || fields.offers_upgrade || fields.expects.is_some() {
        Some(rewritten(head, request.headers, surplus, lacks_length)?)
    } else {
        None
    };
    Ok(Acceptable { body: fields.body(limits)?, instead, expects_continue })
}

/// The head without `surplus` of the fields that are not read, without offers of another protocol, without
/// expectations, and with a length if it lacks one.
///
/// A server may ignore an offer of another protocol (RFC 9110 section 7.8). The parser behind would end the connection
/// after it without saying so. On `websocket` it would treat everything up to the end of the connection as a body.
fn rewritten(
    head: &[u8],
    fields: &[httparse::Header<'_>],
    surplus: usize,
    lacks_length: bool,
) -> Result<Vec<u8>, Rejection> {
    let (mut rewritten, mut copied, mut left_out) = (Vec::with_capacity(head.len() + 32), 0, 0);
    for field in fields {
        let is_read = READ.iter().any(|read| read.eq_ignore_ascii_case(field.name));
        let instead: &[u8] = if !is_read && left_out < surplus {
            left_out += 1;
            b""
        } else if field.name.eq_ignore_ascii_case("upgrade") || field.name.eq_ignore_ascii_case("expect") {
            b""
        } else if field.name.eq_ignore_ascii_case("connection") && has_option(field.value, "upgrade") {
            if has_option(field.value, "close") {
                b"connection: close\r\n"
            } else if has_option(field.value, "keep-alive") {
                b"connection: keep-alive\r\n"
            } else {
                b""
            }
        } else {
            continue;
        };
        let line = line_of(head, field);
        rewritten.extend_from_slice(&head[copied..line.start]);
        rewritten.extend_from_slice(instead);
        copied = line.end;
    }
    if left_out < surplus {
        return Err(Rejection::HeadersTooLarge);
    }
    let end = head.len() - b"\r\n".len();
    rewritten.extend_from_slice(&head[copied..end]);
    if lacks_length {
        rewritten.extend_from_slice(b"content-length: 0\r\n");
    }
    rewritten.extend_from_slice(&head[end..]);
    Ok(rewritten)
}

/// Whether a list of connection options has this one (RFC 9110 section 7.6.1).
fn has_option(list: &[u8], option: &str) -> bool {
    list.split(|byte| *byte == b',').any(|each| each.trim_ascii().eq_ignore_ascii_case(option.as_bytes()))
}

/// Where the line of a field stands, its end included.
fn line_of(head: &[u8], field: &httparse::Header<'_>) -> Range<usize> {
    // The name of the field is a slice of the head.
    let start = field.name.as_ptr().addr() - head.as_ptr().addr();
    let length = memchr::memchr(b'\n', &head[start..]).expect("every line ends");
    start..start + length + 1
}

/// The fields that decide how a message is read, each seen at most once.
#[derive(Default)]
struct Fields {
    has_host: bool,
    is_chunked: bool,
    length: Option<u64>,
    /// Another protocol is offered. The offer is never accepted.
    offers_upgrade: bool,
    /// What the client expects, in whatever form: the parser behind would act on more forms than it documents.
    expects: Option<Expectation>,
}

/// What a client expects before it goes on (RFC 9110 section 10.1.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expectation {
    /// `100 Continue`, before it sends its body.
    Continue,
    /// Anything else. No other expectation is defined any more.
    Other,
}

impl Fields {
    fn note(&mut self, header: &httparse::Header<'_>) -> Result<(), Rejection> {
        let (name, value) = (header.name, header.value);
        let acceptable = if name.eq_ignore_ascii_case("host") {
            is_host(value) && !mem::replace(&mut self.has_host, true)
        } else if name.eq_ignore_ascii_case("content-length") {
            content_length(value).is_some_and(|length| self.length.replace(length).is_none())
        } else if name.eq_ignore_ascii_case("transfer-encoding") {
            value.eq_ignore_ascii_case(b"chunked") && !mem::replace(&mut self.is_chunked, true)
        } else if name.eq_ignore_ascii_case("upgrade") {
            self.offers_upgrade = true;
            true
        } else if name.eq_ignore_ascii_case("expect") {
            if has_option(value, "100-continue") {
                self.expects = Some(Expectation::Continue);
            }
            self.expects.get_or_insert(Expectation::Other);
            true
        } else if name.eq_ignore_ascii_case("connection") {
            self.offers_upgrade |= has_option(value, "upgrade");
            true
        } else {
            // Only the guard may set this field: behind the guard it marks a request as a replacement.
            !name.eq_ignore_ascii_case(REJECTED_HEADER)
        };
        if acceptable { Ok(()) } else { Err(Rejection::Malformed) }
    }

    fn body(&self, limits: &WireLimits) -> Result<Option<Body>, Rejection> {
        match (self.is_chunked, self.length) {
            (true, Some(_)) => Err(Rejection::Malformed),
            (true, None) => Ok(Some(Body::Chunked(ChunkedBody::new(limits.head_bytes)))),
            (false, None | Some(0)) => Ok(None),
            (false, Some(left)) => Ok(Some(Body::Sized { left })),
        }
    }
}

/// Whether the parser behind can read the target and finds a path in it.
fn is_target(target: &str) -> bool {
    is_plain_path(target) || Uri::try_from(target).is_ok_and(|uri| !uri.path().is_empty())
}

/// The targets of nearly all requests, which every parser accepts: no need to allocate a URI for those.
fn is_plain_path(target: &str) -> bool {
    target.starts_with('/')
        && target.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"/-_.~%?=&+,:;@!$'()*".contains(&byte))
}

/// Host and port, without userinfo (RFC 9110 section 7.2).
fn is_host(value: &[u8]) -> bool {
    !value.is_empty() && value.iter().all(|byte| byte.is_ascii_alphanumeric() || b".:-_~[]%!$&'()*+,;=".contains(byte))
}

/// Digits and nothing else: no sign, no list, no more than a `u64`.
fn content_length(value: &[u8]) -> Option<u64> {
    if value.is_empty() {
        return None;
    }
    value.iter().try_fold(0_u64, |length, byte| {
        let digit = char::from(*byte).to_digit(10)?;
        length.checked_mul(10)?.checked_add(u64::from(digit))
    })
}
