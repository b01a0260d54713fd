//! The error type of every store.

use std::{error::Error, fmt, sync::Arc};

/// An infrastructure failure. Outcomes that a caller must decide about are values, not errors.
#[derive(Debug)]
pub struct RepositoryError {
    kind: RepositoryErrorKind,
    doing: &'static str,
    reason: FailureReason,
    source: Option<Box<dyn Error + Send + Sync>>,
}

/// What a caller can conclude from a failure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepositoryErrorKind {
    /// The store could not be reached in time. Nothing was changed. A later retry may work.
    Unavailable,
    /// A write was sent, but no answer came back: it may have happened, or may still happen.
    Indeterminate,
    /// There is no room left to write. Nothing was changed.
    StorageFull,
    /// The stored data is corrupt: it is not what was written.
    Corrupt,
    /// A defect of the store, of its schema, or of Signpost.
    Internal,
}

/// Why a store failed, for the operator. Each reason has searchable [`words`](Self::words) without SQL, names or
/// secrets. The chain of causes has more detail, and goes only to the log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureReason {
    /// None of the reasons below is known to apply.
    #[default]
    Unknown,
    /// Everything that could serve the call is in use by other calls.
    Busy,
    /// No answer came in time.
    TimedOut,
    /// The connection was lost.
    ConnectionLost,
    /// No session was established in time.
    ConnectTimedOut,
    /// Nothing listens at the address.
    ConnectionRefused,
    /// The host name cannot be resolved, or the network is down.
    Unreachable,
    /// No encrypted connection can be negotiated.
    TlsFailed,
    /// The server is starting, recovering or stopping.
    NotAccepting,
    /// The server has reached its limit of sessions.
    SessionsRefused,
    /// The credentials or the permissions are not sufficient.
    AuthenticationFailed,
    /// The server does not have the database.
    DatabaseMissing,
    /// The database does not have Signpost's tables.
    SchemaMissing,
    /// The store is read-only.
    ReadOnly,
    /// Another session holds a lock and does not release it.
    Locked,
    /// No space is left on the storage.
    StorageFull,
    /// The file system fails.
    FileUnusable,
    /// The stored data cannot be interpreted.
    Damaged,
}

impl FailureReason {
    /// The reason as text for people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Unknown => "it failed; the log says why",
            Self::Busy => "too many calls wait for it",
            Self::TimedOut => "it did not answer in time",
            Self::ConnectionLost => "the connection was lost",
            Self::ConnectTimedOut => "connecting timed out",
            Self::ConnectionRefused => "connection refused",
            Self::Unreachable => "it is unreachable",
            Self::TlsFailed => "TLS failed",
            Self::NotAccepting => "it is starting or shutting down",
            Self::SessionsRefused => "too many connections: it refuses more sessions",
            Self::AuthenticationFailed => "authentication failed",
            Self::DatabaseMissing => "the database does not exist",
            Self::SchemaMissing => "the schema is missing or not up to date",
            Self::ReadOnly => "it is read-only",
            Self::Locked => "it is locked by others",
            Self::StorageFull => "the disk is full",
            Self::FileUnusable => "its file cannot be read or written",
            Self::Damaged => "stored data is corrupt",
        }
    }

    /// Whether it names only a symptom. Other reasons name the cause.
    pub fn is_vague(self) -> bool {
        matches!(self, Self::Unknown | Self::Busy | Self::TimedOut | Self::ConnectionLost)
    }
}

impl RepositoryError {
    /// A failure of `kind` while `doing` something (`"finding a link"`).
    pub fn new(kind: RepositoryErrorKind, doing: &'static str) -> Self {
        let reason = match kind {
            RepositoryErrorKind::StorageFull => FailureReason::StorageFull,
            RepositoryErrorKind::Corrupt => FailureReason::Damaged,
            RepositoryErrorKind::Unavailable | RepositoryErrorKind::Indeterminate | RepositoryErrorKind::Internal => {
                FailureReason::Unknown
            }
        };
        Self { kind, doing, reason, source: None }
    }

    /// The same error with its cause.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same error with its reason, for the operator.
    #[must_use]
    pub fn because(self, reason: FailureReason) -> Self {
        Self { reason, ..self }
    }

    /// The reason of this error, or else of the error that it wraps.
    pub fn reason(&self) -> FailureReason {
        match (self.reason, self.source.as_deref()) {
            (FailureReason::Unknown, Some(source)) => reason_below(source),
            (reason, _) => reason,
        }
    }

    /// What a caller can conclude from the failure.
    pub fn kind(&self) -> RepositoryErrorKind {
        self.kind
    }
}

/// The reason of a wrapped error, which may be owned or shared in an `Arc`.
fn reason_below(source: &(dyn Error + Send + Sync + 'static)) -> FailureReason {
    let shared = || source.downcast_ref::<Arc<RepositoryError>>().map(Arc::as_ref);
    let below = source.downcast_ref::<RepositoryError>().or_else(shared);
    below.map_or(FailureReason::Unknown, RepositoryError::reason)
}

impl fmt::Display for RepositoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            RepositoryErrorKind::Unavailable => "unavailable",
            RepositoryErrorKind::Indeterminate => "the outcome is unknown",
            RepositoryErrorKind::StorageFull => "the storage is full",
            RepositoryErrorKind::Corrupt => "stored data is corrupt",
            RepositoryErrorKind::Internal => "failed",
        };
        write!(f, "{}: {what}", self.doing)
    }
}

impl Error for RepositoryError {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        let source: &(dyn Error + 'static) = self.source.as_deref()?;
        Some(source)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrapped_failure_keeps_its_reason() {
        let new = |kind| RepositoryError::new(kind, "finding a link");
        let below = || new(RepositoryErrorKind::Unavailable).because(FailureReason::SessionsRefused);
        let wrapped = new(RepositoryErrorKind::Unavailable).caused_by(below());
        assert_eq!(wrapped.reason(), FailureReason::SessionsRefused);
        assert!(wrapped.source().is_some_and(|source| source.to_string() == below().to_string()));
        let shared = new(RepositoryErrorKind::Unavailable).caused_by(Arc::new(wrapped));
        assert_eq!(shared.reason(), FailureReason::SessionsRefused);
        let own = new(RepositoryErrorKind::Unavailable).caused_by(below()).because(FailureReason::Locked);
        assert_eq!(own.reason(), FailureReason::Locked);
        assert_eq!(new(RepositoryErrorKind::Internal).caused_by("a text").reason(), FailureReason::Unknown);
        assert_eq!(new(RepositoryErrorKind::StorageFull).reason(), FailureReason::StorageFull);
    }

    #[test]
    fn reasons_have_words_and_some_are_vague() {
        assert_eq!(FailureReason::ReadOnly.words(), "it is read-only");
        assert_eq!(FailureReason::StorageFull.words(), "the disk is full");
        assert!(FailureReason::Busy.is_vague() && FailureReason::ConnectionLost.is_vague());
        assert!(!FailureReason::ReadOnly.is_vague() && !FailureReason::SessionsRefused.is_vague());
    }
}
