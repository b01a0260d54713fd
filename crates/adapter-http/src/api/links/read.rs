//! `GET /api/v1/links/{code}`: one link, deleted ones too.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, route};

use super::body::{LinkBody, answer, tagged};
use crate::api::contract::CodeInPath;
use crate::{
    problem::Problem,
    request::{
        caller::{LinksRead, OnLink},
        context::Effect,
        preconditions::not_modified,
    },
};

/// Reads a link, deleted ones too.
#[utoipa::path(method(get, head), path = "/links/{code}", tag = "links", operation_id = "get_link",
    params(CodeInPath,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the caller knows already")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The link", body = LinkBody, headers(("ETag" = String))),
        (status = 304, description = "Unchanged", headers(("ETag" = String)))))]
#[route("/links/{code}", method = "GET", method = "HEAD")]
pub(crate) async fn read(
    OnLink { caller, code }: OnLink<LinksRead>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let links = &state.services.links;
    let link = caller.context.within_budget(Effect::Read, links.find(&caller.access(), &code)).await?;
    if not_modified(request.headers(), link.generation) {
        return Ok(tagged(StatusCode::NOT_MODIFIED, &link).finish());
    }
    Ok(answer(&link, &state.settings.public_url, links.now()))
}
