//! The door: requests that follow a code are answered here, before the router and all that other requests need. Nearly all
//! requests that ever come end here.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Instant,
};

use actix_http::{HttpMessage, Request, Response};
use actix_web::{
    Error,
    body::BoxBody,
    dev::{Payload, RequestHead, Service, ServiceFactory, ServiceResponse, forward_ready},
    web,
};
use domain::code::Code;
use futures_util::{
    FutureExt, TryFutureExt,
    future::{Either, LocalBoxFuture, MapOk, Ready, ready},
};
use tokio::time::timeout;

use crate::{
    accept::prefers_page,
    access_log::AccessLine,
    context::Context,
    limits::Policy,
    observe::{close_after, name, panicked, problem_answer},
    redirect::{self, Begun, ask_and_follow, code_to_follow, wait_and_follow},
    state::State,
};

/// Makes a door before what `inner` makes.
pub(crate) struct Door<F> {
    pub(crate) inner: F,
    pub(crate) state: web::Data<State>,
}

impl<F> ServiceFactory<Request> for Door<F>
where
    F: ServiceFactory<Request, Config = (), Response = ServiceResponse<BoxBody>, Error = Error>,
    F::Service: 'static,
    F::Future: 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Config = ();
    type Service = OpenDoor<F::Service>;
    type InitError = F::InitError;
    type Future = LocalBoxFuture<'static, Result<Self::Service, F::InitError>>;

    fn new_service(&self, config: ()) -> Self::Future {
        let state = self.state.clone();
        self.inner.new_service(config).map_ok(|inner| OpenDoor { inner: Rc::new(inner), state }).boxed_local()
    }
}

/// The door.
pub(crate) struct OpenDoor<S> {
    inner: Rc<S>,
    state: web::Data<State>,
}

type Answer = Result<Response<BoxBody>, Error>;

impl<S> Service<Request> for OpenDoor<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
{
    type Response = Response<BoxBody>;
    type Error = Error;
    type Future = Either<
        Either<Ready<Answer>, LocalBoxFuture<'static, Answer>>,
        MapOk<S::Future, fn(ServiceResponse<BoxBody>) -> Response<BoxBody>>,
    >;

    forward_ready!(inner);

    fn call(&self, mut request: Request) -> Self::Future {
        let state = &self.state;
        // A body that means nothing has to be read all the same, as those of all other requests are.
        let has_body = !matches!(request.payload(), Payload::None);
        let begun = Instant::now();
        if state.phase.is_starting() && is_held(request.path()) {
            request.extensions_mut().insert(Arrived(begun));
            let (inner, state) = (Rc::clone(&self.inner), state.clone());
            let later = async move {
                // Whatever comes of it, what follows knows what is still missing.
                let _too_late = timeout(state.settings.redirect_timeout / 2, state.phase.started()).await;
                let code = code_to_follow(request.head(), &state.settings.inherited).filter(|_| !has_body);
                match code {
                    Some(code) => follow(&state, request, code, begun).await,
                    None => inner.call(request).await.map(Into::into),
                }
            };
            return Either::Left(Either::Right(later.boxed_local()));
        }
        let code = if has_body { None } else { code_to_follow(request.head(), &state.settings.inherited) };
        if let Some(code) = code {
            return Either::Left(follow(state, request, code, begun));
        }
        let answer: fn(ServiceResponse<BoxBody>) -> Response<BoxBody> = Into::into;
        Either::Right(self.inner.call(request).map_ok(answer))
    }
}

/// When a request came that was held.
pub(crate) struct Arrived(pub(crate) Instant);

/// Whether a request waits for the process to become ready: a proxy sends requests from the moment on that it listens. What needs
/// nothing but the process is answered at once.
fn is_held(path: &str) -> bool {
    let is_one_segment = path.len() > 1 && !path[1..].contains('/');
    path.starts_with("/api/") || (is_one_segment && !matches!(path, "/livez" | "/readyz" | "/health"))
}

/// Follows a code; at once, if all is known of it.
fn follow(
    state: &web::Data<State>,
    request: Request,
    code: Code,
    begun: Instant,
) -> Either<Ready<Answer>, LocalBoxFuture<'static, Answer>> {
    let context = Rc::new(Context::new(request.head(), Some(Policy::Redirect), state));
    let mut line = AccessLine::begin(&state.log, request.head(), request.uri().clone(), Rc::clone(&context), begun);
    context.note(|notes| notes.code = Some(code.clone()));
    line.note_route(Some(redirect::ROUTE.into()));
    let query = request.uri().query().unwrap_or_default();
    let following = || redirect::begin(state, &context, &code, query);
    let known = catch_unwind(AssertUnwindSafe(following)).unwrap_or_else(|_| Begun::Ended(Err(panicked())));
    if let Begun::Ended(outcome) = known {
        return Either::Left(ready(Ok(finish(outcome, request.head(), line, &context))));
    }
    let state = state.clone();
    let later = async move {
        let query = request.uri().query().unwrap_or_default();
        let following = async {
            match known {
                Begun::Ended(outcome) => outcome,
                Begun::MustAsk(trying) => ask_and_follow(trying, &code, query).await,
                Begun::MustWait => wait_and_follow(&state, &context, &code, query).await,
            }
        };
        let outcome = AssertUnwindSafe(following).catch_unwind().await.unwrap_or_else(|_| Err(panicked()));
        Ok(finish(outcome, request.head(), line, &context))
    };
    Either::Right(later.boxed_local())
}

fn finish(outcome: redirect::Outcome, head: &RequestHead, line: AccessLine, context: &Context) -> Response<BoxBody> {
    match outcome {
        Ok(mut answer) => {
            name(answer.status(), answer.headers_mut(), context);
            close_after(&mut answer, context);
            line.finish(&answer);
            answer.into()
        }
        Err(problem) => {
            context.shows_page.set(prefers_page(head.headers()));
            problem_answer(&problem, line, context, Some(head.uri.path())).into()
        }
    }
}
