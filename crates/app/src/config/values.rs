//! Values of settings that have a type of their own.

use std::{fmt, path::PathBuf};

/// Which store, chosen at run time.
#[derive(Clone, Debug)]
pub(crate) enum StoreLocation {
    Sqlite(PathBuf),
    /// The whole connection string.
    Postgres(Secret),
}

/// Without the connection string, so that it can be shown.
impl fmt::Display for StoreLocation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "sqlite:{}", path.display()),
            Self::Postgres(_) => f.write_str("postgres://[redacted]"),
        }
    }
}

/// A text that no log, error or debug output may show.
#[derive(Clone)]
pub(crate) struct Secret(String);

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself, for the code that needs it.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}
