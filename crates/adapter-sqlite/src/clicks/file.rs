//! [`SqliteClickFile`]: the file of clicks and how it is opened.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use diesel::connection::SimpleConnection;
use domain::ports::LeftOut;

use super::SqliteClicks;
use crate::{MigrationStatus, OpenError, SqliteFile, SqliteStore, migrate::Migrations, threads::Connections};

/// Connections for reads that take well below a millisecond.
const LOOKUPS: usize = 1;
/// Connections for statistics.
const SCANS: usize = 2;

/// Settings of the connection that writes. A batch writes most pages that the batch before it has written: they stay in
/// its cache, of 32 MiB, and in the log, which is moved into the file once it has 64 MiB.
const WRITER: &str = "PRAGMA cache_size = -32768; PRAGMA wal_autocheckpoint = 16000";

/// The file with the counts of clicks. Constructing this opens nothing.
#[derive(Clone, Debug)]
pub struct SqliteClickFile(SqliteFile);

impl SqliteClickFile {
    /// The file at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(SqliteFile::new(path))
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Opens the repository, for clicks of these links. Each of its calls returns within `call_timeout`. The schema
    /// must exist (see [`SqliteClickFile::migrate`]).
    pub fn open(&self, links: Arc<SqliteStore>, call_timeout: Duration) -> Result<SqliteClicks, OpenError> {
        let connections = self.0.connections(LOOKUPS, SCANS, call_timeout)?;
        let Connections { mut writer, lookups, scans } = connections;
        // A deleted salt must not stay in the free space of a page. All salts share one page, which is never freed, so
        // the pages that are freed need not be overwritten.
        writer.batch_execute("PRAGMA secure_delete = FAST").map_err(OpenError::Setup)?;
        writer.batch_execute(WRITER).map_err(OpenError::Setup)?;
        let threads = crate::threads::Threads::start(Connections { writer, lookups, scans }, call_timeout)
            .map_err(OpenError::Threads)?;
        // The log of a process that was killed may hold salts that it had deleted.
        Ok(SqliteClicks { threads, links, left_out: LeftOut::default(), log_holds_salts: AtomicBool::new(true) })
    }

    /// Reads the whole file and returns what is damaged, as [`SqliteFile::damage`] does.
    pub fn damage(&self) -> Result<Vec<String>, OpenError> {
        self.0.damage()
    }

    /// Applies every pending migration and returns the names of those it applied.
    pub fn migrate(&self) -> Result<Vec<String>, OpenError> {
        Migrations::CLICKS.apply(&self.0)
    }

    /// Reverts the last migration and returns its name; `None` if none is applied. Data that only this migration has a
    /// place for is lost.
    pub fn revert(&self) -> Result<Option<String>, OpenError> {
        Migrations::CLICKS.revert(&self.0)
    }

    /// Every migration of this file that this binary knows, oldest first. Only reads, and creates no file.
    pub fn migrations(&self) -> Result<Vec<MigrationStatus>, OpenError> {
        Migrations::CLICKS.list(&self.0)
    }
}
