//! Redirects: the only path most visitors ever touch.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    route, web,
};
use domain::{
    code::Code,
    ports::{RepositoryError, Source},
    service::{Follow, Followed},
};
use tokio::time::timeout;

use crate::{
    context::{Context, Effect, InContext},
    problem::{Problem, ProblemKind},
    state::State,
};

/// Follows a link.
///
/// `HEAD` answers the same without a body. The redirect may be reused for `max-age` seconds, ten at most: a
/// deleted link stops redirecting for everybody within that time.
#[utoipa::path(method(get, head), path = "/{code}", tag = "redirects", operation_id = "follow",
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]{3,64}$")),
    responses(
        (status = 301, description = "Moved permanently", headers(("Location" = String, description = "The target"), ("Cache-Control" = String))),
        (status = 302, description = "Found", headers(("Location" = String, description = "The target"), ("Cache-Control" = String))),
        (status = 307, description = "Temporary redirect", headers(("Location" = String, description = "The target"), ("Cache-Control" = String))),
        (status = 308, description = "Permanent redirect", headers(("Location" = String, description = "The target"), ("Cache-Control" = String))),
        (status = 410, description = "Deleted or expired", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[route("/{code}", method = "GET", method = "HEAD")]
pub(crate) async fn follow(
    state: web::Data<State>,
    InContext(context): InContext,
    request: HttpRequest,
    code: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let code: Code = code.parse().map_err(|_| Problem::new(ProblemKind::NotFound))?;
    context.note(|notes| notes.code = Some(code.clone()));
    let resolver = &state.services.resolver;
    let answer = match resolver.follow_at_once(&code, request.query_string()) {
        Some(answer) => answer,
        None => ask_the_store(&state, &context, resolver.follow(&code, request.query_string())).await?,
    };
    context.note(|notes| notes.cache_result = Some(cache_result(&answer)));
    match answer.followed {
        Followed::Unknown => Err(Problem::new(ProblemKind::NotFound)),
        Followed::Gone(_) => Err(Problem::new(ProblemKind::Gone)),
        Followed::Redirect { status, location, max_age } => {
            let status = StatusCode::from_u16(status).expect("a link redirects with an HTTP status");
            let mut redirect = HttpResponse::build(status);
            redirect
                .insert_header((header::LOCATION, location))
                .insert_header((header::CACHE_CONTROL, format!("private, max-age={max_age}")))
                .insert_header((header::REFERRER_POLICY, "no-referrer-when-downgrade"))
                .insert_header(("x-robots-tag", "noindex"));
            if answer.source == Source::StaleMemory {
                redirect.insert_header(("cache-status", STALE));
            }
            Ok(redirect.finish())
        }
    }
}

/// From memory, although that is too old: the store could not be asked (RFC 9211 §2.2).
const STALE: &str = "signpost; hit; fwd=stale";

async fn ask_the_store(
    state: &State,
    context: &Context,
    following: impl Future<Output = Result<Follow, RepositoryError>>,
) -> Result<Follow, Problem> {
    let patience = state.settings.redirect_timeout;
    let followed = context.within_budget(Effect::Read, async {
        match timeout(patience, following).await {
            Ok(followed) => followed.map_err(Problem::from),
            Err(elapsed) => Err(Problem::new(ProblemKind::Unavailable).caused_by(elapsed)),
        }
    });
    followed.await
}

fn cache_result(answer: &Follow) -> &'static str {
    match (answer.source, &answer.followed) {
        (Source::Store, _) => "miss",
        (Source::StaleMemory, _) => "stale",
        (Source::Memory, Followed::Unknown) => "negative",
        (Source::Memory, Followed::Gone(_) | Followed::Redirect { .. }) => "hit",
    }
}
