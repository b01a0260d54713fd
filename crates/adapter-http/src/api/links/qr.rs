//! `GET /api/v1/links/{code}/qr`: the short address of a link as a QR code.

use actix_web::{HttpRequest, HttpResponse, route};

use crate::{
    api::contract::{CodeInPath, DomainInQuery},
    problem::Problem,
    request::{
        caller::{LinksRead, OnLink},
        context::Effect,
    },
    response::picture::{self, PictureQuery, Pixels},
};

/// The short address of a link as a QR code, also of a deleted link.
#[utoipa::path(method(get, head), path = "/links/{code}/qr", tag = "links", operation_id = "get_link_qr",
    params(CodeInPath, DomainInQuery, PictureQuery,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the caller knows already")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The picture", content((String = "image/svg+xml"), (inline(Pixels) = "image/png")), headers(("ETag" = String))),
        (status = 304, description = "Unchanged", headers(("ETag" = String)))))]
#[route("/links/{code}/qr", method = "GET", method = "HEAD")]
pub(crate) async fn show(
    OnLink { caller, address }: OnLink<LinksRead>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let style = picture::style(&request, state.settings.qr_logo.as_ref())?;
    let links = &state.services.links;
    let link = caller.context.within_budget(Effect::Read, links.find(&caller.access(), &address)).await?;
    let short_url = caller.context.bases([link.domain]).await?.short_url(&link);
    picture::answer(&request, short_url, style, None).await
}
