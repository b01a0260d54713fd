//! Streams of processes that have ended: what is in their folders.

use std::{
    fs::File,
    io::{self, Read as _},
    os::unix::fs::FileExt as _,
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::{
    folder,
    format::{Header, HeaderState, RECORDS_AT, Scan, TALLY_AT, tallied},
};

/// No segment is longer. A foreign file may be.
const MAX_BYTES: u64 = 64 << 20;

/// What is left of a stream.
#[derive(Debug)]
pub(crate) struct Remains {
    /// Its segments, by the numbers of their records.
    pub(crate) segments: Vec<Remnant>,
    /// The number of its last record.
    pub(crate) last: u64,
}

/// A segment of such a stream.
#[derive(Debug)]
pub(crate) struct Remnant {
    pub(crate) ordinal: u64,
    pub(crate) path: PathBuf,
    pub(crate) first: u64,
    pub(crate) seed: u32,
    /// Length of the file.
    pub(crate) length: u64,
    tally: u64,
}

/// Looks at a stream whose lock we hold. `None`: a release with another format has written it.
///
/// Segments without a record are removed. Files that are no segment of the stream stay until the stream is removed.
pub(crate) fn examine(stream: &Uuid, folder: &Path) -> io::Result<Option<Remains>> {
    let mut segments = Vec::new();
    for (ordinal, path) in folder::segments(folder)? {
        let begin = begin_of(&path)?;
        match Header::read(&begin) {
            HeaderState::Valid(header) if header.stream == *stream => {
                let length = path.metadata()?.len().min(MAX_BYTES);
                segments.push(Remnant::new(ordinal, path, header, length, &begin));
            }
            HeaderState::OtherVersion => return Ok(None),
            HeaderState::Unused => folder::remove(&path)?,
            HeaderState::Valid(_) | HeaderState::Unreadable => {}
        }
    }
    segments.sort_by_key(|segment| (segment.first, segment.ordinal));
    let mut last = segments.iter().map(|segment| segment.first + segment.tally - 1).max().unwrap_or(0);
    // The count in a segment may be older than its records, if the power failed.
    if let Some(segment) = segments.last() {
        last = last.max(segment.first + segment.records()? - 1);
    }
    Ok(Some(Remains { segments, last }))
}

fn begin_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut begin = Vec::new();
    File::open(path)?.take(RECORDS_AT as u64).read_to_end(&mut begin)?;
    Ok(begin)
}

impl Remnant {
    fn new(ordinal: u64, path: PathBuf, header: Header, length: u64, begin: &[u8]) -> Self {
        let word = begin.get(TALLY_AT..TALLY_AT + 8).map(|word| word.try_into().expect("eight bytes"));
        let tally = word.map(u64::from_le_bytes).and_then(tallied).map_or(0, u64::from);
        Self { ordinal, path, first: header.first, seed: header.seed(), length, tally }
    }

    /// How many records it had, as the last one of them tells.
    fn records(&self) -> io::Result<u64> {
        let file = File::open(&self.path)?;
        let length = usize::try_from(self.length).expect("it is at most 64 MiB");
        let mut records = vec![0; length.saturating_sub(RECORDS_AT)];
        file.read_exact_at(&mut records, RECORDS_AT as u64)?;
        let last = Scan::new(&records, RECORDS_AT, self.seed, 0).last();
        Ok(last.map_or(0, |record| u64::from(record.number) + 1))
    }
}
