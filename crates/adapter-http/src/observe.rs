//! The outermost middleware: gives every request but those that end at the [door](crate::door) its names, survives
//! panics, makes every failure a problem, and sees to its log line, whatever happens inside.

use std::{
    borrow::Cow,
    panic::AssertUnwindSafe,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{
    Error, HttpMessage, HttpResponse,
    body::BoxBody,
    dev::{Service, ServiceRequest, ServiceResponse, Transform, forward_ready},
    error::InternalError,
    http::{
        ConnectionType, Method, StatusCode,
        header::{self, HeaderMap, HeaderName, HeaderValue},
    },
    web,
};
use futures_util::{
    FutureExt,
    future::{LocalBoxFuture, Ready, ready},
};

use crate::{
    accept::prefers_page,
    access_log::AccessLine,
    body::BodySize,
    context::{Context, overloaded},
    door::Arrived,
    health::HEALTH_JSON,
    limits::Policy,
    problem::{Problem, ProblemKind},
    slashes::forgive_slash,
    state::State,
    unread::Unread,
    wire::{REJECTED_HEADER, Rejection},
};

/// Makes the middleware.
pub(crate) struct Observe(pub(crate) web::Data<State>);

impl<S> Transform<S, ServiceRequest> for Observe
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type InitError = ();
    type Transform = Observing<S>;
    type Future = Ready<Result<Observing<S>, ()>>;

    fn new_transform(&self, service: S) -> Self::Future {
        ready(Ok(Observing { service: Rc::new(service), state: self.0.clone() }))
    }
}

/// The middleware.
pub(crate) struct Observing<S> {
    service: Rc<S>,
    state: web::Data<State>,
}

impl<S> Service<ServiceRequest> for Observing<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    type Response = ServiceResponse<BoxBody>;
    type Error = Error;
    type Future = LocalBoxFuture<'static, Answer>;

    forward_ready!(service);

    fn call(&self, mut request: ServiceRequest) -> Self::Future {
        let begun = request.extensions().get::<Arrived>().map_or_else(Instant::now, |arrived| arrived.0);
        let state = &self.state;
        let asked = request.uri().clone();
        forgive_slash(&mut request);
        // By the path as the router reads it, percent-encoded or not.
        let policy = Policy::of(request.method(), request.match_info().as_str());
        let context = Rc::new(Context::new(request.head(), policy, state));
        let mut line = AccessLine::begin(&state.log, request.head(), asked.clone(), Rc::clone(&context), begun);
        let unread = Unread::of(&mut request);
        let patience = if matches!(*request.method(), Method::POST | Method::PATCH | Method::PUT) {
            self.state.settings.body_timeout
        } else {
            AT_ONCE
        };
        let rejection = rejection(&request, &state.rejection_nonce);
        // Whatever is no part of the API is for people.
        context.shows_page.set(context.policy == Some(Policy::Redirect) && prefers_page(request.headers()));
        request.extensions_mut().insert(Rc::clone(&context));
        let instance = rejection.is_none().then(|| asked.path().to_owned());
        if rejection.is_some() {
            line.note_rejection();
        }
        let (service, state) = (Rc::clone(&self.service), state.clone());
        let later = async move {
            let outcome = match rejection {
                Some(problem) => Outcome::Problem(problem),
                None => match let_in(&state, &context).await {
                    Ok(()) => run(service.as_ref(), request, &mut line, &context).await,
                    Err(turned_away) => Outcome::Problem(turned_away),
                },
            };
            let problem = match &outcome {
                Outcome::Problem(problem) => Some(problem),
                Outcome::Answer(_) => None,
            };
            settle_body(unread, problem, patience, &context).await;
            finish(outcome, line, &context, instance.as_deref())
        };
        later.boxed_local()
    }
}

/// Runs the handler. What it answers is counted from now on, whatever is waited for before it is sent.
async fn run<S>(service: &S, request: ServiceRequest, line: &mut AccessLine, context: &Context) -> Outcome
where
    S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    match AssertUnwindSafe(service.call(request)).catch_unwind().await {
        Ok(result) => {
            let pattern = result.as_ref().ok().and_then(|response| response.request().match_pattern());
            line.note_route(pattern.map(Cow::Owned));
            match Outcome::of(result) {
                Outcome::Answer(answer) => Outcome::Answer(answer.map_body(|_, body| context.bounded(body))),
                problem @ Outcome::Problem(_) => problem,
            }
        }
        Err(_panic) => Outcome::Problem(panicked()),
    }
}

/// How long the answer waits for the body of a request that has none by its nature.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Reads what the handler has not read of the body, so that the answer is seen, and the connection can stay. Else it says that it
/// ends.
async fn settle_body(unread: Option<Unread>, problem: Option<&Problem>, patience: Duration, context: &Context) {
    let Some(unread) = unread else {
        return;
    };
    if problem.is_some_and(Problem::ends_connection) {
        return;
    }
    if unread.is_waited_for() {
        context.closes.set(true);
        return;
    }
    let most = BodySize::of(context.policy).limit();
    if !unread.drain(most, patience).await {
        context.closes.set(true);
    }
}

type Answer = Result<ServiceResponse<BoxBody>, Error>;

