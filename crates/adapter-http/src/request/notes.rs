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
    pub(crate) cache_result: Option<&'static str>,
    pub(crate) key_id: Option<KeyId>,
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
