//! Whether a file system can be trusted with a mapping.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::OpenOptionsExt as _,
    path::Path,
};

use rustix::{
    fs::{FallocateFlags, fallocate, statfs, statvfs},
    io::Errno,
};

use crate::{error::SpoolError, folder, options::SpoolMode};

/// How segments are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Through a mapping.
    Mapped,
    /// By system calls.
    Written,
}

/// Magic numbers of file systems that keep the space of an allocated file, so that a mapped page can always be written:
/// ext4, XFS, tmpfs, and overlayfs over one of them (linux/magic.h). Network file systems are not among them, and neither
/// are those that write each page to a new place.
const TRUSTED: [u64; 4] = [0xef53, 0x5846_5342, 0x0102_1994, 0x794c_7630];

impl Medium {
    /// Checks that files can be made in `folder`, and picks a medium.
    pub(crate) fn pick(mode: SpoolMode, folder: &Path) -> Result<Self, SpoolError> {
        let fail = |source| SpoolError::Folder { folder: folder.to_owned(), source };
        let can_allocate = can_allocate(folder).map_err(fail)?;
        match mode {
            SpoolMode::Write => Ok(Self::Written),
            SpoolMode::Mmap if can_allocate => Ok(Self::Mapped),
            SpoolMode::Mmap => Err(SpoolError::CannotMap { folder: folder.to_owned() }),
            SpoolMode::Auto => {
                let is_trusted = statfs(folder).is_ok_and(|it| TRUSTED.contains(&magic(it.f_type)));
                Ok(if can_allocate && is_trusted { Self::Mapped } else { Self::Written })
            }
        }
    }
}

/// The type of the field differs between platforms. A magic number has 32 bits.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "only the lower 32 bits tell")]
fn magic(f_type: rustix::fs::FsWord) -> u64 {
    u64::from(f_type as u32)
}

/// Tries to make and to allocate a file. A full disk is no failure: it may have space later.
fn can_allocate(folder: &Path) -> io::Result<bool> {
    let path = folder.join(format!(".probe-{}", std::process::id()));
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&path);
    let file = match file {
        Err(error) if is_full(&error) => return Ok(true),
        file => file?,
    };
    let allocated = allocate(&file, 4_096);
    // A process in another container may have the same id, and have removed it.
    folder::remove(&path)?;
    match allocated {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::Unsupported => Ok(false),
        Err(error) if is_full(&error) => Ok(true),
        Err(error) => Err(error),
    }
}

/// Allocates the first `length` bytes of a file, so that no write to them can lack space.
pub(crate) fn allocate(file: &File, length: u64) -> io::Result<()> {
    loop {
        match fallocate(file, FallocateFlags::empty(), 0, length) {
            Err(Errno::INTR) => {}
            other => return Ok(other?),
        }
    }
}

/// No space, or no quota.
pub(crate) fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

/// Bytes that are free for us.
pub(crate) fn free_bytes(folder: &Path) -> io::Result<u64> {
    let free = statvfs(folder)?;
    Ok(free.f_bavail.saturating_mul(free.f_frsize))
}
