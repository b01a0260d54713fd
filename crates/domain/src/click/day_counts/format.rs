//! Counts of a day as bytes. Equal counts have equal bytes.
//!
//! | part                                   | bytes                                                               |
//! |----------------------------------------|---------------------------------------------------------------------|
//! | version                                | 1, which is [`VERSION`]                                             |
//! | hours                                  | their number, then for each: twice the hour, plus 1 for bots; clicks |
//! | each [stored dimension](super::STORED) | the number of its values, then for each: its head, its text, clicks |
//!
//! Numbers are LEB128: seven bits a byte, the lowest first. The head of a value is the length of its text in bytes, times
//! four, plus 1 if people have clicks and 2 if bots have. Hours and values ascend, and no number of clicks is 0.

use super::{DayCounts, DayValue, STORED};
use crate::click::{ClickKind, KindCounts};

/// The version of the format. A change of the format or of the order of dimensions needs another one.
const VERSION: u8 = 1;

const PEOPLE: u64 = 1;
const BOTS: u64 = 2;

/// Stored counts of a day cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("these are no counts of a day")]
pub struct InvalidCounts;

impl<'a> DayCounts<'a> {
    /// Reads what [`to_bytes`](Self::to_bytes) wrote. Any other bytes are an error.
    pub fn from_bytes(bytes: &'a [u8]) -> Result<Self, InvalidCounts> {
        let mut reader = Reader(bytes);
        if reader.byte()? != VERSION {
            return Err(InvalidCounts);
        }
        let mut counts = Self { hours: reader.hours()?, values: Vec::new() };
        for dimension in STORED {
            let mut last = None;
            for _ in 0..reader.number()? {
                let (value, clicks) = reader.value()?;
                if last.is_some_and(|last| value <= last) {
                    return Err(InvalidCounts);
                }
                last = Some(value);
                counts.values.push(DayValue { dimension, value, clicks });
            }
        }
        reader.0.is_empty().then_some(counts).ok_or(InvalidCounts)
    }

    /// The counts as bytes, for a store.
    pub fn to_bytes(&self) -> Vec<u8> {
        // Most values are short, and most numbers take one byte.
        let mut bytes = Vec::with_capacity(64 + self.values.len() * 12);
        bytes.push(VERSION);
        let hours =
            || self.hours.iter().zip(0_u8..).flat_map(|(clicks, hour)| clicks.by_kind().map(move |c| (hour, c)));
        write(&mut bytes, hours().count() as u64);
        for (hour, (kind, clicks)) in hours() {
            bytes.push(hour * 2 + u8::from(kind == ClickKind::Bot));
            write(&mut bytes, clicks);
        }
        let mut values = self.values.as_slice();
        for dimension in STORED {
            let (of_it, others) = values.split_at(values.partition_point(|value| value.dimension <= dimension));
            values = others;
            write(&mut bytes, of_it.len() as u64);
            for value in of_it {
                write_value(&mut bytes, value);
            }
        }
        bytes
    }
}

fn write(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number.to_le_bytes()[0] | 0x80);
        number >>= 7;
    }
    bytes.push(number.to_le_bytes()[0]);
}

fn write_value(bytes: &mut Vec<u8>, value: &DayValue<'_>) {
    let KindCounts { humans, bots } = value.clicks;
    let kinds = if humans > 0 { PEOPLE } else { 0 } + if bots > 0 { BOTS } else { 0 };
    write(bytes, (value.value.len() as u64) << 2 | kinds);
    bytes.extend_from_slice(value.value.as_bytes());
    for (_, clicks) in value.clicks.by_kind() {
        write(bytes, clicks);
    }
}

/// The bytes that are not read yet.
struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn byte(&mut self) -> Result<u8, InvalidCounts> {
        let (first, rest) = self.0.split_first().ok_or(InvalidCounts)?;
        self.0 = rest;
        Ok(*first)
    }

    fn number(&mut self) -> Result<u64, InvalidCounts> {
        let mut number = 0;
        for place in 0..10 {
            let byte = self.byte()?;
            // The tenth byte has room for one bit, and no number ends with a byte of zeros.
            if (place == 9 && byte > 1) || (place > 0 && byte == 0) {
                return Err(InvalidCounts);
            }
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte < 0x80 {
                return Ok(number);
            }
        }
        Err(InvalidCounts)
    }

    fn clicks(&mut self) -> Result<u64, InvalidCounts> {
        let clicks = self.number()?;
        if clicks == 0 { Err(InvalidCounts) } else { Ok(clicks) }
    }

    fn hours(&mut self) -> Result<[KindCounts; 24], InvalidCounts> {
        let mut hours = [KindCounts::default(); 24];
        let mut last = None;
        for _ in 0..self.number()? {
            let place = self.byte()?;
            if last.is_some_and(|last| place <= last) {
                return Err(InvalidCounts);
            }
            last = Some(place);
            let hour = hours.get_mut(usize::from(place / 2)).ok_or(InvalidCounts)?;
            let kind = if place % 2 == 0 { ClickKind::Human } else { ClickKind::Bot };
            *hour += KindCounts::of_kind(kind, self.clicks()?);
        }
        Ok(hours)
    }

    fn value(&mut self) -> Result<(&'a str, KindCounts), InvalidCounts> {
        let head = self.number()?;
        let length = usize::try_from(head >> 2).map_err(|_| InvalidCounts)?;
        let (text, rest) = self.0.split_at_checked(length).ok_or(InvalidCounts)?;
        self.0 = rest;
        let text = std::str::from_utf8(text).map_err(|_| InvalidCounts)?;
        let mut clicks = KindCounts::default();
        if head & PEOPLE != 0 {
            clicks.humans = self.clicks()?;
        }
        if head & BOTS != 0 {
            clicks.bots = self.clicks()?;
        }
        if clicks == KindCounts::default() { Err(InvalidCounts) } else { Ok((text, clicks)) }
    }
}
