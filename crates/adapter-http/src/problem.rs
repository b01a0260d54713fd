//! Problems: every way a request can fail, as RFC 9457 tells it. One table owns them all.

use std::{borrow::Cow, fmt, sync::Arc};

use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    http::{
        ConnectionType, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use domain::{
    ports::{RepositoryError, RepositoryErrorKind},
    service::{Refused, ServiceError},
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::{
    json::MOST_PROBLEMS,
    pages::{escaped, html},
};

/// The media type of problems.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// Everything that can be wrong with a request, or with us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The request is not HTTP as RFC 9112 wants it.
    MalformedRequest,
    /// The body is not JSON.
    MalformedJson,
    /// The cursor was not made here, or not for this list.
    InvalidCursor,
    /// No key, or none that is valid.
    Unauthenticated,
    /// The key lacks the scope.
    Forbidden,
    /// Nothing is there, or nothing this caller may see.
    NotFound,
    /// Something is there, but not for this method.
    MethodNotAllowed,
    /// None of the media types asked for can be given.
    NotAcceptable,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The alias belongs to another link.
    AliasTaken,
    /// The link must be reactivated first.
    LinkDeleted,
    /// The link is deleted or expired.
    Gone,
    /// The link changed meanwhile.
    Stale,
    /// The body is too large.
    PayloadTooLarge,
    /// The body is of a type that is not understood.
    UnsupportedMediaType,
    /// Fields are wrong.
    ValidationFailed,
    /// The idempotency key was used for another request.
    IdempotencyKeyReused,
    /// More requests than the limits allow.
    QuotaExceeded,
    /// The head of the request is too large.
    HeadersTooLarge,
    /// The link was taken down.
    Blocked,
    /// A defect of ours.
    Internal,
    /// The store cannot be reached.
    Unavailable,
    /// The store did not confirm a change in time.
    OutcomeUnknown,
    /// There is no room left.
    StorageFull,
}

/// What the table says about a problem.
#[derive(Debug)]
pub struct ProblemEntry {
    /// Its stable name: the `code`, and the fragment of the `type`.
    pub code: &'static str,
    /// Its HTTP status.
    pub status: u16,
    /// Its title.
    pub title: &'static str,
    /// What it means and what a caller can do.
    pub meaning: &'static str,
}

impl ProblemKind {
    /// Every one of them, by status.
    pub const ALL: [Self; 24] = [
        Self::MalformedRequest,
        Self::MalformedJson,
        Self::InvalidCursor,
        Self::Unauthenticated,
        Self::Forbidden,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::NotAcceptable,
        Self::RequestTimeout,
        Self::AliasTaken,
        Self::LinkDeleted,
        Self::Gone,
        Self::Stale,
        Self::PayloadTooLarge,
        Self::UnsupportedMediaType,
        Self::ValidationFailed,
        Self::IdempotencyKeyReused,
        Self::QuotaExceeded,
        Self::HeadersTooLarge,
        Self::Blocked,
        Self::Internal,
        Self::Unavailable,
        Self::OutcomeUnknown,
        Self::StorageFull,
    ];

    /// What the table says about it.
    #[expect(clippy::too_many_lines, reason = "one table, read as one")]
    pub fn entry(self) -> ProblemEntry {
        let entry = |code, status, title, meaning| ProblemEntry { code, status, title, meaning };
        match self {
            Self::MalformedRequest => entry(
                "malformed-request",
                400,
                "Malformed request",
                "The request line, the header fields or the framing break RFC 9112. The connection is closed.",
            ),
            Self::MalformedJson => {
                entry("malformed-json", 400, "Malformed JSON", "The body is not one JSON value in UTF-8.")
            }
            Self::InvalidCursor => entry(
                "invalid-cursor",
                400,
                "Invalid cursor",
                "A cursor works only unchanged, with the key and the filters of the page it came with. Begin again without it.",
            ),
            Self::Unauthenticated => entry(
                "unauthenticated",
                401,
                "No valid API key",
                "Send a valid key as `Authorization: Bearer sgn_…` or `X-API-Key: sgn_…`. Revoked and expired keys are not valid.",
            ),
            Self::Forbidden => entry(
                "forbidden",
                403,
                "Not allowed",
                "The key is valid but lacks the scope this needs, or its owner is blocked.",
            ),
            Self::NotFound => entry(
                "not-found",
                404,
                "Not found",
                "There is nothing of that name. Links of other owners answer the same.",
            ),
            Self::MethodNotAllowed => entry(
                "method-not-allowed",
                405,
                "Method not allowed",
                "The path exists, but not for this method; `Allow` names those it has.",
            ),
            Self::NotAcceptable => {
                entry("not-acceptable", 406, "Not acceptable", "None of the media types in `Accept` can be given.")
            }
            Self::RequestTimeout => entry(
                "request-timeout",
                408,
                "Request timeout",
                "The request did not arrive completely in time. Nothing was done; the connection is closed.",
            ),
            Self::AliasTaken => entry(
                "alias-taken",
                409,
                "Alias taken",
                "The alias belongs to another link, perhaps a deleted one. Codes are never given to a second link.",
            ),
            Self::LinkDeleted => {
                entry("link-deleted", 409, "Link deleted", "A deleted link cannot be edited; reactivate it first.")
            }
            Self::Gone => entry("gone", 410, "Gone", "The link is deleted or has expired."),
            Self::Stale => entry(
                "stale",
                412,
                "Link changed",
                "`If-Match` does not name the current `ETag` of the link. Read it again, then decide.",
            ),
            Self::PayloadTooLarge => entry(
                "payload-too-large",
                413,
                "Body too large",
                "A body may have 64 KiB, that of a batch 1 MiB. The connection is closed.",
            ),
            Self::UnsupportedMediaType => entry(
                "unsupported-media-type",
                415,
                "Unsupported media type",
                "Send `application/json` in UTF-8 without content coding (an edit also as `application/merge-patch+json`).",
            ),
            Self::ValidationFailed => entry(
                "validation-failed",
                422,
                "Validation failed",
                "`errors` names every wrong field: a JSON Pointer into the body, or `query/…` or `header/…`.",
            ),
            Self::IdempotencyKeyReused => entry(
                "idempotency-key-reused",
                422,
                "Idempotency key reused",
                "The `Idempotency-Key` was used for another request within 24 hours. Use a new one for each request.",
            ),
            Self::QuotaExceeded => entry(
                "quota-exceeded",
                429,
                "Too many requests",
                "Nothing was done. Try again after `Retry-After` seconds; `RateLimit` and `RateLimit-Policy` say what is left of which quota.",
            ),
            Self::HeadersTooLarge => entry(
                "headers-too-large",
                431,
                "Header fields too large",
                "The head of a request may have 16 KiB and 64 fields. The connection is closed.",
            ),
            Self::Blocked => entry(
                "blocked",
                451,
                "Taken down",
                "The link was taken down by whoever runs this service, by itself, by where it leads or by whose it is.",
            ),
            Self::Internal => {
                entry("internal", 500, "Internal error", "A defect of ours. The request id leads us to it.")
            }
            Self::Unavailable => entry(
                "unavailable",
                503,
                "Temporarily unavailable",
                "The store cannot be reached in time, or is too busy. Nothing was changed; try again after `Retry-After`.",
            ),
            Self::OutcomeUnknown => entry(
                "outcome-unknown",
                503,
                "Outcome unknown",
                "The change was sent to the store but not confirmed in time: it may or may not happen. Claims without `force_new`, deletions, \
                 reactivations and anything with an `Idempotency-Key` can be repeated safely.",
            ),
            Self::StorageFull => entry(
                "storage-full",
                507,
                "Storage full",
                "The store has no room left. Nothing was changed; redirects go on.",
            ),
        }
    }

    fn status(self) -> StatusCode {
        StatusCode::from_u16(self.entry().status).expect("the table holds HTTP statuses")
    }

    /// The problem that a bare status stands for, such as the framework's own answers.
    pub(crate) fn of_status(status: StatusCode) -> Self {
        Self::ALL.into_iter().find(|kind| kind.status() == status).unwrap_or(if status.is_server_error() {
            Self::Internal
        } else {
            Self::MalformedRequest
        })
    }
}

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct FieldProblem {
    /// A JSON Pointer (RFC 6901) into the body, or `query/<name>` or `header/<name>`.
    pub pointer: String,
    /// A stable name for what is wrong.
    pub code: &'static str,
    /// The same in words.
    pub detail: String,
}

/// One failed request: what failed and what more there is to say.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: ProblemKind,
    detail: Option<String>,
    fields: Vec<FieldProblem>,
    headers: Vec<(HeaderName, HeaderValue)>,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// After how many seconds an unavailable service is worth another try.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("2");

impl Problem {
    /// A problem of that kind, with the headers that belong to every such answer.
    pub fn new(kind: ProblemKind) -> Self {
        use ProblemKind as Kind;
        let headers = match kind {
            Kind::Unauthenticated => vec![(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"))],
            Kind::Unavailable | Kind::OutcomeUnknown => vec![(header::RETRY_AFTER, RETRY_AFTER)],
            Kind::MalformedRequest | Kind::RequestTimeout | Kind::PayloadTooLarge | Kind::HeadersTooLarge => {
                vec![(header::CONNECTION, HeaderValue::from_static("close"))]
            }
            _ => Vec::new(),
        };
        Self { kind, detail: None, fields: Vec::new(), headers, cause: None }
    }

    /// One or more wrong fields, of which the first hundred are named.
    pub fn invalid(fields: Vec<FieldProblem>) -> Self {
        Self::invalid_within(fields, MOST_PROBLEMS)
    }

    /// The same with room for so many names, and says whether there was too little.
    pub(crate) fn invalid_within(mut fields: Vec<FieldProblem>, room: usize) -> Self {
        let detail = (fields.len() > room)
            .then(|| format!("More is wrong here than can be told; `errors` names the first {room}."));
        fields.truncate(room);
        Self { detail, fields, ..Self::new(ProblemKind::ValidationFailed) }
    }

    /// Which kind it is.
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// What happened this time, in words for the caller.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// One more header field for the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// The cause, for the log only.
    #[must_use]
    pub fn caused_by(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// The cause with everything below it, for the log only.
    pub(crate) fn cause_chain(&self) -> Option<String> {
        let mut next: Option<&dyn std::error::Error> = Some(self.cause.as_deref()?);
        let mut chain = Vec::new();
        while let Some(error) = next {
            chain.push(error.to_string());
            next = error.source();
        }
        Some(chain.join(": "))
    }

    /// The body, as it is sent.
    pub(crate) fn to_body(&self, request_id: &str, instance: Option<&str>) -> ProblemBody {
        let entry = self.kind.entry();
        ProblemBody {
            r#type: format!("/docs/errors#{}", entry.code),
            title: entry.title,
            status: entry.status,
            detail: self.detail.clone().map_or(Cow::Borrowed(entry.meaning), Cow::Owned),
            instance: instance.map(str::to_owned),
            code: entry.code,
            request_id: request_id.to_owned(),
            errors: self.fields.clone(),
        }
    }

    /// The whole answer.
    pub(crate) fn to_response(&self, request_id: &str, instance: Option<&str>) -> HttpResponse<BoxBody> {
        let mut response = HttpResponse::build(self.kind.status());
        response.content_type(PROBLEM_JSON).insert_header((header::CACHE_CONTROL, "no-store"));
        let body = serde_json::to_string(&self.to_body(request_id, instance)).expect("strings and numbers are JSON");
        self.with_headers(response.body(body))
    }

    /// The same as a page for people.
    pub(crate) fn to_page(&self, request_id: &str) -> HttpResponse<BoxBody> {
        let ProblemEntry { title, meaning, .. } = self.kind.entry();
        let (title, text) = match self.kind {
            ProblemKind::NotFound => {
                ("There is no such link", "Look at the address again: capital and small letters differ.")
            }
            ProblemKind::Gone => ("This link is over", "Whoever made it has deleted it, or it has expired."),
            ProblemKind::Blocked => {
                ("This link was taken down", "It is not followed for legal reasons or to protect you.")
            }
            ProblemKind::QuotaExceeded => {
                ("Too many requests", "Too many came from where you are. Please try again in a moment.")
            }
            ProblemKind::Unavailable => ("We cannot look this up just now", "Please try again in a moment."),
            _ => (title, meaning),
        };
        let body = format!(
            "<h1>{}</h1>\n<p>{}</p>\n<p><small>Request <code>{}</code></small></p>\n",
            escaped(title),
            escaped(text),
            escaped(request_id)
        );
        let mut page = html(title, &body);
        *page.status_mut() = self.kind.status();
        self.with_headers(page)
    }

    fn with_headers(&self, mut response: HttpResponse<BoxBody>) -> HttpResponse<BoxBody> {
        for (name, value) in &self.headers {
            response.headers_mut().insert(name.clone(), value.clone());
        }
        if self.headers.iter().any(|(name, _)| name == header::CONNECTION) {
            response.head_mut().set_connection_type(ConnectionType::Close);
        }
        response
    }
}

/// A problem as it is sent (RFC 9457 §3).
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Problem)]
pub struct ProblemBody {
    /// A reference to the explanation of this kind of problem.
    #[schema(format = "uri-reference", example = "/docs/errors#alias-taken")]
    r#type: String,
    /// The kind of problem in a few words.
    title: &'static str,
    /// The HTTP status, as in the status line.
    #[schema(minimum = 400, maximum = 599)]
    status: u16,
    /// What is wrong in words.
    detail: Cow<'static, str>,
    /// The path of the request.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    instance: Option<String>,
    /// The stable name of this kind of problem.
    #[schema(example = "alias-taken")]
    code: &'static str,
    /// The name of the request, as in `X-Request-Id` and in the log.
    request_id: String,
    /// Every wrong field, where fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(nullable = false, required = false)]
    errors: Vec<FieldProblem>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.entry().code)
    }
}

