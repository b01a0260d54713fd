//! Parameters and answers that many operations share, as the OpenAPI document describes them.

use utoipa::{IntoParams, IntoResponses};

use crate::problem::ProblemBody;

/// The code in a path.
#[derive(IntoParams)]
#[into_params(parameter_in = Path)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct CodeInPath {
    /// The code of the link
    #[param(pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64)]
    code: String,
}

/// The short domain of a link.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct DomainInQuery {
    /// The host of the short domain; the default one if not given
    #[param(max_length = 253)]
    domain: Option<String>,
}

/// What an answer holds beside the link.
#[derive(IntoParams)]
#[into_params(parameter_in = Query)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct Include {
    /// `clicks`: how often each link was followed
    #[param(pattern = "^clicks$", example = "clicks")]
    include: Option<String>,
}

/// The key that makes a POST repeatable.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct IdempotencyKey {
    /// Names the request; repeated within 24 hours it has one effect and one answer
    #[param(rename = "Idempotency-Key", min_length = 1, max_length = 255, pattern = "^[!-~]+$")]
    idempotency_key: Option<String>,
}

/// A precondition of a change.
#[derive(IntoParams)]
#[into_params(parameter_in = Header)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) struct IfMatch {
    /// The `ETag` the link must have
    #[param(rename = "If-Match", example = "*")]
    if_match: Option<String>,
}

/// A cursor that was changed, or belongs to another list.
#[derive(IntoResponses)]
#[response(status = 400, description = "The cursor is invalid", content_type = "application/problem+json")]
pub(crate) struct InvalidCursor(#[expect(dead_code, reason = "describes an answer")] ProblemBody);

/// The link is not in the expected generation.
#[derive(IntoResponses)]
#[response(status = 412, description = "The link changed", content_type = "application/problem+json")]
pub(crate) struct LinkChanged(#[expect(dead_code, reason = "describes an answer")] ProblemBody);
