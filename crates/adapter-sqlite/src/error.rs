//! Maps errors of SQLite to what a caller can conclude.

use diesel::result::{DatabaseErrorKind, Error};
use domain::ports::{FailureReason, RepositoryError, RepositoryErrorKind};

/// Start of the message of the trigger that refuses to replace an existing link.
pub(crate) const NEVER_REPLACED: &str = "links are never replaced";

/// The kind of a database error. SQLite's messages for result codes never change (`sqlite3_errstr`), and diesel passes
/// nothing else on.
pub(crate) fn classify(error: &Error) -> RepositoryErrorKind {
    match error {
        Error::DatabaseError(_, about) => match about.message() {
            "database or disk is full" => RepositoryErrorKind::StorageFull,
            "database disk image is malformed" | "file is not a database" => RepositoryErrorKind::Corrupt,
            "database is locked"
            | "database table is locked"
            | "disk I/O error"
            | "unable to open database file"
            | "attempt to write a readonly database"
            | "interrupted" => RepositoryErrorKind::Unavailable,
            _ => RepositoryErrorKind::Internal,
        },
        Error::DeserializationError(_) => RepositoryErrorKind::Corrupt,
        _ => RepositoryErrorKind::Internal,
    }
}

/// Whether a statement with this error changed nothing and left its transaction open: a row was refused, or stored data
/// could not be read. After any other failure SQLite may have ended the transaction.
pub(crate) fn changes_nothing(error: &Error) -> bool {
    use DatabaseErrorKind as Kind;
    match error {
        Error::DatabaseError(
            Kind::UniqueViolation | Kind::CheckViolation | Kind::NotNullViolation | Kind::ForeignKeyViolation,
            _,
        )
        | Error::DeserializationError(_) => true,
        Error::DatabaseError(_, about) => about.message().starts_with(NEVER_REPLACED),
        _ => false,
    }
}

/// The reason, for the operator, from SQLite's message for its result code.
pub(crate) fn reason(words: &str) -> FailureReason {
    match words {
        "database or disk is full" => FailureReason::StorageFull,
        "database disk image is malformed" | "file is not a database" => FailureReason::Damaged,
        "database is locked" | "database table is locked" => FailureReason::Locked,
        "disk I/O error" | "unable to open database file" => FailureReason::FileUnusable,
        "attempt to write a readonly database" => FailureReason::ReadOnly,
        missing if missing.starts_with("no such table") || missing.starts_with("no such column") => {
            FailureReason::SchemaMissing
        }
        _ => FailureReason::Unknown,
    }
}

/// The kind of error when COMMIT itself failed with `kind`. On a full disk the log lacks the last frame, so the
/// transaction never counts. Any other failure may have come after that frame was written. The next process that reads
/// the log then finds the transaction.
pub(crate) fn of_failed_commit(kind: RepositoryErrorKind) -> RepositoryErrorKind {
    match kind {
        RepositoryErrorKind::StorageFull => RepositoryErrorKind::StorageFull,
        RepositoryErrorKind::Unavailable
        | RepositoryErrorKind::Indeterminate
        | RepositoryErrorKind::Corrupt
        | RepositoryErrorKind::Internal => RepositoryErrorKind::Indeterminate,
    }
}

/// The error of an operation that failed before it changed anything; `doing` names the operation.
pub(crate) fn failed(doing: &'static str, error: Error) -> RepositoryError {
    let unexplained = RepositoryError::new(classify(&error), doing);
    let explained = match &error {
        Error::DatabaseError(_, about) => unexplained.because(reason(about.message())),
        _ => unexplained,
    };
    explained.caused_by(error)
}

/// Stored data that the domain does not accept.
pub(crate) fn corrupt(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::DeserializationError(error.into())
}

#[cfg(test)]
mod tests {
    use diesel::{Connection, SqliteConnection, connection::SimpleConnection};

    use super::*;

