//! The context of one request: its names, its time budget, and what its log line will say.

use std::{
    cell::{Cell, Ref, RefCell},
    ops::Range,
    rc::Rc,
    sync::{Arc, atomic::Ordering},
    time::{Duration, Instant},
};

use actix_web::{
    FromRequest, HttpMessage, HttpRequest,
    body::BoxBody,
    dev::{Payload, RequestHead},
    http::header::HeaderMap,
};
use domain::{
    api_key::{KeyId, carries_key},
    code::Code,
    history::RequestId,
    ports::FailureReason,
};
use futures_util::future::{Ready, ready};
use slog::warn;
use tokio::{
    sync::Semaphore,
    time::{error::Elapsed, timeout},
};

use crate::{
    answer,
    api::batch::BatchSummary,
    body::BodyRoom,
    budget::{Budget, Holder},
    client::ClientAddress,
    cors::CrossOrigin,
    experience::{Experience, Window},
    gate::Gate,
    limits::{Charged, Policy, Standing},
    observe::{TRACEPARENT, X_REQUEST_ID},
    problem::{Problem, ProblemKind},
    state::{OwnPages, Phase, State},
};

/// A request id, a span id and a trace id.
const RANDOM_BYTES: usize = 16 + 8 + 16;

/// Shared by everything that works on one request.
#[derive(Debug)]
pub(crate) struct Context {
    pub(crate) request_id: RequestId,
    pub(crate) trace: Trace,
    notes: RefCell<Notes>,
    /// What is left of the time the store may take, all calls together.
    budget: Cell<Duration>,
    store_time: Cell<Option<Duration>>,
    gates: Arc<Gates>,
    experience: Arc<Experience>,
    /// Who is asking.
    pub(crate) client: ClientAddress,
    /// What the request is counted as, and how its sender stands to the tightest limit.
    pub(crate) policy: Option<Policy>,
    standing: Cell<Option<Standing>>,
    /// What was counted of it.
    pub(crate) charged: Cell<Charged>,
    /// Whether the connection ends after the answer, for a body that is not read, or because the process ends.
    pub(crate) closes: Cell<bool>,
    phase: Phase,
    /// Whether a failure is shown as a page.
    pub(crate) shows_page: Cell<bool>,
    /// Where browsers are sent instead of being shown a failure.
    pub(crate) own_pages: Arc<OwnPages>,
    /// Whose scripts may read the answer.
    pub(crate) cross_origin: CrossOrigin,
    untaken: Arc<Budget>,
    /// The room that its body takes, until it is answered.
    body_room: RefCell<Option<BodyRoom>>,
}

/// What handlers add to the log line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) code: Option<Code>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) batch: Option<BatchSummary>,
    pub(crate) code_collisions: u32,
    pub(crate) cache_result: Option<&'static str>,
    pub(crate) key_id: Option<KeyId>,
    /// Which limit turned it away: the policy, and what was counted.
    pub(crate) limit: Option<(&'static str, &'static str)>,
}

/// Whether an unconfirmed call may have changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    Read,
    Write,
}

/// The ways to the store. Redirects have one of their own, which is bounded where they are remembered.
#[derive(Debug)]
pub(crate) struct Gates {
    /// For everybody.
    pub(crate) all: Gate,
    /// Lists may take long, and must leave the others room.
    lists: Semaphore,
}

impl Gates {
    const LISTS: usize = 32;

    pub(crate) fn new(store_connections: usize) -> Self {
        Self { all: Gate::new(store_connections), lists: Semaphore::new(Self::LISTS) }
    }
}

/// Why a call was not begun.
#[derive(Debug, thiserror::Error)]
#[error("too many calls wait for the store")]
struct Overloaded;

/// What is told to whoever comes when there are too many.
pub(crate) fn overloaded() -> Problem {
    Problem::new(ProblemKind::Unavailable).failed_by_store(FailureReason::Busy).caused_by(Overloaded)
}

impl Context {
    pub(crate) fn new(head: &RequestHead, policy: Option<Policy>, state: &State) -> Self {
        let headers = head.headers();
        warn_of_unheard_proxy(head, state);
        let mut random = [0; RANDOM_BYTES];
        state.services.entropy.fill(&mut random);
        Self {
            request_id: given_request_id(headers).unwrap_or_else(|| drawn_request_id(&random)),
            trace: Trace::continued(headers, &random[16..]),
            notes: RefCell::default(),
            budget: Cell::new(state.settings.request_timeout),
            store_time: Cell::new(None),
            gates: Arc::clone(&state.gates),
            experience: Arc::clone(&state.experience),
            client: state.settings.proxies.client(head.peer_addr, headers),
            policy,
            standing: Cell::new(None),
            charged: Cell::default(),
            closes: Cell::new(false),
            phase: state.phase.clone(),
            shows_page: Cell::new(false),
            own_pages: Arc::clone(&state.settings.pages),
            cross_origin: if head.uri.path().starts_with("/api/") {
                state.settings.cors_origins.judge(head)
            } else {
                CrossOrigin::Off
            },
            untaken: Arc::clone(&state.untaken),
            body_room: RefCell::default(),
        }
    }

