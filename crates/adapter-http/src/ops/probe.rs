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

/// How a dependency answered.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Probe {
    /// Always `datastore`.
    component_type: &'static str,
    /// How it is.
    pub(crate) status: Status,
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

/// Asks a dependency how it is, for everybody who wants to know.
#[derive(Debug, Default)]
pub(crate) struct Prober(Mutex<Probed>);

/// What is known of a dependency.
#[derive(Debug, Default)]
struct Probed {
    /// When it was asked last, with or without an answer.
    begun: Option<Instant>,
    answer: Option<(Instant, Probe)>,
}

impl Prober {
    /// How long an answer stays good.
    const FRESH: Duration = Duration::from_secs(1);
    /// Bound of one question: longer than the store itself waits for a session or a lock, so that it can say what it
    /// waited for.
    const TIMEOUT: Duration = Duration::from_secs(2);

    /// The last answer if it is fresh, a new one otherwise; of many who ask at once, one goes and asks.
    pub(crate) async fn probe(&self, name: &str, dependency: &dyn Ping, state: &State) -> Probe {
        let mut last = self.0.lock().await;
        if let Some((asked, probe)) = &last.answer
            && asked.elapsed() < Self::FRESH
        {
            return probe.clone();
        }
        // A caller that leaves while it is asked leaves no answer, and must not make the next one ask at once.
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
