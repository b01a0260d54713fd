//! Folders of streams: their names, their locks, their files.

use std::{
    fs::{self, DirBuilder, File, OpenOptions},
    io,
    os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
};

use rustix::fs::{FlockOperation, flock};
use uuid::Uuid;

const LOCK: &str = "lock";
const ENDING: &str = ".clicks";

/// The lock of a stream, held until this is dropped. The process that holds it is the only one that changes the stream.
#[derive(Debug)]
pub(crate) struct Lock {
    _file: File,
}

/// Makes the folder of all streams.
pub(crate) fn make(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}

/// Makes the folder of a new stream and locks it.
///
/// Another process may see the folder before it is locked, and remove it as that of a dead stream. Then the error is
/// `WouldBlock` or `NotFound`, and the caller tries again with another stream.
pub(crate) fn make_stream(folder: &Path, stream: &Uuid) -> io::Result<(PathBuf, Lock)> {
    let path = folder.join(stream.to_string());
    DirBuilder::new().mode(0o700).create(&path)?;
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path.join(LOCK))?;
    let lock = lock(&path)?.ok_or(io::ErrorKind::WouldBlock)?;
    Ok((path, lock))
}

/// Locks a stream; `None` if another process holds the lock, or if the stream is gone or never was one.
pub(crate) fn lock(stream: &Path) -> io::Result<Option<Lock>> {
    let path = stream.join(LOCK);
    let file = match OpenOptions::new().write(true).open(&path) {
        Err(error) if is_gone(&error) => return Ok(None),
        file => file?,
    };
    match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        other => other?,
    }
    // Until we had the lock, its last holder may have removed the file.
    let is_there = fs::metadata(&path)
        .is_ok_and(|there| file.metadata().is_ok_and(|ours| (there.dev(), there.ino()) == (ours.dev(), ours.ino())));
    Ok(is_there.then_some(Lock { _file: file }))
}

/// Whether a process holds the lock of a stream. It takes the lock for a moment, shared.
pub(crate) fn is_locked(stream: &Path) -> io::Result<bool> {
    let file = File::open(stream.join(LOCK))?;
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Err(rustix::io::Errno::WOULDBLOCK) => Ok(true),
        other => Ok(other.map(|()| false)?),
    }
}

/// The streams in the folder. Other folders and files are left out.
pub(crate) fn streams(folder: &Path) -> io::Result<Vec<(Uuid, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Ok(stream) = name.parse::<Uuid>()
            && name == stream.to_string()
            && is_there(&path.join(LOCK))
        {
            found.push((stream, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Whether the file is there. One that cannot be looked at is: the caller finds out why.
fn is_there(file: &Path) -> bool {
    match fs::metadata(file) {
        Ok(metadata) => metadata.is_file(),
        Err(error) => !is_gone(&error),
    }
}

/// The path of a segment.
pub(crate) fn segment(stream: &Path, ordinal: u64) -> PathBuf {
    stream.join(format!("{ordinal:08}{ENDING}"))
}

/// The files in a stream's folder that bear the name of a segment, each with the number in its name.
pub(crate) fn segments(stream: &Path) -> io::Result<Vec<(u64, PathBuf)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(stream)? {
        let path = entry?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if let Some(Ok(ordinal)) = name.strip_suffix(ENDING).map(str::parse) {
            found.push((ordinal, path));
        }
    }
    found.sort();
    Ok(found)
}

/// Removes the lock and the folder of a stream of which all segments are removed. What is left there under the name of a
/// segment could not be read: it is renamed and stays, as foreign files do, and so does the folder then, but it is no
/// stream any more.
pub(crate) fn remove_stream(stream: &Path) -> io::Result<()> {
    let listed = match segments(stream) {
        Err(error) if is_gone(&error) => return Ok(()),
        listed => listed?,
    };
    for (_, path) in listed {
        match fs::rename(&path, path.with_extension("damaged")) {
            Err(error) if !is_gone(&error) => return Err(error),
            _ => {}
        }
    }
    remove(&stream.join(LOCK))?;
    match fs::remove_dir(stream) {
        Err(error) if error.kind() != io::ErrorKind::DirectoryNotEmpty && !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Removes a file that may be gone already.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if !is_gone(&error) => Err(error),
        _ => Ok(()),
    }
}

/// Writes the entries of a folder through to the disk.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// A file or its folder is not there.
pub(crate) fn is_gone(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STREAM: Uuid = Uuid::from_u128(7);

    #[test]
    fn a_lock_is_held_by_one_at_a_time() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, held) = make_stream(folder.path(), &STREAM).expect("it is made");
        assert!(lock(&path).expect("it is readable").is_none());
        assert!(is_locked(&path).expect("it is readable"));
        drop(held);
        assert!(!is_locked(&path).expect("it is readable"));
        let again = lock(&path).expect("it is readable").expect("it is free");
        assert!(lock(&path).expect("it is readable").is_none());
        remove_stream(&path).expect("it is removed");
        assert!(!path.exists() && lock(&path).expect("it is readable").is_none());
        drop(again);
    }

    #[test]
    fn foreign_files_and_folders_are_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let (path, _held) = make_stream(folder.path(), &STREAM).expect("it is made");
        for foreign in ["lost+found", "0193-not-a-stream", "00000000-0000-0000-0000-000000000009"] {
            fs::create_dir(folder.path().join(foreign)).expect("it is made");
        }
        fs::write(folder.path().join("00000000-0000-0000-0000-00000000000a"), "").expect("it is written");
        fs::write(path.join("README"), "").expect("it is written");
        fs::write(segment(&path, 12), "").expect("it is written");
        assert_eq!(streams(folder.path()).expect("it is listed"), [(STREAM, path.clone())]);
        assert_eq!(segments(&path).expect("it is listed"), [(12, segment(&path, 12))]);
        remove_stream(&path).expect("it is removed");
        assert_eq!(streams(folder.path()).expect("it is listed"), []);
        assert!(path.join("README").exists());
        assert!(path.join("00000012.damaged").exists(), "what cannot be read is kept");
    }
}
