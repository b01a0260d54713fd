//! Changes by others: another process may have the same file open, although one is what it is made for.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use diesel::{QueryableByName, RunQueryDsl, sql_query, sql_types::BigInt};
use domain::ports::{ChangeFeed, LinkWatcher, RepositoryError};
use tokio::time::{Instant, sleep};

use crate::SqliteStore;

/// How often the file is looked at.
const INTERVAL: Duration = Duration::from_secs(1);

#[async_trait]
impl ChangeFeed for SqliteStore {
    /// SQLite tells no more than that somebody else has written. That is rare: a key made at the command line.
    async fn tell(&self, watcher: Arc<dyn LinkWatcher>) -> RepositoryError {
        let mut known = None;
        loop {
            let asked = Instant::now();
            match self.version_of_others().await {
                Ok(version) if known == Some(version) => watcher.heard_all(asked.elapsed()),
                Ok(version) => {
                    known = Some(version);
                    watcher.missed_some();
                }
                Err(error) => return error,
            }
            sleep(INTERVAL).await;
        }
    }
}

impl SqliteStore {
    /// A number that changes with every commit by a connection other than the writer's, and so by another process.
    async fn version_of_others(&self) -> Result<i64, RepositoryError> {
        #[derive(QueryableByName)]
        struct Version {
            #[diesel(sql_type = BigInt)]
            data_version: i64,
        }
        self.threads
            .write("looking for changes by others", |connection| {
                let version: Version = sql_query("PRAGMA data_version").get_result(connection)?;
                Ok(version.data_version)
            })
            .await
    }
}
