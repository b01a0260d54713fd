//! `POST /api/v1/links/{code}/reactivate`: bring a deleted link back.

use actix_web::{HttpRequest, HttpResponse, post};

use super::body::{LinkBody, answer};
use crate::api::contract::{CodeInPath, DomainInQuery, IdempotencyKey, IfMatch, LinkChanged};
use crate::{
    problem::Problem,
    request::{
        caller::{LinksWrite, OnLink, ensure_owner_active},
        context::Effect,
        preconditions::if_match,
    },
};

/// Brings a deleted link back under its old code. An active link stays as it is.
#[utoipa::path(path = "/links/{code}/reactivate", tag = "links", operation_id = "reactivate_link",
    params(CodeInPath, DomainInQuery,
        IfMatch,
        IdempotencyKey),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The link, active", body = LinkBody, headers(("ETag" = String))),
        LinkChanged))]
#[post("/links/{code}/reactivate")]
pub(crate) async fn reactivate(
    OnLink { caller, address }: OnLink<LinksWrite>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let links = &state.services.links;
    // The body is ignored here, so the fingerprint of the request leaves it out.
    let (call, expected) = (caller.repeatable_call(&request, &[])?, if_match(request.headers()));
    // A repeated request gets its first answer, even if the owner was blocked since.
    if caller.context.within_budget(Effect::Read, links.recall(&call)).await?.is_none() {
        ensure_owner_active(state, &caller.caller.owner)?;
    }
    let link = caller.context.within_budget(Effect::Write, links.reactivate(&call, &address, &expected)).await?;
    let bases = caller.context.bases([link.domain]).await?;
    Ok(answer(&link, &bases, links.now()))
}
