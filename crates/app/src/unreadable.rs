//! Reports rows that cannot be read and were left out: in the log, at the terminal, or collected.

use std::{
    collections::HashSet,
    sync::{Mutex, MutexGuard, PoisonError},
};

use domain::ports::{UnreadableRow, UnreadableRows};
use slog::{Logger, warn};

use crate::cli::tell_aside;

/// How many rows are remembered so that each is reported once. Further rows are not reported.
const MAX_REMEMBERED: usize = 10_000;

/// The rows left out so far, each once.
#[derive(Debug, Default)]
struct Known(Mutex<HashSet<UnreadableRow>>);

impl Known {
    /// Adds the row if it is new and there is room. Returns how many rows are known then.
    fn count_with(&self, row: &UnreadableRow) -> Option<usize> {
        let mut known = self.rows();
        (known.len() < MAX_REMEMBERED && known.insert(row.clone())).then(|| known.len())
    }

    fn rows(&self) -> MutexGuard<'_, HashSet<UnreadableRow>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Logs each row once, however often it is read.
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

/// Prints a note about each row once, to standard error.
#[derive(Debug, Default)]
pub(crate) struct NotedRows(Known);

impl UnreadableRows for NotedRows {
    fn left_out(&self, row: UnreadableRow) {
        if self.0.count_with(&row).is_some() {
            tell_aside(&format!("note: left out: {}", line(&row)));
        }
    }
}

/// Collects the rows.
#[derive(Debug, Default)]
pub(crate) struct CollectedRows(Known);

impl CollectedRows {
    /// One line for each row, sorted.
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
