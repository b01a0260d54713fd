//! The context of one request: its ids, its time budget, and the notes for its log line.

use std::{
    cell::{Cell, OnceCell, Ref, RefCell},
    rc::Rc,
    sync::atomic::Ordering,
    time::{Duration, Instant},
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    dev::{Payload, RequestHead},
    http::Method,
    web,
};
use domain::{
    address::DomainId,
    click::OrphanReason,
    history::RequestId,
    ports::{ClickRecorder, FailureReason},
};
use futures_util::future::{Ready, ready};
use slog::warn;
use tokio::time::{error::Elapsed, timeout};

use super::{
    body_room::BodyRoom,
    cors::CrossOrigin,
    domains::{Bases, VisitedDomain},
    json::field_problem,
    notes::Notes,
    state::State,
    store_outcomes::Window,
    trace::{self, Trace},
};
use crate::{
    limits::{Policy, Tally, memory::Holder},
    problem::{Problem, ProblemKind},
};

/// The context of one request, shared by all code that works on it.
pub(crate) struct Context {
    pub(crate) state: web::Data<State>,
    pub(crate) request_id: RequestId,
    pub(crate) trace: Trace,
    /// The client, and what the request was charged.
    pub(crate) tally: Tally,
    notes: RefCell<Notes>,
    /// What is left of the time for all store calls of the request together.
    time_left: Cell<Duration>,
    store_time: Cell<Option<Duration>>,
    /// Whether the connection ends after the answer, because a body is not read.
    pub(crate) closes: Cell<bool>,
    /// Which scripts of other origins may read the answer.
    pub(crate) cross_origin: CrossOrigin,
    /// The room of its body, until the request is answered.
    body_room: RefCell<Option<BodyRoom>>,
    /// The short domain that a visitor asks for, once it is looked up.
    visited: OnceCell<VisitedDomain>,
    /// Records clicks of the worker; `None` if clicks are not recorded.
    pub(crate) recorder: Option<Rc<dyn ClickRecorder>>,
}

/// Whether an unconfirmed call may have changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

impl Context {
    pub(crate) fn new(
        head: &RequestHead,
        policy: Option<Policy>,
        state: &web::Data<State>,
        recorder: Option<Rc<dyn ClickRecorder>>,
    ) -> Self {
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
            cross_origin: if head.uri.path().starts_with("/api/") || head.uri.path() == "/openapi.json" {
                state.settings.cors_origins.judge(head)
            } else {
                CrossOrigin::Off
            },
            body_room: RefCell::default(),
            visited: OnceCell::new(),
            recorder,
            state: state.clone(),
        }
    }

    /// Whether the connection ends with this answer. A proxy that reads so in the answer sends no more requests on it.
    pub(crate) fn is_last(&self) -> bool {
        self.closes.get() || self.state.phase.is_draining()
    }

    /// Counts a visit that led nowhere. Only `GET` is a visit.
    pub(crate) fn record_orphan(&self, method: &Method, reason: OrphanReason) {
        if self.recorder.is_some() && *method == Method::GET {
            let domain = self.visited().map_or(DomainId::DEFAULT, VisitedDomain::id);
            self.state.services.clicks.orphans.add(domain, reason);
        }
    }

    /// The short domain that a visitor asks for.
    pub(crate) fn visit(&self, head: &RequestHead) -> Result<&VisitedDomain, Problem> {
        if let Some(visited) = self.visited.get() {
            return Ok(visited);
        }
        let visited = VisitedDomain::of(head, &self.state)?;
        Ok(self.visited.get_or_init(|| visited))
    }

    /// The same, if it is looked up already.
    pub(crate) fn visited(&self) -> Option<&VisitedDomain> {
        self.visited.get()
    }

    /// Adds to the log line.
    pub(crate) fn note(&self, add: impl FnOnce(&mut Notes)) {
        add(&mut self.notes.borrow_mut());
    }

    pub(crate) fn notes(&self) -> Ref<'_, Notes> {
        self.notes.borrow()
    }

    /// The client for which the bytes of this request are held.
    pub(crate) fn holder(&self) -> Holder {
        match &self.notes().key_id {
            Some(id) => Holder::Key(id.clone()),
            None => Holder::Address(self.tally.client.ip()),
        }
    }

    /// Keeps the room of the body until the request is answered.
    pub(crate) fn keep(&self, room: BodyRoom) {
        *self.body_room.borrow_mut() = Some(room);
    }

    /// How long the store took so far; `None` if it was not asked.
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

    /// The same for a list. Fails at once if too many lists are in flight.
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
            // A read that is part of a change is not counted as a served change.
            (Some(waiting), Ok(_)) => waiting.ends_served(effect == Effect::Write),
            (Some(waiting), Err(problem)) => waiting.ends_refused(problem),
            (None, _) => {}
        }
        outcome
    }

    /// Whether a call with this effect is part of a change.
    fn changes_something(&self, effect: Effect) -> bool {
        effect == Effect::Write || matches!(self.tally.policy, Some(Policy::Claim | Policy::Batch))
    }

    /// Counts a request that was rejected because too many calls are in flight.
    pub(crate) fn note_overload(&self) {
        if self.changes_something(Effect::Read) {
            self.state.outcomes.changes.failed(FailureReason::Busy);
        }
    }

    /// The outcomes of redirects that need the store.
    pub(crate) fn lookups(&self) -> &Window {
        &self.state.outcomes.lookups
    }

    /// Where the addresses of these short domains begin.
    pub(crate) async fn bases(&self, ids: impl IntoIterator<Item = DomainId>) -> Result<Bases<'_>, Problem> {
        self.in_time(Effect::Read, Bases::of(&self.state, ids)).await
    }

    /// The same, for a request that names short domains by these hosts.
    pub(crate) async fn bases_naming<'a>(
        &self,
        hosts: impl IntoIterator<Item = &'a str>,
    ) -> Result<Bases<'_>, Problem> {
        let known = Bases::known(&self.state);
        let is_unknown = |host: &str| known.named(host).is_err_and(|fault| fault.code == Bases::UNKNOWN);
        if hosts.into_iter().any(is_unknown) {
            let state = &self.state;
            let reading = state.domain_reads.read_again(state.services.domains.refresh());
            self.in_time(Effect::Read, reading).await?;
            return Ok(Bases::known(state));
        }
        Ok(known)
    }

    /// The short domain that the query names.
    pub(crate) async fn domain_in_query(&self, host: &str) -> Result<DomainId, Problem> {
        let bases = self.bases_naming([host]).await?;
        let named = bases.named(host).map(|domain| domain.id);
        named.map_err(|fault| {
            Problem::invalid(vec![field_problem("query/domain".to_owned(), fault.code, &fault.detail)])
        })
    }

    /// The context of a request that went through the pipeline.
    pub(crate) fn of(request: &HttpRequest) -> Rc<Self> {
        let known = request.extensions().get::<Rc<Self>>().cloned();
        known.expect("the pipeline makes a context for every request")
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

/// Warns once if a peer sends a forwarding field and is not trusted. If it is a proxy that the settings do not name,
/// all its clients share one quota.
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
