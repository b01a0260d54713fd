//! Receives request bodies, within bounds of size and time, and only of supported media types.

use std::{
    future::poll_fn,
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
};

use actix_web::{
    HttpRequest,
    http::{
        Method,
        header::{self, HeaderMap},
    },
    web,
};
use bytes::Bytes;
use domain::api_key::mask_keys;
use futures_util::{StreamExt, task::AtomicWaker};
use tokio::time::timeout;

use super::{
    body_room::{BodySize, FREE, PIECE, Room},
    context::Context,
    json::{Json, Size, field_problem},
    state::State,
    unread::announced_length,
};
use crate::{
    limits::{
        concurrency::overloaded,
        memory::{Exhausted, Holder, MemoryBudget, Revocable, Share},
    },
    problem::{Problem, ProblemKind},
};

/// A body, parsed and as received.
pub(crate) struct JsonBody {
    pub(crate) json: Json,
    /// As received. The fingerprint of an idempotent request is made of it.
    pub(crate) bytes: Bytes,
}

/// Receives a JSON body.
pub(crate) async fn receive_json(
    state: &State,
    request: &HttpRequest,
    payload: web::Payload,
    size: BodySize,
) -> Result<JsonBody, Problem> {
    check_media_type(request.headers(), request.method() == Method::PATCH)?;
    let (context, room) = (Context::of(request), state.bodies.of(size));
    let received = Received::new(room, context.holder());
    let receiving = receive(request.headers(), payload, received);
    let late = |_| Err(Problem::new(ProblemKind::RequestTimeout));
    let (body, share) = timeout(state.settings.body_timeout, receiving).await.unwrap_or_else(late)?.into_body();
    let broken = |error: serde_json::Error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Problem::new(ProblemKind::MalformedJson).detail(format!("The body is not JSON: it breaks at {place}."))
    };
    let text = text_of(&body)?;
    if body.len() > FREE {
        let size = Size::of(text).map_err(broken)?;
        if size.values > room.values {
            let detail = format!("has more than {} values", room.values);
            return Err(Problem::invalid(vec![field_problem(String::new(), "too-many", &detail)]));
        }
        context.keep(room.admit(share, body.len(), size).await?);
    }
    let json = serde_json::from_slice(text).map_err(broken)?;
    Ok(JsonBody { json, bytes: body.into() })
}

/// What has been received of a body.
struct Received {
    /// In pieces, which the allocator can reuse. Buffers that grow and are freed would leave holes in its memory.
    pieces: Vec<Vec<u8>>,
    length: usize,
    limit: usize,
    budget: Arc<MemoryBudget>,
    holder: Holder,
    /// Its part of the budget, once it is larger than [`FREE`].
    share: Option<Share>,
    given_up: Arc<GivenUp>,
}

/// Whether the room of a body was given to other clients.
#[derive(Default)]
struct GivenUp {
    flag: AtomicBool,
    waker: AtomicWaker,
}

impl Revocable for GivenUp {
    fn revoke(&self) {
        self.flag.store(true, Ordering::Release);
        self.waker.wake();
    }
}

impl Received {
    fn new(room: &Room, holder: Holder) -> Self {
        let (limit, budget) = (room.limit, Arc::clone(&room.received));
        Self { pieces: Vec::new(), length: 0, limit, budget, holder, share: None, given_up: Arc::default() }
    }

    fn push(&mut self, mut chunk: &[u8]) -> Result<(), Problem> {
        self.length += chunk.len();
        if self.length > self.limit {
            return Err(Problem::new(ProblemKind::PayloadTooLarge));
        }
        while !chunk.is_empty() {
            let room = self.pieces.last().map_or(0, |piece| piece.capacity() - piece.len());
            if room == 0 {
                let size = if self.pieces.is_empty() { FREE } else { PIECE };
                self.count(self.pieces.iter().map(Vec::capacity).sum::<usize>() + size)?;
                self.pieces.push(Vec::with_capacity(size));
                continue;
            }
            let (fits, rest) = chunk.split_at(room.min(chunk.len()));
            self.pieces.last_mut().expect("there is room in it").extend_from_slice(fits);
            chunk = rest;
        }
        Ok(())
    }

    /// The whole body in one buffer. Each piece is freed as soon as it is copied.
    fn into_body(self) -> (Vec<u8>, Option<Share>) {
        let mut pieces = self.pieces.into_iter();
        let mut body = pieces.next().unwrap_or_default();
        body.reserve_exact(self.length - body.len());
        pieces.for_each(|piece| body.extend_from_slice(&piece));
        (body, self.share)
    }

    /// Takes room for `bytes` in all. Up to [`FREE`] it takes none.
    fn count(&mut self, bytes: usize) -> Result<(), Problem> {
        if bytes <= FREE {
            return Ok(());
        }
        let given_up: Weak<GivenUp> = Arc::downgrade(&self.given_up);
        let share = self.share.get_or_insert_with(|| self.budget.open(self.holder.clone(), given_up));
        share.resize(bytes).map_err(|Exhausted| overloaded())
    }

