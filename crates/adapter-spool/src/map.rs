//! A file in memory, shared by the thread that writes it and the threads that sync and prefault it.
//!
//! This is the only place with `unsafe` code.

use std::{
    fs::File,
    io, slice,
    sync::atomic::{AtomicU64, Ordering},
};

use memmap2::{Advice, MmapOptions, MmapRaw};

const WORD: usize = size_of::<u64>();

/// A mapped file. Its words are atomic, so that threads, and processes that read the file, may look at it at any time.
#[derive(Debug)]
pub(crate) struct Map(MmapRaw);

impl Map {
    /// Maps the first `length` bytes of `file`, which must be allocated: a page without space on the disk would end the
    /// process as it is written (`SIGBUS`).
    pub(crate) fn new(file: &File, length: usize) -> io::Result<Self> {
        MmapOptions::new().len(length).map_raw(file).map(Self)
    }

    /// Writes whole words at an offset that is a multiple of a word.
    ///
    /// # Panics
    ///
    /// If they reach beyond the end.
    pub(crate) fn write(&self, at: usize, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<WORD>();
        assert!(at.is_multiple_of(WORD) && rest.is_empty(), "only whole words are written");
        let cells = &self.words()[at / WORD..][..words.len()];
        for (cell, word) in cells.iter().zip(words) {
            cell.store(u64::from_ne_bytes(*word), Ordering::Relaxed);
        }
    }

    /// Writes these pages through to the disk, and what is needed to find them there. Other pages stay as they are.
    pub(crate) fn sync(&self, from: usize, until: usize) -> io::Result<()> {
        self.0.flush_range(from, until - from)
    }

    /// Makes these pages writable without a page fault. A failure changes nothing but the speed: kernels before 5.14
    /// cannot do it.
    pub(crate) fn prefault(&self, from: usize, until: usize) {
        let until = until.min(self.0.len());
        if from < until {
            let _ = self.0.advise_range(Advice::PopulateWrite, from, until - from);
        }
    }

    #[expect(unsafe_code, reason = "memory that others may change has no safe view in the standard library")]
    #[expect(clippy::cast_ptr_alignment, reason = "a mapping begins at a page")]
    fn words(&self) -> &[AtomicU64] {
        let (words, length) = (self.0.as_mut_ptr().cast::<AtomicU64>(), self.0.len() / WORD);
        // SAFETY: The mapping is readable, writable, page-aligned and `length` words long, and it lives as long as
        // `self`. Any bits are a valid word, and every access to it in this process is atomic. The file is allocated,
        // private to us (0600, in a folder that we hold a lock on), and we never truncate a segment.
        unsafe { slice::from_raw_parts(words, length) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_written_is_in_the_file_at_once() {
        let mut file = tempfile::tempfile().expect("a file");
        file.set_len(8_192).expect("it grows");
        let map = Map::new(&file, 8_192).expect("it is mapped");
        map.prefault(0, 1 << 20);
        map.write(4_088, b"12345678abcdefgh");
        map.sync(0, 8_192).expect("it is synced");
        let mut bytes = Vec::new();
        file.read_to_end(&mut bytes).expect("it is read");
        assert_eq!(&bytes[4_088..4_104], b"12345678abcdefgh");
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn nothing_is_written_beyond_the_end() {
        let file = tempfile::tempfile().expect("a file");
        file.set_len(4_096).expect("it grows");
        Map::new(&file, 4_096).expect("it is mapped").write(4_088, &[1; 16]);
    }
}
