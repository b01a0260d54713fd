//! The shared limiter: it counts what several processes admit together, in one place.

use std::{fmt::Debug, num::NonZeroU32, time::Duration};

use async_trait::async_trait;

/// An amount to charge to one quota. A quota is full at first. Charged units come back, one per `interval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimiterRequest {
    /// The account to charge. It has the same name in every process.
    pub account: String,
    /// Time until one unit comes back.
    pub interval: Duration,
    /// Units of the full quota.
    pub burst: NonZeroU32,
    /// Units to charge; if negative, units to give back.
    pub amount: i64,
}

/// The outcome of several requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimiterReply {
    /// The index of the first rejected request. If there is one, nothing was charged.
    pub refused: Option<usize>,
    /// For each request, in their order: the time until its quota is full again. It is longer than `interval * burst`
    /// if more was charged than the quota has.
    pub whole_in: Vec<Duration>,
}

/// Counts what all processes on one store admit together, by the generic cell rate algorithm (GCRA), on one clock.
#[async_trait]
pub trait SharedLimiter: Debug + Send + Sync {
    /// Charges all amounts, or none if one quota has too little left. `None` if the limiter is unavailable or did not
    /// reply in time; the amounts may have been charged then.
    async fn acquire(&self, requests: &[LimiterRequest]) -> Option<LimiterReply>;

    /// Charges all amounts, whatever is left of the quotas: the requests were admitted already.
    async fn record(&self, requests: &[LimiterRequest]) -> Option<LimiterReply>;

    /// Whether the limiter is available at present. It does not wait.
    fn is_available(&self) -> bool;

    /// Number of processes; the last known number while the limiter is unavailable.
    fn processes(&self) -> NonZeroU32;
}
