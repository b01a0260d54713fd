//! The access log: one line for one request, in the names of the OpenTelemetry semantic conventions.

use std::{
    borrow::Cow,
    rc::Rc,
    time::{Duration, Instant},
};

use actix_web::{
    HttpResponse,
    body::{BodySize, BoxBody, MessageBody},
    dev::RequestHead,
    http::{
        Method, Uri,
        header::{self, HeaderValue},
    },
};
use domain::address::Address;
use slog::{KV, Level, Logger, Record, Serializer};

use crate::{
    limits::network_text,
    metrics::{FinishedRequest, MethodClass, RequestCounter, RouteClass, StatusClass},
    problem::{Problem, ProblemKind},
    request::{context::Context, domains::Bases},
};

/// The tag of the log records of requests.
pub const REQUEST_TAG: &str = "request";

/// Longest path and longest user agent in a log line, in characters.
const LONGEST_TEXT: usize = 512;

/// The line of one request. It is written when it is dropped, so a request whose client disconnects is logged too. There
/// the request is counted as well.
pub(crate) struct AccessLine {
    log: Logger,
    context: Rc<Context>,
    counter: Rc<RequestCounter>,
    begun: Instant,
    /// How long the request took, once it has ended.
    took: Duration,
    method: Method,
    asked: Uri,
    route: Option<Cow<'static, str>>,
    user_agent: Option<HeaderValue>,
    /// Whether this is the stand-in for a request that the stream guard rejected. It has no method or path of its own.
    rejected: bool,
    answered: Option<Answered>,
    problem: Option<(ProblemKind, Option<String>)>,
    /// Whether another line takes its place.
    is_discarded: bool,
}

struct Answered {
    status: u16,
    /// `None` for a streamed body.
    body_size: Option<u64>,
}

impl AccessLine {
    /// For a request to the URI `asked`, as received.
    pub(crate) fn begin(
        log: &Logger,
        head: &RequestHead,
        asked: Uri,
        context: Rc<Context>,
        counter: Rc<RequestCounter>,
        begun: Instant,
    ) -> Self {
        counter.begun();
        Self {
            log: log.clone(),
            context,
            counter,
            begun,
            took: Duration::ZERO,
            method: head.method.clone(),
            asked,
            route: None,
            user_agent: head.headers().get(header::USER_AGENT).cloned(),
            rejected: false,
            answered: None,
            problem: None,
            is_discarded: false,
        }
    }

    /// Writes no line: another one of the same request takes its place.
    pub(crate) fn discard(mut self) {
        self.is_discarded = true;
    }

    pub(crate) fn note_route(&mut self, pattern: Option<Cow<'static, str>>) {
        self.route = pattern;
    }

    pub(crate) fn note_rejection(&mut self) {
        self.rejected = true;
    }

    pub(crate) fn note_problem(&mut self, problem: &Problem) {
        self.problem = Some((problem.kind(), problem.cause_chain()));
    }

    pub(crate) fn finish(mut self, response: &HttpResponse<BoxBody>) {
        let body_size = match response.body().size() {
            BodySize::None => Some(0),
            BodySize::Sized(size) => Some(size),
            BodySize::Stream => None,
        };
        self.answered = Some(Answered { status: response.status().as_u16(), body_size });
    }

    fn count(&self) {
        let route = match &self.route {
            _ if self.rejected => RouteClass::Rejected,
            route => RouteClass::of(route.as_deref(), &self.method),
        };
        self.counter.finished(&FinishedRequest {
            route,
            method: if self.rejected { MethodClass::Other } else { MethodClass::of(&self.method) },
            status: StatusClass::of(self.answered.as_ref().map(|answered| answered.status)),
            took: self.took,
            problem: self.problem.as_ref().map(|(kind, _)| *kind),
            notes: &self.context.notes(),
            tally: &self.context.tally,
        });
    }

