//! Statistics: clicks of one link, of all links of the caller, the links with most clicks, and visits that led nowhere.
//!
//! | file       | holds                                              |
//! |------------|----------------------------------------------------|
//! | `mod`      | the operations                                     |
//! | `question` | the parameters of a question                       |
//! | `body`     | statistics as JSON                                 |
//! | `table`    | the same as CSV                                    |

pub(crate) mod body;
pub(crate) mod question;
mod table;

use actix_web::{HttpRequest, HttpResponse, http::header, route};
use domain::{
    access::Access,
    ports::{LinkFilter, ListQuery, Sort, StatisticsOf},
    service::StatisticsService,
};
use uuid::Uuid;

use self::{
    body::{OrphanDay, Orphans, Statistics, TopLink, TopLinks},
    question::{Filters, Question, Range},
};
use crate::{
    api::contract::{CodeInPath, DomainInQuery},
    problem::{FieldProblem, Problem, ProblemKind},
    request::{
        accept::prefers_csv,
        caller::{Admin, Authorized, OnLink, RequiredScope, StatsRead},
        context::Effect,
        json::field_problem,
        query::Query,
    },
};

/// Counts the clicks of a link over time, and by what they tell.
///
/// The series has no holes and adds up to the totals. Breakdowns cover the whole UTC days that they name, and each adds
/// up to their own `total`. With `Accept: text/csv` the answer is a table.
#[utoipa::path(method(get, head), path = "/links/{code}/stats", tag = "statistics", operation_id = "get_link_statistics",
    params(CodeInPath, DomainInQuery, Filters),
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "The statistics", content((Statistics = "application/json"), (String = "text/csv")))))]
#[route("/links/{code}/stats", method = "GET", method = "HEAD")]
pub(crate) async fn of_link(
    OnLink { caller, address }: OnLink<StatsRead>,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let question = Question::of(Query::of(&request), state.services.clicks.statistics.now())?;
    let (links, access) = (&state.services.links, caller.access());
    let link = caller.context.within_budget(Effect::Read, links.find(&access, &address)).await?;
    answer(&caller, &request, &question, StatisticsOf::Link(link.id), address.code.as_str()).await
}

/// Counts the clicks of all links of the caller, or of those with a tag or on a short domain.
///
/// An administrator's key counts those of all owners. A tag that more than 10,000 links have is refused.
#[utoipa::path(method(get, head), path = "/stats", tag = "statistics", operation_id = "get_statistics",
    params(Filters, DomainInQuery, ("tag" = Option<String>, Query, description = "Only links with this tag", min_length = 1, max_length = 50, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")),
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "The statistics", content((Statistics = "application/json"), (String = "text/csv")))))]
#[route("/stats", method = "GET", method = "HEAD")]
pub(crate) async fn of_all(caller: Authorized<StatsRead>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let mut query = Query::of(&request);
    let tag = query.take("tag", question::tag);
    let host = query.take("domain", |text| Ok(text.to_owned()));
    let question = Question::of(query, caller.context.state.services.clicks.statistics.now())?;
    let domain = match host {
        None => None,
        Some(host) => Some(caller.context.domain_in_query(&host).await?),
    };
    let access = caller.access();
    let domains = match (access.domains(), domain) {
        (None, domain) => domain.map(|domain| vec![domain]),
        (Some(bound), None) => Some(bound.to_vec()),
        (Some(bound), Some(domain)) => Some(bound.iter().copied().filter(|one| *one == domain).collect()),
    };
    let of = match (tag, access.owner(), domains) {
        (Some(tag), ..) => {
            let filter = LinkFilter { tag: Some(tag), domain, ..LinkFilter::default() };
            StatisticsOf::Links(links_with(&caller, access, filter).await?)
        }
        (None, Some(owner), None) => StatisticsOf::Owner(owner.clone()),
        (None, None, None) => StatisticsOf::Everyone,
        (None, owner, Some(domains)) => StatisticsOf::On { owner: owner.cloned(), domains },
    };
    answer(&caller, &request, &question, of, "all").await
}

