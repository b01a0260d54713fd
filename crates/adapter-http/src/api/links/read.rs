//! `GET /api/v1/links/{code}`: one link, deleted ones too.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    route,
};

use super::body::{LinkBody, answer, tagged};
use crate::api::contract::{CodeInPath, DomainInQuery, Include};
use crate::{
    problem::Problem,
    request::{
        caller::{LinksRead, OnLink},
        context::Effect,
        preconditions::not_modified,
        query::Query,
    },
};

/// Reads a link, deleted ones too.
///
/// With `include=clicks` the link has its clicks, and the answer no `ETag`: clicks do not change the generation.
#[utoipa::path(method(get, head), path = "/links/{code}", tag = "links", operation_id = "get_link",
    params(CodeInPath, DomainInQuery, Include,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the caller knows already")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The link", body = LinkBody, headers(("ETag" = String))),
        (status = 304, description = "Unchanged", headers(("ETag" = String)))))]
#[route("/links/{code}", method = "GET", method = "HEAD")]
pub(crate) async fn read(
    OnLink { caller, address }: OnLink<LinksRead>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let links = &state.services.links;
    let link = caller.context.within_budget(Effect::Read, links.find(&caller.access(), &address)).await?;
    if Query::includes_clicks(&request)? {
        let ids = [link.id];
        let totals = caller.context.list_within_budget(state.services.clicks.statistics.totals(&ids)).await?;
        let bases = caller.context.bases([link.domain]).await?;
        let body = LinkBody::of(&link, &bases, links.now()).with_clicks(totals[0]);
        return Ok(HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "private, no-cache")).json(body));
    }
    if not_modified(request.headers(), link.generation) {
        return Ok(tagged(StatusCode::NOT_MODIFIED, &link).finish());
    }
    let bases = caller.context.bases([link.domain]).await?;
    Ok(answer(&link, &bases, links.now()))
}