impl std::error::Error for Problem {}

/// The answer proper is written by the outermost middleware, which knows the request id.
impl ResponseError for Problem {
    fn status_code(&self) -> StatusCode {
        self.kind.status()
    }

    fn error_response(&self) -> HttpResponse<BoxBody> {
        HttpResponse::new(self.kind.status())
    }
}

impl From<ServiceError> for Problem {
    fn from(error: ServiceError) -> Self {
        let kind = match &error {
            ServiceError::NotFound => ProblemKind::NotFound,
            ServiceError::LinkDeleted => ProblemKind::LinkDeleted,
            ServiceError::Stale => ProblemKind::Stale,
            ServiceError::ExpiryNotInFuture => {
                return Self::invalid(vec![FieldProblem {
                    pointer: "/expires_at".to_owned(),
                    code: "not-in-future",
                    detail: "must be in the future".to_owned(),
                }]);
            }
            ServiceError::IdempotencyKeyReused => ProblemKind::IdempotencyKeyReused,
            ServiceError::CodesExhausted { .. } | ServiceError::Contended { .. } => ProblemKind::Unavailable,
            ServiceError::Repository(error) => of_repository(error.kind()),
        };
        Self::new(kind).caused_by(error)
    }
}

impl From<RepositoryError> for Problem {
    fn from(error: RepositoryError) -> Self {
        Self::new(of_repository(error.kind())).caused_by(error)
    }
}

impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Invalid => Self::new(ProblemKind::Unauthenticated),
            Refused::Repository(error) => error.into(),
        }
    }
}

fn of_repository(kind: RepositoryErrorKind) -> ProblemKind {
    match kind {
        RepositoryErrorKind::Unavailable => ProblemKind::Unavailable,
        RepositoryErrorKind::Indeterminate => ProblemKind::OutcomeUnknown,
        RepositoryErrorKind::StorageFull => ProblemKind::StorageFull,
        RepositoryErrorKind::Corrupt | RepositoryErrorKind::Internal => ProblemKind::Internal,
    }
}

/// The table in Markdown, for `docs/ERRORS.md`.
pub fn errors_reference() -> String {
    let mut table = String::from("| code | status | title | meaning |\n|---|---|---|---|\n");
    for kind in ProblemKind::ALL {
        let ProblemEntry { code, status, title, meaning } = kind.entry();
        table += &format!("| `{code}` | {status} | {title} | {meaning} |\n");
    }
    table
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_unique_and_statuses_rise() {
        let codes: std::collections::BTreeSet<_> = ProblemKind::ALL.iter().map(|kind| kind.entry().code).collect();
        assert_eq!(codes.len(), ProblemKind::ALL.len());
        assert!(ProblemKind::ALL.windows(2).all(|pair| pair[0].entry().status <= pair[1].entry().status));
    }

    #[test]
    fn a_cause_is_told_to_the_log_and_never_to_the_caller() {
        let cause =
            RepositoryError::new(RepositoryErrorKind::Unavailable, "finding a link").caused_by("10.0.0.7 refused");
        let problem = Problem::from(cause);
        assert!(problem.cause_chain().is_some_and(|chain| chain.contains("10.0.0.7")));
        let body = serde_json::to_string(&problem.to_body("r", None)).expect("JSON");
        assert!(!body.contains("10.0.0.7"), "{body}");
    }

    #[test]
    fn bare_statuses_become_problems() {
        assert_eq!(ProblemKind::of_status(StatusCode::PAYLOAD_TOO_LARGE), ProblemKind::PayloadTooLarge);
        assert_eq!(ProblemKind::of_status(StatusCode::IM_A_TEAPOT), ProblemKind::MalformedRequest);
        assert_eq!(ProblemKind::of_status(StatusCode::BAD_GATEWAY), ProblemKind::Internal);
    }
}
