//! `POST /api/v1/links/{code}/reactivate`: bring a deleted link back.

use actix_web::{HttpRequest, HttpResponse, post, web};
use domain::api_key::Scope;

use super::{
    body::{LinkBody, answer},
    code_in_path,
};
use crate::{
    problem::Problem,
    request::{
        caller::{authenticate, ensure_owner_active},
        context::Effect,
        preconditions::if_match,
        state::State,
    },
};

/// Brings a deleted link back under its old code. An active link stays as it is.
#[utoipa::path(path = "/links/{code}/reactivate", tag = "links", operation_id = "reactivate_link",
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the link must have", example = "*"),
        ("Idempotency-Key" = Option<String>, Header, description = "Names the request; repeated within 24 hours it has one effect and one answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The link, active", body = LinkBody, headers(("ETag" = String))),
        (status = 412, description = "The link changed", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[post("/links/{code}/reactivate")]
pub(crate) async fn reactivate(
    state: web::Data<State>,
    request: HttpRequest,
    code: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&state, &request, Scope::LinksWrite).await?;
    let code = code_in_path(&code)?;
    caller.context.note(|notes| notes.code = Some(code.clone()));
    let links = &state.services.links;
    // The body means nothing here, so it takes no part in telling requests apart.
    let (call, expected) = (caller.repeatable_call(&request, &[])?, if_match(request.headers()));
    // What is repeated has its answer, whatever was blocked since.
    if caller.context.within_budget(Effect::Read, links.recall(&call)).await?.is_none() {
        ensure_owner_active(&state, &caller.caller.owner)?;
    }
    let link = caller.context.within_budget(Effect::Write, links.reactivate(&call, &code, &expected)).await?;
    Ok(answer(&link, &state.settings.public_url, links.now()))
}
