//! The clicks of one link, or of all links of an owner, on one UTC day: by hour, and by the value of each dimension.

mod format;
mod merge;
#[cfg(test)]
mod tests;

pub use format::InvalidCounts;

use super::{Dimension, KindCounts};

/// Clicks of one UTC day, read from bytes or about to be written.
///
/// Hours and each dimension add up to the same number of clicks if they were [counted](super::ClickCounts) so. The
/// dimension [`HourOfWeek`](Dimension::HourOfWeek) is not among the values: it follows from the day and its hours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DayCounts<'a> {
    /// By the hour of the day.
    pub hours: [KindCounts; 24],
    /// By dimension and value, in ascending order, each once, without values that have no click.
    pub values: Vec<DayValue<'a>>,
}

/// Clicks with one value of a dimension.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DayValue<'a> {
    /// The dimension.
    pub dimension: Dimension,
    /// The value.
    pub value: &'a str,
    /// How many.
    pub clicks: KindCounts,
}

impl<'a> DayValue<'a> {
    fn key(&self) -> (Dimension, &'a str) {
        (self.dimension, self.value)
    }
}

/// Dimensions whose values are stored.
const STORED: [Dimension; 6] = [
    Dimension::Referrer,
    Dimension::Country,
    Dimension::Browser,
    Dimension::Os,
    Dimension::Device,
    Dimension::Language,
];

/// Clicks of a batch on one day, as bytes, before they are added to what is stored. They may have more values than one
/// day keeps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FreshCounts {
    bytes: Vec<u8>,
    /// Whether a dimension has more values than are kept.
    is_crowded: bool,
}

impl FreshCounts {
    /// These clicks.
    pub fn of(counts: &DayCounts<'_>) -> Self {
        Self { bytes: counts.to_bytes(), is_crowded: counts.is_crowded() }
    }

    /// The bytes to store if nothing is stored yet.
    pub fn to_stored(&self) -> Vec<u8> {
        if !self.is_crowded {
            return self.bytes.clone();
        }
        let mut counts = self.read();
        counts.limit(|_| false);
        counts.to_bytes()
    }

    /// The bytes to store instead of `stored`, which they are added to. The values of `stored` stay. New ones beyond
    /// [`Dimension::MAX_VALUES`] count as [`OTHER`](super::OTHER).
    pub fn added_to(&self, stored: &[u8]) -> Result<Vec<u8>, InvalidCounts> {
        Ok(DayCounts::from_bytes(stored)?.with(&self.read()).to_bytes())
    }

    /// The clicks.
    pub fn read(&self) -> DayCounts<'_> {
        DayCounts::from_bytes(&self.bytes).expect("these bytes were just written")
    }
}