    fn failing(setup: &str, statement: &str) -> RepositoryError {
        let mut connection = SqliteConnection::establish(":memory:").expect("an in-memory database needs no file");
        connection.batch_execute(setup).expect("the statements are valid");
        failed("trying", connection.batch_execute(statement).expect_err("it must fail"))
    }

    #[test]
    fn failure_reasons_are_read_from_the_messages_of_sqlite() {
        use FailureReason as Reason;
        use RepositoryErrorKind as Kind;
        let table = "CREATE TABLE t (x); ";
        let insert = "INSERT INTO t VALUES (zeroblob(100000))";
        for (setup, statement, kind, reason) in [
            (table.to_owned() + "PRAGMA max_page_count = 2", insert, Kind::StorageFull, Reason::StorageFull),
            (table.to_owned() + "PRAGMA query_only = ON", insert, Kind::Unavailable, Reason::ReadOnly),
            (String::new(), insert, Kind::Internal, Reason::SchemaMissing),
            (String::new(), "SELECT no_such_function()", Kind::Internal, Reason::Unknown),
        ] {
            let error = failing(&setup, statement);
            assert_eq!((error.kind(), error.reason()), (kind, reason), "{setup}; {statement}");
        }
        assert_eq!(reason("database is locked"), Reason::Locked);
        assert_eq!(reason("disk I/O error"), Reason::FileUnusable);
        assert_eq!(reason("file is not a database"), Reason::Damaged);
    }

    #[test]
    fn a_file_that_is_no_database_is_corrupt() {
        let file = tempfile::NamedTempFile::new().expect("the system has room");
        std::fs::write(file.path(), [b'x'; 8_192]).expect("the test owns the file");
        let path = file.path().to_str().expect("a plain path");
        let mut connection = SqliteConnection::establish(path).expect("SQLite has not read the file yet");
        let error = connection.batch_execute("SELECT * FROM sqlite_master").expect_err("the file is no database");
        assert_eq!(classify(&error), RepositoryErrorKind::Corrupt);
    }

    #[test]
    fn only_a_refused_or_unreadable_row_leaves_its_transaction_open() {
        let mut connection = SqliteConnection::establish(":memory:").expect("an in-memory database needs no file");
        let setup = "PRAGMA foreign_keys = ON; CREATE TABLE t (id INTEGER PRIMARY KEY, x TEXT NOT NULL UNIQUE CHECK (x <> ''), \
                     other INTEGER REFERENCES t); INSERT INTO t VALUES (1, 'a', NULL)";
        connection.batch_execute(setup).expect("the statements are valid");
        let mut fails = |statement: &str| connection.batch_execute(statement).expect_err("it must fail");
        for refused in ["(2, 'a', NULL)", "(2, '', NULL)", "(2, NULL, NULL)", "(2, 'b', 7)"] {
            assert!(changes_nothing(&fails(&format!("INSERT INTO t VALUES {refused}"))), "{refused}");
        }
        assert!(changes_nothing(&corrupt("no such kind")));
        let guard =
            format!("CREATE TRIGGER r BEFORE DELETE ON t BEGIN SELECT RAISE(ABORT, '{NEVER_REPLACED}: x'); END");
        connection.batch_execute(&guard).expect("the statements are valid");
        let mut fails = |statement: &str| connection.batch_execute(statement).expect_err("it must fail");
        assert!(changes_nothing(&fails("DELETE FROM t")));
        assert!(!changes_nothing(&fails("SELECT no_such_function()")));
        assert!(!changes_nothing(&Error::NotFound));
    }

    #[test]
    fn only_a_full_disk_makes_a_failed_commit_certain() {
        use RepositoryErrorKind as Kind;
        assert_eq!(of_failed_commit(Kind::StorageFull), Kind::StorageFull);
        for kind in [Kind::Unavailable, Kind::Indeterminate, Kind::Corrupt, Kind::Internal] {
            assert_eq!(of_failed_commit(kind), Kind::Indeterminate, "{kind:?}");
        }
    }
}
