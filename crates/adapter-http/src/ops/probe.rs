//! Probes of what the process depends on.

use std::time::{Duration, Instant};

use domain::ports::{FailureReason, Ping};
use serde::Serialize;
use tokio::{
    sync::Mutex,
    time::{sleep_until, timeout},
};
use utoipa::ToSchema;

use crate::{problem::Problem, request::state::State};

/// How a dependency answered a probe.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probe {
    /// Always `datastore`.
    component_type: &'static str,
    /// Its status.
    pub(crate) status: Status,
    /// Milliseconds until it answered, or until the probe gave up.
    observed_value: u64,
    /// Always `ms`.
    observed_unit: &'static str,
    /// When it was probed, RFC 3339.
    #[schema(format = DateTime)]
    time: String,
    /// What is wrong, in general words.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    output: Option<&'static str>,
}

/// `pass`, `warn` or `fail`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Status {
    Pass,
    Warn,
    Fail,
}

/// One for each dependency.
#[derive(Debug, Default)]
pub(crate) struct Probers {
    pub(crate) store: Prober,
    pub(crate) shared: Prober,
}

/// Probes a dependency. All requests share the result.
#[derive(Debug, Default)]
pub(crate) struct Prober(Mutex<Probed>);

/// What is known of a dependency.
#[derive(Debug, Default)]
struct Probed {
    /// When the last probe began, with or without an answer.
    begun: Option<Instant>,
    answer: Option<(Instant, Probe)>,
}

impl Prober {
    /// How long an answer is reused.
    const FRESH: Duration = Duration::from_secs(1);
    /// Timeout of one probe: longer than the store itself waits for a session or a lock, so that the store can report
    /// what it waited for.
    const TIMEOUT: Duration = Duration::from_secs(2);

    /// The last answer if it is fresh, otherwise a new one. Concurrent calls share one probe.
    pub(crate) async fn probe(&self, name: &str, dependency: &dyn Ping, state: &State) -> Probe {
        let mut last = self.0.lock().await;
        if let Some((asked, probe)) = &last.answer
            && asked.elapsed() < Self::FRESH
        {
            return probe.clone();
        }
        // A client that disconnects during a probe leaves no answer. Even then the next call must not probe at once.
        if let Some(begun) = last.begun {
            sleep_until((begun + Self::FRESH).into()).await;
        }
        let begun = Instant::now();
        last.begun = Some(begun);
        let answer = timeout(Self::TIMEOUT, dependency.ping()).await;
        let output = match answer {
            Ok(Ok(())) => None,
            Ok(Err(error)) => {
                let reason = error.reason().words();
                slog::warn!(state.log, "{} does not work: {}", name, reason; "event.name" => "dependency.unhealthy",
                    "error.message" => Problem::from(error).cause_chain());
                Some(reason)
            }
            Err(_) => Some(FailureReason::TimedOut.words()),
        };
        let probe = Probe {
            component_type: "datastore",
            status: if output.is_none() { Status::Pass } else { Status::Fail },
            observed_value: u64::try_from(begun.elapsed().as_millis()).unwrap_or(u64::MAX),
            observed_unit: "ms",
            time: state.services.links.now().to_string(),
            output,
        };
        last.answer = Some((Instant::now(), probe.clone()));
        probe
    }
}
