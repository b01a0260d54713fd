//! Maps errors of PostgreSQL to what a caller can conclude.

use diesel::result::{DatabaseErrorKind, Error};
use domain::ports::{FailureReason, RepositoryError, RepositoryErrorKind};
use tokio_postgres::error::SqlState;

/// Whether an unanswered statement may have changed something.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Effect {
    /// It cannot have changed anything.
    Read,
    /// It may have changed something, or may still do so.
    Write,
}

impl Effect {
    /// The kind of error when no reply came.
    pub(crate) fn unanswered(self) -> RepositoryErrorKind {
        match self {
            Self::Read => RepositoryErrorKind::Unavailable,
            Self::Write => RepositoryErrorKind::Indeterminate,
        }
    }
}

/// The constraint that a drawn code violates if another link has that code.
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

/// The constraint that a link violates if its short domain does not exist.
const DOMAIN_CONSTRAINT: &str = "links_domain";

/// Whether the short domain of a new link does not exist.
pub(crate) fn is_unknown_domain(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(_, about) if about.constraint_name() == Some(DOMAIN_CONSTRAINT))
}

/// The constraint that protects short domains with links.
const DOMAIN_GUARD: &str = "short_domains_guard";

/// Whether links live on a short domain that was to be removed.
pub(crate) fn is_domain_in_use(error: &Error) -> bool {
    matches!(error, Error::DatabaseError(_, about) if about.constraint_name() == Some(DOMAIN_GUARD))
}

/// The kind of a database error.
pub(crate) fn classify(error: &Error, effect: Effect) -> RepositoryErrorKind {
    use DatabaseErrorKind as Kind;
    match error {
        // The connection broke before the reply came.
        Error::DatabaseError(Kind::UnableToSendCommand | Kind::ClosedConnection, _)
        | Error::BrokenTransactionManager => effect.unanswered(),
        // SQLSTATE 53100 carries the operating system's message for ENOSPC.
        Error::DatabaseError(_, about) if about.message().contains("No space left on device") => {
            RepositoryErrorKind::StorageFull
        }
        // The server rolls back when it fails for these reasons.
        Error::DatabaseError(Kind::ReadOnlyTransaction | Kind::SerializationFailure, _) => {
            RepositoryErrorKind::Unavailable
        }
        Error::DatabaseError(Kind::Unknown, about) if UNDONE.contains(&about.message()) => {
            RepositoryErrorKind::Unavailable
        }
        // Any other error may arrive after COMMIT was sent, also from a pooler that lost its server (class 08): the
        // commit may then have succeeded. An error before COMMIT changed nothing: shutting down, starting, out of
        // connections.
        Error::DatabaseError(Kind::Unknown, _) => effect.unanswered(),
        // The commit failed.
        Error::RollbackErrorOnCommit { commit_error, .. } => match classify(commit_error, effect) {
            RepositoryErrorKind::Unavailable | RepositoryErrorKind::Internal => effect.unanswered(),
            kind @ (RepositoryErrorKind::Indeterminate
            | RepositoryErrorKind::StorageFull
            | RepositoryErrorKind::Corrupt) => kind,
        },
        Error::DeserializationError(_) => RepositoryErrorKind::Corrupt,
        _ => RepositoryErrorKind::Internal,
    }
}

/// PostgreSQL's messages for a statement that it cancelled and so rolled back (57014, 55P03, 40P01). Diesel does not
/// pass on the SQLSTATE. If the server's messages are in another language, they do not match and the outcome is
/// reported as unknown. That is less precise, but not wrong.
const UNDONE: &[&str] = &[
    "canceling statement due to statement timeout",
    "canceling statement due to lock timeout",
    "canceling statement due to user request",
    "deadlock detected",
];