    /// `error` means that the operator must act: a defect, corrupt data. An unavailable store is a `warning`, because
    /// `/health` reports it.
    fn level(&self) -> Level {
        match self.problem {
            Some((ProblemKind::Internal, _)) => Level::Error,
            Some((ProblemKind::Unavailable | ProblemKind::OutcomeUnknown | ProblemKind::StorageFull, _)) => {
                Level::Warning
            }
            _ => Level::Info,
        }
    }
}

impl Drop for AccessLine {
    fn drop(&mut self) {
        if self.is_discarded {
            self.counter.replaced();
            return;
        }
        self.took = self.begun.elapsed();
        self.count();
        let line: &Self = self;
        // The macros of slog fix the level at compile time; this line's level follows from its outcome.
        match line.level() {
            Level::Error => slog::error!(line.log, #REQUEST_TAG, "request failed"; line),
            Level::Warning => slog::warn!(line.log, #REQUEST_TAG, "request not served"; line),
            _ => slog::info!(line.log, #REQUEST_TAG, "request"; line),
        }
    }
}

impl KV for AccessLine {
    fn serialize(&self, _: &Record<'_>, out: &mut dyn Serializer) -> slog::Result {
        out.emit_str("request_id", self.context.request_id.as_str())?;
        out.emit_str("trace_id", self.context.trace.trace_id())?;
        if !self.rejected {
            out.emit_str("http.request.method", self.method.as_str())?;
            out.emit_str("url.path", shortened(self.asked.path()))?;
            if let Some(route) = &self.route {
                out.emit_str("http.route", route)?;
            }
        }
        match &self.answered {
            Some(Answered { status, body_size }) => {
                out.emit_u16("http.response.status_code", *status)?;
                if let Some(size) = body_size {
                    out.emit_u64("http.response.body.size", *size)?;
                }
            }
            None => out.emit_str("error.type", "client-disconnected")?,
        }
        out.emit_f64("duration_s", self.took.as_secs_f64())?;
        out.emit_str("client.address", &network_text(self.context.tally.client.network()))?;
        if let Some(agent) = &self.user_agent {
            out.emit_str("user_agent.original", shortened(&String::from_utf8_lossy(agent.as_bytes())))?;
        }
        let notes = self.context.notes();
        if let Some(Address { domain, code }) = &notes.address {
            out.emit_str("link.code", code.as_str())?;
            if !domain.is_default() {
                out.emit_str("link.domain", &Bases::known(&self.context.state).host(*domain))?;
            }
        }
        if let Some(outcome) = notes.outcome {
            out.emit_str("outcome", outcome)?;
        }
        if let Some(batch) = notes.batch {
            out.emit_usize("batch.created", batch.created)?;
            out.emit_usize("batch.existing", batch.existing)?;
            out.emit_usize("batch.reactivated", batch.reactivated)?;
            out.emit_usize("batch.failed", batch.failed)?;
        }
        if let Some(result) = notes.cache_result {
            out.emit_str("cache.result", result.name())?;
        }
        if notes.code_collisions > 0 {
            out.emit_u32("code.collisions", notes.code_collisions)?;
        }
        if let Some(took) = self.context.store_time() {
            out.emit_f64("db.duration_s", took.as_secs_f64())?;
        }
        if let Some(id) = &notes.key_id {
            out.emit_str("api_key.id", id.as_str())?;
        }
        if let Some((policy, subject)) = self.context.tally.refused_by() {
            out.emit_str("limit.policy", policy)?;
            out.emit_str("limit.subject", subject)?;
        }
        if let Some((kind, cause)) = &self.problem {
            out.emit_str("error.type", kind.entry().code)?;
            if let Some(cause) = cause {
                out.emit_str("error.message", cause)?;
            }
        }
        Ok(())
    }
}

fn shortened(text: &str) -> &str {
    if text.len() <= LONGEST_TEXT {
        return text;
    }
    let end = text.char_indices().nth(LONGEST_TEXT).map_or(text.len(), |(end, _)| end);
    &text[..end]
}
