//! The steps of every request: begin, admit, dispatch, finish.
//!
//! 1. **Begin** gives the request its ids ([`Context`]) and opens its log line.
//! 2. **Admit** charges it to the limits of its client, or rejects it.
//! 3. **Dispatch** serves redirects first, without a router, and at once if the code is cached. Nearly all requests end
//!    there. Any other request goes to the application.
//! 4. **Finish** turns a failure into a problem, sets the header fields that every answer has, and writes the log line.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::{Duration, Instant},
};

use actix_http::{Request, Response};
use actix_web::{
    Error, HttpMessage as _, HttpResponse,
    body::BoxBody,
    dev::{Payload, RequestHead, Service, ServiceFactory, ServiceResponse, Url, forward_ready},
    http::{
        ConnectionType, Method, StatusCode, Uri,
        header::{self, HeaderMap, HeaderValue},
    },
    web,
};
use domain::{code::Code, ports::ClickRecorder};
use futures_util::{
    FutureExt, TryFutureExt,
    future::{Either, LocalBoxFuture, Ready, ready},
};
use tokio::time::timeout;

use super::access_log::AccessLine;
use crate::{
    limits::{Policy, concurrency::overloaded},
    metrics::{RequestCounter, RequestCounters},
    ops::health::HEALTH_JSON,
    problem::{Problem, ProblemKind},
    redirect::follow::{self, Begun, code_to_follow},
    request::{
        accept::prefers_page,
        body_room::BodySize,
        context::Context,
        slashes::forgive_slash,
        state::State,
        trace::{TRACEPARENT, X_REQUEST_ID},
        unread::Unread,
    },
    response,
    wire::{REJECTED_HEADER, Rejection},
};

/// Makes the pipeline of a worker, in front of what `app` makes.
pub(crate) struct PipelineFactory<F> {
    pub(crate) app: F,
    pub(crate) state: web::Data<State>,
    pub(crate) counters: RequestCounters,
}

impl<F> ServiceFactory<Request> for PipelineFactory<F>
where
    F: ServiceFactory<Request, Config = (), Response = ServiceResponse<BoxBody>, Error = Error>,
    F::Service: 'static,
    F::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = ();
    type Service = Pipeline<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, F::InitError>>;

    fn new_service(&self, config: ()) -> Self::Future {
        let state = self.state.clone();
        let recorder = state.services.clicks.recorders.recorder().map(Rc::from);
        let worker = Worker { state, recorder, counter: Rc::new(self.counters.add_worker()) };
        self.app.new_service(config).map_ok(|app| Pipeline { app: Rc::new(app), worker }).boxed_local()
    }
}

/// The pipeline.
pub(crate) struct Pipeline<S> {
    app: Rc<S>,
    worker: Worker,
}

/// What all requests of one worker share.
#[derive(Clone)]
struct Worker {
    state: web::Data<State>,
    recorder: Option<Rc<dyn ClickRecorder>>,
    counter: Rc<RequestCounter>,
}

type Answer = Result<Response<BoxBody>, Error>;
type Answering = Either<Ready<Answer>, LocalBoxFuture<'static, Answer>>;
type HandlerResult = Result<HttpResponse<BoxBody>, Problem>;

impl<S> Service<Request> for Pipeline<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = Answering;

    forward_ready!(app);

    fn call(&self, request: Request) -> Self::Future {
        let arrived = Instant::now();
        if !self.worker.state.phase.is_starting() || !waits_for_start(request.path()) {
            return process(&self.app, &self.worker, request, arrived);
        }
        let (app, worker) = (Rc::clone(&self.app), self.worker.clone());
        let later = async move {
            // A client that leaves while it is held leaves a line, too.
            let held = Exchange::begin(&worker, request.head(), None, request.uri().clone(), arrived);
            // After a timeout the request goes on: its answer says what is still missing.
            let state = &worker.state;
            let _in_time = timeout(state.settings.redirect_timeout / 2, state.phase.started()).await;
            held.line.discard();
            process(&app, &worker, request, arrived).await
        };
        Either::Right(later.boxed_local())
    }
}

/// Whether a request waits for the process to become ready. A proxy sends requests as soon as the process listens.
/// Requests that need nothing but the process are answered at once.
fn waits_for_start(path: &str) -> bool {
    let is_one_segment = path.len() > 1 && !path[1..].contains('/');
    path.starts_with("/api/") || (is_one_segment && !matches!(path, "/livez" | "/readyz" | "/health"))
}

fn process<S>(app: &Rc<S>, worker: &Worker, mut request: Request, arrived: Instant) -> Answering
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    // A redirect ignores the body, but it has to be read, so the request goes to the application.
    let has_body = !matches!(request.payload(), Payload::None);
    let code = if has_body { None } else { code_to_follow(request.head(), &worker.state) };
    if let Some(code) = code {
        return process_redirect(worker, request, code, arrived);
    }
    Either::Right(process_routed(Rc::clone(app), worker.clone(), request, arrived).map(Ok).boxed_local())
}