    /// Notes how the sender stands to one more limit.
    pub(crate) fn stand(&self, standing: Standing) {
        self.standing.set(Some(self.standing.get().map_or(standing, |before| before.tighter(standing))));
    }

    /// How the sender stands to the tightest limit.
    pub(crate) fn standing(&self) -> Option<Standing> {
        self.standing.get()
    }

    /// Whether its connection ends with its answer. Proxies send nothing more on one of which they know that it ends.
    pub(crate) fn is_last(&self) -> bool {
        self.closes.get() || self.phase.is_draining()
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
            None => Holder::Address(self.client.ip()),
        }
    }

    /// Keeps the room of its body until it is answered.
    pub(crate) fn keep(&self, room: BodyRoom) {
        *self.body_room.borrow_mut() = Some(room);
    }

    /// The body as it may be sent to a client that takes it slowly.
    pub(crate) fn bounded(&self, body: BoxBody) -> BoxBody {
        answer::bounded(body, &self.untaken, || self.holder())
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
        let inside = self.gates.all.enter();
        let outcome = self.in_time(effect, call).await;
        let failed =
            |problem: &Problem| matches!(problem.kind(), ProblemKind::Unavailable | ProblemKind::OutcomeUnknown);
        if !outcome.as_ref().is_err_and(failed) {
            inside.served();
        }
        outcome
    }

    /// The same for a list, unless there are too many of them.
    pub(crate) async fn list_within_budget<T, E>(&self, call: impl Future<Output = Result<T, E>>) -> Result<T, Problem>
    where
        Problem: From<E>,
    {
        let Ok(_place) = self.gates.lists.try_acquire() else {
            return Err(overloaded());
        };
        self.in_time(Effect::Read, call).await
    }

    /// Runs a call within what is left of the request's time, without counting it at the gate.
    pub(crate) async fn in_time<T, E>(
        &self,
        effect: Effect,
        call: impl Future<Output = Result<T, E>>,
    ) -> Result<T, Problem>
    where
        Problem: From<E>,
    {
        let begun = Instant::now();
        let waiting = self.changes_something(effect).then(|| self.experience.changes.begin());
        let outcome = timeout(self.budget.get(), call).await;
        let took = begun.elapsed();
        self.budget.set(self.budget.get().saturating_sub(took));
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
        effect == Effect::Write || matches!(self.policy, Some(Policy::Claim | Policy::Batch))
    }

    /// The request is turned away because too many came.
    pub(crate) fn is_turned_away(&self) {
        if self.changes_something(Effect::Read) {
            self.experience.changes.failed(FailureReason::Busy);
        }
    }

    /// What redirects that need the store came to.
    pub(crate) fn lookups(&self) -> &Window {
        &self.experience.lookups
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

/// Says once that a peer names clients and is not believed: behind a proxy that the settings do not name all clients are
/// one, and share its quota.
fn warn_of_unheard_proxy(head: &RequestHead, state: &State) {
    if state.warned_of_proxy.load(Ordering::Relaxed) {
        return;
    }
    let unheard = state.settings.proxies.unheard(head.peer_addr, head.headers());
    if let Some((field, network)) = unheard
        && !state.warned_of_proxy.swap(true, Ordering::Relaxed)
    {
        warn!(state.log, "{field} came from the network {network}, which is not in proxies.trusted, and is not believed: if that \
            is your proxy, name it there, or all its visitors count as one client";
            "event.name" => "proxies.untrusted", "client.address" => %network, "http.request.header.name" => field);
    }
}

/// An API key in the wrong place is no id: ids are stored, logged and sent back.
fn given_request_id(headers: &HeaderMap) -> Option<RequestId> {
    let given = headers.get(&X_REQUEST_ID)?.to_str().ok()?;
    given.parse().ok().filter(|_| !carries_key(given))
}

fn drawn_request_id(random: &[u8; RANDOM_BYTES]) -> RequestId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&random[..16]);
    uuid::Builder::from_random_bytes(bytes).into_uuid().into()
}