/// Lets a request in, or says why it is one too many, of its sender or of all.
async fn let_in(state: &State, context: &Context) -> Result<(), Problem> {
    match context.policy {
        None => return Ok(()),
        Some(Policy::Redirect) => return state.limits.charge_visitor(context),
        Some(policy) => state.limits.charge_client(context, policy).await?,
    }
    if state.gates.all.is_open() {
        return Ok(());
    }
    context.is_turned_away();
    state.gates.all.hold_off().await;
    Err(overloaded())
}

/// Gives the answer its names, and the log its line.
fn finish(outcome: Outcome, line: AccessLine, context: &Context, instance: Option<&str>) -> Answer {
    match outcome {
        Outcome::Answer(mut response) => {
            name(response.status(), response.headers_mut(), context);
            close_after(response.response_mut(), context);
            line.finish(response.response());
            Ok(response)
        }
        Outcome::Problem(problem) => {
            let answer = problem_answer(&problem, line, context, instance);
            // After a panic the request is gone, and an answer as such needs one; an error does not.
            Err(InternalError::from_response(problem, answer).into())
        }
    }
}

/// The answer that is a problem.
pub(crate) fn problem_answer(
    problem: &Problem,
    mut line: AccessLine,
    context: &Context,
    instance: Option<&str>,
) -> HttpResponse<BoxBody> {
    line.note_problem(problem);
    let mut answer = if context.shows_page.get() {
        match context.own_pages.of(problem.kind()) {
            Some(page) => to_own_page(page),
            None => problem.to_page(context.request_id.as_str()),
        }
    } else {
        problem.to_response(context.request_id.as_str(), instance)
    };
    if context.policy == Some(Policy::Redirect) {
        answer.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    }
    name(answer.status(), answer.headers_mut(), context);
    close_after(&mut answer, context);
    line.finish(&answer);
    answer.map_body(|_, body| context.bounded(body))
}

/// Leads a browser to the operator's own page instead.
fn to_own_page(page: &str) -> HttpResponse<BoxBody> {
    HttpResponse::Found()
        .insert_header((header::LOCATION, page))
        .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
        .finish()
}

/// A connection that ends after the answer says so.
pub(crate) fn close_after(answer: &mut HttpResponse<BoxBody>, context: &Context) {
    if context.is_last() {
        answer.head_mut().set_connection_type(ConnectionType::Close);
    }
}

/// A handler panicked; the panic hook has said where.
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked")]
struct Panicked;

pub(crate) fn panicked() -> Problem {
    Problem::new(ProblemKind::Internal).caused_by(Panicked)
}

/// What the stream guard found, if this request is its stand-in for one that never got through.
fn rejection(request: &ServiceRequest, nonce: &str) -> Option<Problem> {
    let value = request.headers().get(REJECTED_HEADER)?;
    let kind = match Rejection::from_header(nonce, value.as_bytes())? {
        Rejection::Malformed => ProblemKind::MalformedRequest,
        Rejection::HeadersTooLarge => ProblemKind::HeadersTooLarge,
        Rejection::HeadTimeout => ProblemKind::RequestTimeout,
    };
    Some(Problem::new(kind))
}

/// What came of a request.
enum Outcome {
    /// An answer to be sent as it is.
    Answer(ServiceResponse<BoxBody>),
    /// A failure, ours or the framework's.
    Problem(Problem),
}

impl Outcome {
    fn of(result: Result<ServiceResponse<BoxBody>, Error>) -> Self {
        let status = match result {
            Ok(response) => {
                let status = response.status();
                let good = !status.is_client_error() && !status.is_server_error();
                let health = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == HEALTH_JSON);
                if good || health {
                    return Self::Answer(response);
                }
                match problem_in(&response) {
                    Some(problem) => return Self::Problem(problem),
                    None => status,
                }
            }
            Err(error) => error.as_response_error().status_code(),
        };
        Self::Problem(Problem::new(ProblemKind::of_status(status)))
    }
}

/// The problem a handler failed with; the framework kept it with its own answer.
fn problem_in(response: &ServiceResponse<BoxBody>) -> Option<Problem> {
    response.response().error()?.as_error::<Problem>().cloned()
}

pub(crate) static X_REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");
pub(crate) static TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Every answer carries the names of its request, that of the API what is left of its sender's quota, and is never
/// taken for anything but what it says it is.
pub(crate) fn name(status: StatusCode, headers: &mut HeaderMap, context: &Context) {
    let value = |text: &str| HeaderValue::from_str(text).expect("ids are plain ASCII");
    headers.insert(X_REQUEST_ID.clone(), value(context.request_id.as_str()));
    headers.insert(TRACEPARENT.clone(), value(context.trace.traceparent()));
    let (program, refused) = (context.policy != Some(Policy::Redirect), status == StatusCode::TOO_MANY_REQUESTS);
    if let Some(standing) = context.standing().filter(|_| (program || refused) && !status.is_redirection()) {
        standing.tell(headers);
        if program {
            standing.tell_programs(headers);
        }
    }
    context.cross_origin.tell(headers);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // What the API tells one caller is for no cache, whichever field the key came in.
    let told_to_one = context.policy.is_some_and(|policy| policy != Policy::Redirect);
    if told_to_one && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
