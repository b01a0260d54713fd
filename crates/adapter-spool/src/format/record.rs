//! One record: a click with its number and checksum.
//!
//! | offset | holds                                                                     |
//! |--------|---------------------------------------------------------------------------|
//! | 0      | CRC-32 of all that follows, from the [seed](super::Header::seed) on       |
//! | 4      | length of the record in bytes, a multiple of 8                            |
//! | 6      | kind: 1 is a click                                                        |
//! | 7      | flags: prefetch, opted out, has a visitor, network (2 bits), padding (3)  |
//! | 8      | number of the record in its segment, from 0                               |
//! | 12     | time, microseconds since 1970                                             |
//! | 20     | id of the link                                                            |
//! | 36     | length of the referrer                                                    |
//! | 37     | length of the language (4 bits), shape of the user agent (4 bits)         |
//! | 38     | length of the head of the user agent                                      |
//! | 39     | visitor, network, referrer, language, head and tail of the user agent, padding |

use crc32fast::Hasher;
use domain::{
    click::{Click, ClientNetwork, VisitorHash},
    time::Timestamp,
};
use uuid::Uuid;

use super::user_agent::Folded;
use crate::click::OwnedClick;

/// Every record begins at a multiple of this.
pub(super) const ALIGNMENT: usize = 8;
/// Length of the smallest record of any kind.
pub(super) const MIN_RECORD: usize = 16;
/// Length of the largest record of any kind.
pub(super) const MAX_RECORD: usize = 1_024;
/// Length of the largest record of a click.
pub(crate) const MAX_CLICK: usize =
    (CLICK_TEXTS_AT + 8 + 6 + Click::MAX_REFERRER + Click::MAX_LANGUAGE + Click::MAX_USER_AGENT)
        .next_multiple_of(ALIGNMENT);

const KIND_CLICK: u8 = 1;
const CLICK_TEXTS_AT: usize = 39;

const PREFETCH: u8 = 1;
const OPTED_OUT: u8 = 1 << 1;
const VISITOR: u8 = 1 << 2;
const NETWORK_V4: u8 = 1 << 3;
const NETWORK_V6: u8 = 2 << 3;
const NETWORK: u8 = 3 << 3;
const PADDING_SHIFT: u8 = 5;

/// Encodes clicks in a buffer of its own, so that no call allocates.
#[derive(Debug)]
pub(crate) struct Encoder {
    bytes: [u8; MAX_CLICK],
    length: usize,
}

impl Encoder {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self { bytes: [0; MAX_CLICK], length: 0 }
    }

    /// Encodes all of a click but number and checksum. Returns the length of the record.
    pub(crate) fn encode(&mut self, click: &Click<'_>) -> usize {
        let referrer = if click.referrer.len() <= Click::MAX_REFERRER { click.referrer } else { "" };
        let language = if click.language.len() <= Click::MAX_LANGUAGE { click.language } else { "" };
        let user_agent = Folded::of(cut(click.user_agent));
        let mut flags = if click.is_prefetch { PREFETCH } else { 0 } | if click.opted_out { OPTED_OUT } else { 0 };
        self.length = CLICK_TEXTS_AT;
        if let Some(visitor) = click.visitor {
            flags |= VISITOR;
            self.put(&visitor.0.to_le_bytes());
        }
        match click.network {
            None => {}
            Some(ClientNetwork::V4(network)) => {
                flags |= NETWORK_V4;
                self.put(&network);
            }
            Some(ClientNetwork::V6(network)) => {
                flags |= NETWORK_V6;
                self.put(&network);
            }
        }
        for text in [referrer, language, user_agent.head, user_agent.tail] {
            self.put(text.as_bytes());
        }
        let padding = self.length.next_multiple_of(ALIGNMENT) - self.length;
        self.put(&[0; ALIGNMENT][..padding]);
        flags |= byte(padding) << PADDING_SHIFT;
        self.bytes[4..6].copy_from_slice(&u16::try_from(self.length).expect("a short record").to_le_bytes());
        self.bytes[6..8].copy_from_slice(&[KIND_CLICK, flags]);
        self.bytes[12..20].copy_from_slice(&click.at.unix_micros().to_le_bytes());
        self.bytes[20..36].copy_from_slice(click.link.as_bytes());
        let lengths = [byte(referrer.len()), byte(language.len()) << 4 | user_agent.shape, byte(user_agent.head.len())];
        self.bytes[36..39].copy_from_slice(&lengths);
        self.length
    }

    /// Completes what was encoded. Returns the record.
    pub(crate) fn seal(&mut self, seed: u32, number: u32) -> &[u8] {
        let record = &mut self.bytes[..self.length];
        record[8..12].copy_from_slice(&number.to_le_bytes());
        let crc = checksum(seed, &record[4..]);
        record[..4].copy_from_slice(&crc.to_le_bytes());
        record
    }

    fn put(&mut self, bytes: &[u8]) {
        self.bytes[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }
}

