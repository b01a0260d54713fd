//! The one way a store fails.

use std::{error::Error, fmt, sync::Arc};

/// An infrastructure failure; everything a caller must decide about is a value instead.
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
    /// The store could not be reached in time. Nothing was changed; trying later may work.
    Unavailable,
    /// A write was sent but its answer was not seen: it may have happened, or may still happen.
    Indeterminate,
    /// There is no room left to write. Nothing was changed.
    StorageFull,
    /// What is stored is not what was ever written.
    Corrupt,
    /// A defect: of the store, of its schema, or of ours.
    Internal,
}

/// Why a store failed, for the operator. Each has words that can be searched for and that hold no SQL, no names and no
/// secrets; the chain of causes says more, to the log alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum FailureReason {
    /// Nothing of the below is known of it.
    #[default]
    Unknown,
    /// Everything that could serve the call is taken by others.
    Busy,
    /// No answer came in time.
    TimedOut,
    /// The connection broke off.
    ConnectionLost,
    /// No session in time.
    ConnectTimedOut,
    /// Nothing listens there.
    ConnectionRefused,
    /// No way leads there: its name is not known, or the network is down.
    Unreachable,
    /// No encrypted connection can be agreed on.
    TlsFailed,
    /// It starts, recovers or stops.
    NotAccepting,
    /// It has as many sessions as it allows.
    SessionsRefused,
    /// Our word or our right is not enough.
    AuthenticationFailed,
    /// There is a server, and the database is not on it.
    DatabaseMissing,
    /// There is a database, and our tables are not in it.
    SchemaMissing,
    /// It can only be read.
    ReadOnly,
    /// Others hold a lock and do not give it back.
    Locked,
    /// No room is left.
    StorageFull,
    /// The file system fails it.
    FileUnusable,
    /// What is stored cannot be understood.
    Damaged,
}

impl FailureReason {
    /// In words for people.
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

    /// Whether it only says that something is amiss, where another reason says what.
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

    /// The same with its cause.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// The same with what an operator has to know of it.
    #[must_use]
    pub fn because(self, reason: FailureReason) -> Self {
        Self { reason, ..self }
    }

    /// Why, as far as this error or the one below it knows.
    pub fn reason(&self) -> FailureReason {
        match (self.reason, self.source.as_deref()) {
            (FailureReason::Unknown, Some(source)) => reason_below(source),
            (reason, _) => reason,
        }
    }

    /// What can be concluded.
    pub fn kind(&self) -> RepositoryErrorKind {
        self.kind
    }
}

/// A layer that passes a failure on wraps it, shared with others or not.
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
    fn a_failure_that_is_passed_on_keeps_its_reason() {
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
    fn a_reason_says_what_is_amiss_or_that_another_may() {
        assert_eq!(FailureReason::ReadOnly.words(), "it is read-only");
        assert_eq!(FailureReason::StorageFull.words(), "the disk is full");
        assert!(FailureReason::Busy.is_vague() && FailureReason::ConnectionLost.is_vague());
        assert!(!FailureReason::ReadOnly.is_vague() && !FailureReason::SessionsRefused.is_vague());
    }
}
