//! Following a code.

use actix_web::{
    HttpRequest, HttpResponse,
    dev::RequestHead,
    http::{
        Method, StatusCode,
        header::{self, HeaderName, HeaderValue},
    },
    route, web,
};
use domain::{
    address::Address,
    click::OrphanReason,
    code::{Code, is_reserved},
    ports::{Existence, FailureReason, Source},
    service::{Follow, Followed, ResolveService},
    short_domain::RobotsRule,
};
use tokio::time::timeout;

use super::{charge::charge_when_known, click::record, preview::preview};
use crate::{
    limits::UnknownCodeCharge,
    problem::{Problem, ProblemKind},
    request::{
        context::{Context, Effect, InContext},
        domains::VisitedDomain,
        methods::{PICTURE, RouteTable, not_allowed, nothing_there, tell_methods},
        notes::CacheResult,
        state::State,
    },
};

/// Follows a link.
///
/// `HEAD` answers the same without a body. The redirect may be reused for `max-age` seconds, ten at most: a
/// deleted link stops redirecting for every client within that time. While the store does not answer, cached links go
/// on redirecting, with a `Cache-Status` that says so (RFC 9211). Links with the status 307 or 308 redirect every
/// method. Text pasted behind a code, such as a full stop, is ignored.
#[utoipa::path(method(get, head), path = "/{code}", tag = "redirects", operation_id = "follow_link",
    params(("code" = String, Path, description = "The code of the link", pattern = "^[A-Za-z0-9_-]+(\\.[A-Za-z0-9_-]+)*$", max_length = 64)),
    responses(
        (status = 301, description = "Moved permanently", headers(("Location" = String, description = "The target"), ("Cache-Control" = String))),
        (status = 302, description = "Found", headers(("Location" = String, description = "The target"), ("Cache-Control" = String))),
        (status = 307, description = "Temporary redirect", headers(("Location" = String, description = "The target"), ("Cache-Control" = String))),
        (status = 308, description = "Permanent redirect", headers(("Location" = String, description = "The target"), ("Cache-Control" = String))),
        (status = 410, description = "Deleted or expired", body = crate::problem::ProblemBody, content_type = "application/problem+json"),
        (status = 451, description = "Taken down", body = crate::problem::ProblemBody, content_type = "application/problem+json")))]
#[route(
    "/{code}",
    method = "GET",
    method = "HEAD",
    method = "POST",
    method = "PUT",
    method = "PATCH",
    method = "DELETE",
    method = "OPTIONS"
)]
pub(crate) async fn follow(
    state: web::Data<State>,
    routes: web::Data<RouteTable>,
    InContext(context): InContext,
    request: HttpRequest,
    code: web::Path<String>,
) -> HandlerResult {
    let only_reads = matches!(*request.method(), Method::GET | Method::HEAD);
    // GET and HEAD accept a code with text pasted around it. Other methods need the exact code of a link. They work
    // neither for reserved words nor for previews and QR codes.
    let is_no_link = is_reserved(&code) || Code::from_stored(&code).is_err() || code.ends_with(PICTURE);
    let domain = || context.visit(request.head()).ok().map(VisitedDomain::id);
    if !only_reads && is_no_link && state.settings.inherited.get(&code, domain).is_none() {
        return nothing_there(state, routes, request).await;
    }
    if only_reads && let Some(code) = code_to_preview(&code) {
        let address = context.visit(request.head())?.address(code);
        return preview(&context, request.headers(), &address).await;
    }
    // Exact codes rarely come this far (see `code_to_follow`).
    let code = Code::from_pasted(&code).map_err(|_| Problem::new(ProblemKind::NotFound))?;
    let address = context.visit(request.head())?.address(code);
    context.note(|notes| notes.address = Some(address.clone()));
    let charge = charge_when_known(&context, &address).await?;
    let answer = ask_and_follow(charge, &context, &address, request.head()).await?;
    let keeps_method = matches!(answer.status(), StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT);
    let asks_for_methods = request.method() == Method::OPTIONS;
    if only_reads || (keeps_method && !asks_for_methods) {
        return Ok(answer);
    }
    // With another status, clients may follow with another method than the one of the request (RFC 9110 §15.4).
    let allow = if keeps_method { "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS" } else { "GET, HEAD, OPTIONS" };
    let allow = HeaderValue::from_static(allow);
    if asks_for_methods { Ok(tell_methods(&request, allow)) } else { Err(not_allowed(allow)) }
}