/// The reason, for the operator. The driver passes on no SQLSTATE for errors that it has no kind for, so this reads the
/// server's message. If the messages are not in English, fewer reasons are recognised.
pub(crate) fn reason(error: &Error) -> FailureReason {
    use DatabaseErrorKind as Kind;
    match error {
        Error::DatabaseError(Kind::UnableToSendCommand | Kind::ClosedConnection, _)
        | Error::BrokenTransactionManager => FailureReason::ConnectionLost,
        Error::DatabaseError(Kind::ReadOnlyTransaction, _) => FailureReason::ReadOnly,
        Error::DatabaseError(_, about) => of_message(about.message()),
        Error::DeserializationError(_) => FailureReason::Damaged,
        _ => FailureReason::Unknown,
    }
}

fn of_message(message: &str) -> FailureReason {
    let has = |words: &str| message.contains(words);
    if has("No space left on device") {
        FailureReason::StorageFull
    } else if has("due to lock timeout") || has("could not obtain lock") || has("deadlock detected") {
        FailureReason::Locked
    } else if has("due to statement timeout") || has("due to idle") {
        FailureReason::TimedOut
    } else if has("terminating connection") || has("is starting up") || has("is shutting down") || has("recovery mode")
    {
        FailureReason::NotAccepting
    } else if has("too many connections") || has("too many clients") || has("remaining connection slots") {
        FailureReason::SessionsRefused
    } else if has("permission denied") {
        FailureReason::AuthenticationFailed
    } else if has("read-only transaction") || has("during recovery") {
        FailureReason::ReadOnly
    } else if has("does not exist") {
        FailureReason::SchemaMissing
    } else {
        FailureReason::Unknown
    }
}

/// Why the server refused a session.
fn of_state(state: &SqlState) -> FailureReason {
    match state.code().get(..2) {
        _ if *state == SqlState::TOO_MANY_CONNECTIONS || *state == SqlState::CONFIGURATION_LIMIT_EXCEEDED => {
            FailureReason::SessionsRefused
        }
        _ if *state == SqlState::DISK_FULL => FailureReason::StorageFull,
        _ if *state == SqlState::INVALID_CATALOG_NAME => FailureReason::DatabaseMissing,
        _ if *state == SqlState::INSUFFICIENT_PRIVILEGE => FailureReason::AuthenticationFailed,
        Some("28") => FailureReason::AuthenticationFailed,
        Some("57") => FailureReason::NotAccepting,
        Some(_) | None => FailureReason::Unknown,
    }
}

/// Why no session could be opened, from the error of the server or the network.
pub(crate) fn reason_of_no_session(error: &tokio_postgres::Error) -> FailureReason {
    if let Some(state) = error.code() {
        return of_state(state);
    }
    let below = std::error::Error::source(error);
    if let Some(failed) = below.and_then(|below| below.downcast_ref::<std::io::Error>()) {
        use std::io::ErrorKind as Kind;
        return match failed.kind() {
            Kind::ConnectionRefused => FailureReason::ConnectionRefused,
            Kind::TimedOut => FailureReason::ConnectTimedOut,
            // The driver reports this kind if the only server that answers accepts no writes.
            Kind::PermissionDenied => FailureReason::ReadOnly,
            Kind::ConnectionReset | Kind::ConnectionAborted | Kind::BrokenPipe | Kind::UnexpectedEof => {
                FailureReason::ConnectionLost
            }
            _ => FailureReason::Unreachable,
        };
    }
    // The driver tells its kinds of errors apart only by their messages.
    let words = error.to_string();
    if words.contains("TLS") {
        FailureReason::TlsFailed
    } else if words.contains("authentication") || words.contains("configuration") {
        FailureReason::AuthenticationFailed
    } else if words.contains("closed") {
        FailureReason::ConnectionLost
    } else {
        FailureReason::Unknown
    }
}

/// Whether a connection can be reused after this error.
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

#[cfg(test)]
mod tests {
    use diesel::result::DatabaseErrorInformation;

    use super::*;

    fn told(kind: DatabaseErrorKind, message: &str) -> Error {
        Error::DatabaseError(kind, Box::new(message.to_owned()))
    }

