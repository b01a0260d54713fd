//! A listener that records the rows that a store left out.

use std::sync::Mutex;

use domain::ports::{UnreadableRow, UnreadableRows};

/// Records the rows that a store left out, in their order.
#[derive(Debug, Default)]
pub struct KeptRows(Mutex<Vec<UnreadableRow>>);

impl KeptRows {
    /// The tables and reasons of the rows so far, each once, in order.
    pub fn told(&self) -> Vec<(&'static str, String)> {
        let rows = self.0.lock().expect("no test panics while it holds the lock");
        let mut told: Vec<_> = rows.iter().map(|row| (row.table, row.reason.clone())).collect();
        told.sort_unstable();
        told.dedup();
        told
    }
}

impl UnreadableRows for KeptRows {
    fn left_out(&self, row: UnreadableRow) {
        self.0.lock().expect("no test panics while it holds the lock").push(row);
    }
}
