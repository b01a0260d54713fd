//! What was shipped, for readers that must not wait for the shipper.

use std::sync::{Arc, Mutex, PoisonError};

/// What was shipped since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct ShippedTotals {
    /// Clicks that were counted.
    pub(crate) stored: u64,
    /// Clicks of links that do not exist.
    pub(crate) of_missing_links: u64,
    /// Records of a later release, which this one cannot count.
    pub(crate) unknown: u64,
}

/// What was shipped as of the last shipment. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SharedTotals(Arc<Mutex<ShippedTotals>>);

impl SharedTotals {
    pub(crate) fn set(&self, totals: ShippedTotals) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = totals;
    }

    pub(crate) fn get(&self) -> ShippedTotals {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
