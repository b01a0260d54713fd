//! What PostgreSQL says, as what a caller can conclude.

use diesel::result::{DatabaseErrorKind, Error};
use domain::ports::{RepositoryError, RepositoryErrorKind};

/// Whether an unanswered statement may have changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It cannot have.
    Read,
    /// It can, now or later.
    Write,
}

impl Effect {
    /// What to conclude when no answer came.
    pub(crate) fn unanswered(self) -> RepositoryErrorKind {
        match self {
            Self::Read => RepositoryErrorKind::Unavailable,
            Self::Write => RepositoryErrorKind::Indeterminate,
        }
    }
}

/// The constraint on which a drawn code meets the code of another link.
const CODE_CONSTRAINT: &str = "links_code_key";

/// Whether a drawn code belongs to another link.
pub(crate) fn is_code_collision(error: &Error) -> bool {
    match error {
        Error::DatabaseError(DatabaseErrorKind::UniqueViolation, about) => {
            about.constraint_name() == Some(CODE_CONSTRAINT)
        }
        _ => false,
    }
}

/// What to conclude from an error.
pub(crate) fn classify(error: &Error, effect: Effect) -> RepositoryErrorKind {
    use DatabaseErrorKind as Kind;
    match error {
        // The connection broke before the answer came.
        Error::DatabaseError(Kind::UnableToSendCommand | Kind::ClosedConnection, _)
        | Error::BrokenTransactionManager => effect.unanswered(),
        // SQLSTATE 53100 comes with the operating system's words for ENOSPC.
        Error::DatabaseError(_, about) if about.message().contains("No space left on device") => {
            RepositoryErrorKind::StorageFull
        }
        // The server answered, so nothing was changed: shutting down, starting, timed out, demoted,
        // out of connections, deadlocked.
        Error::DatabaseError(Kind::Unknown | Kind::ReadOnlyTransaction | Kind::SerializationFailure, _) => {
            RepositoryErrorKind::Unavailable
        }
        Error::DeserializationError(_) => RepositoryErrorKind::Corrupt,
        _ => RepositoryErrorKind::Internal,
    }
}

/// Whether a connection that gave this error can be trusted with the next statement.
pub(crate) fn leaves_connection_healthy(error: &Error) -> bool {
    use DatabaseErrorKind as Kind;
    match error {
        Error::NotFound => true,
        Error::DatabaseError(kind, _) => matches!(
            kind,
            Kind::UniqueViolation | Kind::ForeignKeyViolation | Kind::NotNullViolation | Kind::CheckViolation
        ),
        _ => false,
    }
}

/// Stored data that the domain does not accept.
pub(crate) fn corrupt(
    doing: &'static str,
    error: impl Into<Box<dyn std::error::Error + Send + Sync>>,
) -> RepositoryError {
    RepositoryError::new(RepositoryErrorKind::Corrupt, doing).caused_by(error)
}
