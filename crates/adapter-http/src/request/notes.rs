//! What handlers note about a request, for its log line.

use domain::{address::Address, api_key::KeyId};
use serde::Serialize;
use utoipa::ToSchema;

/// What handlers add to the log line.
#[derive(Clone, Debug, Default)]
pub(crate) struct Notes {
    pub(crate) address: Option<Address>,
    pub(crate) outcome: Option<&'static str>,
    pub(crate) batch: Option<BatchSummary>,
    pub(crate) code_collisions: u32,
    pub(crate) cache_result: Option<CacheResult>,
    pub(crate) key_id: Option<KeyId>,
}

/// What the caches had of the code of a redirect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CacheResult {
    /// The L1 cache had a link.
    Hit,
    /// The L1 cache knew that no link has the code.
    Negative,
    /// Redis had the link.
    Shared,
    /// The store was asked.
    Miss,
    /// Store unavailable, served from an expired entry of the L1 cache.
    Stale,
}

impl CacheResult {
    /// All of them, in the order of their numbers.
    pub(crate) const ALL: [Self; 5] = [Self::Hit, Self::Negative, Self::Shared, Self::Miss, Self::Stale];

    /// Its name in logs and metrics.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Negative => "negative",
            Self::Shared => "shared",
            Self::Miss => "miss",
            Self::Stale => "stale",
        }
    }
}

/// How many claims of a batch had which outcome.
#[derive(Clone, Copy, Debug, Default, Serialize, ToSchema)]
pub(crate) struct BatchSummary {
    pub(crate) created: usize,
    pub(crate) existing: usize,
    pub(crate) reactivated: usize,
    pub(crate) failed: usize,
}

impl BatchSummary {
    /// Counts one claim by the name of its outcome; `None` is a claim that failed.
    pub(crate) fn count(&mut self, outcome: Option<&'static str>) {
        let counter = match outcome {
            Some("created") => &mut self.created,
            Some("existing") => &mut self.existing,
            Some("reactivated") => &mut self.reactivated,
            Some(_) | None => &mut self.failed,
        };
        *counter += 1;
    }
}
