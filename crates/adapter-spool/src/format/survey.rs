//! What a whole segment holds.

use uuid::Uuid;

use super::{
    header::{Header, HeaderState, RECORDS_AT, TALLY_AT, tallied},
    scan::Scan,
};

/// What a whole segment holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Survey {
    /// A segment.
    Segment {
        /// Its stream.
        stream: Uuid,
        /// The number of its first record.
        first: u64,
        /// Clicks that can be read.
        clicks: u64,
        /// Records that are sound, but not known to this release.
        unknown: u64,
        /// Records that are missing, as far as the others and the count in the segment tell.
        damaged: u64,
    },
    /// A segment without a record.
    Unused,
    /// A segment of a release that writes another format.
    OtherVersion,
    /// No segment, or one whose two headers are damaged.
    Unreadable,
}

/// Reads all records of a segment. It accepts any bytes.
pub fn survey(segment: &[u8]) -> Survey {
    let header = match Header::read(segment) {
        HeaderState::Valid(header) => header,
        HeaderState::Unused => return Survey::Unused,
        HeaderState::OtherVersion => return Survey::OtherVersion,
        HeaderState::Unreadable => return Survey::Unreadable,
    };
    let word = segment.get(TALLY_AT..TALLY_AT + 8).map(|word| word.try_into().expect("eight bytes"));
    let mut expected = word.map(u64::from_le_bytes).and_then(tallied).map_or(0, u64::from);
    let (mut clicks, mut unknown) = (0, 0);
    for record in Scan::new(segment.get(RECORDS_AT..).unwrap_or_default(), RECORDS_AT, header.seed(), 0) {
        *if record.click().is_some() { &mut clicks } else { &mut unknown } += 1;
        expected = expected.max(u64::from(record.number) + 1);
    }
    let damaged = expected.saturating_sub(clicks + unknown);
    Survey::Segment { stream: header.stream, first: header.first, clicks, unknown, damaged }
}

#[cfg(test)]
mod tests {
    use domain::{
        click::{Click, VisitorHash},
        time::Timestamp,
    };
    use proptest::prelude::*;

    use super::{
        super::{header::COPY_AT, header::tally_word, record::Encoder},
        *,
    };

    const HEADER: Header = Header { stream: Uuid::from_u128(7), ordinal: 3, first: 1_001, size: 65_536 };
    const RECORDS: u32 = 40;

    fn click(number: u32, user_agent: &str) -> Click<'_> {
        Click {
            at: Timestamp::from_unix_micros(1_780_000_000_000_000 + i64::from(number)).expect("a moment"),
            link: Uuid::from_u128(number.into()),
            visitor: Some(VisitorHash(number.into())),
            network: None,
            referrer: "example.org",
            user_agent,
            language: "de",
            is_prefetch: false,
            opted_out: false,
        }
    }

    /// A segment, and where each of its records ends.
    fn segment() -> (Vec<u8>, Vec<usize>) {
        let mut bytes = vec![0; 24_576];
        for at in [0, COPY_AT] {
            bytes[at..at + Header::BYTES].copy_from_slice(&HEADER.encode());
        }
        bytes[TALLY_AT..TALLY_AT + 8].copy_from_slice(&tally_word(RECORDS).to_le_bytes());
        let (mut encoder, mut at, mut ends) = (Encoder::new(), RECORDS_AT, Vec::new());
        for number in 0..RECORDS {
            encoder.encode(&click(number, &"agent ".repeat(number as usize)));
            let record = encoder.seal(HEADER.seed(), number);
            bytes[at..at + record.len()].copy_from_slice(record);
            at += record.len();
            ends.push(at);
        }
        (bytes, ends)
    }

    fn found(clicks: u64, unknown: u64, damaged: u64) -> Survey {
        Survey::Segment { stream: HEADER.stream, first: HEADER.first, clicks, unknown, damaged }
    }

    #[test]
    fn a_segment_that_is_cut_anywhere_loses_what_is_cut_off_and_says_how_much() {
        let (bytes, ends) = segment();
        assert_eq!(survey(&bytes), found(RECORDS.into(), 0, 0));
        for length in (0..=*ends.last().expect("there are records")).filter(|at| *at < 300 || *at > 4_000) {
            let whole = ends.iter().filter(|&&end| end <= length).count() as u64;
            let expected = match length {
                0 => Survey::Unused,
                1..64 => Survey::Unreadable,
                // The count is cut off too.
                64..4_104 => found(0, 0, 0),
                _ => found(whole, 0, u64::from(RECORDS) - whole),
            };
            assert_eq!(survey(&bytes[..length]), expected, "cut at {length}");
        }
    }

    #[test]
    fn a_flipped_bit_costs_one_record_at_most() {
        let (bytes, ends) = segment();
        let end = *ends.last().expect("there are records");
        for bit in (0..end * 8).step_by(13) {
            let mut bytes = bytes.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            let lost = u64::from(bit / 8 >= RECORDS_AT);
            assert_eq!(survey(&bytes), found(u64::from(RECORDS) - lost, 0, lost), "bit {bit}");
        }
    }

    #[test]
    fn records_of_a_later_release_are_skipped_and_counted() {
        let (mut bytes, ends) = segment();
        let mut encoder = Encoder::new();
        encoder.encode(&click(7, &"agent ".repeat(7)));
        let record = encoder.seal_as(2, HEADER.seed(), 7);
        bytes[ends[6]..ends[7]].copy_from_slice(record);
        assert_eq!(survey(&bytes), found(39, 1, 0));
    }

    /// What a client sends as its user agent, or what a copied segment holds, is no record of this segment.
    #[test]
    fn records_of_another_segment_or_of_an_impossible_number_do_not_count() {
        let (mut bytes, ends) = segment();
        let mut encoder = Encoder::new();
        for (seed, number) in [(HEADER.seed() ^ 1, 7), (HEADER.seed(), 4_000_000)] {
            encoder.encode(&click(7, &"agent ".repeat(7)));
            bytes[ends[6]..ends[7]].copy_from_slice(encoder.seal(seed, number));
            assert_eq!(survey(&bytes), found(39, 0, 1));
        }
    }

    #[test]
    fn what_is_no_segment_is_called_so() {
        assert_eq!(survey(b""), Survey::Unused);
        assert_eq!(survey(&[0; 10_000]), Survey::Unused);
        assert_eq!(survey(&[0xff; 10_000]), Survey::Unreadable);
    }

    proptest! {
        #[test]
        fn no_bytes_make_it_panic(at in 0..20_000_usize, noise: Vec<u8>) {
            let (mut bytes, _) = segment();
            let length = noise.len();
            bytes[at..at + length].copy_from_slice(&noise);
            if let Survey::Segment { clicks, damaged, .. } = survey(&bytes) {
                prop_assert!(clicks + damaged <= u64::from(RECORDS), "{} {}", clicks, damaged);
            }
            survey(&noise);
        }
    }
}
