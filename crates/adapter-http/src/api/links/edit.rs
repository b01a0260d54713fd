//! `PATCH /api/v1/links/{code}`: set fields of an active link.

use actix_web::{HttpRequest, HttpResponse, patch, web};

use super::{
    body::{LinkBody, answer},
    fields::{self, EditBody, Rules},
};
use crate::api::contract::{CodeInPath, DomainInQuery, IfMatch, LinkChanged};
use crate::{
    problem::Problem,
    request::{
        body::receive_json, body_room::BodySize, caller::LinkChange, context::Effect, domains::Bases,
        preconditions::if_match,
    },
};

/// Edits an active link (JSON Merge Patch: `null` clears).
///
/// An edit that changes nothing leaves the generation as it is. One that changes where or how the link leads
/// takes it out of deduplication permanently.
#[utoipa::path(path = "/links/{code}", tag = "links", operation_id = "edit_link",
    request_body(content((EditBody = "application/merge-patch+json"), (EditBody = "application/json"))),
    params(CodeInPath, DomainInQuery,
        IfMatch),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The link as it is now", body = LinkBody, headers(("ETag" = String))),
        (status = 409, description = "The link is deleted", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        LinkChanged))]
#[patch("/links/{code}")]
pub(crate) async fn edit(
    LinkChange { caller, address }: LinkChange,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let body = receive_json(state, &request, payload, BodySize::Single).await?;
    let links = &state.services.links;
    let (targets, blocked) = (state.settings.targets.get(), state.blocked()?);
    let known = Bases::known(state);
    let rules = Rules {
        targets: &targets,
        blocked: blocked.as_deref(),
        bases: &known,
        caller: &caller.caller,
        now: links.now(),
    };
    let wanted = fields::edit(body.json, rules).map_err(Problem::invalid)?;
    let (call, expected) = (caller.call(), if_match(request.headers()));
    let link = caller.context.within_budget(Effect::Write, links.edit(&call, &address, &expected, &wanted)).await?;
    let bases = caller.context.bases([link.domain]).await?;
    Ok(answer(&link, &bases, rules.now))
}
