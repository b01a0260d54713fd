//! `POST /api/v1/links/batch`: many claims, each judged by itself.

use std::num::NonZeroU32;

use actix_web::{HttpRequest, HttpResponse, post, web};
use domain::{
    lifecycle::Claim,
    service::{ClaimRequest, ClaimSummary},
    time::Timestamp,
};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{
    body::{LinkBody, outcome},
    claim::recalled,
    fields::{self, ClaimBody, Rules},
};
use crate::api::contract::IdempotencyKey;
use crate::{
    problem::{FieldProblem, MAX_PROBLEMS, Problem, ProblemBody, ProblemKind},
    request::{
        body::receive_json,
        body_room::{BodySize, MAX_CLAIMS},
        caller::{Authorized, LinksCreate, ensure_owner_active},
        context::Effect,
        domains::Bases,
        json::{Fault, Fields, Json},
        notes::BatchSummary,
    },
};

/// Many claims.
#[derive(ToSchema)]
#[schema(as = Batch)]
#[expect(dead_code, reason = "describes the body; its fields are read one by one, to name everything wrong at once")]
pub(crate) struct BatchBody {
    /// The claims, 1 to 1,000.
    #[schema(min_items = 1, max_items = 1000)]
    links: Vec<ClaimBody>,
}

/// The outcome of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchAnswer {
    /// How many claims had which outcome.
    summary: BatchSummary,
    /// One for each claim, in their order.
    results: Vec<BatchResult>,
}

/// The outcome of one claim: a link or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResult {
    /// The index of the claim, from 0.
    index: usize,
    /// `created`, `existing` or `reactivated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    outcome: Option<&'static str>,
    /// The link.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    link: Option<LinkBody>,
    /// Why there is no link.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<ProblemBody>,
}

/// Claims up to 1,000 links at once.
///
/// A claim that is wrong fails alone; the others are settled in one atomic change.
#[utoipa::path(path = "/links/batch", tag = "links", operation_id = "claim_links", request_body = BatchBody,
    params(IdempotencyKey),
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "The outcome of each claim", body = BatchAnswer)))]
#[post("/links/batch")]
pub(crate) async fn claim_batch(
    caller: Authorized<LinksCreate>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let context = &caller.context;
    let state = &context.state;
    let body = receive_json(state, &request, payload, BodySize::Batch).await?;
    let items = items(body.json).map_err(Problem::invalid)?;
    if let Some(size) = u32::try_from(items.len()).ok().and_then(NonZeroU32::new) {
        state.limits.charge_batch(&context.tally, &caller.secret.id(), size).await?;
    }
    let links = &state.services.links;
    // The fingerprint covers a zero byte for each claim, as in earlier releases for a batch without refusals.
    let call = caller.repeatable_call(&request, &[&body.bytes[..], &vec![0; items.len()]].concat())?;
    let (summary, moment) = if let Some(before) = recalled(context, &call).await? {
        before
    } else {
        ensure_owner_active(state, &caller.caller.owner)?;
        let (targets, blocked) = (state.settings.targets.get(), state.blocked()?);
        let bases = context.bases_naming(items.iter().filter_map(fields::domain_of)).await?;
        let rules = Rules {
            targets: &targets,
            blocked: blocked.as_deref(),
            bases: &bases,
            caller: &call.caller,
            now: links.now(),
        };
        let (wanted, refused) = judge(items, rules);
        let refusals = (!refused.is_empty()).then(|| serde_json::to_string(&refused).expect("strings are JSON"));
        let claiming = links.claim_beside(&call, &wanted, refusals);
        (context.within_budget(Effect::Write, claiming).await?, rules.now)
    };
    context.note(|notes| notes.code_collisions = summary.code_collisions);
    let settled = in_order(summary)?;
    let links = settled.iter().filter_map(|claim| claim.as_ref().ok()?.link());
    let bases = context.bases(links.map(|link| link.domain)).await?;

    let mut answer = BatchAnswer { summary: BatchSummary::default(), results: Vec::with_capacity(settled.len()) };
    for (index, settled) in settled.into_iter().enumerate() {
        let result = result(index, settled, &bases, context.request_id.as_str(), moment);
        answer.summary.count(result.outcome);
        answer.results.push(result);
    }
    context.note(|notes| notes.batch = Some(answer.summary));
    Ok(HttpResponse::Ok().json(answer))
}