    /// The next chunk. Fails if the room was given to other clients.
    async fn next(&self, payload: &mut web::Payload) -> Result<Option<Bytes>, Problem> {
        let next = poll_fn(|cx| {
            self.given_up.waker.register(cx.waker());
            if self.given_up.flag.load(Ordering::Acquire) {
                Poll::Ready(None)
            } else {
                payload.poll_next_unpin(cx).map(Some)
            }
        });
        match next.await {
            None => Err(overloaded()),
            Some(None) => Ok(None),
            Some(Some(Ok(chunk))) => Ok(Some(chunk)),
            Some(Some(Err(error))) => {
                Err(Problem::new(ProblemKind::MalformedRequest).caused_by(Broken(error.to_string())))
            }
        }
    }
}

async fn receive(headers: &HeaderMap, mut payload: web::Payload, mut received: Received) -> Result<Received, Problem> {
    if announced_length(headers).is_some_and(|length| length > received.limit) {
        return Err(Problem::new(ProblemKind::PayloadTooLarge));
    }
    while let Some(chunk) = received.next(&mut payload).await? {
        received.push(&chunk)?;
    }
    // From now on the body is worked on, so its room cannot be given up.
    if let Some(share) = &received.share {
        share.pin();
    }
    if received.given_up.flag.load(Ordering::Acquire) { Err(overloaded()) } else { Ok(received) }
}

/// The payload broke off.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off: {0}")]
struct Broken(String);

/// The text without a byte order mark. Fails if the body is empty, or is in UTF-16 or UTF-32.
fn text_of(body: &[u8]) -> Result<&[u8], Problem> {
    let malformed = |detail: &str| Err(Problem::new(ProblemKind::MalformedJson).detail(detail));
    match body {
        [] => malformed("The body is empty."),
        [0xfe, 0xff, ..] | [0xff, 0xfe, ..] => malformed("The body is in UTF-16 or UTF-32; JSON is UTF-8 (RFC 8259)."),
        [0xef, 0xbb, 0xbf, text @ ..] | text => Ok(text),
    }
}

/// Names of UTF-8, and of ASCII, which is a subset of it.
const UTF_8: [&str; 5] = ["utf-8", "utf8", "unicode-1-1-utf-8", "us-ascii", "ascii"];

fn check_media_type(headers: &HeaderMap, patch: bool) -> Result<(), Problem> {
    let unsupported = || Problem::new(ProblemKind::UnsupportedMediaType);
    let named = |what: &str, name: &str, only: &str| {
        let name: String = name.chars().filter(|character| !character.is_control()).take(40).collect();
        unsupported().detail(mask_keys(&format!("The body has the {what} `{name}`; {only}.")))
    };
    let codings = headers.get_all(header::CONTENT_ENCODING).map(|value| value.to_str().unwrap_or("?"));
    for coding in codings.flat_map(|codings| codings.split(',')).map(str::trim).filter(|coding| !coding.is_empty()) {
        if !coding.eq_ignore_ascii_case("identity") {
            return Err(named("content coding", coding, "it has to be sent without any"));
        }
    }
    let mut given = headers.get_all(header::CONTENT_TYPE);
    let Some(value) = given.next() else {
        return Err(unsupported().detail("The body has no media type; `Content-Type: application/json` is understood."));
    };
    if given.next().is_some() {
        return Err(unsupported().detail("The request has more than one Content-Type."));
    }
    let text = value.to_str().map_err(|_| unsupported())?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let known = essence == "application/json" || (patch && essence == "application/merge-patch+json");
    if !known {
        let only =
            if patch { "`application/merge-patch+json` is understood" } else { "`application/json` is understood" };
        return Err(named("media type", &essence, only));
    }
    for (name, value) in parts.filter_map(|parameter| parameter.split_once('=')) {
        let charset = value.trim().trim_matches(['"', '\'']);
        let is_utf_8 = charset.is_empty() || UTF_8.iter().any(|name| name.eq_ignore_ascii_case(charset));
        if name.trim().eq_ignore_ascii_case("charset") && !is_utf_8 {
            return Err(named("encoding", charset, "JSON is UTF-8 (RFC 8259)"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn accepted(value: &'static str, patch: bool) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
        check_media_type(&headers, patch).is_ok()
    }

    #[test]
    fn only_json_in_utf8_is_understood() {
        for good in [
            "application/json",
            "Application/JSON; charset=UTF-8",
            "application/json;charset=\"utf-8\"",
            "application/json; v=1",
            "application/json; charset=utf8",
            "application/json; charset='UTF8'",
            "application/json; Charset = utf-8",
            "application/json; charset=us-ascii",
            "application/json; charset=",
            "application/json;",
        ] {
            assert!(accepted(good, false), "{good}");
        }
        for bad in
            ["text/plain", "", "application/jsonp", "application/json; charset=latin1", "application/merge-patch+json"]
        {
            assert!(!accepted(bad, false), "{bad}");
        }
        assert!(accepted("application/merge-patch+json", true));
        assert!(!accepted("application/x-www-form-urlencoded", true));
    }

    #[test]
    fn a_coded_or_unnamed_body_is_not_understood() {
        let mut headers = HeaderMap::new();
        assert!(check_media_type(&headers, false).is_err());
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        assert!(check_media_type(&headers, false).is_err());
    }

    #[test]
    fn a_byte_order_mark_is_no_part_of_the_text() {
        assert_eq!(text_of(b"\xef\xbb\xbf{}").expect("UTF-8"), b"{}");
        assert_eq!(text_of(b"{}").expect("UTF-8"), b"{}");
        for bad in [&b""[..], b"\xff\xfe{\0", b"\xfe\xff\0{"] {
            assert!(text_of(bad).is_err());
        }
    }
}
