//! What is counted of requests, for metrics.
//!
//! Each worker writes a shard of its own, without a locked instruction. A scrape adds the shards up.
//!
//! | file        | holds                                                      |
//! |-------------|------------------------------------------------------------|
//! | `classes`   | the closed sets by which requests are counted              |
//! | `durations` | a histogram of durations                                   |
//! | `count`     | a counter with one writer                                  |
//! | `shard`     | the counters of one worker, and all of them                |
//! | `totals`    | what all workers have counted                              |
//!
//! To count something else of requests: add a counter to `shard`, and its sum to `totals`.

mod classes;
mod count;
mod durations;
mod shard;
mod totals;

pub(crate) use self::shard::{FinishedRequest, RequestCounter, RequestCounters};
pub use self::{
    classes::{MethodClass, RouteClass, StatusClass},
    durations::DurationTotals,
    totals::{ClaimOutcome, LimitDecision, LinkEvent, RequestTotals},
};
