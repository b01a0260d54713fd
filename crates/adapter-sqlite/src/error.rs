//! What SQLite says, as what a caller can conclude.

use diesel::result::Error;
use domain::ports::{RepositoryError, RepositoryErrorKind};

/// What to conclude from an error. SQLite's own words for a result code never change
/// (`sqlite3_errstr`), and diesel passes nothing else on.
pub(crate) fn classify(error: &Error) -> RepositoryErrorKind {
    match error {
        Error::DatabaseError(_, about) => match about.message() {
            "database or disk is full" => RepositoryErrorKind::StorageFull,
            "database disk image is malformed" | "file is not a database" => RepositoryErrorKind::Corrupt,
            "database is locked" | "disk I/O error" | "unable to open database file" | "interrupted" => {
                RepositoryErrorKind::Unavailable
            }
            _ => RepositoryErrorKind::Internal,
        },
        Error::DeserializationError(_) => RepositoryErrorKind::Corrupt,
        _ => RepositoryErrorKind::Internal,
    }
}

/// What to conclude when the COMMIT itself failed with an error of `kind`. A full disk leaves a log without its last
/// frame, which never counts. Any other failure may have come after that frame was written: then the next process
/// that reads the log finds a transaction in it.
pub(crate) fn of_failed_commit(kind: RepositoryErrorKind) -> RepositoryErrorKind {
    match kind {
        RepositoryErrorKind::StorageFull => RepositoryErrorKind::StorageFull,
        RepositoryErrorKind::Unavailable
        | RepositoryErrorKind::Indeterminate
        | RepositoryErrorKind::Corrupt
        | RepositoryErrorKind::Internal => RepositoryErrorKind::Indeterminate,
    }
}

/// An error met while `doing` something, before anything was changed.
pub(crate) fn failed(doing: &'static str, error: Error) -> RepositoryError {
    RepositoryError::new(classify(&error), doing).caused_by(error)
}

/// Stored data that the domain does not accept.
pub(crate) fn corrupt(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::DeserializationError(error.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_disk_makes_a_failed_commit_certain() {
        use RepositoryErrorKind as Kind;
        assert_eq!(of_failed_commit(Kind::StorageFull), Kind::StorageFull);
        for kind in [Kind::Unavailable, Kind::Indeterminate, Kind::Corrupt, Kind::Internal] {
            assert_eq!(of_failed_commit(kind), Kind::Indeterminate, "{kind:?}");
        }
    }
}