/// Lists the links with most clicks, most first.
#[utoipa::path(method(get, head), path = "/stats/top", tag = "statistics", operation_id = "list_top_links",
    params(Range, ("limit" = Option<u32>, Query, description = "Links in the answer", minimum = 1, maximum = 100)),
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "The links", body = TopLinks)))]
#[route("/stats/top", method = "GET", method = "HEAD")]
pub(crate) async fn top(caller: Authorized<StatsRead>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let (context, state) = (&caller.context, &caller.context.state);
    let mut query = Query::of(&request);
    let limit = query.limit();
    let statistics = &state.services.clicks.statistics;
    let (from, to, bots) = question::range(query, statistics.now())?;
    let access = caller.access();
    if access.domains().is_some() {
        return Err(Problem::new(ProblemKind::Forbidden)
            .detail("A key that is bound to short domains has no list of most clicked links."));
    }
    let reading = statistics.top(access.owner(), bots, from, to, limit);
    let found = context.list_within_budget(reading).await?;
    let ids: Vec<_> = found.iter().map(|(id, _)| *id).collect();
    let links = context.list_within_budget(state.services.links.with_ids(&access, &ids)).await?;
    let bases = context.bases(links.iter().map(|link| link.domain)).await?;
    let items = found.iter().filter_map(|(id, clicks)| {
        let link = links.iter().find(|link| link.id == *id)?;
        Some(TopLink::of(link, *clicks, &bases))
    });
    Ok(HttpResponse::Ok().json(TopLinks { items: items.collect() }))
}

/// Counts visits that led nowhere, by UTC day, short domain and reason (scope `admin`).
///
/// They are counted in memory and stored each second. What was not stored when a process is killed is lost.
#[utoipa::path(method(get, head), path = "/stats/orphans", tag = "statistics", operation_id = "list_orphans",
    params(Range),
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "The counts", body = Orphans)))]
#[route("/stats/orphans", method = "GET", method = "HEAD")]
pub(crate) async fn orphans(caller: Authorized<Admin>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let statistics = &caller.context.state.services.clicks.statistics;
    let (from, to, _) = question::range(Query::of(&request), statistics.now())?;
    let counts = caller.context.list_within_budget(statistics.orphans(from, to)).await?;
    let bases = caller.context.bases(counts.iter().map(|(orphan, _)| orphan.domain)).await?;
    let items = counts.iter().map(|(orphan, visits)| OrphanDay::of(*orphan, *visits, &bases)).collect();
    Ok(HttpResponse::Ok().json(Orphans { items }))
}

async fn answer<S: RequiredScope>(
    caller: &Authorized<S>,
    request: &HttpRequest,
    question: &Question,
    of: StatisticsOf,
    name: &str,
) -> Result<HttpResponse, Problem> {
    let statistics = &caller.context.state.services.clicks.statistics;
    let query = question.query(of);
    let found = caller.context.list_within_budget(statistics.statistics(&query)).await?;
    let found = found.map_err(|invalid| Problem::invalid(vec![question::fault(invalid)]))?;
    let body = Statistics::of(&found, &query);
    if prefers_csv(request.headers()) {
        let file = format!("attachment; filename=\"clicks-{name}.csv\"");
        return Ok(HttpResponse::Ok()
            .content_type("text/csv; charset=utf-8")
            .insert_header((header::CONTENT_DISPOSITION, file))
            .insert_header((header::VARY, "accept"))
            .body(table::csv(&body)));
    }
    Ok(HttpResponse::Ok().insert_header((header::VARY, "accept")).json(body))
}

/// The ids of all links that meet a filter.
async fn links_with<S: RequiredScope>(
    caller: &Authorized<S>,
    access: Access,
    filter: LinkFilter,
) -> Result<Vec<Uuid>, Problem> {
    const PAGE: u32 = 1_000;
    let links = &caller.context.state.services.links;
    let mut query = ListQuery { access, filter, sort: Sort::NewestFirst, after: None, limit: PAGE };
    let mut ids = Vec::new();
    loop {
        let page = caller.context.list_within_budget(links.list(query.clone())).await?;
        ids.extend(page.items.iter().map(|link| link.id));
        if ids.len() > StatisticsService::MAX_LINKS {
            return Err(Problem::invalid(vec![too_many_links()]));
        }
        query.after = page.next;
        if query.after.is_none() {
            return Ok(ids);
        }
    }
}

fn too_many_links() -> FieldProblem {
    let detail = format!("more than {} links have this tag", StatisticsService::MAX_LINKS);
    field_problem("query/tag".to_owned(), "too-many", &detail)
}
