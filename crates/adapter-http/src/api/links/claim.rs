//! `POST /api/v1/links`: give me a link for this target.

use actix_web::{
    HttpRequest, HttpResponse,
    http::{StatusCode, header},
    post, web,
};
use domain::{
    lifecycle::Claim,
    service::{Call, ClaimSummary},
    time::Timestamp,
};

use super::{
    body::{ClaimedLink, outcome, tagged},
    fields::{self, ClaimBody, Rules},
};
use crate::api::contract::IdempotencyKey;
use crate::{
    problem::{Problem, ProblemKind},
    request::{
        body::receive_json,
        body_room::BodySize,
        caller::{Authorized, LinksCreate, anonymous_call, carries_key, ensure_owner_active},
        context::{Context, Effect},
    },
};

/// Claims a link: creates it, finds it, or brings it back.
///
/// The same URL gives the same link; the same alias with the same URL too. A deleted link that behaves the
/// same comes back under its old code.
#[utoipa::path(path = "/links", tag = "links", operation_id = "claim_link", request_body = ClaimBody,
    params(IdempotencyKey),
    security(("bearer" = []), ("header" = [])),
    responses(
        (status = 201, description = "Created", body = ClaimedLink, headers(("Location" = String), ("ETag" = String))),
        (status = 200, description = "Existing or reactivated", body = ClaimedLink, headers(("Location" = String), ("ETag" = String))),
        (status = 409, description = "The alias is taken", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[post("/links")]
pub(crate) async fn claim(request: HttpRequest, payload: web::Payload) -> Result<HttpResponse, Problem> {
    let context = Context::of(&request);
    let state = &context.state;
    let is_anonymous = state.settings.anonymous_may_claim && !carries_key(request.headers());
    let caller = if is_anonymous { None } else { Some(Authorized::<LinksCreate>::of(&request).await?) };
    let body = receive_json(state, &request, payload, BodySize::Single).await?;
    let call = match caller {
        Some(caller) => caller.repeatable_call(&request, &body.bytes)?,
        None => anonymous_call(&context, &request, &body.bytes)?,
    };
    if let Some((before, moment)) = recalled(&context, &call).await? {
        return claimed(&context, before.claims.first(), moment).await;
    }
    ensure_owner_active(state, &call.caller.owner)?;
    let (targets, blocked) = (state.settings.targets.get(), state.blocked()?);
    let links = &state.services.links;
    let bases = context.bases_naming(fields::domain_of(&body.json)).await?;
    let rules =
        Rules { targets: &targets, blocked: blocked.as_deref(), bases: &bases, caller: &call.caller, now: links.now() };
    let wanted = fields::claim(body.json, "", rules).map_err(Problem::invalid)?;
    wanted.admit(&call.caller).map_err(|refused| Problem::new(ProblemKind::Unauthenticated).caused_by(refused))?;

    let claiming = links.claim(&call, std::slice::from_ref(&wanted));
    let summary = context.within_budget(Effect::Write, claiming).await?;
    context.note(|notes| notes.code_collisions = summary.code_collisions);
    claimed(&context, summary.claims.first(), rules.now).await
}

/// The outcome in the idempotency record of a repeated request, and the moment it was judged at; `None` for a new
/// request. A repeated request is not judged again.
pub(super) async fn recalled(context: &Context, call: &Call) -> Result<Option<(ClaimSummary, Timestamp)>, Problem> {
    let links = &context.state.services.links;
    match context.within_budget(Effect::Read, links.recall_claims(call)).await? {
        Some(before) => Ok(Some((before, context.within_budget(Effect::Read, links.moment_of(call)).await?))),
        None => Ok(None),
    }
}

async fn claimed(context: &Context, made: Option<&Claim>, now: Timestamp) -> Result<HttpResponse, Problem> {
    let made = made.ok_or_else(|| Problem::new(ProblemKind::Internal))?;
    let (link, outcome) = outcome(made).ok_or_else(|| Problem::new(ProblemKind::AliasTaken))?;
    context.note(|notes| {
        notes.address = Some(link.address());
        notes.outcome = Some(outcome);
    });
    let status = match made {
        Claim::Created(_) => StatusCode::CREATED,
        Claim::Existing(_) | Claim::Reactivated(_) | Claim::AliasTaken => StatusCode::OK,
    };
    let bases = context.bases([link.domain]).await?;
    let body = ClaimedLink::of(link, outcome, &bases, now);
    let location = format!("/api/v1/links/{}{}", link.code, bases.query(link.domain));
    Ok(tagged(status, link).insert_header((header::LOCATION, location)).json(body))
}
