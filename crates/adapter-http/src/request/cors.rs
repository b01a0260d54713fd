//! Cross-origin requests to the API by scripts in browsers (the CORS protocol of the Fetch Standard). Off unless the
//! operator names the origins. Nothing depends on cookies, so credentials are never allowed.

use actix_web::{
    HttpResponseBuilder,
    dev::RequestHead,
    http::{
        Method,
        header::{self, HeaderMap, HeaderValue},
    },
};

/// The origins whose scripts may call the API.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Origins {
    /// No origin.
    #[default]
    None,
    /// Every origin.
    Any,
    /// These origins, as browsers write them: `https://app.example`, with a port unless it is the default one.
    Some(Vec<String>),
}

/// Whether scripts of another origin may read the answer to an API request.
#[derive(Clone, Debug, Default)]
pub(crate) enum CrossOrigin {
    /// No origin is allowed, so no answer depends on one.
    #[default]
    Off,
    /// The request names no origin, or one that is not allowed.
    Refused,
    /// The origin is allowed: its scripts may read the answer.
    Allowed(HeaderValue),
}

/// The header fields a script may send besides those that every page may send.
const REQUEST_FIELDS: &str = "authorization, baggage, cache-control, content-type, idempotency-key, if-match, if-none-match, \
    pragma, traceparent, tracestate, x-api-key, x-request-id, x-requested-with";
/// The header fields a script may read besides those that every page may read.
const ANSWER_FIELDS: &str = "etag, link, location, ratelimit, ratelimit-policy, retry-after, traceparent, www-authenticate, \
    x-ratelimit-limit, x-ratelimit-remaining, x-ratelimit-reset, x-request-id";
/// For how many seconds a browser may cache the answer to a preflight.
const MAX_AGE: &str = "600";

impl Origins {
    /// The listed origins. A single `*` means every origin.
    pub fn of(listed: &[String]) -> Self {
        match listed {
            [] => Self::None,
            [all] if all == "*" => Self::Any,
            some => Self::Some(some.to_vec()),
        }
    }

    pub(crate) fn judge(&self, head: &RequestHead) -> CrossOrigin {
        let origin = head.headers().get(header::ORIGIN);
        match (self, origin) {
            (Self::None, _) => CrossOrigin::Off,
            (Self::Any, Some(_)) => CrossOrigin::Allowed(HeaderValue::from_static("*")),
            (Self::Some(allowed), Some(origin))
                if allowed.iter().any(|allowed| allowed.as_bytes() == origin.as_bytes()) =>
            {
                CrossOrigin::Allowed(origin.clone())
            }
            (Self::Any | Self::Some(_), _) => CrossOrigin::Refused,
        }
    }
}

impl CrossOrigin {
    /// Sets the fields that say which scripts may read the answer.
    pub(crate) fn set_headers(&self, headers: &mut HeaderMap) {
        if let Self::Allowed(origin) = self {
            headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin.clone());
            headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(ANSWER_FIELDS));
        }
        if !matches!(self, Self::Off) {
            headers.append(header::VARY, HeaderValue::from_static("origin"));
        }
    }

    /// Whether the request is a preflight of an origin that is allowed.
    pub(crate) fn is_preflight(&self, head: &RequestHead) -> bool {
        let asks = head.method == Method::OPTIONS && head.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        asks && matches!(self, Self::Allowed(_))
    }

    /// Adds to an answer to `OPTIONS` what the script may send, if the request is a preflight.
    pub(crate) fn answer_preflight(&self, head: &RequestHead, methods: &HeaderValue, answer: &mut HttpResponseBuilder) {
        if self.is_preflight(head) {
            answer
                .insert_header((header::ACCESS_CONTROL_ALLOW_METHODS, methods.clone()))
                .insert_header((header::ACCESS_CONTROL_ALLOW_HEADERS, REQUEST_FIELDS))
                .insert_header((header::ACCESS_CONTROL_MAX_AGE, MAX_AGE));
        }
    }
}