/// A claim that was refused before anything was tried. The idempotency record holds it beside the other claims.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Refusal {
    /// The index of the claim, from 0.
    index: usize,
    /// What is wrong with it.
    errors: Vec<FieldProblem>,
    /// How many of them are reported.
    told: usize,
}

/// Splits a batch into the claims to make and the claims that are refused, both in their order.
fn judge(items: Vec<Json>, rules: Rules<'_>) -> (Vec<ClaimRequest>, Vec<Refusal>) {
    let (mut wanted, mut refused, mut room) = (Vec::with_capacity(items.len()), Vec::new(), MAX_PROBLEMS);
    for (index, json) in items.into_iter().enumerate() {
        match fields::claim(json, &format!("/links/{index}"), rules) {
            Ok(claim) => wanted.push(claim),
            Err(problems) => {
                let told = problems.len().min(room).max(1);
                room = room.saturating_sub(told);
                // One more than is reported: it shows that there are more.
                let errors = problems.iter().take(told + 1).map(FieldProblem::unkeyed).collect();
                refused.push(Refusal { index, errors, told });
            }
        }
    }
    (wanted, refused)
}

/// The outcome of each claim, in the order of the request.
fn in_order(summary: ClaimSummary) -> Result<Vec<Result<Claim, Problem>>, Problem> {
    let refused: Vec<Refusal> = match summary.refusals.as_deref().map(serde_json::from_str) {
        None => Vec::new(),
        Some(Ok(refused)) => refused,
        Some(Err(unreadable)) => return Err(Problem::new(ProblemKind::Internal).caused_by(unreadable)),
    };
    let length = summary.claims.len() + refused.len();
    let (mut claims, mut refused) = (summary.claims.into_iter(), refused.into_iter().peekable());
    let settled = (0..length).map(|index| match refused.next_if(|refusal| refusal.index == index) {
        Some(Refusal { errors, told, .. }) => Ok(Err(Problem::invalid_within(errors, told))),
        None => claims.next().map(Ok).ok_or_else(|| Problem::new(ProblemKind::Internal)),
    });
    settled.collect()
}

fn items(json: Json) -> Result<Vec<Json>, Vec<FieldProblem>> {
    let mut fields = Fields::of(json, "");
    let items = fields.required("links", |json| match json {
        Json::Array(items) if items.is_empty() => Err(Fault::new("empty", "must not be empty")),
        Json::Array(items) if items.len() > MAX_CLAIMS => {
            Err(Fault::new("too-many", format!("must have at most {MAX_CLAIMS} entries")))
        }
        Json::Array(items) => Ok(items),
        _ => Err(Fault::new("wrong-type", "must be an array of claims")),
    });
    let problems = fields.finish();
    items.filter(|_| problems.is_empty()).ok_or(problems)
}

fn result(
    index: usize,
    settled: Result<Claim, Problem>,
    bases: &Bases<'_>,
    request_id: &str,
    now: Timestamp,
) -> BatchResult {
    let linked = settled.as_ref().map_err(Problem::clone);
    let linked = linked.and_then(|claim| outcome(claim).ok_or_else(|| Problem::new(ProblemKind::AliasTaken)));
    match linked {
        Ok((link, outcome)) => {
            let link = LinkBody::of(link, bases, now);
            BatchResult { index, outcome: Some(outcome), link: Some(link), problem: None }
        }
        Err(problem) => {
            let problem = problem.to_body(request_id, None);
            BatchResult { index, outcome: None, link: None, problem: Some(problem) }
        }
    }
}