/// The begin of a user agent, as much of it as is recorded.
fn cut(user_agent: &str) -> &str {
    &user_agent[..user_agent.floor_char_boundary(Click::MAX_USER_AGENT)]
}

fn byte(length: usize) -> u8 {
    u8::try_from(length).expect("texts are checked to be short")
}

fn checksum(seed: u32, bytes: &[u8]) -> u32 {
    let mut hasher = Hasher::new_with_initial(seed);
    hasher.update(bytes);
    hasher.finalize()
}

/// A record as it lies in a segment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Record<'a> {
    bytes: &'a [u8],
    /// Its number in the segment.
    pub(crate) number: u32,
}

impl<'a> Record<'a> {
    /// The record at the begin of `bytes`, if its number is one of those expected and its checksum passes.
    pub(super) fn parse(bytes: &'a [u8], seed: u32, is_expected: impl Fn(u32) -> bool) -> Option<Self> {
        let length = usize::from(u16::from_le_bytes(field(bytes, 4)?));
        if !(MIN_RECORD..=MAX_RECORD).contains(&length) || !length.is_multiple_of(ALIGNMENT) {
            return None;
        }
        let bytes = bytes.get(..length)?;
        let number = u32::from_le_bytes(field(bytes, 8)?);
        let crc = u32::from_le_bytes(field(bytes, 0)?);
        (is_expected(number) && crc == checksum(seed, &bytes[4..])).then_some(Self { bytes, number })
    }

    /// Its length in bytes.
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    /// Its click; `None` if it is of a kind or form that this release does not know.
    pub(crate) fn click(&self) -> Option<OwnedClick> {
        let [kind, flags] = field(self.bytes, 6)?;
        if kind != KIND_CLICK {
            return None;
        }
        let [referrer, packed, head] = field(self.bytes, 36)?;
        let end = self.bytes.len().checked_sub(usize::from(flags >> PADDING_SHIFT))?;
        let mut rest = Rest(self.bytes.get(CLICK_TEXTS_AT..end)?);
        let visitor = if flags & VISITOR == 0 { None } else { Some(VisitorHash(u64::from_le_bytes(rest.array()?))) };
        let network = match flags & NETWORK {
            0 => None,
            NETWORK_V4 => Some(ClientNetwork::V4(rest.array()?)),
            NETWORK_V6 => Some(ClientNetwork::V6(rest.array()?)),
            _ => return None,
        };
        let referrer = rest.text(referrer)?;
        let language = rest.text(packed >> 4)?;
        let head = rest.text(head)?;
        let user_agent = Folded { shape: packed & 0xf, head, tail: str::from_utf8(rest.0).ok()? };
        Some(OwnedClick {
            at: Timestamp::from_unix_micros(i64::from_le_bytes(field(self.bytes, 12)?))?,
            link: Uuid::from_bytes(field(self.bytes, 20)?),
            visitor,
            network,
            referrer: referrer.into(),
            user_agent: user_agent.unfold()?,
            language: language.into(),
            is_prefetch: flags & PREFETCH != 0,
            opted_out: flags & OPTED_OUT != 0,
        })
    }
}

fn field<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

/// What is left of a record.
struct Rest<'a>(&'a [u8]);

impl<'a> Rest<'a> {
    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*array)
    }

    fn text(&mut self, length: u8) -> Option<&'a str> {
        let (text, rest) = self.0.split_at_checked(length.into())?;
        self.0 = rest;
        str::from_utf8(text).ok()
    }
}

