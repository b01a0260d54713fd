//! `/api/v1/domains`: the host names that short addresses begin with.

use actix_web::{HttpRequest, HttpResponse, delete, http::header, patch, post, route, web};
use domain::{
    behaviour::RedirectStatus,
    idempotency::IdempotencyRecord,
    service::DomainError,
    short_domain::{DomainHost, DomainSettings, RobotsRule, ShortDomain},
    target::{Target, TargetPolicy},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::links::fields::{RedirectSchema, redirect, target_fault};
use crate::{
    api::contract::IdempotencyKey,
    problem::{FieldProblem, Problem, ProblemKind},
    request::{
        body::receive_json,
        body_room::BodySize,
        caller::{Admin, Authorized},
        context::{Context, Effect},
        domains::Bases,
        json::{Fault, Fields, Json, boolean, field_problem, string},
    },
};

/// A short domain to add.
#[derive(ToSchema)]
#[schema(as = NewDomain)]
#[expect(dead_code, reason = "describes the body; its fields are read one by one, to name everything wrong at once")]
pub(crate) struct NewDomainBody {
    /// The host name, in any spelling; no IP address.
    #[schema(min_length = 1, max_length = 253, example = "go.example.com")]
    host: String,
    #[serde(flatten)]
    settings: DomainSettingsBody,
}

/// How addresses on a short domain behave.
#[derive(ToSchema)]
#[schema(as = DomainSettings)]
#[expect(dead_code, reason = "describes the body; its fields are read one by one, to name everything wrong at once")]
pub(crate) struct DomainSettingsBody {
    /// Where the bare short domain redirects; `landing_url` of the configuration if not given.
    #[schema(format = Uri, max_length = 8192)]
    landing_url: Option<String>,
    /// The page for browsers at unknown codes.
    #[schema(format = Uri, max_length = 8192)]
    not_found_url: Option<String>,
    /// The page for browsers at deleted and expired links.
    #[schema(format = Uri, max_length = 8192)]
    gone_url: Option<String>,
    /// The page for browsers at links that were taken down.
    #[schema(format = Uri, max_length = 8192)]
    blocked_url: Option<String>,
    /// The redirect of links that are claimed without one; 302 if not given.
    redirect: Option<RedirectSchema>,
    /// What crawlers are told; `noindex` if not given.
    robots: Option<RobotsSchema>,
    /// Whether links can be claimed on it; `true` if not given. Existing links work either way.
    accepts_links: Option<bool>,
}

/// What crawlers are told: follow links but do not list them, list them too, or not even follow them.
#[derive(ToSchema)]
#[schema(as = RobotsRule, rename_all = "lowercase")]
#[expect(dead_code, reason = "describes a value")]
pub(crate) enum RobotsSchema {
    Noindex,
    Index,
    Disallow,
}

/// A short domain.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Domain)]
pub(crate) struct DomainBody {
    /// Its host name.
    #[schema(example = "go.example.com")]
    host: String,
    /// Whether it is the default one, which the configuration names.
    is_default: bool,
    /// Where the bare short domain redirects.
    #[schema(required = true, format = Uri)]
    landing_url: Option<String>,
    /// The page for browsers at unknown codes.
    #[schema(required = true, format = Uri)]
    not_found_url: Option<String>,
    /// The page for browsers at deleted and expired links.
    #[schema(required = true, format = Uri)]
    gone_url: Option<String>,
    /// The page for browsers at links that were taken down.
    #[schema(required = true, format = Uri)]
    blocked_url: Option<String>,
    /// The redirect of links that are claimed without one.
    #[schema(required = true)]
    redirect: Option<u16>,
    /// What crawlers are told.
    #[schema(value_type = RobotsSchema)]
    robots: &'static str,
    /// Whether links can be claimed on it.
    accepts_links: bool,
    /// When it was added.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// When it last changed.
    #[schema(value_type = String, format = DateTime)]
    updated_at: Timestamp,
}

impl DomainBody {
    fn of(domain: &ShortDomain, bases: &Bases<'_>) -> Self {
        let DomainSettings { landing_url, not_found_url, gone_url, blocked_url, redirect, robots, accepts_links } =
            &domain.settings;
        let text = |url: &Option<Target>| url.as_ref().map(Target::to_string);
        Self {
            host: bases.host_of(domain).to_owned(),
            is_default: domain.id.is_default(),
            landing_url: text(landing_url),
            not_found_url: text(not_found_url),
            gone_url: text(gone_url),
            blocked_url: text(blocked_url),
            redirect: redirect.map(RedirectStatus::as_u16),
            robots: robots.name(),
            accepts_links: *accepts_links,
            created_at: domain.created_at,
            updated_at: domain.updated_at,
        }
    }
}

/// All short domains.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct DomainList {
    /// The default one first, the others in the order in which they were added.
    items: Vec<DomainBody>,
}