    #[test]
    fn an_error_of_a_write_is_indeterminate_unless_the_server_rolled_back() {
        use DatabaseErrorKind as Kind;
        use RepositoryErrorKind::{Indeterminate, StorageFull, Unavailable};
        for (error, of_a_write) in [
            (told(Kind::Unknown, "server conn crashed?"), Indeterminate),
            (told(Kind::Unknown, "terminating connection due to administrator command"), Indeterminate),
            (told(Kind::Unknown, "current transaction is aborted"), Indeterminate),
            (told(Kind::Unknown, "unbekannter Fehler"), Indeterminate),
            (told(Kind::UnableToSendCommand, "connection closed"), Indeterminate),
            (told(Kind::ClosedConnection, "connection closed"), Indeterminate),
            (Error::BrokenTransactionManager, Indeterminate),
            (told(Kind::Unknown, "canceling statement due to statement timeout"), Unavailable),
            (told(Kind::Unknown, "canceling statement due to lock timeout"), Unavailable),
            (told(Kind::Unknown, "deadlock detected"), Unavailable),
            (told(Kind::ReadOnlyTransaction, "cannot execute INSERT in a read-only transaction"), Unavailable),
            (told(Kind::SerializationFailure, "could not serialize access"), Unavailable),
            (told(Kind::Unknown, "could not extend file: No space left on device"), StorageFull),
        ] {
            assert_eq!(classify(&error, Effect::Write), of_a_write, "{error:?}");
            let of_a_read = if of_a_write == StorageFull { StorageFull } else { Unavailable };
            assert_eq!(classify(&error, Effect::Read), of_a_read, "{error:?}");
            let both = Error::RollbackErrorOnCommit {
                rollback_error: Box::new(told(Kind::ClosedConnection, "connection closed")),
                commit_error: Box::new(error),
            };
            let of_a_commit = if of_a_write == StorageFull { StorageFull } else { Indeterminate };
            assert_eq!(classify(&both, Effect::Write), of_a_commit, "{both:?}");
        }
    }

    /// A violation of a constraint.
    #[derive(Debug)]
    struct Violation(&'static str);

    impl DatabaseErrorInformation for Violation {
        fn message(&self) -> &'static str {
            "duplicate key value violates unique constraint"
        }
        fn details(&self) -> Option<&str> {
            None
        }
        fn hint(&self) -> Option<&str> {
            None
        }
        fn table_name(&self) -> Option<&str> {
            Some("links")
        }
        fn column_name(&self) -> Option<&str> {
            None
        }
        fn constraint_name(&self) -> Option<&str> {
            Some(self.0)
        }
        fn statement_position(&self) -> Option<i32> {
            None
        }
    }

    #[test]
    fn only_links_code_key_is_a_code_collision() {
        use DatabaseErrorKind as Kind;
        let violated = |kind, constraint| Error::DatabaseError(kind, Box::new(Violation(constraint)));
        assert!(is_code_collision(&violated(Kind::UniqueViolation, "links_code_key")));
        assert!(!is_code_collision(&violated(Kind::UniqueViolation, "links_dedup_key")));
        assert!(!is_code_collision(&violated(Kind::CheckViolation, "links_code_key")));
        assert!(!is_code_collision(&Error::NotFound));
    }

    #[test]
    fn unreadable_data_is_corrupt_and_an_unknown_error_is_internal() {
        let unreadable = || Error::DeserializationError("no such kind".into());
        let corrupt_commit = Error::RollbackErrorOnCommit {
            rollback_error: Box::new(Error::NotFound),
            commit_error: Box::new(unreadable()),
        };
        for effect in [Effect::Read, Effect::Write] {
            assert_eq!(classify(&unreadable(), effect), RepositoryErrorKind::Corrupt);
            assert_eq!(classify(&corrupt_commit, effect), RepositoryErrorKind::Corrupt);
            assert_eq!(classify(&Error::NotInTransaction, effect), RepositoryErrorKind::Internal);
            assert_eq!(classify(&told(DatabaseErrorKind::CheckViolation, "x"), effect), RepositoryErrorKind::Internal);
        }
        assert_eq!(corrupt("reading", "no such kind").kind(), RepositoryErrorKind::Corrupt);
        assert_eq!(corrupt("reading", "no such kind").to_string(), "reading: stored data is corrupt");
    }

