//! What a running server can tell of itself, for metrics.

use std::sync::{Arc, atomic::Ordering};

use actix_web::web;

use crate::{
    metrics::{RequestCounters, RequestTotals},
    ops::probe::Probers,
    request::{state::State, store_outcomes::Judgement},
    wire::ConnectionTally,
};

/// What a running server can tell of itself. Clones share it. Reading it waits for no request.
#[derive(Clone)]
pub struct ServerStatus {
    pub(super) state: web::Data<State>,
    pub(super) probers: web::Data<Probers>,
    pub(super) counters: RequestCounters,
    pub(super) connections: Arc<ConnectionTally>,
    pub(super) max_connections: usize,
}

impl std::fmt::Debug for ServerStatus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ServerStatus").finish_non_exhaustive()
    }
}

/// The concurrency limiter of the API, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ConcurrencyStatus {
    /// Calls to the store that are in flight.
    pub in_flight: usize,
    /// How many may be.
    pub limit: usize,
    /// Requests that were rejected since the start.
    pub rejected: u64,
    /// Lists that were rejected since the start.
    pub rejected_lists: u64,
}

/// The connections of clients, at one moment.
#[derive(Clone, Debug)]
pub struct ConnectionStatus {
    /// Those that are open.
    pub open: u64,
    /// How many may be.
    pub max: usize,
    /// Those that were accepted since the start.
    pub accepted: u64,
    /// Heads that were refused since the start, by the reason.
    pub rejected: Vec<(&'static str, u64)>,
    /// Clients that were too slow since the start, by the stage.
    pub timed_out: Vec<(&'static str, u64)>,
}

/// Which share of recent calls to the store failed, from 0 to 1.
#[derive(Clone, Copy, Debug)]
pub struct FailedShares {
    /// Of claims, edits and all other writes.
    pub changes: f64,
    /// Of lookups for redirects.
    pub lookups: f64,
}

impl ServerStatus {
    /// What was counted of requests.
    pub fn requests(&self) -> RequestTotals {
        self.counters.totals()
    }

    /// The phase of the process: `starting`, `ready` or `draining`.
    pub fn phase(&self) -> &'static str {
        self.state.phase.name()
    }

    /// The concurrency limiter of the API.
    pub fn concurrency(&self) -> ConcurrencyStatus {
        let calls = &self.state.calls;
        let (in_flight, limit) = calls.all.in_flight();
        ConcurrencyStatus {
            in_flight,
            limit,
            rejected: calls.all.rejected.load(Ordering::Relaxed),
            rejected_lists: calls.rejected_lists.load(Ordering::Relaxed),
        }
    }

    /// The connections of clients.
    pub fn connections(&self) -> ConnectionStatus {
        let tally = &self.connections;
        ConnectionStatus {
            open: tally.open(),
            max: self.max_connections,
            accepted: tally.accepted(),
            rejected: tally.rejected().collect(),
            timed_out: tally.timed_out().collect(),
        }
    }

    /// Which share of the calls of the last seconds failed because of the store.
    pub fn failed_shares(&self) -> FailedShares {
        #[expect(clippy::cast_precision_loss, reason = "it is a percentage")]
        let share = |judgement: Judgement| judgement.failed_percent as f64 / 100.0;
        let outcomes = &self.state.outcomes;
        FailedShares { changes: share(outcomes.changes.judge()), lookups: share(outcomes.lookups.judge()) }
    }

    /// Bytes of answers that clients have not taken yet.
    pub fn untaken_bytes(&self) -> usize {
        self.state.untaken.held()
    }
}
