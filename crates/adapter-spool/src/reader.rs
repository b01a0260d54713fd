//! Reads a piece of a stream from its segments.

use std::{fs::File, io, os::unix::fs::FileExt as _, path::Path, sync::Arc};

use crate::{
    click::Piece,
    folder,
    format::{RECORDS_AT, Scan},
    live_segment::LiveSegment,
};

/// How much is read at a time.
const WINDOW: usize = 256 << 10;

/// A segment as far as it can be read.
#[derive(Clone, Debug)]
pub(crate) struct Extent {
    pub(crate) ordinal: u64,
    pub(crate) source: Source,
    /// The number of its first record.
    pub(crate) first: u64,
    pub(crate) seed: u32,
    /// Where its last record ends, or the end of the file.
    pub(crate) end: usize,
}

/// Where the bytes of a segment are.
#[derive(Clone, Debug)]
pub(crate) enum Source {
    /// In a segment that is being written.
    Live(Arc<LiveSegment>),
    /// In a file.
    File(Arc<Path>),
}

/// Where the next piece begins, so that a segment is not searched from its begin each time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Position {
    ordinal: u64,
    offset: usize,
    after: u64,
}

/// A piece, and what was found out on the way.
#[derive(Debug)]
pub(crate) struct Reading {
    pub(crate) piece: Piece,
    /// Numbers without a record: after which one, until which one.
    pub(crate) gaps: Vec<(u64, u64)>,
    pub(crate) position: Option<Position>,
    /// Everything was read.
    pub(crate) is_complete: bool,
}

impl Reading {
    fn new(after: u64) -> Self {
        let piece = Piece { after, until: after, ..Piece::default() };
        Self { piece, gaps: Vec::new(), position: None, is_complete: false }
    }

    /// The numbers up to `until` are read, `until` itself only `if_found`.
    pub(crate) fn advance(&mut self, until: u64, if_found: bool) {
        let end_of_gap = until - u64::from(if_found);
        if end_of_gap > self.piece.until {
            self.gaps.push((self.piece.until, end_of_gap));
            self.piece.lost += end_of_gap - self.piece.until;
        }
        self.piece.until = until;
    }
}

/// Reads up to `at_most` records with numbers above `after`.
pub(crate) fn read(extents: &[Extent], from: Option<Position>, after: u64, at_most: usize) -> io::Result<Reading> {
    let mut reading = Reading::new(after);
    let from = from.filter(|from| from.after == after);
    for (index, extent) in extents.iter().enumerate() {
        // A copy of the segment may follow it.
        let next = extents[index + 1..].iter().find(|next| next.first > extent.first);
        let next_first = next.map_or(u64::MAX, |next| next.first);
        let offset = match from {
            Some(from) if from.ordinal == extent.ordinal => from.offset,
            _ if next_first <= after.saturating_add(1) => continue,
            _ => RECORDS_AT,
        };
        if !extent.read(offset, at_most, &mut reading)? {
            return Ok(reading);
        }
    }
    reading.is_complete = true;
    Ok(reading)
}

impl Extent {
    /// Returns whether it was read to its end.
    fn read(&self, mut offset: usize, at_most: usize, reading: &mut Reading) -> io::Result<bool> {
        let opened;
        let file = match &self.source {
            Source::Live(segment) => &segment.file,
            Source::File(path) => match File::open(path) {
                // It was removed behind our back. The next records tell which ones are missing.
                Err(error) if folder::is_gone(&error) => return Ok(true),
                file => {
                    opened = file?;
                    &opened
                }
            },
        };
        let mut window = vec![0; WINDOW.min(self.end.saturating_sub(offset))];
        loop {
            let length = window.len().min(self.end.saturating_sub(offset));
            let filled = fill(file, &mut window[..length], offset)?;
            let is_last = filled < length || offset + length >= self.end;
            let lowest = (reading.piece.until + 1).saturating_sub(self.first);
            let Ok(lowest) = u32::try_from(lowest) else { return Ok(true) };
            let scan = Scan::new(&window[..filled], offset, self.seed, lowest);
            let mut scan = if is_last { scan } else { scan.goes_on() };
            while let Some(record) = scan.next() {
                let number = self.first + u64::from(record.number);
                reading.advance(number, true);
                match record.click() {
                    Some(click) => reading.piece.clicks.push((number, click)),
                    None => reading.piece.unknown += 1,
                }
                let offset = scan.offset();
                reading.position = Some(Position { ordinal: self.ordinal, offset, after: number });
                if reading.piece.clicks.len() + reading.count_unknown() >= at_most {
                    return Ok(false);
                }
            }
            if is_last {
                return Ok(true);
            }
            offset = scan.offset();
        }
    }
}

impl Reading {
    fn count_unknown(&self) -> usize {
        usize::try_from(self.piece.unknown).unwrap_or(usize::MAX)
    }
}

/// Reads until the buffer is full or the file ends. Returns how much was read.
fn fill(file: &File, buffer: &mut [u8], at: usize) -> io::Result<usize> {
    let mut filled = 0;
    while filled < buffer.len() {
        match file.read_at(&mut buffer[filled..], (at + filled) as u64) {
            Ok(0) => break,
            Ok(length) => filled += length,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(filled)
}
