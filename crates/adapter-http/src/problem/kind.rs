//! The kinds of problems: one table owns them all.

use actix_web::http::StatusCode;

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
                "`If-Match` does not name the current `ETag` of the link. Read it again, then decide. The tag is sent in quotes and without `W/`, which a proxy that compresses may have put before it.",
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
                "The head of a request may have 16 KiB and 100 fields. The connection is closed.",
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

    pub(crate) fn status(self) -> StatusCode {
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
