//! [`SqliteFile`]: the database file and how it is opened.

use std::{
    error::Error,
    fs::{self, DirBuilder},
    io,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    time::Duration,
};

use diesel::{
    Connection, QueryableByName, RunQueryDsl, SqliteConnection, connection::SimpleConnection, sql_query,
    sql_types::Text,
};
use domain::ports::LeftOut;

use crate::{
    claim::NewInARow,
    store::SqliteStore,
    threads::{Connections, Threads},
};

/// Connections for reads that find their rows through an index, mainly redirects.
const LOOKUPS: usize = 4;
/// Connections for reads that may examine every row.
const SCANS: usize = 2;

/// A database file. Constructing this opens nothing.
#[derive(Clone, Debug)]
pub struct SqliteFile(PathBuf);

impl SqliteFile {
    /// The database file at this path.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.0
    }

    /// Opens the store. Each of its calls returns within `call_timeout`. The schema must exist (see
    /// [`SqliteFile::migrate`]).
    pub fn open(&self, call_timeout: Duration) -> Result<SqliteStore, OpenError> {
        let connections = self.connections(LOOKUPS, SCANS, call_timeout)?;
        let threads = Threads::start(connections, call_timeout).map_err(OpenError::Threads)?;
        Ok(SqliteStore { threads, new_in_a_row: NewInARow::default(), left_out: LeftOut::default() })
    }

    /// Connections for a writer and so many readers of each kind.
    pub(crate) fn connections(
        &self,
        lookups: usize,
        scans: usize,
        call_timeout: Duration,
    ) -> Result<Connections, OpenError> {
        let mut writer = self.connect()?;
        // Shorter than the timeout of a call: if another process writes for longer, the call fails as unavailable, not
        // as indeterminate.
        let busy = format!("PRAGMA busy_timeout = {}", (call_timeout * 3 / 4).as_millis());
        writer.batch_execute(&busy).map_err(OpenError::Setup)?;
        Ok(Connections { writer, lookups: self.readers(lookups)?, scans: self.readers(scans)? })
    }

    fn readers(&self, count: usize) -> Result<Vec<SqliteConnection>, OpenError> {
        let reader = |_| {
            let mut reader = self.connect()?;
            reader.batch_execute("PRAGMA query_only = ON").map_err(OpenError::Setup)?;
            Ok(reader)
        };
        (0..count).map(reader).collect()
    }

    /// Reads the whole file and returns what is damaged; nothing if it is sound. Other processes may use the file
    /// meanwhile.
    pub fn damage(&self) -> Result<Vec<String>, OpenError> {
        #[derive(QueryableByName)]
        struct Finding {
            #[diesel(sql_type = Text)]
            integrity_check: String,
        }
        let mut connection = self.connect_to_look()?;
        let findings: Vec<Finding> =
            sql_query("PRAGMA integrity_check").load(&mut connection).map_err(OpenError::Read)?;
        let texts = findings.into_iter().map(|finding| finding.integrity_check);
        Ok(texts.filter(|text| text != "ok").collect())
    }

    /// Creates the file, readable by its owner only: it holds other people's URLs.
    ///
    /// An existing file is not even opened: closing it again would drop every lock of this process on it (POSIX).
    /// Another process could then remove the log that our connections write to.
    fn create_private(&self) -> Result<(), OpenError> {
        match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(&self.0) {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
            Err(error) => Err(OpenError::File(error)),
        }
    }

    /// A read-only connection to an existing file.
    pub(crate) fn connect_to_look(&self) -> Result<SqliteConnection, OpenError> {
        let path = self.0.to_str().ok_or(OpenError::Path)?;
        let mut connection = SqliteConnection::establish(path).map_err(OpenError::Connect)?;
        let settings = "PRAGMA busy_timeout = 5000; PRAGMA query_only = ON; PRAGMA trusted_schema = OFF;";
        connection.batch_execute(settings).map_err(OpenError::Setup)?;
        Ok(connection)
    }

    /// A connection with the settings for durability. Creates the file and its folder if they are missing.
    pub(crate) fn connect(&self) -> Result<SqliteConnection, OpenError> {
        if let Some(folder) = self.0.parent() {
            DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(OpenError::File)?;
        }
        self.create_private()?;
        let path = self.0.to_str().ok_or(OpenError::Path)?;
        let mut connection = SqliteConnection::establish(path).map_err(OpenError::Connect)?;
        let settings = "PRAGMA busy_timeout = 5000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; \
                        PRAGMA wal_autocheckpoint = 4000; PRAGMA foreign_keys = ON; PRAGMA trusted_schema = OFF;";
        set_up(&mut connection, settings).map_err(OpenError::Setup)?;
        Ok(connection)
    }
}

/// Applies settings. Switching a new file to WAL does not wait for another process that switches it too, whatever the
/// timeout: two processes that wait would deadlock. So this tries up to 50 times, 100 ms apart.
fn set_up(connection: &mut SqliteConnection, settings: &str) -> diesel::QueryResult<()> {
    const ATTEMPTS: u32 = 50;
    const PAUSE: Duration = Duration::from_millis(100);
    for _ in 1..ATTEMPTS {
        match connection.batch_execute(settings) {
            Err(error) if error.to_string() == "database is locked" => pause(PAUSE),
            outcome => return outcome,
        }
    }
    connection.batch_execute(settings)
}

#[expect(
    clippy::disallowed_methods,
    reason = "while a store is opened nothing is served yet, and a file lock gives no event"
)]
fn pause(time: Duration) {
    std::thread::sleep(time);
}

/// The database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// SQLite cannot take the path.
    #[error("the path of the database is not UTF-8")]
    Path,
    /// The file or its folder cannot be made.
    #[error("the database file or its folder cannot be made or opened")]
    File(#[source] io::Error),
    /// SQLite cannot open it.
    #[error("SQLite cannot open the database")]
    Connect(#[source] diesel::ConnectionError),
    /// SQLite rejects our settings.
    #[error("the database cannot be set up")]
    Setup(#[source] diesel::result::Error),
    /// What is stored cannot be read.
    #[error("the database cannot be read")]
    Read(#[source] diesel::result::Error),
    /// A migration fails.
    #[error("the schema cannot be brought up to date")]
    Migrate(#[source] Box<dyn Error + Send + Sync>),
    /// The threads cannot be started.
    #[error("the database threads cannot be started")]
    Threads(#[source] io::Error),
}

impl From<diesel::result::Error> for OpenError {
    fn from(error: diesel::result::Error) -> Self {
        Self::Migrate(error.into())
    }
}
