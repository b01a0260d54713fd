//! Health: whether the process is alive, whether it should get traffic, and what exactly is wrong.

use actix_web::{HttpResponse, Responder, http::header, route, web};
use domain::{ports::FailureReason, time::Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use super::probe::{Probe, Probers, Status};
use crate::{
    problem::Problem,
    request::{
        state::{State, TaskState},
        store_outcomes::Judgement,
    },
};

/// The media type of `/health` (draft-inadarei-api-health-check).
pub(crate) const HEALTH_JSON: &str = "application/health+json";

/// The process is alive. Touches nothing.
#[utoipa::path(method(get, head), path = "/livez", tag = "health", operation_id = "liveness",
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain")))]
#[route("/livez", method = "GET", method = "HEAD")]
pub(crate) async fn livez() -> impl Responder {
    alive()
}

/// The answer of `/livez`.
pub(crate) fn alive() -> HttpResponse {
    plain("alive\n")
}

/// Whether to send traffic here: not while starting or draining. An unavailable store does not change it.
#[utoipa::path(method(get, head), path = "/readyz", tag = "health", operation_id = "readiness",
    responses((status = 200, description = "Ready", body = String, content_type = "text/plain")))]
#[route("/readyz", method = "GET", method = "HEAD")]
pub(crate) async fn readyz(state: web::Data<State>) -> Result<impl Responder, Problem> {
    ready(&state)
}

/// The answer of `/readyz`.
pub(crate) fn ready(state: &State) -> Result<HttpResponse, Problem> {
    if state.phase.is_ready() { Ok(plain("ready\n")) } else { Err(state.phase.not_ready()) }
}

fn plain(text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

/// Each dependency with its status and latency, how recent calls to the store ended, and the background tasks. However
/// often it is asked, it probes each dependency at most once a second.
#[utoipa::path(method(get, head), path = "/health", tag = "health", operation_id = "health",
    responses(
        (status = 200, description = "Everything works, or all that is needed", body = Health, content_type = "application/health+json"),
        (status = 503, description = "Writes are impossible, or most of them failed", body = Health, content_type = "application/health+json")))]
#[route("/health", method = "GET", method = "HEAD")]
pub(crate) async fn health(state: web::Data<State>, probers: web::Data<Probers>) -> impl Responder {
    checked(&state, &probers).await
}

/// The answer of `/health`.
pub(crate) async fn checked(state: &State, probers: &Probers) -> HttpResponse {
    let Probers { store, shared } = probers;
    let store = store.probe("the store", state.services.store.as_ref(), state).await;
    let shared = match &state.services.shared {
        Some(ping) => Some([shared.probe("Redis", ping.as_ref(), state).await]),
        None => None,
    };
    let checks = Checks {
        store: [store],
        changes: [Outcomes::of_changes(state.outcomes.changes.judge())],
        lookups: [Outcomes::of_lookups(state.outcomes.lookups.judge())],
        shared,
        tasks: state.settings.tasks.states().iter().map(TaskCheck::from).collect(),
    };
    let report = Health {
        // While starting, what the process waits for may not have failed yet.
        status: checks.status().max(if state.phase.is_starting() { Status::Warn } else { Status::Pass }),
        version: env!("CARGO_PKG_VERSION"),
        service_id: "signpost",
        phase: state.phase.name(),
        checks,
    };
    let mut response = match report.status {
        Status::Pass | Status::Warn => HttpResponse::Ok(),
        Status::Fail => HttpResponse::ServiceUnavailable(),
    };
    if report.status == Status::Fail {
        response.insert_header((header::RETRY_AFTER, "2"));
    }
    let body = serde_json::to_string(&report).expect("strings and numbers are JSON");
    response.content_type(HEALTH_JSON).insert_header((header::CACHE_CONTROL, "no-store")).body(body)
}