/// Follows a code, at once if it is cached.
fn process_redirect(worker: &Worker, request: Request, code: Code, arrived: Instant) -> Answering {
    let mut exchange = Exchange::begin(worker, request.head(), Some(Policy::Redirect), request.uri().clone(), arrived);
    exchange.line.note_route(Some(follow::ROUTE.into()));
    let address = match exchange.context.visit(request.head()) {
        Ok(visited) => visited.address(code),
        Err(unknown_host) => {
            return Either::Left(ready(Ok(exchange.finish_redirect(Err(unknown_host), request.head()))));
        }
    };
    exchange.context.note(|notes| notes.address = Some(address.clone()));
    let begun = catch_unwind(AssertUnwindSafe(|| follow::begin(&exchange.context, &address, request.head())));
    let begun = begun.unwrap_or_else(|_| Begun::Ended(Err(Panicked.into())));
    if let Begun::Ended(outcome) = begun {
        return Either::Left(ready(Ok(exchange.finish_redirect(outcome, request.head()))));
    }
    let later = async move {
        let outcome = caught(follow::go_on(begun, &exchange.context, &address, request.head())).await;
        Ok(exchange.finish_redirect(outcome, request.head()))
    };
    Either::Right(later.boxed_local())
}

/// Sends a request through the application.
async fn process_routed<S>(app: Rc<S>, worker: Worker, mut request: Request, arrived: Instant) -> Response<BoxBody>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    let asked = request.uri().clone();
    forgive_slash(&mut request);
    // By the path as the router reads it, percent-encoded or not.
    let policy = Policy::of(request.method(), Url::new(request.uri().clone()).path());
    let mut exchange = Exchange::begin(&worker, request.head(), policy, asked.clone(), arrived);
    let state = &worker.state;
    let rejection = rejection(request.headers(), &state.rejection_nonce);
    if rejection.is_some() {
        exchange.line.note_rejection();
    }
    let is_rejected = rejection.is_some();
    let is_preflight = exchange.context.cross_origin.is_preflight(request.head());
    // Paths outside of the API are for people.
    let shows_page = policy == Some(Policy::Redirect) && prefers_page(request.headers());
    let unread = Unread::of(&mut request);
    let body_timeout = if matches!(*request.method(), Method::POST | Method::PATCH | Method::PUT) {
        state.settings.body_timeout
    } else {
        NO_BODY_TIMEOUT
    };
    request.extensions_mut().insert(Rc::clone(&exchange.context));
    let admitted = match rejection {
        Some(rejection) => Err(rejection),
        // A browser hides why a preflight failed, so a quota rejects the request that follows.
        None if is_preflight => Ok(()),
        None => admit(&exchange.context).await,
    };
    let outcome = match admitted {
        Ok(()) => dispatch(app.as_ref(), request, &mut exchange).await,
        Err(rejected) => Err(rejected),
    };
    settle_body(unread, outcome.as_ref().err(), body_timeout, &exchange.context).await;
    exchange.finish(outcome, |problem, context| {
        // A request that the stream guard rejected has no path of its own.
        let instance = (!is_rejected).then(|| asked.path());
        problem_answer(problem, context, instance, shows_page)
    })
}

/// How long an answer waits for the body of a request whose method has none.
const NO_BODY_TIMEOUT: Duration = Duration::from_millis(100);

/// One request: its context and its log line.
struct Exchange {
    context: Rc<Context>,
    line: AccessLine,
}

impl Exchange {
    fn begin(worker: &Worker, head: &RequestHead, policy: Option<Policy>, asked: Uri, arrived: Instant) -> Self {
        let context = Rc::new(Context::new(head, policy, &worker.state, worker.recorder.clone()));
        let line =
            AccessLine::begin(&worker.state.log, head, asked, Rc::clone(&context), Rc::clone(&worker.counter), arrived);
        Self { context, line }
    }

    fn finish_redirect(self, outcome: HandlerResult, head: &RequestHead) -> Response<BoxBody> {
        self.finish(outcome, |problem, context| {
            problem_answer(problem, context, Some(head.uri.path()), prefers_page(head.headers()))
        })
    }

    /// Sets what every answer has, and writes the log line. `fail` makes the answer that is a problem.
    fn finish(
        self,
        outcome: HandlerResult,
        fail: impl FnOnce(&Problem, &Context) -> HttpResponse,
    ) -> Response<BoxBody> {
        let Self { context, mut line } = self;
        let mut answer = match outcome {
            Ok(answer) => answer,
            Err(problem) => {
                line.note_problem(&problem);
                bounded(fail(&problem, &context), &context)
            }
        };
        set_response_headers(answer.status(), answer.headers_mut(), &context);
        if context.is_last() {
            answer.head_mut().set_connection_type(ConnectionType::Close);
        }
        line.finish(&answer);
        answer.into()
    }
}

/// Charges a request to the limits of its client, and rejects it if the store has too many calls in flight.
async fn admit(context: &Context) -> Result<(), Problem> {
    let state = &context.state;
    match context.tally.policy {
        None => return Ok(()),
        Some(Policy::Redirect) => return state.limits.charge_visitor(&context.tally),
        Some(policy) => state.limits.charge_client(&context.tally, policy).await?,
    }
    if state.calls.all.admits() {
        return Ok(());
    }
    context.note_overload();
    state.calls.all.delay_rejection().await;
    Err(overloaded())
}

