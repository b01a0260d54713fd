//! `PATCH /api/v1/links/{code}`: set fields of an active link.

use actix_web::{HttpRequest, HttpResponse, patch, web};
use domain::api_key::Scope;

use super::{
    body::{LinkBody, answer},
    code_in_path,
    fields::{self, EditBody, Rules},
};
use crate::{
    problem::Problem,
    request::{
        body::receive_json,
        body_room::BodySize,
        caller::{authenticate, ensure_owner_active},
        context::Effect,
        preconditions::if_match,
        state::State,
    },
};

/// Edits an active link (JSON Merge Patch: `null` clears).
///
/// An edit that changes nothing leaves the generation as it is. One that changes where or how the link leads
/// takes it out of deduplication for good.
#[utoipa::path(path = "/links/{code}", tag = "links", operation_id = "edit_link",
    request_body(content((EditBody = "application/merge-patch+json"), (EditBody = "application/json"))),
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the link must have", example = "*")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The link as it is now", body = LinkBody, headers(("ETag" = String))),
        (status = 409, description = "The link is deleted", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 412, description = "The link changed", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[patch("/links/{code}")]
pub(crate) async fn edit(
    state: web::Data<State>,
    request: HttpRequest,
    code: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&state, &request, Scope::LinksWrite).await?;
    ensure_owner_active(&state, &caller.caller.owner)?;
    let code = code_in_path(&code)?;
    caller.context.note(|notes| notes.code = Some(code.clone()));
    let body = receive_json(&state, &request, payload, BodySize::Single).await?;
    let links = &state.services.links;
    let (targets, blocked) = (state.settings.targets.get(), state.blocked()?);
    let rules = Rules { targets: &targets, blocked: blocked.as_deref(), now: links.now() };
    let wanted = fields::edit(body.json, rules).map_err(Problem::invalid)?;
    let (call, expected) = (caller.call(), if_match(request.headers()));
    let link = caller.context.within_budget(Effect::Write, links.edit(&call, &code, &expected, &wanted)).await?;
    Ok(answer(&link, &state.settings.public_url, rules.now))
}
