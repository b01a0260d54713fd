//! `GET /api/v1/links/{code}/history`: what happened to a link.

use actix_web::{HttpRequest, HttpResponse, route};
use domain::{history::LinkEvent, time::Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::api::contract::{CodeInPath, DomainInQuery, InvalidCursor};
use crate::{
    problem::Problem,
    request::{
        caller::{LinksRead, OnLink},
        query::Query,
    },
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
    /// The id of the request that did it.
    request_id: String,
    /// When it happened.
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
    params(CodeInPath, DomainInQuery,
        ("limit" = Option<u32>, Query, description = "Events on a page", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "A page", body = HistoryPage, headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page"))),
        InvalidCursor))]
#[route("/links/{code}/history", method = "GET", method = "HEAD")]
pub(crate) async fn history(
    OnLink { caller, address }: OnLink<LinksRead>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let page = Query::of(&request).page(&caller.secret, || format!("history {address}"))?;
    let (links, access) = (&caller.context.state.services.links, caller.access());
    let reading = links.history(&access, &address, page.after, page.limit);
    let (events, next) = caller.context.list_within_budget(reading).await?;
    let items = events.iter().map(EventBody::from).collect();
    Ok(page.answer(&request, next.as_ref(), |next_cursor| HistoryPage { items, next_cursor }))
}
