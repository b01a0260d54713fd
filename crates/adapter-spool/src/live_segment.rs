//! A segment that is being written: one thread writes, others read, sync and prefault.

use std::{
    fs::{File, OpenOptions},
    io,
    os::unix::fs::{FileExt as _, OpenOptionsExt as _},
    path::{Path, PathBuf},
    sync::Mutex,
    sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering},
};

use uuid::Uuid;

use crate::{
    folder,
    format::{COPY_AT, Header, RECORDS_AT, TALLY_AT, tally_word},
    map::Map,
    medium::{Medium, allocate},
};

/// A segment that is being written, or that will be.
#[derive(Debug)]
pub(crate) struct LiveSegment {
    pub(crate) path: PathBuf,
    pub(crate) ordinal: u64,
    pub(crate) size: usize,
    pub(crate) file: File,
    /// `None`: it is written by system calls.
    pub(crate) map: Option<Map>,
    /// The number of its first record; 0 while it is unused.
    first: AtomicU64,
    seed: AtomicU32,
    /// How many records it has, and where the last one ends.
    progress: AtomicU64,
    /// The next record begins here or beyond: the page before is on its way to the disk.
    pub(crate) skip_to: AtomicUsize,
    /// No record follows.
    sealed: AtomicBool,
    /// Where it ended when its next pages were prefaulted.
    pub(crate) prefaulted_at: AtomicUsize,
    /// What is on the disk.
    pub(crate) synced: Mutex<Synced>,
}

/// How far a segment is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Progress {
    /// Its records.
    pub(crate) records: u32,
    /// Where the last one ends.
    pub(crate) end: usize,
}

/// What of a segment is on the disk.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Synced {
    /// The header.
    pub(crate) header: bool,
    /// All finished pages up to here.
    pub(crate) until: usize,
    /// Where it ended when it was last looked at.
    pub(crate) seen: usize,
    /// Where it ended when the page that is being written was last synced.
    pub(crate) settled: usize,
    /// The whole segment, as far as possible.
    pub(crate) whole: bool,
}

impl LiveSegment {
    /// Makes the file. What it leaves behind when it fails is removed.
    pub(crate) fn create(stream: &Path, ordinal: u64, size: usize, medium: Medium) -> io::Result<Self> {
        let path = folder::segment(stream, ordinal);
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path)?;
        match Self::prepare(&file, size, medium) {
            Ok(map) => Ok(Self {
                path,
                ordinal,
                size,
                file,
                map,
                first: AtomicU64::new(0),
                seed: AtomicU32::new(0),
                progress: AtomicU64::new(0),
                skip_to: AtomicUsize::new(0),
                sealed: AtomicBool::new(false),
                prefaulted_at: AtomicUsize::new(0),
                synced: Mutex::default(),
            }),
            Err(error) => {
                // The first failure tells more than this one.
                let _ = folder::remove(&path);
                Err(error)
            }
        }
    }

    fn prepare(file: &File, size: usize, medium: Medium) -> io::Result<Option<Map>> {
        let allocated = allocate(file, size as u64);
        match medium {
            Medium::Mapped => allocated.and_then(|()| Map::new(file, size)).map(Some),
            // What cannot be allocated grows as it is written.
            Medium::Written => match allocated {
                Err(error) if error.kind() != io::ErrorKind::Unsupported => Err(error),
                _ => Ok(None),
            },
        }
    }

    /// Writes the header. Only the thread that writes the segment may call this, once.
    pub(crate) fn begin(&self, stream: &Uuid, first: u64) -> io::Result<Header> {
        let header = Header { stream: *stream, ordinal: self.ordinal, first, size: self.size as u64 };
        let bytes = header.encode();
        self.write(0, &bytes)?;
        self.write(COPY_AT, &bytes)?;
        self.seed.store(header.seed(), Ordering::Relaxed);
        self.publish(Progress { records: 0, end: RECORDS_AT });
        self.first.store(first, Ordering::Release);
        Ok(header)
    }

    /// Writes whole words.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) -> io::Result<()> {
        match &self.map {
            Some(map) => {
                map.write(at, bytes);
                Ok(())
            }
            None => self.file.write_all_at(bytes, at as u64),
        }
    }

    /// Tells other threads, and who reads the file after a crash, how far it is written.
    pub(crate) fn publish(&self, progress: Progress) {
        if let Some(map) = &self.map {
            map.write(TALLY_AT, &tally_word(progress.records).to_le_bytes());
        }
        self.progress.store(u64::from(progress.records) << 32 | progress.end as u64, Ordering::Release);
    }

    /// How far it is written. Everything before is visible to the caller.
    pub(crate) fn progress(&self) -> Progress {
        let packed = self.progress.load(Ordering::Acquire);
        let half = |bits: u64| u32::try_from(bits & u64::from(u32::MAX)).expect("32 bits");
        Progress { records: half(packed >> 32), end: half(packed) as usize }
    }

    /// The number of its first record; `None` while it is unused.
    pub(crate) fn first(&self) -> Option<u64> {
        Some(self.first.load(Ordering::Acquire)).filter(|&first| first > 0)
    }

    /// The seed of the checksums, once it is in use.
    pub(crate) fn seed(&self) -> u32 {
        self.seed.load(Ordering::Relaxed)
    }

    /// No record follows.
    pub(crate) fn seal(&self) {
        self.sealed.store(true, Ordering::Release);
    }

    /// Whether no record follows.
    pub(crate) fn is_sealed(&self) -> bool {
        self.sealed.load(Ordering::Acquire)
    }
}