    #[test]
    fn failure_reasons_are_read_from_the_message_of_the_server() {
        use DatabaseErrorKind as Kind;
        use FailureReason as Reason;
        for (message, expected) in [
            ("could not extend file: No space left on device", Reason::StorageFull),
            ("canceling statement due to lock timeout", Reason::Locked),
            ("could not obtain lock on row in relation \"links\"", Reason::Locked),
            ("deadlock detected", Reason::Locked),
            ("canceling statement due to statement timeout", Reason::TimedOut),
            ("terminating connection due to idle-in-transaction timeout", Reason::TimedOut),
            ("terminating connection due to administrator command", Reason::NotAccepting),
            ("the database system is starting up", Reason::NotAccepting),
            ("the database system is shutting down", Reason::NotAccepting),
            ("the database system is in recovery mode", Reason::NotAccepting),
            ("too many connections for role \"signpost\"", Reason::SessionsRefused),
            ("sorry, too many clients already", Reason::SessionsRefused),
            ("remaining connection slots are reserved", Reason::SessionsRefused),
            ("permission denied for table links", Reason::AuthenticationFailed),
            ("cannot execute INSERT in a read-only transaction", Reason::ReadOnly),
            ("cannot do that during recovery", Reason::ReadOnly),
            ("relation \"links\" does not exist", Reason::SchemaMissing),
            ("anything else", Reason::Unknown),
        ] {
            assert_eq!(reason(&told(Kind::Unknown, message)), expected, "{message}");
        }
        for (error, expected) in [
            (told(Kind::UnableToSendCommand, "x"), Reason::ConnectionLost),
            (told(Kind::ClosedConnection, "x"), Reason::ConnectionLost),
            (Error::BrokenTransactionManager, Reason::ConnectionLost),
            (told(Kind::ReadOnlyTransaction, "x"), Reason::ReadOnly),
            (Error::DeserializationError("x".into()), Reason::Damaged),
            (Error::NotFound, Reason::Unknown),
        ] {
            assert_eq!(reason(&error), expected, "{error:?}");
        }
    }

    #[test]
    fn reasons_for_a_refused_session_are_read_from_the_sqlstate() {
        use FailureReason as Reason;
        for (state, expected) in [
            (SqlState::TOO_MANY_CONNECTIONS, Reason::SessionsRefused),
            (SqlState::CONFIGURATION_LIMIT_EXCEEDED, Reason::SessionsRefused),
            (SqlState::DISK_FULL, Reason::StorageFull),
            (SqlState::INVALID_CATALOG_NAME, Reason::DatabaseMissing),
            (SqlState::INSUFFICIENT_PRIVILEGE, Reason::AuthenticationFailed),
            (SqlState::INVALID_PASSWORD, Reason::AuthenticationFailed),
            (SqlState::CANNOT_CONNECT_NOW, Reason::NotAccepting),
            (SqlState::OUT_OF_MEMORY, Reason::Unknown),
            (SqlState::SYNTAX_ERROR, Reason::Unknown),
        ] {
            assert_eq!(of_state(&state), expected, "{state:?}");
        }
    }

    #[test]
    fn a_connection_is_reused_only_after_a_rejected_or_missing_row() {
        use DatabaseErrorKind as Kind;
        for kind in [Kind::UniqueViolation, Kind::ForeignKeyViolation, Kind::NotNullViolation, Kind::CheckViolation] {
            assert!(leaves_connection_healthy(&told(kind, "x")));
        }
        assert!(leaves_connection_healthy(&Error::NotFound));
        for error in [told(Kind::Unknown, "x"), told(Kind::ClosedConnection, "x"), Error::BrokenTransactionManager] {
            assert!(!leaves_connection_healthy(&error), "{error:?}");
        }
    }
}
