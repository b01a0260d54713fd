//! The address of a link as a QR code, without a key.

use actix_web::{
    HttpRequest, HttpResponse,
    http::header::{HeaderName, HeaderValue},
    route, web,
};
use domain::code::Code;

use super::preview::followable;
use crate::{
    problem::{Problem, ProblemKind},
    request::{context::InContext, domains::Bases},
    response::picture::{self, PictureQuery, Pixels},
};

/// How long a picture may be reused. It does not change, but its link may be deleted or taken down.
const CACHE_CONTROL: &str = "public, max-age=60";

/// The address of a link as a QR code.
#[utoipa::path(method(get, head), path = "/{code}.qr", tag = "redirects", operation_id = "show_link_qr",
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64), PictureQuery,
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that the caller knows already")),
    responses(
        (status = 200, description = "The picture", content((String = "image/svg+xml"), (inline(Pixels) = "image/png")), headers(("ETag" = String), ("Cache-Control" = String))),
        (status = 304, description = "Unchanged", headers(("ETag" = String))),
        (status = 410, description = "Deleted or expired", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 451, description = "Taken down", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[route("/{code}.qr", method = "GET", method = "HEAD")]
pub(crate) async fn show(
    InContext(context): InContext,
    request: HttpRequest,
    code: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let settings = &context.state.settings;
    let code: Code = code.parse().map_err(|_| Problem::new(ProblemKind::NotFound))?;
    let style = picture::style(&request, settings.qr_logo.as_ref())?;
    let address = context.visit(request.head())?.address(code);
    let _exists = followable(&context, &address).await?;
    let short_url = Bases::known(&context.state).url(address.domain, &address.code);
    let mut answer = picture::answer(&request, short_url, style, Some(CACHE_CONTROL)).await?;
    answer.headers_mut().insert(HeaderName::from_static("x-robots-tag"), HeaderValue::from_static("noindex"));
    Ok(answer)
}
