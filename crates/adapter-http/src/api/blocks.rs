//! `/api/v1/blocks`: take links down by code, target host or owner, and lift such blocks.

use actix_web::{HttpRequest, HttpResponse, delete, http::StatusCode, post, route, web};
use domain::{
    address::DomainId,
    block::{Block, InvalidSubject, Reason, Subject},
    idempotency::IdempotencyRecord,
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;
use uuid::Uuid;

use super::common_fields::text_fault;
use crate::api::contract::{IdempotencyKey, InvalidCursor};
use crate::{
    problem::{FieldProblem, Problem, ProblemKind},
    request::{
        body::receive_json,
        body_room::BodySize,
        caller::{Admin, Authorized},
        context::Effect,
        domains::Bases,
        json::{Fault, Fields, Json, string},
        query::Query,
    },
};

/// What is to be taken down.
#[derive(ToSchema)]
#[schema(as = NewBlock)]
#[expect(dead_code, reason = "describes the body; its fields are read one by one, to name everything wrong at once")]
pub(crate) struct NewBlockBody {
    /// What `value` is.
    kind: KindSchema,
    /// A code; a host, with all names below it; or an owner.
    #[schema(min_length = 1, max_length = 253)]
    value: String,
    /// The host of the short domain of a code; the default one if not given.
    #[schema(max_length = 253)]
    domain: Option<String>,
    /// Why it is taken down, for later questions. Visitors do not see it.
    #[schema(min_length = 1, max_length = 500, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
    reason: String,
}

/// What can be taken down.
#[derive(ToSchema)]
#[schema(as = BlockKind)]
#[expect(dead_code, reason = "describes a value")]
pub(crate) enum KindSchema {
    #[schema(rename = "code")]
    Code,
    #[schema(rename = "host")]
    Host,
    #[schema(rename = "owner")]
    Owner,
}

/// A takedown.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = Block)]
pub(crate) struct BlockBody {
    /// Its id.
    id: Uuid,
    /// `code`, `host` or `owner`.
    #[schema(value_type = KindSchema)]
    kind: &'static str,
    /// A code, a host in lower case and punycode, or an owner.
    value: String,
    /// The host of the short domain of a code; `null` for other kinds.
    #[schema(required = true)]
    domain: Option<String>,
    /// Why.
    reason: String,
    /// When it began.
    #[schema(value_type = String, format = DateTime)]
    created_at: Timestamp,
    /// Who did it: `api_key:<id>` or `system`.
    created_by: String,
    /// When it was lifted.
    #[schema(required = true, value_type = Option<String>, format = DateTime)]
    lifted_at: Option<Timestamp>,
    /// Who lifted it.
    #[schema(required = true)]
    lifted_by: Option<String>,
}

impl BlockBody {
    fn of(block: &Block, bases: &Bases<'_>) -> Self {
        let (value, domain) = match &block.subject {
            Subject::Address(address) => (address.code.to_string(), Some(bases.host(address.domain).into_owned())),
            other => (other.value().into_owned(), None),
        };
        Self {
            domain,
            id: block.id,
            kind: block.subject.kind(),
            value,
            reason: block.reason.as_str().to_owned(),
            created_at: block.created_at,
            created_by: block.created_by.to_string(),
            lifted_at: block.lifted.as_ref().map(|lifted| lifted.at),
            lifted_by: block.lifted.as_ref().map(|lifted| lifted.by.to_string()),
        }
    }
}

/// A page of takedowns.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BlockPage {
    /// The takedowns.
    items: Vec<BlockBody>,
    /// Leads to the next page, if there is one.
    #[schema(required = true)]
    next_cursor: Option<String>,
}

/// Takes down a link, all links to a host, or all links of an owner.
///
/// From then on they answer 451: in this process at once, in every other process within two seconds. Nothing is
/// deleted. What is blocked already stays blocked, with its first reason. No link to a blocked host can be claimed, and
/// a blocked owner cannot claim links.
#[utoipa::path(path = "/blocks", tag = "blocks", operation_id = "create_block", request_body = NewBlockBody,
    params(IdempotencyKey),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 201, description = "It is blocked now", body = BlockBody),
        (status = 200, description = "It was blocked before", body = BlockBody)))]
