//! Why a spool cannot be opened.

use std::{io, path::PathBuf};

/// Why a spool cannot be opened. The caller can go on without recording clicks.
#[derive(Debug, thiserror::Error)]
pub enum SpoolError {
    /// The folder cannot be made, or no file can be made in it.
    #[error("cannot write to the folder of clicks `{}`", folder.display())]
    Folder {
        /// The folder.
        folder: PathBuf,
        /// What the operating system says.
        source: io::Error,
    },
    /// A mapping is demanded, but the file system cannot allocate space for it ahead of time.
    #[error("the file system of `{}` cannot allocate files, so that clicks cannot be mapped", folder.display())]
    CannotMap {
        /// The folder.
        folder: PathBuf,
    },
    /// A thread of the spool cannot be started.
    #[error("cannot start a thread of the click spool")]
    Thread(#[source] io::Error),
}
