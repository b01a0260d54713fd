//! Rows that cannot be read and were left out: told in the log, at the terminal, or all together.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use domain::ports::{UnreadableRow, UnreadableRows};
use slog::{Logger, warn};

use crate::cli::tell_aside;

/// How many rows are remembered so as to be told once.
const MAX_REMEMBERED: usize = 10_000;

/// The rows that were left out so far, each once.
#[derive(Debug, Default)]
struct Known(Mutex<HashSet<UnreadableRow>>);

impl Known {
    /// How many there are with this one, if it is new.
    fn count_with(&self, row: &UnreadableRow) -> Option<usize> {
        let mut known = self.rows();
        (known.len() < MAX_REMEMBERED && known.insert(row.clone())).then(|| known.len())
    }

    fn rows(&self) -> MutexGuard<'_, HashSet<UnreadableRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs each row once, however often it is met.
pub(crate) struct LoggedRows {
    log: Logger,
    known: Known,
}

impl LoggedRows {
    pub(crate) fn new(log: Logger) -> Self {
        Self { log, known: Known::default() }
    }
}

impl UnreadableRows for LoggedRows {
    fn left_out(&self, row: UnreadableRow) {
        if let Some(count) = self.known.count_with(&row) {
            warn!(self.log, "a row of {} cannot be read and is left out", row.table; "event.name" => "row.unreadable",
                "db.collection.name" => row.table, "row.id" => &row.id, "error.message" => &row.reason,
                "count" => count);
        }
    }
}

/// Notes each row once at the terminal.
#[derive(Debug, Default)]
pub(crate) struct NotedRows(Known);

impl UnreadableRows for NotedRows {
    fn left_out(&self, row: UnreadableRow) {
        if self.0.count_with(&row).is_some() {
            tell_aside(&format!("note: left out: {}", line(&row)));
        }
    }
}

/// Keeps them.
#[derive(Debug, Default)]
pub(crate) struct CollectedRows(Known);

impl CollectedRows {
    /// A line for each.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines: Vec<_> = self.0.rows().iter().map(line).collect();
        lines.sort_unstable();
        lines
    }
}

impl UnreadableRows for CollectedRows {
    fn left_out(&self, row: UnreadableRow) {
        let _counted = self.0.count_with(&row);
    }
}

fn line(row: &UnreadableRow) -> String {
    format!("unreadable row in {}, {}: {}", row.table, row.id, row.reason)
}
