//! The header of a segment, and the number of its records.

use uuid::Uuid;

/// Where the header is repeated: not in the page of the first one.
pub(crate) const COPY_AT: usize = TALLY_AT + Header::BYTES;
/// Where the number of records is. It changes with each record, so it has a page without records.
pub(crate) const TALLY_AT: usize = 4_096;
/// Where the records begin.
pub(crate) const RECORDS_AT: usize = 8_192;

const MAGIC: [u8; 8] = *b"sgnclick";
const VERSION: u32 = 1;

/// The header of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Header {
    /// The stream.
    pub(crate) stream: Uuid,
    /// The how-manieth segment of the stream it is.
    pub(crate) ordinal: u64,
    /// The number of its first record in the stream.
    pub(crate) first: u64,
    /// Size of the segment in bytes.
    pub(crate) size: u64,
}

/// What the header of a file tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderState {
    /// A segment.
    Valid(Header),
    /// A segment without a record.
    Unused,
    /// A segment of a release that writes another format.
    OtherVersion,
    /// No segment, or one whose two headers are damaged.
    Unreadable,
}

impl Header {
    /// Length of a header.
    pub(crate) const BYTES: usize = 64;

    /// The header as bytes.
    pub(crate) fn encode(&self) -> [u8; Self::BYTES] {
        let mut bytes = [0; Self::BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(self.stream.as_bytes());
        bytes[32..40].copy_from_slice(&self.ordinal.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.first.to_le_bytes());
        bytes[48..56].copy_from_slice(&self.size.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..56]);
        bytes[56..60].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a header or its copy from the bytes of a segment.
    pub(crate) fn read(segment: &[u8]) -> HeaderState {
        let copies = [0, COPY_AT].map(|at| segment.get(at..at + Self::BYTES).unwrap_or_default());
        if let Some(header) = copies.iter().find_map(|bytes| Self::decode(bytes)) {
            return HeaderState::Valid(header);
        }
        let is_other = |bytes: &&[u8]| bytes.starts_with(&MAGIC) && bytes[8..12] != VERSION.to_le_bytes();
        if copies.iter().all(is_other) {
            return HeaderState::OtherVersion;
        }
        let is_whole = segment.is_empty() || segment.len() >= RECORDS_AT;
        let is_zero = segment.iter().take(RECORDS_AT).all(|&byte| byte == 0);
        if is_whole && is_zero { HeaderState::Unused } else { HeaderState::Unreadable }
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; Self::BYTES] = bytes.try_into().ok()?;
        let number = |at: usize| u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"));
        let stream = Uuid::from_bytes(bytes[16..32].try_into().expect("sixteen bytes"));
        let header = Self { stream, ordinal: number(32), first: number(40), size: number(48) };
        let is_number = i64::try_from(header.first).is_ok_and(|first| first > 0);
        (is_number && header.encode() == *bytes).then_some(header)
    }

    /// Where the checksum of each record begins. So a record counts in its own segment only, and a client that does not
    /// know the stream cannot put one into its user agent.
    pub(crate) fn seed(&self) -> u32 {
        crc32fast::hash(&self.encode())
    }
}

/// The number of records as it is stored. One word, so that it is never half written.
pub(crate) fn tally_word(records: u32) -> u64 {
    u64::from(records) << 32 | u64::from(check(records))
}

/// Reads what [`tally_word`] made; `None` if the word is damaged.
pub(crate) fn tallied(word: u64) -> Option<u32> {
    let records = u32::try_from(word >> 32).expect("32 bits");
    (tally_word(records) == word).then_some(records)
}

fn check(records: u32) -> u32 {
    (records ^ 0x5bd1_e995).wrapping_mul(0x9e37_79b1)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADER: Header = Header { stream: Uuid::from_u128(7), ordinal: 3, first: 1_001, size: 65_536 };

    fn segment() -> Vec<u8> {
        let mut bytes = vec![0; RECORDS_AT];
        for at in [0, COPY_AT] {
            bytes[at..at + Header::BYTES].copy_from_slice(&HEADER.encode());
        }
        bytes
    }

    #[test]
    fn any_flipped_bit_is_noticed_and_the_copy_stands_in() {
        for bit in 0..Header::BYTES * 8 {
            let mut bytes = segment();
            bytes[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(Header::decode(&bytes[..Header::BYTES]), None, "{bit}");
            assert_eq!(Header::read(&bytes), HeaderState::Valid(HEADER), "{bit}");
            bytes[COPY_AT + bit / 8] ^= 1 << (bit % 8);
            assert!(!matches!(Header::read(&bytes), HeaderState::Valid(_)), "{bit}");
        }
    }

    #[test]
    fn an_unused_segment_a_later_one_and_a_foreign_file_are_told_apart() {
        assert_eq!(Header::read(&[0; RECORDS_AT]), HeaderState::Unused);
        assert_eq!(Header::read(b""), HeaderState::Unused);
        assert_eq!(Header::read(&[0; 100]), HeaderState::Unreadable);
        assert_eq!(Header::read(b"#!/bin/sh"), HeaderState::Unreadable);
        let mut later = segment();
        later[8] = 2;
        later[COPY_AT + 8] = 2;
        assert_eq!(Header::read(&later), HeaderState::OtherVersion);
    }

    #[test]
    fn a_damaged_tally_is_noticed() {
        for records in [0, 1, 4_711, u32::MAX] {
            assert_eq!(tallied(tally_word(records)), Some(records));
            for bit in 0..64 {
                assert_eq!(tallied(tally_word(records) ^ 1 << bit), None, "{records} {bit}");
            }
        }
        assert_eq!(tallied(0), None);
    }
}
