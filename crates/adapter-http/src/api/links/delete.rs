//! `DELETE /api/v1/links/{code}`: stop a link; it can come back.

use actix_web::{HttpRequest, HttpResponse, delete};

use super::body::{LinkBody, answer};
use crate::api::contract::{CodeInPath, DomainInQuery, IfMatch, LinkChanged};
use crate::{
    problem::Problem,
    request::{caller::LinkChange, context::Effect, preconditions::if_match},
};

/// Deletes a link. Deleting it again changes nothing. Its code is never given to another link.
#[utoipa::path(path = "/links/{code}", tag = "links", operation_id = "delete_link",
    params(CodeInPath, DomainInQuery,
        IfMatch),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The link, deleted", body = LinkBody, headers(("ETag" = String))),
        LinkChanged))]
#[delete("/links/{code}")]
pub(crate) async fn delete(
    LinkChange { caller, address }: LinkChange,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let links = &state.services.links;
    let (call, expected) = (caller.call(), if_match(request.headers()));
    let link = caller.context.within_budget(Effect::Write, links.delete(&call, &address, &expected)).await?;
    let bases = caller.context.bases([link.domain]).await?;
    Ok(answer(&link, &bases, links.now()))
}
