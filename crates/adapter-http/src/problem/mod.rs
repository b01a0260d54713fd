//! Problems: every way a request can fail, in the form of RFC 9457.
//!
//! | file   | holds                                          |
//! |--------|------------------------------------------------|
//! | `mod`  | one failed request, and how it is answered     |
//! | `kind` | the table of everything that can be wrong      |

mod kind;

use std::{
    borrow::Cow,
    fmt,
    sync::{Arc, LazyLock},
};

use actix_web::{
    HttpResponse, ResponseError,
    body::BoxBody,
    http::{
        ConnectionType, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
};
use domain::{
    api_key::mask_keys,
    ports::{FailureReason, RepositoryError, RepositoryErrorKind},
    service::{Refused, ServiceError},
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

pub use self::kind::{ProblemEntry, ProblemKind, errors_reference};
use crate::html::{escaped, html, with_code};

/// Most problems that are reported for one body. A caller learns nothing from the rest, and a megabyte of unknown
/// fields would be answered with many megabytes.
pub(crate) const MAX_PROBLEMS: usize = 100;

/// Capacity, in bytes, that is enough for the body of nearly every problem.
const USUAL_BYTES: usize = 512;

/// The media type of problems.
pub(crate) const PROBLEM_JSON: &str = "application/problem+json";

/// What is wrong with one field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// A JSON Pointer (RFC 6901) into the body, or `query/<name>` or `header/<name>`.
    pub pointer: String,
    /// A stable name for what is wrong.
    pub code: Cow<'static, str>,
    /// The same in words.
    pub detail: String,
}

impl FieldProblem {
    /// The same with API keys masked. The names of unknown fields come from the caller, who may have put a key there.
    pub(crate) fn unkeyed(&self) -> Self {
        Self { pointer: unkeyed(&self.pointer).into(), code: self.code.clone(), detail: unkeyed(&self.detail).into() }
    }
}

/// The text with the secrets of API keys masked.
fn unkeyed(text: &str) -> Cow<'static, str> {
    Cow::Owned(mask_keys(text).into_owned())
}

