//! The kinds of problems, in one table.

use actix_web::http::StatusCode;

/// A way in which a request can fail.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ProblemKind {
    /// The request is not HTTP/1.1 as RFC 9112 defines it.
    MalformedRequest,
    /// The body is not JSON.
    MalformedJson,
    /// The cursor was not made by this service, or not for this list.
    InvalidCursor,
    /// The request carries no valid key.
    Unauthenticated,
    /// The key lacks the scope.
    Forbidden,
    /// Nothing has this name, or the caller may not see it.
    NotFound,
    /// The path exists, but not for this method.
    MethodNotAllowed,
    /// The answer is not available in any accepted media type.
    NotAcceptable,
    /// The request did not arrive in time.
    RequestTimeout,
    /// The alias belongs to another link.
    AliasTaken,
    /// A short domain has that host already.
    DomainTaken,
    /// Links live on the short domain.
    DomainInUse,
    /// There are too many short domains.
    TooManyDomains,
    /// The link must be reactivated first.
    LinkDeleted,
    /// The link is deleted or expired.
    Gone,
    /// The link changed since the caller read it.
    Stale,
    /// The body is too large.
    PayloadTooLarge,
    /// The media type of the body is not supported.
    UnsupportedMediaType,
    /// Fields are wrong.
    ValidationFailed,
    /// The idempotency key was used for a different request.
    IdempotencyKeyReused,
    /// The client or the key has used up a quota.
    QuotaExceeded,
    /// The head of the request is too large.
    HeadersTooLarge,
    /// The link is blocked.
    Blocked,
    /// A defect of the service.
    Internal,
    /// The store cannot be reached in time, or is too busy.
    Unavailable,
    /// The store did not confirm a change in time.
    OutcomeUnknown,
    /// The store has no room left.
    StorageFull,
}

/// The entry of a kind of problem in the table.
#[derive(Debug)]
pub struct ProblemEntry {
    /// The stable name: the `code`, and the fragment of the `type`.
    pub code: &'static str,
    /// The HTTP status.
    pub status: u16,
    /// The title.
    pub title: &'static str,
    /// What the problem means and what a caller can do.
    pub meaning: &'static str,
}

impl ProblemKind {
    /// All kinds, ordered by status.
    pub const ALL: [Self; 27] = [
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
        Self::DomainTaken,
        Self::DomainInUse,
        Self::TooManyDomains,
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

    /// The entry of this kind.
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
                "A cursor works only unchanged, with the key and the filters of the page it came with. Start again without a cursor.",
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
                "The key is valid but lacks the scope that the request needs, or its owner is blocked.",
            ),
            Self::NotFound => entry(
                "not-found",
                404,
                "Not found",
                "Nothing has that name. Links of other owners give the same answer.",
            ),
            Self::MethodNotAllowed => entry(
                "method-not-allowed",
                405,
                "Method not allowed",
                "The path exists, but not for this method; `Allow` names those it has.",
            ),
            Self::NotAcceptable => entry(
                "not-acceptable",
                406,
                "Not acceptable",
                "The answer is not available in any media type of `Accept`.",
            ),
            Self::RequestTimeout => entry(
                "request-timeout",
                408,
                "Request timeout",
                "The request did not arrive completely in time. Nothing was done. The connection is closed.",
            ),
            Self::AliasTaken => entry(
                "alias-taken",
                409,
                "Alias taken",
                "The alias belongs to another link, perhaps a deleted one. Codes are never given to a second link.",
            ),
            Self::DomainTaken => entry(
                "domain-taken",
                409,
                "Short domain exists",
                "A short domain has this host already. `GET /api/v1/domains` lists them.",
            ),
            Self::DomainInUse => entry(
                "domain-in-use",
                409,
                "Short domain in use",
                "Links live on this short domain, codes on it are taken down, or it is the default one. It cannot be removed. Set `accepts_links` to `false` instead: its links go on, and it takes no new ones.",
            ),
            Self::TooManyDomains => entry(
                "too-many-domains",
                409,
                "Too many short domains",
                "There are 1,000 short domains, which is the limit. Remove one on which no link lives.",
            ),
            Self::LinkDeleted => {
                entry("link-deleted", 409, "Link deleted", "A deleted link cannot be edited; reactivate it first.")
            }
            Self::Gone => entry("gone", 410, "Gone", "The link is deleted or has expired."),
            Self::Stale => entry(
                "stale",
                412,
                "Link changed",
                "`If-Match` does not name the current `ETag` of the link. Read it again, then decide. Send the tag in quotes and without `W/`, which a proxy that compresses may have added.",
            ),
            Self::PayloadTooLarge => entry(
                "payload-too-large",
                413,
                "Body too large",
                "A body may have up to 64 KiB, the body of a batch up to 1 MiB. The connection is closed.",
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
                "Nothing was done. Try again after `Retry-After` seconds. `RateLimit-Policy` names the quota, `RateLimit` says what is left of it.",
            ),
            Self::HeadersTooLarge => entry(
                "headers-too-large",
                431,
                "Header fields too large",
                "The head of a request may have up to 16 KiB and 100 fields. The connection is closed.",
            ),
            Self::Blocked => entry(
                "blocked",
                451,
                "Taken down",
                "The operator of this service took this link down, or all links to its host, or all links of its owner.",
            ),
            Self::Internal => entry(
                "internal",
                500,
                "Internal error",
                "A defect of the service. The operator finds the cause in the log by the request id.",
            ),
            Self::Unavailable => entry(
                "unavailable",
                503,
                "Temporarily unavailable",
                "The store cannot be reached in time, or is too busy. Nothing was changed. Try again after `Retry-After` seconds.",
            ),
            Self::OutcomeUnknown => entry(
                "outcome-unknown",
                503,
                "Outcome unknown",
                "The store did not confirm the change in time: it may or may not take effect. Claims without `force_new`, deletions, \
                 reactivations and requests with an `Idempotency-Key` can be repeated safely.",
            ),
            Self::StorageFull => entry(
                "storage-full",
                507,
                "Storage full",
                "The store has no room left. Nothing was changed. Redirects still work.",
            ),
        }
    }

    pub(crate) fn status(self) -> StatusCode {
        StatusCode::from_u16(self.entry().status).expect("the table holds HTTP statuses")
    }

    /// The kind for an answer of the framework that has a status only.
    ///
    /// A status without a kind is [`Self::Internal`] from 500 on, else [`Self::MalformedRequest`].
    pub(crate) fn of_status(status: StatusCode) -> Self {
        Self::ALL.into_iter().find(|kind| kind.status() == status).unwrap_or(if status.is_server_error() {
            Self::Internal
        } else {
            Self::MalformedRequest
        })
    }
}

/// The table in Markdown, as `docs/ERRORS.md` contains it.
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
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn codes_are_unique_and_statuses_rise() {
        let codes: BTreeSet<_> = ProblemKind::ALL.iter().map(|kind| kind.entry().code).collect();
        assert_eq!(codes.len(), ProblemKind::ALL.len());
        assert!(ProblemKind::ALL.windows(2).all(|pair| pair[0].entry().status <= pair[1].entry().status));
    }

    #[test]
    fn bare_statuses_become_problems() {
        assert_eq!(ProblemKind::of_status(StatusCode::PAYLOAD_TOO_LARGE), ProblemKind::PayloadTooLarge);
        assert_eq!(ProblemKind::of_status(StatusCode::IM_A_TEAPOT), ProblemKind::MalformedRequest);
        assert_eq!(ProblemKind::of_status(StatusCode::BAD_GATEWAY), ProblemKind::Internal);
    }
}