#[cfg(test)]
impl Encoder {
    /// Makes what was encoded a record of another kind, then completes it.
    pub(super) fn seal_as(&mut self, kind: u8, seed: u32, number: u32) -> &[u8] {
        self.bytes[6] = kind;
        self.seal(seed, number)
    }
}

#[cfg(test)]
mod tests {
    use proptest::{option, prelude::*};

    use super::*;

    fn click<'a>(referrer: &'a str, user_agent: &'a str, language: &'a str) -> Click<'a> {
        Click {
            at: Timestamp::from_unix_micros(1_780_000_000_123_456).expect("a moment"),
            link: Uuid::from_u128(0x0193_7a5e_0000_7000_8000_0000_0000_0001),
            visitor: None,
            network: None,
            referrer,
            user_agent,
            language,
            is_prefetch: false,
            opted_out: false,
        }
    }

    fn read_back(click: &Click<'_>) -> OwnedClick {
        let mut encoder = Encoder::new();
        let length = encoder.encode(click);
        let record = encoder.seal(5, 7);
        assert!(record.len() == length && length <= MAX_CLICK && length.is_multiple_of(ALIGNMENT));
        let record = Record::parse(record, 5, |number| number == 7).expect("its checksum passes");
        record.click().expect("it is a click")
    }

    proptest! {
        #[test]
        fn a_click_comes_back_as_it_was(
            micros in -62_135_596_800_000_000_i64..=253_402_300_799_999_999,
            link: u128,
            visitor in option::of(any::<u64>()),
            network in option::of(prop_oneof![
                any::<[u8; 3]>().prop_map(ClientNetwork::V4),
                any::<[u8; 6]>().prop_map(ClientNetwork::V6),
            ]),
            referrer in "[a-z.]{0,253}",
            user_agent in "(Mozilla/5.0 \\()?[ -~]{0,60}(\\) Gecko/20100101 Firefox/)?[ -~]{0,60}",
            language in "[a-z]{0,8}",
            is_prefetch: bool,
            opted_out: bool,
        ) {
            let click = Click {
                at: Timestamp::from_unix_micros(micros).expect("it is in the range"),
                link: Uuid::from_u128(link),
                visitor: visitor.map(VisitorHash),
                network,
                is_prefetch,
                opted_out,
                ..click(&referrer, &user_agent, &language)
            };
            let back = read_back(&click);
            prop_assert_eq!(back.as_click(), click);
        }

        #[test]
        fn no_bytes_make_it_panic(bytes: Vec<u8>, length in 0_u16..200, kind in 0_u8..3) {
            let mut bytes = [&[0; 12], bytes.as_slice(), &[0; 200]].concat();
            bytes[4..6].copy_from_slice(&(length & !7).to_le_bytes());
            bytes[6] = kind;
            let crc = checksum(5, bytes.get(4..usize::from(length & !7)).unwrap_or_default());
            bytes[..4].copy_from_slice(&crc.to_le_bytes());
            if let Some(record) = Record::parse(&bytes, 5, |_| true) {
                record.click();
            }
        }
    }

    #[test]
    fn what_is_too_long_is_cut_or_left_out() {
        let long = "ä".repeat(1_000);
        let back = read_back(&click(&long, &long, &long));
        assert_eq!((&*back.referrer, &*back.user_agent, &*back.language), ("", &*"ä".repeat(128), ""));
        let odd = format!("x{long}");
        assert_eq!(read_back(&click("", &odd, "")).user_agent.len(), 255);
        let longest = [".".repeat(253), ".".repeat(256), ".".repeat(8)];
        let back = read_back(&click(&longest[0], &longest[1], &longest[2]));
        assert_eq!([&*back.referrer, &*back.user_agent, &*back.language], longest);
    }

    #[test]
    fn any_flipped_bit_is_noticed() {
        let mut encoder = Encoder::new();
        encoder.encode(&click("example.org", "curl/8.5.0", "de"));
        let record = encoder.seal(5, 7).to_vec();
        for bit in 0..record.len() * 8 {
            let mut record = record.clone();
            record[bit / 8] ^= 1 << (bit % 8);
            assert!(Record::parse(&record, 5, |_| true).is_none(), "{bit}");
        }
        assert!(Record::parse(&record, 6, |_| true).is_none(), "a record of another segment");
    }
}
