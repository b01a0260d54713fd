//! `/api/v1/keys`: make, list and revoke API keys.

use actix_web::{HttpRequest, HttpResponse, delete, http::header, post, route, web};
use domain::{
    api_key::{ApiKey, KeyId, KeyName, Scope, Scopes},
    link::Owner,
    service::NewKey,
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::common_fields::{expiry, text_fault};
use crate::api::contract::{IdempotencyKey, InvalidCursor};
use crate::{
    problem::{FieldProblem, Problem, ProblemKind},
    request::{
        body::receive_json,
        body_room::BodySize,
        caller::{Admin, Authorized},
        context::Effect,
        domains::Bases,
        json::{Fault, Fields, Json, string, strings},
        query::Query,
    },
};

/// What a new key should be.
#[derive(ToSchema)]
#[schema(as = NewApiKey)]
#[expect(dead_code, reason = "describes the body; its fields are read one by one, to name everything wrong at once")]
pub(crate) struct NewKeyBody {
    /// Its name, for people.
    #[schema(min_length = 1, max_length = 100, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    name: String,
    /// The owner whose links it sees and claims; `default` if not given.
    #[schema(pattern = "^[a-z0-9_-]{1,64}$", example = "default")]
    owner: Option<String>,
    /// What it may do.
    #[schema(min_items = 1, max_items = 5)]
    scopes: Vec<ScopeSchema>,
    /// The hosts of the short domains to which it is bound: it claims and sees no links elsewhere. All if not given. Not
    /// together with `admin`.
    #[schema(max_items = 100)]
    domains: Option<Vec<String>>,
    /// The time until which it works, in the future.
    #[schema(format = DateTime)]
    expires_at: Option<String>,
}

/// Something a key may do.
#[derive(ToSchema)]
#[schema(as = Scope)]
#[expect(dead_code, reason = "describes a value")]
pub(crate) enum ScopeSchema {
    #[schema(rename = "links:read")]
    LinksRead,
    #[schema(rename = "links:create")]
    LinksCreate,
    #[schema(rename = "links:write")]
    LinksWrite,
    #[schema(rename = "stats:read")]
    StatsRead,
    #[schema(rename = "admin")]
    Admin,
}

/// An API key without its secret.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = ApiKey)]
pub(crate) struct KeyBody {
    /// The public part, safe to log.
    id: String,
    /// Its name, for people.
    name: String,
    /// The owner whose links it sees and claims.
    owner: String,
    /// What it may do.
    scopes: Vec<&'static str>,
    /// The hosts of the short domains to which it is bound; empty if it is bound to none.
    domains: Vec<String>,
    /// When it was made.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Who made it: `api_key:<id>` or `system`.
    created_by: String,
    /// The time until which it works.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    expires_at: Option<Timestamp>,
    /// When it was last used, within about a minute.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    last_used_at: Option<Timestamp>,
    /// When it was revoked.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    revoked_at: Option<Timestamp>,
    /// Who revoked it.
    #[schema(required = true)]
    revoked_by: Option<String>,
}

impl KeyBody {
    fn of(key: &ApiKey, bases: &Bases<'_>) -> Self {
        Self {
            id: key.id.to_string(),
            name: key.name.as_str().to_owned(),
            owner: key.owner.to_string(),
            scopes: key.scopes.names(),
            domains: key.domains.iter().map(|domain| bases.host(*domain).into_owned()).collect(),
            created_at: key.created_at,
            created_by: key.created_by.to_string(),
            expires_at: key.expires_at,
            last_used_at: key.last_used_at,
            revoked_at: key.revoked_at,
            revoked_by: key.revoked_by.as_ref().map(ToString::to_string),
        }
    }
}

/// A key with its secret, which is shown this once.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = IssuedKey)]
pub(crate) struct IssuedKeyBody {
    #[serde(flatten)]
    known: KeyBody,
    /// The whole key. It is shown this once and stored nowhere.
    #[schema(example = "sgn_…")]
    key: String,
}

/// A page of keys.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KeyPage {
    /// The keys.
    items: Vec<KeyBody>,
    /// Leads to the next page, if there is one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Makes an API key. Its secret is shown this once.
#[utoipa::path(path = "/keys", tag = "keys", operation_id = "create_key", request_body = NewKeyBody,
    params(IdempotencyKey),
    security(("bearer" = []), ("header" = [])),
    responses((status = 201, description = "The key", body = IssuedKeyBody, headers(("Location" = String)))))]
#[post("/keys")]
pub(crate) async fn create(
    caller: Authorized<Admin>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let body = receive_json(state, &request, payload, BodySize::Single).await?;
    let keys = &state.services.keys;
    let call = caller.repeatable_call(&request, &body.bytes)?;
    let before = caller.context.within_budget(Effect::Read, keys.recall(&call, &caller.secret)).await?;
    let issued = if let Some(issued) = before {
        issued
    } else {
        let hosts = body.json.texts_of("domains");
        let bases = caller.context.bases_naming(hosts).await?;
        let new = new_key(body.json, &bases, keys.now()).map_err(Problem::invalid)?;
        let creating = keys.create(&call, Some(&caller.secret), &new);
        caller.context.within_budget(Effect::Write, creating).await?
    };
    let location = format!("/api/v1/keys/{}", issued.key.id);
    let bases = caller.context.bases(issued.key.domains.iter().copied()).await?;
    let body = IssuedKeyBody { known: KeyBody::of(&issued.key, &bases), key: issued.secret.expose().to_owned() };
    Ok(HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .json(body))
}

