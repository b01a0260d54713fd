//! The context of one request: its names, its time budget, and what its log line will say.

use std::{
    cell::{Cell, Ref, RefCell},
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::{Payload, RequestHead},
    web,
};
use domain::{history::RequestId, ports::FailureReason};
use futures_util::future::{Ready, ready};
use slog::warn;
use tokio::time::{error::Elapsed, timeout};

use super::{
    body_room::BodyRoom,
    cors::CrossOrigin,
    notes::Notes,
    state::State,
    store_outcomes::Window,
    trace::{self, Trace},
};
use crate::{
    limits::{Policy, Tally, memory::Holder},
    problem::{Problem, ProblemKind},
};

/// Shared by everything that works on one request.
pub(crate) struct Context {
    pub(crate) state: web::Data<State>,
    pub(crate) request_id: RequestId,
    pub(crate) trace: Trace,
    /// The client, and what the request was charged.
    pub(crate) tally: Tally,
    notes: RefCell<Notes>,
    /// What is left of the time the store may take, all calls together.
    time_left: Cell<Duration>,
    store_time: Cell<Option<Duration>>,
    /// Whether the connection ends after the answer, because a body is not read.
    pub(crate) closes: Cell<bool>,
    /// Whose scripts may read the answer.
    pub(crate) cross_origin: CrossOrigin,
    /// The room that its body takes, until it is answered.
    body_room: RefCell<Option<BodyRoom>>,
}

/// Whether an unconfirmed call may have changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

impl Context {
    pub(crate) fn new(head: &RequestHead, policy: Option<Policy>, state: &web::Data<State>) -> Self {
        let headers = head.headers();
        warn_of_untrusted_proxy(head, state);
        let mut random = [0; trace::RANDOM_BYTES];
        state.services.entropy.fill(&mut random);
        Self {
            request_id: trace::request_id(headers, &random),
            trace: Trace::of(headers, &random),
            tally: Tally::new(state.settings.proxies.client(head.peer_addr, headers), policy),
            notes: RefCell::default(),
            time_left: Cell::new(state.settings.request_timeout),
            store_time: Cell::new(None),
            closes: Cell::new(false),
            cross_origin: if head.uri.path().starts_with("/api/") {
                state.settings.cors_origins.judge(head)
            } else {
                CrossOrigin::Off
            },
            body_room: RefCell::default(),
            state: state.clone(),
        }
    }

    /// Whether its connection ends with its answer. Proxies send nothing more on one of which they know that it ends.
    pub(crate) fn is_last(&self) -> bool {
        self.closes.get() || self.state.phase.is_draining()
    }

    /// Adds to the log line.
    pub(crate) fn note(&self, add: impl FnOnce(&mut Notes)) {
        add(&mut self.notes.borrow_mut());
    }

    pub(crate) fn notes(&self) -> Ref<'_, Notes> {
        self.notes.borrow()
    }

    /// For whom something is held that belongs to this request.
    pub(crate) fn holder(&self) -> Holder {
        match &self.notes().key_id {
            Some(id) => Holder::Key(id.clone()),
            None => Holder::Address(self.tally.client.ip()),
        }
    }

    /// Keeps the room of its body until it is answered.
    pub(crate) fn keep(&self, room: BodyRoom) {
        *self.body_room.borrow_mut() = Some(room);
    }

    /// How long the store took so far, if it was asked.
    pub(crate) fn store_time(&self) -> Option<Duration> {
        self.store_time.get()
    }

    /// Runs a call of a service within what is left of the request's time.
    pub(crate) async fn within_budget<T, E>(
        &self,
        effect: Effect,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Problem>
    where
        Problem: From<E>,
    {
        let in_flight = self.state.calls.all.begin();
        let outcome = self.in_time(effect, call).await;
        let failed =
            |problem: &Problem| matches!(problem.kind(), ProblemKind::Unavailable | ProblemKind::OutcomeUnknown);
        if !outcome.as_ref().is_err_and(failed) {
            in_flight.completed();
        }
        outcome
    }

    /// The same for a list, unless there are too many of them.
    pub(crate) async fn list_within_budget<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, Problem>
    where
        Problem: From<E>,
    {
        let _in_flight = self.state.calls.begin_list()?;
        self.in_time(Effect::Read, call).await
    }

    /// Runs a call within what is left of the request's time, without counting it as in flight.
    pub(crate) async fn in_time<T, E>(
        &self,
        effect: Effect,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Problem>
    where
        Problem: From<E>,
    {
        let begun = Instant::now();
        let waiting = self.changes_something(effect).then(|| self.state.outcomes.changes.begin());
        let outcome = timeout(self.time_left.get(), call).await;
        let took = begun.elapsed();
        self.time_left.set(self.time_left.get().saturating_sub(took));
        self.store_time.set(Some(self.store_time.get().unwrap_or_default() + took));
        let late =
            |kind, elapsed: Elapsed| Problem::new(kind).failed_by_store(FailureReason::TimedOut).caused_by(elapsed);
        let outcome = match (outcome, effect) {
            (Ok(result), _) => result.map_err(Problem::from),
            (Err(elapsed), Effect::Read) => Err(late(ProblemKind::Unavailable, elapsed)),
            (Err(elapsed), Effect::Write) => Err(late(ProblemKind::OutcomeUnknown, elapsed)),
        };
        match (waiting, &outcome) {
            // What it had to read is no change yet.
            (Some(waiting), Ok(_)) => waiting.ends_served(effect == Effect::Write),
            (Some(waiting), Err(problem)) => waiting.ends_refused(problem),
            (None, _) => {}
        }
        outcome
    }

    /// Whether the request is a change, of which a call with this effect is a part.
    fn changes_something(&self, effect: Effect) -> bool {
        effect == Effect::Write || matches!(self.tally.policy, Some(Policy::Claim | Policy::Batch))
    }

    /// Counts a request that was rejected because too many calls are in flight.
    pub(crate) fn note_overload(&self) {
        if self.changes_something(Effect::Read) {
            self.state.outcomes.changes.failed(FailureReason::Busy);
        }
    }

    /// What redirects that need the store came to.
    pub(crate) fn lookups(&self) -> &Window {
        &self.state.outcomes.lookups
    }

    /// The context of a request that went through the outermost middleware.
    pub(crate) fn of(request: &HttpRequest) -> Rc<Self> {
        let known = request.extensions().get::<Rc<Self>>().cloned();
        known.expect("the outermost middleware makes a context for every request")
    }
}

/// Hands the context to a handler.
pub(crate) struct InContext(pub(crate) Rc<Context>);

impl FromRequest for InContext {
    type Error = Problem;
    type Future = Ready<Result<Self, Problem>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(Ok(Self(Context::of(request))))
    }
}

/// Warns once that a peer names clients and is not trusted: behind a proxy that the settings do not name, all clients
/// share one quota.
fn warn_of_untrusted_proxy(head: &RequestHead, state: &State) {
    if state.warned_of_proxy.load(Ordering::Relaxed) {
        return;
    }
    let untrusted = state.settings.proxies.untrusted(head.peer_addr, head.headers());
    if let Some((field, network)) = untrusted
        && !state.warned_of_proxy.swap(true, Ordering::Relaxed)
    {
        warn!(state.log, "{field} came from the network {network}, which is not in proxies.trusted, and is not believed: if that \
            is your proxy, name it there, or all its visitors count as one client";
            "event.name" => "proxies.untrusted", "client.address" => %network, "http.request.header.name" => field);
    }
}
