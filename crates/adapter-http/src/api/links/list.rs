//! `GET /api/v1/links`: pages of links.

use actix_web::{HttpRequest, HttpResponse, route};
use domain::{
    link::Tags,
    ports::{LinkFilter, ListQuery, Sort, StateFilter},
    target::{Target, TargetPolicy},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{body::LinkBody, fields::target_fault};
use crate::api::contract::{DomainInQuery, Include, InvalidCursor};
use crate::{
    api::{common_fields::text_fault, paging::included},
    problem::Problem,
    request::{
        caller::{Authorized, LinksRead},
        json::Fault,
        query::Query,
    },
};

/// A page of links.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = LinkPage)]
pub(crate) struct LinkPageBody {
    /// The links.
    items: Vec<LinkBody>,
    /// Leads to the next page, if there is one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Lists links, newest first. A key sees the links of its owner, an administrator's key those of all owners.
#[utoipa::path(method(get, head), path = "/links", tag = "links", operation_id = "list_links",
    params(
        Include,
        DomainInQuery,
        ("state" = Option<StateSchema>, Query, description = "Only links in this state"),
        ("q" = Option<String>, Query, description = "Only links with this text in code, URL or title", min_length = 1, max_length = 200, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"),
        ("tag" = Option<String>, Query, description = "Only links with this tag", min_length = 1, max_length = 50, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$"),
        ("target" = Option<String>, Query, description = "Only links that lead exactly to this URL", format = Uri, max_length = 8192),
        ("created_after" = Option<String>, Query, description = "Only links created later", format = DateTime),
        ("created_before" = Option<String>, Query, description = "Only links created earlier", format = DateTime),
        ("sort" = Option<SortSchema>, Query, description = "`-created_at` (newest first) or `created_at`"),
        ("limit" = Option<u32>, Query, description = "Links on a page", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "A page", body = LinkPageBody, headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page"))),
        InvalidCursor))]
#[route("/links", method = "GET", method = "HEAD")]
pub(crate) async fn list(caller: Authorized<LinksRead>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let mut query = Query::of(&request);
    let domain = match query.take("domain", |text| Ok(text.to_owned())) {
        None => None,
        Some(host) => Some(caller.context.domain_in_query(&host).await?),
    };
    let filter = LinkFilter {
        domain,
        state: query.take("state", state_filter),
        text: query.take("q", text),
        tag: query.take("tag", tag),
        target: query.take("target", target),
        created_after: query.take("created_after", moment),
        created_before: query.take("created_before", moment),
    };
    let sort = query.take("sort", sort).unwrap_or_default();
    let includes_clicks = query.take("include", included).unwrap_or_default();
    let mut page = query.page(&caller.secret, || format!("links {filter:?} {sort:?}"))?;

    let state = &caller.context.state;
    let links = &state.services.links;
    let wanted = ListQuery { access: caller.access(), filter, sort, after: page.after.take(), limit: page.limit };
    let found = caller.context.list_within_budget(links.list(wanted)).await?;
    let now = links.now();
    let bases = caller.context.bases(found.items.iter().map(|link| link.domain)).await?;
    let mut items: Vec<_> = found.items.iter().map(|link| LinkBody::of(link, &bases, now)).collect();
    if includes_clicks {
        let ids: Vec<_> = found.items.iter().map(|link| link.id).collect();
        let totals = caller.context.list_within_budget(state.services.clicks.statistics.totals(&ids)).await?;
        items = items.into_iter().zip(totals).map(|(item, totals)| item.with_clicks(totals)).collect();
    }
    Ok(page.answer(&request, found.next.as_ref(), |next_cursor| LinkPageBody { items, next_cursor }))
}

/// A state to list.
#[derive(ToSchema)]
#[schema(as = LinkState, rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) enum StateSchema {
    Active,
    Deleted,
}

/// An order to list in.
#[derive(ToSchema)]
#[schema(as = LinkSort)]
#[expect(dead_code, reason = "describes a parameter")]
pub(crate) enum SortSchema {
    #[schema(rename = "-created_at")]
    NewestFirst,
    #[schema(rename = "created_at")]
    OldestFirst,
}

fn state_filter(text: &str) -> Result<StateFilter, Fault> {
    match text {
        "active" => Ok(StateFilter::Active),
        "deleted" => Ok(StateFilter::Deleted),
        _ => Err(Fault::new("unknown-value", "must be active or deleted")),
    }
}

fn sort(text: &str) -> Result<Sort, Fault> {
    match text {
        "-created_at" => Ok(Sort::NewestFirst),
        "created_at" => Ok(Sort::OldestFirst),
        _ => Err(Fault::new("unknown-value", "must be -created_at or created_at")),
    }
}

fn text(text: &str) -> Result<String, Fault> {
    let title: domain::link::Title = text.parse().map_err(text_fault)?;
    Ok(title.as_str().to_owned())
}

fn tag(text: &str) -> Result<String, Fault> {
    Tags::check(text).map_err(text_fault)?;
    Ok(text.to_owned())
}

/// A target to list. Links may have targets that are not allowed any more, so no policy applies.
fn target(text: &str) -> Result<Target, Fault> {
    let anything = TargetPolicy::new(true, &[]);
    Target::parse(text, &anything).map_err(|error| Fault::new(target_fault(error), error))
}

fn moment(text: &str) -> Result<Timestamp, Fault> {
    text.parse().map_err(|error| Fault::new("not-a-time", error))
}