/// The code whose preview is asked for, even if its `+` is percent-encoded or something was pasted behind it.
fn code_to_preview(text: &str) -> Option<Code> {
    let is_behind = |character: char| character != '+' && !character.is_ascii_alphanumeric();
    let address = Code::address_in(text).trim_end_matches(is_behind);
    Code::from_pasted(address.strip_suffix('+')?.trim_end_matches('+')).ok()
}

/// The pattern of this route.
pub(crate) const ROUTE: &str = "/{code}";

/// The code that a request wants to follow. It is tried before all other routes, whose paths are reserved words or no
/// codes at all. So nearly every request is spared the patterns of those routes.
pub(crate) fn code_to_follow(head: &RequestHead, state: &State) -> Option<Code> {
    let follows = matches!(head.method, Method::GET | Method::HEAD);
    let code = head.uri.path().strip_prefix('/').filter(|_| follows)?;
    let domain = || VisitedDomain::of(head, state).ok().map(|visited| visited.id());
    Code::parse_alias(code).ok().or_else(|| state.settings.inherited.get(code, domain))
}

/// How far a redirect gets without waiting.
pub(crate) enum Begun {
    /// To its end: the code was cached, or the client is over its quota.
    Ended(HandlerResult),
    /// The store has to be asked, and the charge for that is taken.
    MustAsk(UnknownCodeCharge),
    /// The store has to be asked, but the quota of unknown codes is used up by other visitors at the same address while
    /// the codes of links are still being read: see [`UnknownCodeCharge::take_when_known`].
    MustWait,
}

/// Begins to follow a code. A client over its quota is rejected here, before anything is set up for waiting, because
/// clients try codes by the million.
pub(crate) fn begin(context: &Context, address: &Address, head: &RequestHead) -> Begun {
    let Context { state, tally, .. } = context;
    let resolver = &state.services.resolver;
    let admit = || state.limits.charge_visitor(tally);
    let unknown = match resolver.follow_at_once(address, query(head)) {
        Some(known) if known.followed != Followed::Unknown => {
            return Begun::Ended(admit().and_then(|()| answer(context, known, head)));
        }
        unknown => unknown,
    };
    // The narrower quota first: rejecting a client that has used it up costs no more than this check.
    let charge = match &unknown {
        Some(_) => UnknownCodeCharge::take(&state.limits, tally),
        None => UnknownCodeCharge::take_unless_known(&state.limits, tally, resolver.existence(address)),
    };
    if charge.is_err() && unknown.is_none() && resolver.existence(address) == Existence::Pending {
        return Begun::MustWait;
    }
    match (charge.and_then(|charge| charge.and(admit())), unknown) {
        (Err(too_many), _) => Begun::Ended(Err(too_many)),
        (Ok(charge), None) => Begun::MustAsk(charge),
        (Ok(_charged), Some(unknown)) => Begun::Ended(answer(context, unknown, head)),
    }
}

/// Follows a code to the end.
pub(crate) async fn go_on(begun: Begun, context: &Context, address: &Address, head: &RequestHead) -> HandlerResult {
    match begun {
        Begun::Ended(outcome) => outcome,
        Begun::MustAsk(charge) => ask_and_follow(charge, context, address, head).await,
        Begun::MustWait => {
            let charge = charge_when_known(context, address).await?;
            let charge = charge.and(context.state.limits.charge_visitor(&context.tally))?;
            ask_and_follow(charge, context, address, head).await
        }
    }
}