/// Where in a distributed trace a request stands (W3C Trace Context), as the `traceparent` of the answer says it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Trace([u8; Self::LENGTH]);

impl Trace {
    const LENGTH: usize = 55;
    /// 32 lower-case hex digits, not all zero.
    const TRACE_ID: Range<usize> = 3..35;
    const SPAN_ID: Range<usize> = 36..52;
    const FLAGS: Range<usize> = 53..55;

    /// The caller's trace if the caller names one, a new one otherwise; the span is always new.
    fn continued(headers: &HeaderMap, random: &[u8]) -> Self {
        let mut given = headers.get_all(&TRACEPARENT);
        let parent = match (given.next(), given.next()) {
            (Some(value), None) => value.to_str().ok().and_then(parse_traceparent),
            _ => None,
        };
        let (span, trace) = random.split_at(8);
        let mut text = *b"00-00000000000000000000000000000000-0000000000000000-00";
        write_hex(span, &mut text[Self::SPAN_ID]);
        match parent {
            Some((trace_id, flags)) => {
                text[Self::TRACE_ID].copy_from_slice(trace_id.as_bytes());
                text[Self::FLAGS].copy_from_slice(flags.as_bytes());
            }
            None => write_hex(trace, &mut text[Self::TRACE_ID]),
        }
        Self(text)
    }

    /// For the answer.
    pub(crate) fn traceparent(&self) -> &str {
        str::from_utf8(&self.0).expect("it is ASCII")
    }

    pub(crate) fn trace_id(&self) -> &str {
        &self.traceparent()[Self::TRACE_ID]
    }
}

pub(crate) fn hex(bytes: &[u8]) -> String {
    let mut digits = vec![0; 2 * bytes.len()];
    write_hex(bytes, &mut digits);
    String::from_utf8(digits).expect("digits are ASCII")
}

/// Two lower-case digits for each byte.
fn write_hex(bytes: &[u8], digits: &mut [u8]) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for (pair, byte) in digits.chunks_exact_mut(2).zip(bytes) {
        pair[0] = DIGITS[usize::from(byte >> 4)];
        pair[1] = DIGITS[usize::from(byte & 0xf)];
    }
}

/// Trace id and flags of a `traceparent` field of version 00, or of what a later version keeps of it.
fn parse_traceparent(text: &str) -> Option<(&str, &str)> {
    let hex =
        |part: &str, length| part.len() == length && part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let mut parts = text.split('-');
    let (version, trace_id, parent_id, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let shaped = hex(version, 2) && hex(trace_id, 32) && hex(parent_id, 16) && hex(flags, 2);
    let nonzero = |part: &str| part.bytes().any(|byte| byte != b'0');
    let ends = version != "00" || parts.next().is_none();
    (shaped && ends && version != "ff" && nonzero(trace_id) && nonzero(parent_id)).then_some((trace_id, flags))
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::{HeaderName, HeaderValue};

    use super::*;

    #[test]
    fn a_trace_says_where_it_comes_from() {
        let random: Vec<u8> = (0x10..0x10 + 24).collect();
        let mut headers = HeaderMap::new();
        let own = Trace::continued(&headers, &random);
        assert_eq!(own.traceparent(), "00-18191a1b1c1d1e1f2021222324252627-1011121314151617-00");
        assert_eq!(own.trace_id(), "18191a1b1c1d1e1f2021222324252627");
        let given = HeaderValue::from_static("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01");
        headers.insert(HeaderName::from_static("traceparent"), given);
        let continued = Trace::continued(&headers, &random);
        assert_eq!(continued.traceparent(), "00-4bf92f3577b34da6a3ce929d0e0e4736-1011121314151617-01");
    }

    #[test]
    fn a_trace_is_continued_only_from_a_valid_parent() {
        let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
        let good = format!("00-{trace}-00f067aa0ba902b7-01");
        assert_eq!(parse_traceparent(&good), Some((trace, "01")));
        assert!(parse_traceparent(&format!("cc-{trace}-00f067aa0ba902b7-01-what-ever")).is_some());
        for bad in [
            String::new(),
            format!("ff-{trace}-00f067aa0ba902b7-01"),
            format!("00-{trace}-00f067aa0ba902b7-01-x"),
            format!("00-{trace}-0000000000000000-01"),
            format!("00-{}-00f067aa0ba902b7-01", "0".repeat(32)),
            format!("00-{}-00f067aa0ba902b7-01", trace.to_uppercase()),
            format!("00-{trace}-00f067aa0ba902b7"),
        ] {
            assert_eq!(parse_traceparent(&bad), None, "{bad}");
        }
    }
}
