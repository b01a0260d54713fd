//! What the store is doing, for metrics.

use std::{fs, path::Path};

use adapter_postgres::PoolStatus;
use adapter_sqlite::QueueStatus;

/// The store at one moment.
pub(crate) enum StoreStatus {
    Sqlite(Vec<SqliteFileStatus>),
    Postgres {
        pools: Vec<PoolStatus>,
        /// Lookups of redirects that wait for a connection.
        waiting_lookups: usize,
    },
}

/// One file of a SQLite store.
pub(crate) struct SqliteFileStatus {
    /// `links` or `clicks`.
    pub(crate) name: &'static str,
    /// The calls of each kind.
    pub(crate) queues: Vec<QueueStatus>,
    /// Size of the file.
    pub(crate) bytes: u64,
    /// Size of its write-ahead log.
    pub(crate) log_bytes: u64,
}

impl SqliteFileStatus {
    pub(crate) fn of(name: &'static str, file: &Path, queues: Vec<QueueStatus>) -> Self {
        let mut log = file.as_os_str().to_owned();
        log.push("-wal");
        Self { name, queues, bytes: size(file), log_bytes: size(Path::new(&log)) }
    }
}

/// The size of a file. Does not open it: closing it again would release SQLite's locks on it.
fn size(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |about| about.len())
}