/// Follows a code that the store has to be asked for.
async fn ask_and_follow(
    charge: UnknownCodeCharge,
    context: &Context,
    address: &Address,
    head: &RequestHead,
) -> HandlerResult {
    let settings = &context.state.settings;
    let (bound, waiting) = (settings.redirect_timeout, context.lookups().begin());
    let following = context.state.services.resolver.follow(address, query(head));
    let followed = context.in_time(Effect::Read, async {
        match timeout(bound, following).await {
            Ok(followed) => followed.map_err(Problem::from),
            Err(elapsed) => {
                let late = Problem::new(ProblemKind::Unavailable).failed_by_store(FailureReason::TimedOut);
                Err(late.caused_by(elapsed))
            }
        }
    });
    let followed = followed.await;
    match &followed {
        Ok(resolved) => waiting.ends_served(resolved.source == Source::Store),
        Err(problem) => waiting.ends_refused(problem),
    }
    let resolved = charge.settle(followed, |resolved| resolved.followed == Followed::Unknown)?;
    answer(context, resolved, head)
}

/// The query of the request; empty if there is none.
fn query(head: &RequestHead) -> &str {
    head.uri.query().unwrap_or_default()
}

/// A redirect, or why there is none.
pub(crate) type HandlerResult = Result<HttpResponse, Problem>;

static X_ROBOTS_TAG: HeaderName = HeaderName::from_static("x-robots-tag");

const NO_SUCH_CODE: &str = "No link has this code; capital and small letters differ.";

/// Stale: store unavailable, served from an expired cache entry (RFC 9211 §2.2).
const STALE: &str = "signpost; hit; fwd=stale";

fn answer(context: &Context, Follow { followed, source }: Follow, head: &RequestHead) -> HandlerResult {
    context.note(|notes| notes.cache_result = Some(cache_result(source, &followed)));
    match followed {
        Followed::Unknown => {
            context.record_orphan(&head.method, OrphanReason::Unknown);
            Err(Problem::new(ProblemKind::NotFound).detail(NO_SUCH_CODE))
        }
        Followed::Blocked => {
            context.record_orphan(&head.method, OrphanReason::Blocked);
            Err(Problem::new(ProblemKind::Blocked))
        }
        Followed::Gone(_) => {
            context.record_orphan(&head.method, OrphanReason::Gone);
            Err(Problem::new(ProblemKind::Gone))
        }
        Followed::Redirect { status, location, max_age, link, at } => {
            record(context, head, &link, at);
            let status = StatusCode::from_u16(status).expect("a link redirects with an HTTP status");
            let mut redirect = HttpResponse::build(status);
            redirect
                .insert_header((header::LOCATION, location))
                .insert_header((header::CACHE_CONTROL, reusable_for(max_age)))
                .insert_header((header::REFERRER_POLICY, HeaderValue::from_static("no-referrer-when-downgrade")));
            if context.visited().is_none_or(|visited| visited.robots() != RobotsRule::Index) {
                redirect.insert_header((X_ROBOTS_TAG.clone(), HeaderValue::from_static("noindex")));
            }
            if source == Source::StaleMemory {
                redirect.insert_header((HeaderName::from_static("cache-status"), HeaderValue::from_static(STALE)));
            }
            Ok(redirect.finish())
        }
    }
}

fn reusable_for(seconds: u64) -> HeaderValue {
    match seconds {
        ResolveService::MAX_AGE_SECONDS => HeaderValue::from_static("private, max-age=10"),
        0 => HeaderValue::from_static("private, max-age=0"),
        fewer => HeaderValue::try_from(format!("private, max-age={fewer}")).expect("that is ASCII"),
    }
}

fn cache_result(source: Source, followed: &Followed) -> CacheResult {
    match (source, followed) {
        (Source::Store, _) => CacheResult::Miss,
        (Source::SharedMemory { .. }, _) => CacheResult::Shared,
        (Source::StaleMemory, _) => CacheResult::Stale,
        (Source::Memory, Followed::Unknown) => CacheResult::Negative,
        (Source::Memory, Followed::Blocked | Followed::Gone(_) | Followed::Redirect { .. }) => CacheResult::Hit,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_max_age_is_written_as_its_number() {
        for seconds in [0, 1, 9, ResolveService::MAX_AGE_SECONDS] {
            assert_eq!(reusable_for(seconds), format!("private, max-age={seconds}"));
        }
    }
}
