//! Where the spool lies, and how much it may hold.

use std::path::PathBuf;

/// How records reach the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SpoolMode {
    /// [`Mmap`](Self::Mmap) on file systems that are known to keep the space of an allocated file; otherwise
    /// [`Write`](Self::Write).
    #[default]
    Auto,
    /// Through a mapping, without a system call.
    Mmap,
    /// With one system call for each record.
    Write,
}

/// Where the spool lies, and how much it may hold.
#[derive(Clone, Debug)]
pub struct SpoolOptions {
    /// The folder of all streams. It is made if it is not there.
    pub folder: PathBuf,
    /// How records reach the page cache.
    pub mode: SpoolMode,
    /// Maximum size of all segments of this process in bytes, at least 256 KiB for each worker. Beyond it the oldest
    /// segment is dropped.
    pub limit: u64,
    /// Bytes of acknowledged segments that are kept, in case the store is restored from a backup.
    pub kept: u64,
}

impl SpoolOptions {
    /// The defaults: 1 GiB at most, of which 64 MiB are acknowledged clicks.
    pub fn new(folder: impl Into<PathBuf>) -> Self {
        Self { folder: folder.into(), mode: SpoolMode::Auto, limit: 1 << 30, kept: 64 << 20 }
    }
}
