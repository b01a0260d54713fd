//! The door: requests that follow a code are answered here, before the router and all that other requests need. Nearly all
//! requests that ever come end here.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
    time::Instant,
};

use actix_http::{Request, Response};
use actix_web::{
    Error,
    body::BoxBody,
    dev::{Payload, RequestHead, Service, ServiceFactory, ServiceResponse, forward_ready},
    web,
};
use futures_util::{
    FutureExt, TryFutureExt,
    future::{Either, LocalBoxFuture, MapOk, Ready, ready},
};

use crate::{
    accept::prefers_page,
    access_log::AccessLine,
    context::Context,
    limits::Policy,
    observe::{close_after, name, panicked, problem_answer},
    redirect::{self, Begun, ask_and_follow, code_to_follow},
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
        self.inner.new_service(config).map_ok(|inner| OpenDoor { inner, state }).boxed_local()
    }
}

/// The door.
pub(crate) struct OpenDoor<S> {
    inner: S,
    state: web::Data<State>,
}

type Answer = Result<Response<BoxBody>, Error>;

impl<S> Service<Request> for OpenDoor<S>
where
    S: Service<Request, Response = ServiceResponse<BoxBody>, Error = Error>,
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
        let waits = has_body || state.phase.is_starting();
        let code = if waits { None } else { code_to_follow(request.head(), &state.settings.inherited) };
        let Some(code) = code else {
            let answer: fn(ServiceResponse<BoxBody>) -> Response<BoxBody> = Into::into;
            return Either::Right(self.inner.call(request).map_ok(answer));
        };
        let begun = Instant::now();
        let context = Rc::new(Context::new(request.head(), Some(Policy::Redirect), state));
        let mut line = AccessLine::begin(&state.log, request.head(), request.uri().clone(), Rc::clone(&context), begun);
        context.note(|notes| notes.code = Some(code.clone()));
        line.note_route(Some(redirect::ROUTE.into()));
        let query = request.uri().query().unwrap_or_default();
        let following = || redirect::begin(state, &context, &code, query);
        let begun = catch_unwind(AssertUnwindSafe(following)).unwrap_or_else(|_| Begun::Ended(Err(panicked())));
        let trying = match begun {
            Begun::Ended(outcome) => {
                return Either::Left(Either::Left(ready(Ok(finish(outcome, request.head(), line, &context)))));
            }
            Begun::MustAsk(trying) => trying,
        };
        let later = async move {
            let query = request.uri().query().unwrap_or_default();
            let following = AssertUnwindSafe(ask_and_follow(trying, &code, query));
            let outcome = following.catch_unwind().await.unwrap_or_else(|_| Err(panicked()));
            Ok(finish(outcome, request.head(), line, &context))
        };
        Either::Left(Either::Right(later.boxed_local()))
    }
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
