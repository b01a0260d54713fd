//! `GET /api/v1/links/{code}/history`: what happened to a link.

use actix_web::{HttpRequest, HttpResponse, route, web};
use domain::{api_key::Scope, history::LinkEvent, time::Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::code_in_path;
use crate::{
    api::{
        cursor::CursorScope,
        paging::{Query, page},
    },
    problem::Problem,
    request::{caller::authenticate, state::State},
};

/// A page of history.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HistoryPage {
    /// The events.
    items: Vec<EventBody>,
    /// Leads to the next page, if there is one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// One change of a link.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkEvent)]
pub(crate) struct EventBody {
    /// `created`, `edited`, `deleted` or `reactivated`.
    event: &'static str,
    /// The generation it led to.
    #[schema(minimum = 1)]
    generation: i64,
    /// Who did it: `api_key:<id>`, `system` or `anonymous`.
    actor: String,
    /// In which request.
    request_id: String,
    /// When.
    #[schema(value_type = String, format = DateTime)]
    at: Timestamp,
}

impl From<&LinkEvent> for EventBody {
    fn from(event: &LinkEvent) -> Self {
        Self {
            event: event.kind.name(),
            generation: event.generation.get(),
            actor: event.provenance.actor.to_string(),
            request_id: event.provenance.request_id.to_string(),
            at: event.provenance.at,
        }
    }
}

/// Reads what happened to a link, newest first.
#[utoipa::path(method(get, head), path = "/links/{code}/history", tag = "links", operation_id = "list_link_events",
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64),
        ("limit" = Option<u32>, Query, description = "Events on a page", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "A page", body = HistoryPage, headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page"))),
        (status = 400, description = "The cursor is invalid", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[route("/links/{code}/history", method = "GET", method = "HEAD")]
pub(crate) async fn history(
    state: web::Data<State>,
    request: HttpRequest,
    code: web::Path<String>,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate(&state, &request, Scope::LinksRead).await?;
    let code = code_in_path(&code)?;
    caller.context.note(|notes| notes.code = Some(code.clone()));
    let mut query = Query::of(&request);
    let limit = query.limit();
    let cursor = query.take("cursor", |text| Ok(text.to_owned()));
    query.finish()?;

    let digest = caller.secret.digest();
    let scope = CursorScope { caller: &digest, question: format!("history {code}") };
    let before = cursor.map(|cursor| scope.open(&cursor)).transpose()?;
    let access = caller.caller.access();
    let reading = state.services.links.history(&access, &code, before, limit);
    let (events, next) = caller.context.list_within_budget(reading).await?;

    let next_cursor = next.map(|position| scope.seal(&position));
    Ok(page(&request, next_cursor, |next_cursor| HistoryPage {
        items: events.iter().map(EventBody::from).collect(),
        next_cursor,
    }))
}
