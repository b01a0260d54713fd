//! The one way a store fails.

use std::{error::Error, fmt};

/// An infrastructure failure; everything a caller must decide about is a value instead.
#[derive(Debug)]
pub struct RepositoryError {
    kind: RepositoryErrorKind,
    doing: &'static str,
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

impl RepositoryError {
    /// A failure of `kind` while `doing` something (`"finding a link"`).
    pub fn new(kind: RepositoryErrorKind, doing: &'static str) -> Self {
        Self { kind, doing, source: None }
    }

    /// The same with its cause.
    #[must_use]
    pub fn caused_by(self, source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self { source: Some(source.into()), ..self }
    }

    /// What can be concluded.
    pub fn kind(&self) -> RepositoryErrorKind {
        self.kind
    }
}

impl fmt::Display for RepositoryError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = match self.kind {
            RepositoryErrorKind::Unavailable => "the store is unavailable",
            RepositoryErrorKind::Indeterminate => "the outcome is unknown",
            RepositoryErrorKind::StorageFull => "the storage is full",
            RepositoryErrorKind::Corrupt => "stored data is corrupt",
            RepositoryErrorKind::Internal => "the store failed",
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
