//! [`SqliteStore`]: its threads and its health check.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use domain::ports::{LeftOut, Ping, RepositoryError, UnreadableRows};

use crate::{
    claim::NewInARow,
    threads::{QueueStatus, Threads},
};

/// The SQLite store.
pub struct SqliteStore {
    pub(crate) threads: Threads,
    pub(crate) new_in_a_row: NewInARow,
    pub(crate) left_out: LeftOut,
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").finish_non_exhaustive()
    }
}

impl SqliteStore {
    /// The calls of each kind.
    pub fn queues(&self) -> [QueueStatus; 3] {
        self.threads.queues()
    }

    /// Reports rows that cannot be read to `listener`, each time the store leaves one out.
    pub fn tell_of_unreadable_rows(&self, listener: Arc<dyn UnreadableRows>) {
        self.left_out.tell(listener);
    }

    /// Completes the queued calls and closes the file, which then holds all data without a log. Later calls fail.
    /// Blocks until the work is done.
    pub fn close(&self) {
        self.threads.end();
    }
}

#[async_trait]
impl Ping for SqliteStore {
    /// Checks that the store accepts writes, because a store that is read-only is not healthy: writes the user version,
    /// which nothing uses. Also checks that the schema exists.
    async fn ping(&self) -> Result<(), RepositoryError> {
        const QUESTIONS: &str = "PRAGMA user_version = 1; SELECT 1 FROM links LIMIT 0";
        self.threads.write("pinging the store", |connection| Ok(connection.batch_execute(QUESTIONS)?)).await
    }
}