/// The health of the process and of what it depends on, in the words of the draft.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    /// `fail` means that writes are impossible or mostly fail, `warn` that something is wrong but writes go on.
    status: Status,
    /// The version of the binary.
    version: &'static str,
    /// Always `signpost`.
    service_id: &'static str,
    /// `starting`, `ready` or `draining`.
    phase: &'static str,
    /// What was checked.
    checks: Checks,
}

/// Each dependency by name.
#[derive(Debug, Serialize, ToSchema)]
struct Checks {
    /// The system of record, probed in a session of its own.
    #[serde(rename = "store:responseTime")]
    #[schema(value_type = Vec<Probe>)]
    store: [Probe; 1],
    /// Claims, edits and all other writes, in the last seconds.
    #[serde(rename = "changes:failed")]
    #[schema(value_type = Vec<Outcomes>)]
    changes: [Outcomes; 1],
    /// Redirects for which the store was asked, in the last seconds.
    #[serde(rename = "lookups:failed")]
    #[schema(value_type = Vec<Outcomes>)]
    lookups: [Outcomes; 1],
    /// Redis, which the processes share.
    #[serde(rename = "redis:responseTime", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<Probe>, nullable = false)]
    shared: Option<[Probe; 1]>,
    /// The tasks that watch something in the background.
    #[serde(rename = "tasks:lastSuccess")]
    tasks: Vec<TaskCheck>,
}

impl Checks {
    /// Writes need no Redis, no redirects and no tasks, so these are `warn` at worst.
    fn status(&self) -> Status {
        let ([store], [changes], [lookups]) = (&self.store, &self.changes, &self.lookups);
        let shared = self.shared.iter().flatten().map(|probe| probe.status);
        let at_worst_amiss = shared.chain([lookups.status]).chain(self.tasks.iter().map(|task| task.status));
        let amiss = at_worst_amiss.map(|status| status.min(Status::Warn));
        amiss.chain([store.status, changes.status]).max().unwrap_or(Status::Pass)
    }
}

/// How calls ended in the last seconds.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Outcomes {
    /// Always `datastore`.
    component_type: &'static str,
    /// `pass` unless there were more than two calls and more than half of them failed.
    status: Status,
    /// The percentage of calls that failed because of the store.
    observed_value: u64,
    /// Always `percent`.
    observed_unit: &'static str,
    /// Why most of them failed, in general words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    output: Option<&'static str>,
}

impl Outcomes {
    /// Too many calls do not make writes impossible, so that is only `warn`.
    fn of_changes(judgement: Judgement) -> Self {
        let status = match judgement.reason {
            None => Status::Pass,
            Some(FailureReason::Busy) => Status::Warn,
            Some(_) => Status::Fail,
        };
        Self::new(judgement, status)
    }

    fn of_lookups(judgement: Judgement) -> Self {
        Self::new(judgement, if judgement.reason.is_some() { Status::Warn } else { Status::Pass })
    }

    fn new(judgement: Judgement, status: Status) -> Self {
        Self {
            component_type: "datastore",
            status,
            observed_value: judgement.failed_percent,
            observed_unit: "percent",
            output: judgement.reason.map(FailureReason::words),
        }
    }
}

/// The health of a background task.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TaskCheck {
    /// Its name.
    component_id: &'static str,
    /// Always `component`.
    component_type: &'static str,
    /// `warn` if it ended, did not do its work for ten seconds longer than it may, or had to leave something out.
    status: Status,
    /// How often it was restarted.
    observed_value: u64,
    /// Always `restarts`.
    observed_unit: &'static str,
    /// When it last did its work, RFC 3339; missing before the first time.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = String, format = DateTime, nullable = false)]
    time: Option<Timestamp>,
    /// Why it does not do its work, or what is wrong with it, in general words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    output: Option<&'static str>,
}

impl From<&TaskState> for TaskCheck {
    fn from(task: &TaskState) -> Self {
        Self {
            component_id: task.name,
            component_type: "component",
            status: if task.amiss.is_some() { Status::Warn } else { Status::Pass },
            observed_value: task.restarts,
            observed_unit: "restarts",
            time: task.last_success,
            output: task.amiss,
        }
    }
}