/// Adds a short domain. Every process answers for it within two seconds.
///
/// Point the name's DNS records and certificate at this service as well.
#[utoipa::path(path = "/domains", tag = "domains", operation_id = "add_domain", request_body = NewDomainBody,
    params(IdempotencyKey),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 201, description = "Added", body = DomainBody, headers(("Location" = String))),
        (status = 409, description = "It exists, or there are too many", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[post("/domains")]
pub(crate) async fn add(
    caller: Authorized<Admin>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (context, state) = (&caller.context, &caller.context.state);
    let body = receive_json(state, &request, payload, BodySize::Single).await?;
    let call = caller.repeatable_call(&request, &body.bytes)?;
    let recalling = state.services.links.recall(&call);
    let domain = match context.within_budget(Effect::Read, recalling).await? {
        Some(IdempotencyRecord::Domain(domain)) => domain,
        Some(
            IdempotencyRecord::Claims(_)
            | IdempotencyRecord::PartlyRefused { .. }
            | IdempotencyRecord::Link(_)
            | IdempotencyRecord::Block { .. }
            | IdempotencyRecord::ApiKey { .. },
        ) => return Err(Problem::new(ProblemKind::IdempotencyKeyReused)),
        None => {
            let bases = Bases::known(state);
            let (host, settings) = new_domain(body.json, &state.settings.targets.get(), &bases)?;
            let adding = state.services.domains.add(&call, host, settings);
            context.within_budget(Effect::Write, adding).await?
        }
    };
    let bases = context.bases([domain.id]).await?;
    let body = DomainBody::of(&domain, &bases);
    let location = format!("/api/v1/domains/{}", body.host);
    Ok(HttpResponse::Created().insert_header((header::LOCATION, location)).json(body))
}

/// Lists all short domains, the default one first.
#[utoipa::path(method(get, head), path = "/domains", tag = "domains", operation_id = "list_domains",
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "The short domains", body = DomainList)))]
#[route("/domains", method = "GET", method = "HEAD")]
pub(crate) async fn list(caller: Authorized<Admin>) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let all = caller.context.within_budget(Effect::Read, state.services.domains.all()).await?;
    let bases = Bases::known(state);
    let items = all.iter().map(|domain| DomainBody::of(domain, &bases)).collect();
    Ok(HttpResponse::Ok().json(DomainList { items }))
}

/// Reads a short domain.
#[utoipa::path(method(get, head), path = "/domains/{host}", tag = "domains", operation_id = "get_domain",
    params(("host" = String, Path, description = "The host of the short domain", max_length = 253)),
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "The short domain", body = DomainBody)))]
#[route("/domains/{host}", method = "GET", method = "HEAD")]
pub(crate) async fn read(caller: Authorized<Admin>, host: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (domain, bases) = found(&caller.context, &host).await?;
    Ok(HttpResponse::Ok().json(DomainBody::of(&domain, &bases)))
}

/// Changes the settings of a short domain (JSON Merge Patch: `null` clears). Its host never changes.
///
/// With `accepts_links` set to `false` it is retired: its links go on, and it takes no new ones.
#[utoipa::path(path = "/domains/{host}", tag = "domains", operation_id = "edit_domain",
    request_body(content((DomainSettingsBody = "application/merge-patch+json"), (DomainSettingsBody = "application/json"))),
    params(("host" = String, Path, description = "The host of the short domain", max_length = 253)),
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "The short domain as it is now", body = DomainBody)))]
#[patch("/domains/{host}")]
pub(crate) async fn edit(
    caller: Authorized<Admin>,
    request: HttpRequest,
    host: web::Path<String>,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let (context, state) = (&caller.context, &caller.context.state);
    let body = receive_json(state, &request, payload, BodySize::Single).await?;
    let (domain, bases) = found(context, &host).await?;
    let edit = settings_edit(body.json, &state.settings.targets.get(), &bases).map_err(Problem::invalid)?;
    let editing = state.services.domains.edit(domain.id, |before| edit.applied_to(before));
    let after = context.within_budget(Effect::Write, editing).await?;
    Ok(HttpResponse::Ok().json(DomainBody::of(&after, &bases)))
}

