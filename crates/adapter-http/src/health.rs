//! Health: is it alive, should it get traffic, and what exactly is wrong.

use std::time::{Duration, Instant};

use actix_web::{HttpResponse, Responder, http::header, route, web};
use domain::ports::Ping;
use serde::Serialize;
use tokio::{sync::Mutex, time::timeout};
use utoipa::ToSchema;

use crate::{
    problem::{Problem, ProblemKind},
    state::State,
};

/// The media type of `/health` (draft-inadarei-api-health-check).
pub(crate) const HEALTH_JSON: &str = "application/health+json";

/// The process is alive. Touches nothing.
#[utoipa::path(method(get, head), path = "/livez", tag = "health", operation_id = "liveness",
    responses((status = 200, description = "Alive", body = String, content_type = "text/plain")))]
#[route("/livez", method = "GET", method = "HEAD")]
pub(crate) async fn livez() -> impl Responder {
    plain("alive\n")
}

/// Whether to send traffic here: not while starting or draining. A store that is away does not change it.
#[utoipa::path(method(get, head), path = "/readyz", tag = "health", operation_id = "readiness",
    responses((status = 200, description = "Ready", body = String, content_type = "text/plain")))]
#[route("/readyz", method = "GET", method = "HEAD")]
pub(crate) async fn readyz(state: web::Data<State>) -> Result<impl Responder, Problem> {
    if state.phase.is_ready() {
        Ok(plain("ready\n"))
    } else {
        let detail = format!("The process is {}.", state.phase.name());
        Err(Problem::new(ProblemKind::Unavailable).detail(detail))
    }
}

fn plain(text: &'static str) -> HttpResponse {
    HttpResponse::Ok()
        .content_type("text/plain; charset=utf-8")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(text)
}

/// Each dependency with its status and latency. Asked often, it still probes at most once a second.
#[utoipa::path(method(get, head), path = "/health", tag = "health", operation_id = "health",
    responses(
        (status = 200, description = "Everything works, or all that is needed", body = Health, content_type = "application/health+json"),
        (status = 503, description = "Writes are impossible", body = Health, content_type = "application/health+json")))]
#[route("/health", method = "GET", method = "HEAD")]
pub(crate) async fn health(state: web::Data<State>) -> impl Responder {
    let Probers { store, shared } = &state.probers;
    let store = store.probe("the store", state.services.store.as_ref(), &state).await;
    let shared = match &state.services.shared {
        Some(ping) => Some([shared.probe("Redis", ping.as_ref(), &state).await]),
        None => None,
    };
    let lacks_something = shared.as_ref().is_some_and(|[probe]| probe.status != Status::Pass);
    let status = if store.status == Status::Pass && lacks_something { Status::Warn } else { store.status };
    let health = Health {
        status,
        version: env!("CARGO_PKG_VERSION"),
        service_id: "signpost",
        phase: state.phase.name(),
        checks: Checks { store: [store], shared },
    };
    let mut response = match status {
        Status::Pass | Status::Warn => HttpResponse::Ok(),
        Status::Fail => HttpResponse::ServiceUnavailable(),
    };
    if status == Status::Fail {
        response.insert_header((header::RETRY_AFTER, "2"));
    }
    let body = serde_json::to_string(&health).expect("strings and numbers are JSON");
    response.content_type(HEALTH_JSON).insert_header((header::CACHE_CONTROL, "no-store")).body(body)
}

/// The health of the process and of what it depends on, in the words of the draft.
#[derive(Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Health {
    /// `fail` means that writes are impossible, `warn` that something is missing without which all goes on.
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
    /// The system of record.
    #[serde(rename = "store:responseTime")]
    #[schema(value_type = Vec<Probe>)]
    store: [Probe; 1],
    /// The memory that processes share.
    #[serde(rename = "redis:responseTime", skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Vec<Probe>, nullable = false)]
    shared: Option<[Probe; 1]>,
}

/// How a dependency answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probe {
    /// Always `datastore`.
    component_type: &'static str,
    /// How it is.
    status: Status,
    /// Milliseconds it took to answer, or to give up.
    observed_value: u64,
    /// Always `ms`.
    observed_unit: &'static str,
    /// When it was asked, RFC 3339.
    #[schema(format = DateTime)]
    time: String,
    /// What is wrong, in general words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    output: Option<&'static str>,
}

/// `pass`, `warn` or `fail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Status {
    Pass,
    Warn,
    Fail,
}

/// One for each dependency.
#[derive(Debug, Default)]
pub(crate) struct Probers {
    store: Prober,
    shared: Prober,
}

/// Asks a dependency how it is, for everybody who wants to know.
#[derive(Debug, Default)]
struct Prober(Mutex<Option<(Instant, Probe)>>);

impl Prober {
    /// How long an answer stays good.
    const FRESH: Duration = Duration::from_secs(1);
    /// Bound of one question.
    const PATIENCE: Duration = Duration::from_secs(1);

    /// The last answer if it is fresh, a new one otherwise; of many who ask at once, one goes and asks.
    async fn probe(&self, name: &str, dependency: &dyn Ping, state: &State) -> Probe {
        let mut last = self.0.lock().await;
        if let Some((asked, probe)) = &*last
            && asked.elapsed() < Self::FRESH
        {
            return probe.clone();
        }
        let begun = Instant::now();
        let answer = timeout(Self::PATIENCE, dependency.ping()).await;
        let output = match answer {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                slog::warn!(state.log, "{} does not answer", name; "event.name" => "dependency.unhealthy",
                    "error.message" => Problem::from(error).cause_chain());
                Some("it failed")
            }
            Err(_) => Some("it did not answer in time"),
        };
        let probe = Probe {
            component_type: "datastore",
            status: if output.is_none() { Status::Pass } else { Status::Fail },
            observed_value: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            observed_unit: "ms",
            time: state.services.links.now().to_string(),
            output,
        };
        *last = Some((Instant::now(), probe.clone()));
        probe
    }
}