/// Most short domains to which a key is bound.
const MAX_DOMAINS: usize = 100;

fn new_key(json: Json, bases: &Bases<'_>, now: Timestamp) -> Result<NewKey, Vec<FieldProblem>> {
    let mut fields = Fields::of(json, "");
    let name = fields.required("name", |json| string(json)?.parse::<KeyName>().map_err(text_fault));
    let owner = fields.optional("owner", |json| string(json)?.parse::<Owner>().map_err(text_fault)).unwrap_or_default();
    let scopes = fields.required("scopes", |json| {
        let names = strings(json)?;
        if names.len() > Scope::ALL.len() {
            return Err(Fault::new("too-many", format!("must have at most {} entries", Scope::ALL.len())));
        }
        for (index, name) in names.iter().enumerate() {
            name.parse::<Scope>().map_err(|error| Fault::new("unknown-scope", error).of_item(index))?;
        }
        Scopes::try_from(names).map_err(|error| Fault::new("empty", error))
    });
    let domains = fields.optional("domains", |json| {
        let hosts = strings(json)?;
        if hosts.len() > MAX_DOMAINS {
            return Err(Fault::new("too-many", format!("must have at most {MAX_DOMAINS} entries")));
        }
        let named = |(index, host): (usize, &String)| {
            bases.named(host.trim()).map(|domain| domain.id).map_err(|fault| fault.of_item(index))
        };
        hosts.iter().enumerate().map(named).collect::<Result<Vec<_>, _>>()
    });
    let domains = domains.unwrap_or_default();
    if !domains.is_empty() && scopes.as_ref().is_some_and(|scopes| scopes.allow(Scope::Admin)) {
        fields.fault("domains", "conflict", "an administrator's key is not bound to short domains");
    }
    let expires_at = fields.optional("expires_at", |json| expiry(json, now));
    let problems = fields.finish();
    match (name, scopes) {
        (Some(name), Some(scopes)) if problems.is_empty() => Ok(NewKey { name, owner, scopes, domains, expires_at }),
        _ => Err(problems),
    }
}

/// Lists API keys, newest first; revoked and expired ones too.
#[utoipa::path(method(get, head), path = "/keys", tag = "keys", operation_id = "list_keys",
    params(("limit" = Option<u32>, Query, description = "Keys on a page", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "A page", body = KeyPage, headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page"))),
        InvalidCursor))]
#[route("/keys", method = "GET", method = "HEAD")]
pub(crate) async fn list(caller: Authorized<Admin>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let page = Query::of(&request).page(&caller.secret, || "keys".to_owned())?;
    let listing = caller.context.state.services.keys.list(page.after.as_ref(), page.limit);
    let (keys, next) = caller.context.list_within_budget(listing).await?;
    let bases = caller.context.bases(keys.iter().flat_map(|key| key.domains.iter().copied())).await?;
    let items = keys.iter().map(|key| KeyBody::of(key, &bases)).collect();
    Ok(page.answer(&request, next.as_ref(), |next_cursor| KeyPage { items, next_cursor }))
}

/// Reads an API key without its secret, revoked and expired ones too.
#[utoipa::path(method(get, head), path = "/keys/{id}", tag = "keys", operation_id = "get_key",
    params(("id" = String, Path, description = "The id of the key", pattern = "^[1-9A-HJ-NP-Za-km-z]{12}$")),
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "The key", body = KeyBody)))]
#[route("/keys/{id}", method = "GET", method = "HEAD")]
pub(crate) async fn read(caller: Authorized<Admin>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let id = id_in_path(&id)?;
    let key = caller.context.within_budget(Effect::Read, caller.context.state.services.keys.find(&id)).await?;
    let bases = caller.context.bases(key.domains.iter().copied()).await?;
    Ok(HttpResponse::Ok().json(KeyBody::of(&key, &bases)))
}

/// Revokes an API key permanently: at once in the process that is asked, within two seconds in every other. Revoking it
/// again changes nothing.
#[utoipa::path(path = "/keys/{id}", tag = "keys", operation_id = "revoke_key",
    params(("id" = String, Path, description = "The id of the key", pattern = "^[1-9A-HJ-NP-Za-km-z]{12}$")),
    security(("bearer" = []), ("header" = [])),
    responses((status = 204, description = "Revoked")))]
#[delete("/keys/{id}")]
pub(crate) async fn revoke(caller: Authorized<Admin>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let id = id_in_path(&id)?;
    let call = caller.call();
    let revoking = caller.context.state.services.keys.revoke(&call, &id);
    caller.context.within_budget(Effect::Write, revoking).await?;
    Ok(HttpResponse::NoContent().finish())
}

/// The key id in a path. A text that is no id names no key.
fn id_in_path(id: &str) -> Result<KeyId, Problem> {
    id.parse().map_err(|_| Problem::new(ProblemKind::NotFound))
}
