//! `GET /api/v1/links/{code}`: one link, deleted ones too.

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, route, web};
use domain::api_key::Scope;

use super::{
    body::{LinkBody, answer, tagged},
    code_in_path,
};
use crate::{
    problem::Problem,
    request::{caller::authenticate, context::Effect, preconditions::not_modified, state::State},
};

/// Reads a link, deleted ones too.
#[utoipa::path(method(get, head), path = "/links/{code}", tag = "links", operation_id = "get_link",
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64),
        ("If-None-Match" = Option<String>, Header, description = "An `ETag` that is known already")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The link", body = LinkBody, headers(("ETag" = String))),
        (status = 304, description = "Unchanged", headers(("ETag" = String)))))]
#[route("/links/{code}", method = "GET", method = "HEAD")]
pub(crate) async fn read(
    state: web::Data<State>,
    request: HttpRequest,
    code: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&state, &request, Scope::LinksRead).await?;
    let code = code_in_path(&code)?;
    caller.context.note(|notes| notes.code = Some(code.clone()));
    let links = &state.services.links;
    let access = caller.caller.access();
    let link = caller.context.within_budget(Effect::Read, links.find(&access, &code)).await?;
    if not_modified(request.headers(), link.generation) {
        return Ok(tagged(StatusCode::NOT_MODIFIED, &link).finish());
    }
    Ok(answer(&link, &state.settings.public_url, links.now()))
}
