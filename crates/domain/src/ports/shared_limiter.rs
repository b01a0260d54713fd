//! The shared limiter: one place that counts what several processes admit together.

use std::{fmt::Debug, num::NonZeroU32, time::Duration};

use async_trait::async_trait;

/// An amount of one quota. A quota is whole at first; each unit that is taken comes back after `interval`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimiterRequest {
    /// The account that is charged, by the same name on every process.
    pub account: String,
    /// Time until one unit comes back.
    pub interval: Duration,
    /// Units of the whole quota.
    pub burst: NonZeroU32,
    /// Units to take; units to put back, if negative.
    pub amount: i64,
}

/// What came of some requests.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LimiterReply {
    /// The first request that was refused, by its number. If there is one, nothing was taken.
    pub refused: Option<usize>,
    /// For each request, in their order: how long until its quota is whole again. Longer than `interval * burst` if more
    /// was taken than there is.
    pub whole_in: Vec<Duration>,
}

/// Counts what all processes on one store admit together, by the generic cell rate algorithm, on one clock.
#[async_trait]
pub trait SharedLimiter: Debug + Send + Sync {
    /// Takes all amounts, or none if one quota has too little left. `None` if the limiter is away or did not reply in time;
    /// it may have taken them then.
    async fn acquire(&self, requests: &[LimiterRequest]) -> Option<LimiterReply>;

    /// Takes all amounts, whatever is left: they were admitted already.
    async fn record(&self, requests: &[LimiterRequest]) -> Option<LimiterReply>;

    /// Whether it can be asked at present. Does not wait.
    fn is_available(&self) -> bool;

    /// How many processes there are; the last count, while the limiter is away.
    fn processes(&self) -> NonZeroU32;
}