/// One failed request: its kind of problem and the details.
#[derive(Clone, Debug)]
pub struct Problem {
    kind: ProblemKind,
    detail: Option<String>,
    fields: Vec<FieldProblem>,
    headers: Vec<(HeaderName, HeaderValue)>,
    store_failure: Option<FailureReason>,
    cause: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

/// The seconds after which a client should try an unavailable service again.
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
        Self { kind, detail: None, fields: Vec::new(), headers, store_failure: None, cause: None }
    }

    /// Whether its answer is the last one of its connection.
    pub(crate) fn ends_connection(&self) -> bool {
        self.headers.iter().any(|(name, _)| name == header::CONNECTION)
    }

    /// One or more wrong fields, of which the first hundred are reported.
    pub fn invalid(fields: Vec<FieldProblem>) -> Self {
        Self::invalid_within(fields, MAX_PROBLEMS)
    }

    /// The same with the first `room` fields. The detail says if there are more.
    pub(crate) fn invalid_within(mut fields: Vec<FieldProblem>, room: usize) -> Self {
        let first = fields.first().map(|FieldProblem { pointer, detail, .. }| match pointer.as_str() {
            "" => format!("The body {detail}."),
            pointer => format!("`{pointer}` {detail}."),
        });
        let others = match fields.len() {
            0 | 1 => String::new(),
            count if count > room => format!(" More is wrong than can be told; `errors` names the first {room}."),
            count => format!(" `errors` names all {count} wrong fields."),
        };
        fields.truncate(room);
        Self { detail: first.map(|first| first + &others), fields, ..Self::new(ProblemKind::ValidationFailed) }
    }

    /// Which kind it is.
    pub fn kind(&self) -> ProblemKind {
        self.kind
    }

    /// Sets what happened this time, in words for the caller.
    #[must_use]
    pub fn detail(mut self, detail: impl Into<String>) -> Self {
        self.detail = Some(detail.into());
        self
    }

    /// Adds a header field to the answer.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.push((name, value));
        self
    }

    /// Sets the cause, for the log only.
    #[must_use]
    pub fn caused_by(mut self, cause: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }

    /// Marks the problem as caused by the store, for this reason.
    #[must_use]
    pub(crate) fn failed_by_store(mut self, reason: FailureReason) -> Self {
        self.store_failure = Some(reason);
        self
    }

    /// Why the store failed, if that caused the problem.
    pub(crate) fn store_failure(&self) -> Option<FailureReason> {
        self.store_failure
    }

    /// The cause with everything below it, for the log only.
    pub(crate) fn cause_chain(&self) -> Option<String> {
        let mut next: Option<&dyn std::error::Error> = Some(self.cause.as_deref()?);
        let mut chain = Vec::new();
        while let Some(error) = next {
            let text = error.to_string();
            // A decorator repeats what it was doing when the store below it failed. Once is enough.
            if chain.last() != Some(&text) {
                chain.push(text);
            }
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
            detail: self.detail.as_deref().map_or(Cow::Borrowed(entry.meaning), unkeyed),
            instance: instance.map(|path| mask_keys(path).into_owned()),
            code: entry.code,
            request_id: request_id.to_owned(),
            errors: self.fields.iter().map(FieldProblem::unkeyed).collect(),
        }
    }

    /// The same as JSON, written piece by piece for speed: a client that tries codes gets many of them.
    fn written(&self, request_id: &str, instance: Option<&str>) -> Vec<u8> {
        let entry = self.kind.entry();
        let mut body = Vec::with_capacity(USUAL_BYTES);
        body.extend_from_slice(BEGINNINGS[self.kind as usize].as_bytes());
        push_json(&mut body, &mask_keys(self.detail.as_deref().unwrap_or(entry.meaning)));
        if let Some(instance) = instance {
            body.extend_from_slice(b",\"instance\":");
            push_json(&mut body, &mask_keys(instance));
        }
        body.extend_from_slice(b",\"code\":");
        push_json(&mut body, &entry.code);
        body.extend_from_slice(b",\"request_id\":");
        push_json(&mut body, &request_id);
        if !self.fields.is_empty() {
            body.extend_from_slice(b",\"errors\":");
            push_json(&mut body, &self.fields.iter().map(FieldProblem::unkeyed).collect::<Vec<_>>());
        }
        body.push(b'}');
        body
    }

    /// The whole answer.
    pub(crate) fn to_response(&self, request_id: &str, instance: Option<&str>) -> HttpResponse<BoxBody> {
        let mut response =
            HttpResponse::with_body(self.kind.status(), BoxBody::new(self.written(request_id, instance)));
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
        self.with_headers(response)
    }

    /// The same as a page for people.
    pub(crate) fn to_page(&self, request_id: &str) -> HttpResponse<BoxBody> {
        let ProblemEntry { title, meaning, .. } = self.kind.entry();
        let (title, text) = match self.kind {
            ProblemKind::NotFound => {
                ("There is no such link", "Look at the address again: capital and small letters differ.")
            }
            ProblemKind::Gone => ("This link does not work any more", "It was deleted, or it has expired."),
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
            with_code(text),
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
        if self.ends_connection() {
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
    /// The id of the request, as in `X-Request-Id` and in the log.
    request_id: String,
    /// Every wrong field, if fields are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(nullable = false, required = false)]
    errors: Vec<FieldProblem>,
}

/// How the bodies of each kind begin: all that is before `detail`.
static BEGINNINGS: LazyLock<[String; ProblemKind::ALL.len()]> = LazyLock::new(|| {
    let mut beginnings = [const { String::new() }; ProblemKind::ALL.len()];
    for kind in ProblemKind::ALL {
        let ProblemEntry { code, title, status, .. } = kind.entry();
        let title = serde_json::Value::from(title);
        beginnings[kind as usize] =
            format!("{{\"type\":\"/docs/errors#{code}\",\"title\":{title},\"status\":{status},\"detail\":");
    }
    beginnings
});

fn push_json(body: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(body, value).expect("texts are JSON");
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind.entry().code)
    }
}

