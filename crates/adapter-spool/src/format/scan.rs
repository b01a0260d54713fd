//! Finds the records in the bytes of a segment, whatever lies between them.

use super::{
    header::RECORDS_AT,
    record::{ALIGNMENT, MAX_RECORD, MIN_RECORD, Record},
};

/// Reads records from a window of a segment, in ascending order. Where none begins it searches on for the next one whose
/// checksum passes and whose number is larger.
///
/// It ends at the end of the window, or shortly before if the window [goes on](Self::goes_on).
#[derive(Debug)]
pub(crate) struct Scan<'a> {
    window: &'a [u8],
    window_at: usize,
    at: usize,
    goes_on: bool,
    seed: u32,
    next: u32,
}

impl<'a> Scan<'a> {
    /// Begins at the begin of `window`, which lies at the offset `window_at` of its segment, a multiple of 8. Records
    /// with numbers below `next` are skipped.
    pub(crate) fn new(window: &'a [u8], window_at: usize, seed: u32, next: u32) -> Self {
        Self { window, window_at, at: 0, goes_on: false, seed, next }
    }

    /// The window is not the last one of its segment. A record that may reach beyond it is left for the next window,
    /// which begins at [`offset`](Self::offset).
    pub(crate) fn goes_on(self) -> Self {
        Self { goes_on: true, ..self }
    }

    /// The offset in the segment of what is not read yet.
    pub(crate) fn offset(&self) -> usize {
        self.window_at + self.at
    }

    /// A number that is larger cannot be reached at this offset.
    fn highest(&self) -> usize {
        self.offset().saturating_sub(RECORDS_AT) / MIN_RECORD
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            let rest = self.window.get(self.at..)?;
            if rest.len() < if self.goes_on { MAX_RECORD } else { MIN_RECORD } {
                return None;
            }
            let (lowest, highest) = (self.next, self.highest());
            let is_expected =
                |number| number >= lowest && usize::try_from(number).is_ok_and(|number| number <= highest);
            if let Some(record) = Record::parse(rest, self.seed, is_expected) {
                self.at += record.len();
                self.next = record.number.saturating_add(1);
                return Some(record);
            }
            self.at += ALIGNMENT;
        }
    }
}