/// Runs the application. Its answer counts against the memory of its client from here on, even before it is sent.
async fn dispatch<S>(app: &S, request: Request, exchange: &mut Exchange) -> HandlerResult
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
{
    let response = caught(async {
        match app.call(request).await {
            Ok(response) => Ok(response),
            Err(error) => Err(Problem::new(ProblemKind::of_status(error.as_response_error().status_code()))),
        }
    });
    let (request, response) = response.await?.into_parts();
    exchange.line.note_route(request.match_pattern().map(Into::into));
    let status = response.status();
    let is_failure = status.is_client_error() || status.is_server_error();
    let is_health = response.headers().get(header::CONTENT_TYPE).is_some_and(|value| value == HEALTH_JSON);
    if is_failure && !is_health {
        // The framework keeps the problem of a handler in the response. A failure without one is the framework's own.
        let problem = response.error().and_then(|error| error.as_error::<Problem>()).cloned();
        return Err(problem.unwrap_or_else(|| Problem::new(ProblemKind::of_status(status))));
    }
    Ok(bounded(response, &exchange.context))
}

/// A part of the pipeline panicked; the panic hook has logged where.
#[derive(Debug, thiserror::Error)]
#[error("the handler panicked")]
struct Panicked;

impl From<Panicked> for Problem {
    fn from(panicked: Panicked) -> Self {
        Self::new(ProblemKind::Internal).caused_by(panicked)
    }
}

/// A panic is a problem.
async fn caught<T>(call: impl Future<Output = Result<T, Problem>>) -> Result<T, Problem> {
    AssertUnwindSafe(call).catch_unwind().await.unwrap_or_else(|_| Err(Panicked.into()))
}

/// Reads what the handler has not read of the body, so that the client sees the answer and the connection can stay
/// open. If it cannot, the answer says so.
async fn settle_body(unread: Option<Unread>, problem: Option<&Problem>, body_timeout: Duration, context: &Context) {
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
    let limit = BodySize::of(context.tally.policy).limit();
    if !unread.drain(limit, body_timeout).await {
        context.closes.set(true);
    }
}

/// Why the stream guard rejected the request for which this one stands in; `None` for any other request.
pub(super) fn rejection(headers: &HeaderMap, nonce: &str) -> Option<Problem> {
    let value = headers.get(REJECTED_HEADER)?;
    let kind = match Rejection::from_header(nonce, value.as_bytes())? {
        Rejection::Malformed => ProblemKind::MalformedRequest,
        Rejection::HeadersTooLarge => ProblemKind::HeadersTooLarge,
        Rejection::HeadTimeout => ProblemKind::RequestTimeout,
    };
    Some(Problem::new(kind))
}

/// The answer to a failure: JSON for programs, a page for people. The operator's own page is used if there is one.
fn problem_answer(problem: &Problem, context: &Context, instance: Option<&str>, shows_page: bool) -> HttpResponse {
    let of_domain = context.visited().and_then(|visited| visited.page(problem.kind()));
    let page = of_domain.or_else(|| context.state.settings.pages.of(problem.kind()));
    let mut answer = match (shows_page, page) {
        (true, Some(page)) => HttpResponse::Found()
            .insert_header((header::LOCATION, page))
            .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
            .finish(),
        (true, None) => problem.to_page(context.request_id.as_str()),
        (false, _) => problem.to_response(context.request_id.as_str(), instance),
    };
    if context.tally.policy == Some(Policy::Redirect) {
        answer.headers_mut().insert(header::VARY, HeaderValue::from_static("accept"));
    }
    answer
}

/// The answer, with its body bounded for a client that reads slowly.
fn bounded(answer: HttpResponse<BoxBody>, context: &Context) -> HttpResponse<BoxBody> {
    answer.map_body(|_, body| response::body::bounded(body, &context.state.untaken, || context.holder()))
}

/// Sets the header fields that every answer has: the ids of its request, what is left of its client's quota, the CORS
/// fields, `nosniff`, and `no-store` for the API.
fn set_response_headers(status: StatusCode, headers: &mut HeaderMap, context: &Context) {
    let value = |text: &str| HeaderValue::from_str(text).expect("ids are plain ASCII");
    headers.insert(X_REQUEST_ID.clone(), value(context.request_id.as_str()));
    headers.insert(TRACEPARENT.clone(), value(context.trace.traceparent()));
    let is_api = context.tally.policy != Some(Policy::Redirect);
    let is_refused = status == StatusCode::TOO_MANY_REQUESTS;
    if let Some(standing) = context.tally.standing().filter(|_| (is_api || is_refused) && !status.is_redirection()) {
        standing.set_headers(headers);
        if is_api {
            standing.set_legacy_headers(headers);
        }
    }
    context.cross_origin.set_headers(headers);
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // An answer to one caller must not be cached, whichever header field the key was sent in.
    if is_api && context.tally.policy.is_some() && !headers.contains_key(header::CACHE_CONTROL) {
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    }
}