#[post("/blocks")]
pub(crate) async fn create(
    caller: Authorized<Admin>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let state = &caller.context.state;
    let body = receive_json(state, &request, payload, BodySize::Single).await?;
    let call = caller.repeatable_call(&request, &body.bytes)?;
    let recalling = state.services.links.recall(&call);
    let (block, added) = match caller.context.within_budget(Effect::Read, recalling).await? {
        Some(IdempotencyRecord::Block { block, added }) => (block, added),
        Some(
            IdempotencyRecord::Claims(_)
            | IdempotencyRecord::PartlyRefused { .. }
            | IdempotencyRecord::Link(_)
            | IdempotencyRecord::Domain(_)
            | IdempotencyRecord::ApiKey { .. },
        ) => {
            return Err(Problem::new(ProblemKind::IdempotencyKeyReused));
        }
        None => {
            let bases = caller.context.bases_naming(body.json.text_of("domain")).await?;
            let (subject, reason) = new_block(body.json, &bases).map_err(Problem::invalid)?;
            let blocking = state.services.blocks.block(&call, subject, reason);
            caller.context.within_budget(Effect::Write, blocking).await?
        }
    };
    let status = if added { StatusCode::CREATED } else { StatusCode::OK };
    let bases = caller.context.bases(domain_of(&block)).await?;
    Ok(HttpResponse::build(status).json(BlockBody::of(&block, &bases)))
}

/// The short domain of what is blocked.
fn domain_of(block: &Block) -> Option<DomainId> {
    match &block.subject {
        Subject::Address(address) => Some(address.domain),
        Subject::Host(_) | Subject::Owner(_) => None,
    }
}

fn new_block(json: Json, bases: &Bases<'_>) -> Result<(Subject, Reason), Vec<FieldProblem>> {
    let mut fields = Fields::of(json, "");
    let kind = fields.required("kind", |json| {
        let kind = string(json)?;
        let known = Subject::KINDS.contains(&kind.as_str());
        if known { Ok(kind) } else { Err(Fault::new("unknown-kind", InvalidSubject::Kind)) }
    });
    let domain = fields.optional("domain", |json| bases.named(string(json)?.trim()).map(|domain| domain.id));
    if domain.is_some() && kind.as_deref().is_some_and(|kind| kind != "code") {
        fields.fault("domain", "conflict", "is only for codes");
    }
    let domain = domain.unwrap_or_default();
    let value = fields.required("value", |json| {
        let value = string(json)?;
        match kind.as_deref().map(|kind| Subject::parse(kind, &value, domain)) {
            Some(subject) => subject.map(Some).map_err(|error| Fault::new("not-of-that-kind", error)),
            None => Ok(None),
        }
    });
    let reason = fields.required("reason", |json| string(json)?.parse::<Reason>().map_err(text_fault));
    let problems = fields.finish();
    match (value.flatten(), reason) {
        (Some(subject), Some(reason)) if problems.is_empty() => Ok((subject, reason)),
        _ => Err(problems),
    }
}

/// Lists takedowns, newest first: those in force, or all.
#[utoipa::path(method(get, head), path = "/blocks", tag = "blocks", operation_id = "list_blocks",
    params(("state" = Option<String>, Query, description = "`in_force` or `all`, lifted ones too; `in_force` if not given", pattern = "^(in_force|all)$"),
        ("limit" = Option<u32>, Query, description = "Takedowns on a page", minimum = 1, maximum = 100),
        ("cursor" = Option<String>, Query, description = "The `next_cursor` of the page before")),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 200, description = "A page", body = BlockPage, headers(("Link" = String, description = "`rel=\"next\"`, if there is a next page"))),
        InvalidCursor))]
#[route("/blocks", method = "GET", method = "HEAD")]
pub(crate) async fn list(caller: Authorized<Admin>, request: HttpRequest) -> Result<HttpResponse, Problem> {
    let mut query = Query::of(&request);
    let lifted_too = query.take("state", |text| match text {
        "in_force" => Ok(false),
        "all" => Ok(true),
        _ => Err(Fault::new("unknown-state", "must be in_force or all")),
    });
    let lifted_too = lifted_too.unwrap_or(false);
    let page = query.page(&caller.secret, || format!("blocks {lifted_too}"))?;
    let listing = caller.context.state.services.blocks.list(lifted_too, page.after.as_ref(), page.limit);
    let (blocks, next) = caller.context.list_within_budget(listing).await?;
    let bases = caller.context.bases(blocks.iter().filter_map(domain_of)).await?;
    let items = blocks.iter().map(|block| BlockBody::of(block, &bases)).collect();
    Ok(page.answer(&request, next.as_ref(), |next_cursor| BlockPage { items, next_cursor }))
}

/// Lifts a takedown: within two seconds, links are as before in every process. Lifting it again changes nothing.
#[utoipa::path(path = "/blocks/{id}", tag = "blocks", operation_id = "lift_block",
    params(("id" = Uuid, Path, description = "The id of the takedown")),
    security(("bearer" = []), ("header" = [])),
    responses((status = 204, description = "Lifted")))]
#[delete("/blocks/{id}")]
pub(crate) async fn lift(caller: Authorized<Admin>, id: web::Path<String>) -> Result<HttpResponse, Problem> {
    let id: Uuid = id.parse().map_err(|_| Problem::new(ProblemKind::NotFound))?;
    let call = caller.call();
    let lifting = caller.context.state.services.blocks.lift(&call, &id);
    caller.context.within_budget(Effect::Write, lifting).await?;
    Ok(HttpResponse::NoContent().finish())
}
