//! `POST /api/v1/links/batch`: many claims, each on its own merit.

use std::num::NonZeroU32;

use actix_web::{HttpRequest, HttpResponse, post, web};
use domain::{
    api_key::Scope,
    lifecycle::Claim,
    service::{Call, ClaimRequest},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    claim::recorded_claims,
    fields::{self, ClaimBody, Rules},
    link::{LinkBody, outcome},
};
use crate::{
    auth::{Authenticated, authenticate_sender, may_make},
    body::{BodySize, MOST_CLAIMS, receive_json},
    context::Effect,
    json::{Fault, Fields, Json, MOST_PROBLEMS},
    problem::{FieldProblem, Problem, ProblemBody, ProblemKind},
    state::State,
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

/// What became of a batch.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchAnswer {
    /// How many of which.
    summary: BatchSummary,
    /// One for each claim, in their order.
    results: Vec<BatchResult>,
}

/// How many of which.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct BatchSummary {
    pub(crate) created: usize,
    pub(crate) existing: usize,
    pub(crate) reactivated: usize,
    pub(crate) failed: usize,
}

/// What became of one claim: a link or a problem.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct BatchResult {
    /// Which claim, from 0.
    index: usize,
    /// `created`, `existing` or `reactivated`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    outcome: Option<&'static str>,
    /// The link.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    link: Option<LinkBody>,
    /// Why there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    problem: Option<ProblemBody>,
}

/// Claims up to 1,000 links at once.
///
/// A claim that is wrong fails alone; the others are settled in one atomic change.
#[utoipa::path(path = "/links/batch", tag = "links", operation_id = "claim_batch", request_body = BatchBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "Names the request; repeated within 24 hours it has one effect and one answer", min_length = 1, max_length = 255, pattern = "^[!-~]+$")),
    security(("bearer" = []), ("header" = [])),
    responses((status = 200, description = "What became of each", body = BatchAnswer)))]
#[post("/links/batch")]
pub(crate) async fn claim_batch(
    state: web::Data<State>,
    request: HttpRequest,
    mut payload: web::Payload,
) -> Result<HttpResponse, Problem> {
    let caller = authenticate_sender(&state, &request, Scope::LinksCreate, &mut payload).await?;
    let context = &caller.context;
    let body = receive_json(&state, &request, payload, BodySize::Batch).await?;
    let items = items(body.json).map_err(Problem::invalid)?;
    if let Some(size) = u32::try_from(items.len()).ok().and_then(NonZeroU32::new) {
        state.limits.charge_batch(context, &caller.secret.id(), size).await?;
    }
    let links = &state.services.links;
    // As earlier releases record batches of which nothing is refused.
    let call = caller.repeatable_call(&request, &[&body.bytes[..], &vec![0; items.len()]].concat())?;
    let before = context.within_budget(Effect::Read, links.recall(&call)).await?.map(recorded_claims).transpose()?;
    let moment = if before.is_some() {
        context.within_budget(Effect::Read, links.moment_of(&call)).await?
    } else {
        may_make(&state, &caller.caller.owner)?;
        links.now()
    };
    let settled = match before {
        // All were taken, so nothing is judged again.
        Some(claims) if claims.len() == items.len() => claims.into_iter().map(Ok).collect(),
        before => {
            let (targets, blocked) = (state.settings.targets.get(), state.services.blocks.blocked().in_force());
            let rules = Rules { targets: &targets, blocked: blocked.as_deref(), now: moment };
            let judged = items.into_iter().enumerate();
            let judged = judged.map(|(index, json)| fields::claim(json, &format!("/links/{index}"), rules));
            settle(&state, &caller, &call, judged.collect(), before).await?
        }
    };

    let mut answer = BatchAnswer { summary: BatchSummary::default(), results: Vec::with_capacity(settled.len()) };
    for (index, settled) in settled.into_iter().enumerate() {
        let result = result(index, settled, &state, context.request_id.as_str(), moment);
        answer.summary.count(&result);
        answer.results.push(result);
    }
    context.note(|notes| notes.batch = Some(answer.summary));
    Ok(HttpResponse::Ok().json(answer))
}

/// Claims what is wanted in order, unless that was done before. Which claims are refused depends on the rules of today:
/// where others were refused then, what was answered cannot be told any more.
async fn settle(
    state: &State,
    caller: &Authenticated,
    call: &Call,
    judged: Vec<Result<ClaimRequest, Vec<FieldProblem>>>,
    before: Option<Vec<Claim>>,
) -> Result<Vec<Result<Claim, Problem>>, Problem> {
    let wanted: Vec<ClaimRequest> = judged.iter().filter_map(|claim| claim.as_ref().ok().cloned()).collect();
    let claims = match before {
        Some(claims) if are_of(&claims, &wanted) => claims,
        Some(_) => return Err(Problem::new(ProblemKind::IdempotencyKeyReused)),
        None if wanted.is_empty() => Vec::new(),
        None => {
            let claiming = state.services.links.claim(call, &wanted);
            let summary = caller.context.within_budget(Effect::Write, claiming).await?;
            caller.context.note(|notes| notes.code_collisions = summary.code_collisions);
            summary.claims
        }
    };
    let (mut claims, mut room) = (claims.into_iter(), MOST_PROBLEMS);
    let settled = judged.into_iter().map(|claim| match claim {
        Err(problems) => {
            let named = problems.len().min(room).max(1);
            room = room.saturating_sub(named);
            Err(Problem::invalid_within(problems, named))
        }
        Ok(_) => claims.next().ok_or_else(|| Problem::new(ProblemKind::Internal)),
    });
    Ok(settled.collect())
}

/// Whether these claims are what such requests lead to.
fn are_of(claims: &[Claim], wanted: &[ClaimRequest]) -> bool {
    let fits = |(claim, wanted): (&Claim, &ClaimRequest)| {
        outcome(claim).is_none_or(|(link, _)| link.behaviour.target == wanted.behaviour.target)
    };
    claims.len() == wanted.len() && claims.iter().zip(wanted).all(fits)
}

fn items(json: Json) -> Result<Vec<Json>, Vec<FieldProblem>> {
    let mut fields = Fields::of(json, "");
    let items = fields.required("links", |json| match json {
        Json::Array(items) if items.is_empty() => Err(Fault::new("empty", "must not be empty")),
        Json::Array(items) if items.len() > MOST_CLAIMS => {
            Err(Fault::new("too-many", format!("must have at most {MOST_CLAIMS} entries")))
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
    state: &State,
    request_id: &str,
    now: Timestamp,
) -> BatchResult {
    let linked = settled.as_ref().map_err(Problem::clone);
    let linked = linked.and_then(|claim| outcome(claim).ok_or_else(|| Problem::new(ProblemKind::AliasTaken)));
    match linked {
        Ok((link, outcome)) => {
            let link = LinkBody::of(link, &state.settings.public_url, now);
            BatchResult { index, outcome: Some(outcome), link: Some(link), problem: None }
        }
        Err(problem) => {
            let problem = problem.to_body(request_id, None);
            BatchResult { index, outcome: None, link: None, problem: Some(problem) }
        }
    }
}

impl BatchSummary {
    fn count(&mut self, result: &BatchResult) {
        let counter = match result.outcome {
            Some("created") => &mut self.created,
            Some("existing") => &mut self.existing,
            Some("reactivated") => &mut self.reactivated,
            Some(_) | None => &mut self.failed,
        };
        *counter += 1;
    }
}
