//! [`SqliteStore`]: its threads, and whether it works.

use std::sync::Arc;

use async_trait::async_trait;
use diesel::connection::SimpleConnection;
use domain::ports::{LeftOut, Ping, RepositoryError, UnreadableRows};

use crate::{claim::NewInARow, threads::Threads};

/// The store.
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
    /// Tells `listener` of rows that cannot be read, each time one is left out.
    pub fn tell_of_unreadable_rows(&self, listener: Arc<dyn UnreadableRows>) {
        self.left_out.tell(listener);
    }

    /// Finishes what is queued and closes the file, which then holds everything by itself. Calls that come later
    /// fail. It blocks as long as the work takes.
    pub fn close(&self) {
        self.threads.end();
    }
}

#[async_trait]
impl Ping for SqliteStore {
    /// Writes, because a store that can only be read is not well: the user version, which nobody uses, again. And
    /// looks for the schema, without which nothing else works.
    async fn ping(&self) -> Result<(), RepositoryError> {
        const QUESTIONS: &str = "PRAGMA user_version = 1; SELECT 1 FROM links LIMIT 0";
        self.threads.write("pinging the store", |connection| Ok(connection.batch_execute(QUESTIONS)?)).await
    }
}
