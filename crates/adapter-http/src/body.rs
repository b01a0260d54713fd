//! Bodies: received within their bounds of size and time, and only of the type that is understood.

use std::time::Duration;

use actix_web::{
    HttpRequest,
    http::header::{self, HeaderMap},
    web,
};
use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;

use crate::{
    json::Json,
    problem::{Problem, ProblemKind},
};

/// Most bytes of a body.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// Most bytes of the body of a batch.
pub(crate) const BATCH_LIMIT: usize = 1024 * 1024;

/// A body and what it says.
pub(crate) struct JsonBody {
    pub(crate) json: Json,
    /// As received, to tell a repeated request by.
    pub(crate) bytes: Bytes,
}

/// Receives a JSON body of at most `limit` bytes.
pub(crate) async fn receive_json(
    request: &HttpRequest,
    payload: web::Payload,
    limit: usize,
    patience: Duration,
) -> Result<JsonBody, Problem> {
    check_media_type(request.headers(), request.method() == actix_web::http::Method::PATCH)?;
    let bytes = receive(request.headers(), payload, limit, patience).await?;
    let json = serde_json::from_slice(&bytes).map_err(|error| {
        let place = format!("line {}, column {}", error.line(), error.column());
        Problem::new(ProblemKind::MalformedJson).detail(format!("The body is not JSON: it breaks at {place}."))
    })?;
    Ok(JsonBody { json, bytes })
}

async fn receive(
    headers: &HeaderMap,
    mut payload: web::Payload,
    limit: usize,
    patience: Duration,
) -> Result<Bytes, Problem> {
    let too_large = || Problem::new(ProblemKind::PayloadTooLarge);
    if announced_length(headers).is_some_and(|length| length > limit) {
        return Err(too_large());
    }
    let receiving = async {
        let mut body = BytesMut::new();
        while let Some(chunk) = payload.next().await {
            let chunk = chunk
                .map_err(|error| Problem::new(ProblemKind::MalformedRequest).caused_by(Broken(error.to_string())))?;
            if body.len() + chunk.len() > limit {
                return Err(too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    };
    timeout(patience, receiving).await.unwrap_or_else(|_| Err(Problem::new(ProblemKind::RequestTimeout)))
}

/// The payload broke off.
#[derive(Debug, thiserror::Error)]
#[error("the body broke off: {0}")]
struct Broken(String);

/// Reads a small body that nobody wants, if it comes at once: behind one that is not read, a connection has to be
/// closed.
pub(crate) async fn drain<E>(headers: &HeaderMap, mut payload: impl Stream<Item = Result<Bytes, E>> + Unpin) {
    const AT_ONCE: Duration = Duration::from_millis(100);
    if announced_length(headers).is_some_and(|length| length <= BODY_LIMIT) {
        // Late or broken, it is as it would be without.
        let _late = timeout(AT_ONCE, async { while let Some(Ok(_)) = payload.next().await {} }).await;
    }
}

fn announced_length(headers: &HeaderMap) -> Option<usize> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn check_media_type(headers: &HeaderMap, patch: bool) -> Result<(), Problem> {
    let unsupported = || Problem::new(ProblemKind::UnsupportedMediaType);
    let coded = headers.get(header::CONTENT_ENCODING).is_some_and(|coding| coding != "identity");
    let mut given = headers.get_all(header::CONTENT_TYPE);
    let (Some(value), None, false) = (given.next(), given.next(), coded) else {
        return Err(unsupported());
    };
    let text = value.to_str().map_err(|_| unsupported())?;
    let mut parts = text.split(';').map(str::trim);
    let essence = parts.next().unwrap_or_default().to_ascii_lowercase();
    let known = essence == "application/json" || (patch && essence == "application/merge-patch+json");
    let utf8 = |parameter: &str| match parameter.split_once('=') {
        Some((name, value)) if name.eq_ignore_ascii_case("charset") => {
            value.trim_matches('"').eq_ignore_ascii_case("utf-8")
        }
        Some(_) | None => true,
    };
    if known && parts.all(utf8) { Ok(()) } else { Err(unsupported()) }
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
}
