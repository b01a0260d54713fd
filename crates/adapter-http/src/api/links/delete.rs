//! `DELETE /api/v1/links/{code}`: stop a link; it can come back.

use actix_web::{HttpRequest, HttpResponse, delete, web};
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

/// Deletes a link. Deleting it again changes nothing. Its code is never given to another link.
#[utoipa::path(path = "/links/{code}", tag = "links", operation_id = "delete_link",
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64),
        ("If-Match" = Option<String>, Header, description = "The `ETag` the link must have", example = "*")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "The link, deleted", body = LinkBody, headers(("ETag" = String))),
        (status = 412, description = "The link changed", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[delete("/links/{code}")]
pub(crate) async fn delete(
    state: web::Data<State>,
    request: HttpRequest,
    code: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&state, &request, Scope::LinksWrite).await?;
    ensure_owner_active(&state, &caller.caller.owner)?;
    let code = code_in_path(&code)?;
    caller.context.note(|notes| notes.code = Some(code.clone()));
    let links = &state.services.links;
    let (call, expected) = (caller.call(), if_match(request.headers()));
    let link = caller.context.within_budget(Effect::Write, links.delete(&call, &code, &expected)).await?;
    Ok(answer(&link, &state.settings.public_url, links.now()))
}
