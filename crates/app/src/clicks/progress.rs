//! How far the clicks of this process are counted.

use std::sync::{Arc, Mutex, PoisonError};

use domain::{
    ports::{ClickProgress, Clock},
    time::Timestamp,
};

use crate::effects::SystemClock;

/// How far the clicks of this process are counted. Clones share it.
#[derive(Clone, Debug)]
pub(crate) struct Progress {
    /// The last moment before which everything was stored; `None` before the first.
    until: Arc<Mutex<Option<Timestamp>>>,
    records: bool,
}

impl Progress {
    pub(super) fn new(records: bool) -> Self {
        Self { until: Arc::default(), records }
    }

    /// Everything that was recorded before `moment` is stored.
    pub(super) fn reached(&self, moment: Timestamp) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(moment);
    }
}

impl ClickProgress for Progress {
    fn counted_until(&self) -> Timestamp {
        // A process that records no clicks has nothing left to store.
        let now = SystemClock.now();
        if !self.records {
            return now;
        }
        let until = *self.until.lock().unwrap_or_else(PoisonError::into_inner);
        // Before the first shipment, nothing of this process is known to be stored.
        until.unwrap_or_else(|| Timestamp::from_unix_micros(0).expect("1970 is in range"))
    }
}