/// Removes a short domain on which no link lives, deleted links included. The default one stays.
#[utoipa::path(path = "/domains/{host}", tag = "domains", operation_id = "remove_domain",
    params(("host" = String, Path, description = "The host of the short domain", max_length = 253)),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 204, description = "Removed"),
        (status = 409, description = "Links live on it, codes on it are taken down, or it is the default one", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[delete("/domains/{host}")]
pub(crate) async fn remove(caller: Authorized<Admin>, host: web::Path<String>) -> Result<HttpResponse, Problem> {
    let (domain, _) = found(&caller.context, &host).await?;
    if domain.id.is_default() {
        return Err(Problem::new(ProblemKind::DomainInUse));
    }
    let removing = caller.context.state.services.domains.remove(domain.id);
    caller.context.within_budget(Effect::Write, removing).await?;
    Ok(HttpResponse::NoContent().finish())
}

impl From<DomainError> for Problem {
    fn from(error: DomainError) -> Self {
        match error {
            DomainError::Taken => Self::new(ProblemKind::DomainTaken),
            DomainError::Full => Self::new(ProblemKind::TooManyDomains),
            DomainError::HasLinks => Self::new(ProblemKind::DomainInUse),
            DomainError::HasBlocks => Self::new(ProblemKind::DomainInUse).detail(
                "Codes on it are taken down, and would not be if it were added again. Lift these blocks first.",
            ),
            DomainError::Service(error) => error.into(),
        }
    }
}

/// The short domain with this host, as the store has it.
async fn found<'a>(context: &'a Context, host: &str) -> Result<(ShortDomain, Bases<'a>), Problem> {
    context.within_budget(Effect::Read, context.state.services.domains.refresh()).await?;
    let bases = Bases::known(&context.state);
    let domain = bases.named(host).map_err(|_| Problem::new(ProblemKind::NotFound))?.clone();
    Ok((domain, bases))
}

fn new_domain(json: Json, targets: &TargetPolicy, bases: &Bases<'_>) -> Result<(DomainHost, DomainSettings), Problem> {
    let mut fields = Fields::of(json, "");
    let host = fields.required("host", |json| {
        string(json)?.trim().parse::<DomainHost>().map_err(|error| Fault::new("not-a-host", error))
    });
    let wanted = SettingsEdit::read(&mut fields, targets, bases);
    let problems = fields.finish();
    let host = host.filter(|_| problems.is_empty()).ok_or(problems).map_err(Problem::invalid)?;
    if bases.is_public(host.as_str()) {
        return Err(Problem::new(ProblemKind::DomainTaken));
    }
    let settings = wanted.applied_to(&DomainSettings::default());
    let on_itself = settings.pages().filter(|(_, page)| page.host() == host.as_str());
    let problems: Vec<_> = on_itself
        .map(|(name, _)| field_problem(format!("/{name}"), "own-host", "must not be on a short domain"))
        .collect();
    if problems.is_empty() { Ok((host, settings)) } else { Err(Problem::invalid(problems)) }
}

fn settings_edit(json: Json, targets: &TargetPolicy, bases: &Bases<'_>) -> Result<SettingsEdit, Vec<FieldProblem>> {
    let mut fields = Fields::of(json, "");
    let wanted = SettingsEdit::read(&mut fields, targets, bases);
    let problems = fields.finish();
    if problems.is_empty() { Ok(wanted) } else { Err(problems) }
}

/// Which settings an edit sets; `None` leaves a setting as it is.
struct SettingsEdit {
    landing_url: Option<Option<Target>>,
    not_found_url: Option<Option<Target>>,
    gone_url: Option<Option<Target>>,
    blocked_url: Option<Option<Target>>,
    redirect: Option<Option<RedirectStatus>>,
    robots: Option<Option<RobotsRule>>,
    accepts_links: Option<Option<bool>>,
}

impl SettingsEdit {
    fn read(fields: &mut Fields, targets: &TargetPolicy, bases: &Bases<'_>) -> Self {
        // A page on a short domain would be looked up as a code again.
        let page = |json| {
            let page =
                Target::parse(&string(json)?, targets).map_err(|error| Fault::new(target_fault(error), error))?;
            if bases.is_own(&page.host()) {
                Err(Fault::new("own-host", "must not be on a short domain"))
            } else {
                Ok(page)
            }
        };
        let robots = |json| string(json)?.parse().map_err(|error| Fault::new("unknown-value", error));
        Self {
            landing_url: fields.patch("landing_url", page),
            not_found_url: fields.patch("not_found_url", page),
            gone_url: fields.patch("gone_url", page),
            blocked_url: fields.patch("blocked_url", page),
            redirect: fields.patch("redirect", redirect),
            robots: fields.patch("robots", robots),
            accepts_links: fields.patch("accepts_links", boolean),
        }
    }

    fn applied_to(&self, before: &DomainSettings) -> DomainSettings {
        let page =
            |wanted: &Option<Option<Target>>, before: &Option<Target>| wanted.clone().unwrap_or_else(|| before.clone());
        let usual = DomainSettings::default();
        DomainSettings {
            landing_url: page(&self.landing_url, &before.landing_url),
            not_found_url: page(&self.not_found_url, &before.not_found_url),
            gone_url: page(&self.gone_url, &before.gone_url),
            blocked_url: page(&self.blocked_url, &before.blocked_url),
            redirect: self.redirect.unwrap_or(before.redirect),
            robots: self.robots.map_or(before.robots, Option::unwrap_or_default),
            accepts_links: self.accepts_links.map_or(before.accepts_links, |it| it.unwrap_or(usual.accepts_links)),
        }
    }
}