impl std::error::Error for Problem {}

/// The pipeline writes the actual answer, because it knows the request id.
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
                    code: "not-in-future".into(),
                    detail: "must be in the future".to_owned(),
                }]);
            }
            ServiceError::ForbiddenDomain => ProblemKind::Forbidden,
            ServiceError::UnknownDomain => {
                return Self::invalid(vec![FieldProblem {
                    pointer: "/domain".to_owned(),
                    code: "unknown-domain".into(),
                    detail: "no short domain has this host".to_owned(),
                }]);
            }
            ServiceError::IdempotencyKeyReused => ProblemKind::IdempotencyKeyReused,
            ServiceError::CodesExhausted { .. } | ServiceError::Contended { .. } => ProblemKind::Unavailable,
            ServiceError::Repository(failure) => {
                let (kind, reason) = (of_repository(failure.kind()), failure.reason());
                return Self::new(kind).failed_by_store(reason).caused_by(error);
            }
        };
        Self::new(kind).caused_by(error)
    }
}

impl From<RepositoryError> for Problem {
    fn from(error: RepositoryError) -> Self {
        let (kind, reason) = (of_repository(error.kind()), error.reason());
        Self::new(kind).failed_by_store(reason).caused_by(error)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_problem_is_sent_as_it_is_documented() {
        let wrong = vec![FieldProblem {
            pointer: "/url".to_owned(),
            code: "required".into(),
            detail: "is \"required\"".to_owned(),
        }];
        let usual = ProblemKind::ALL.map(|kind| (Problem::new(kind), Some("/abc")));
        let others = [
            (Problem::new(ProblemKind::QuotaExceeded).detail("Too many \u{e9} \"."), None),
            (Problem::invalid(wrong), Some("/api/v1/links")),
        ];
        for (problem, instance) in usual.into_iter().chain(others) {
            let documented = serde_json::to_string(&problem.to_body("r", instance)).expect("JSON");
            assert_eq!(String::from_utf8(problem.written("r", instance)).expect("UTF-8"), documented);
        }
    }

    #[test]
    fn an_api_key_in_the_wrong_place_is_masked() {
        let key = "sgn_SSnBEMJK7Gb7abcdefghijkmnopqrstuvwxyz123456ABCDEF";
        let wrong =
            FieldProblem { pointer: format!("/{key}"), code: "unknown-field".into(), detail: format!("{key} is none") };
        let problem = Problem::invalid(vec![wrong]).detail(format!("No {key}."));
        for body in [
            serde_json::to_string(&problem.to_body("r", Some(&format!("/{key}")))),
            Ok(String::from_utf8(problem.written("r", Some(&format!("/{key}")))).expect("UTF-8")),
        ] {
            let body = body.expect("JSON");
            assert_eq!(body.matches("sgn_SSnBEMJK7Gb7[masked]").count(), 4, "{body}");
            assert!(!body.contains(&key[16..]), "{body}");
        }
    }

    #[test]
    fn a_chain_of_causes_says_nothing_twice() {
        let failed = || RepositoryError::new(RepositoryErrorKind::Unavailable, "resolving a code");
        let problem = Problem::from(failed().caused_by(failed().caused_by(failed().caused_by("10.0.0.7 refused"))));
        assert_eq!(problem.cause_chain().as_deref(), Some("resolving a code: unavailable: 10.0.0.7 refused"));
    }

    #[test]
    fn a_cause_is_logged_and_never_sent_to_the_caller() {
        let cause =
            RepositoryError::new(RepositoryErrorKind::Unavailable, "finding a link").caused_by("10.0.0.7 refused");
        let problem = Problem::from(cause);
        assert!(problem.cause_chain().is_some_and(|chain| chain.contains("10.0.0.7")));
        let body = serde_json::to_string(&problem.to_body("r", None)).expect("JSON");
        assert!(!body.contains("10.0.0.7"), "{body}");
    }
}
