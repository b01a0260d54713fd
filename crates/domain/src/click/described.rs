//! What a click tells, once it is looked up.

use std::sync::Arc;

use uuid::Uuid;

use super::{ClickKind, Hour, VisitorHash};
use crate::time::Timestamp;

/// The value of a dimension that nothing is known of.
pub const UNKNOWN: &str = "(unknown)";
/// The value of the dimensions of a client that asks not to be tracked.
pub const NOT_RECORDED: &str = "(not recorded)";
/// The value that stands for all further values of a dimension, if a link has too many of them on one day.
pub const OTHER: &str = "(other)";

/// A property by which clicks are broken down.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dimension {
    /// Host of the referring page.
    Referrer,
    /// ISO 3166-1 code of the country.
    Country,
    /// Family of the browser, or name of the bot.
    Browser,
    /// Operating system.
    Os,
    /// Kind of device: `desktop`, `mobile`, `tablet`.
    Device,
    /// Language subtag, such as `de` (RFC 5646).
    Language,
    /// Day of the week and hour of the day in UTC: `mon-00` to `sun-23`.
    HourOfWeek,
}

impl Dimension {
    /// All dimensions.
    pub const ALL: [Self; 7] =
        [Self::Referrer, Self::Country, Self::Browser, Self::Os, Self::Device, Self::Language, Self::HourOfWeek];

    /// Most values that a dimension keeps for one link and one day. Clicks with further ones count as [`OTHER`].
    pub const MAX_VALUES: usize = 300;

    /// Whether one link can have more than [`MAX_VALUES`](Self::MAX_VALUES) values of it on one day. The values of the
    /// other dimensions are from short lists.
    pub fn is_open(self) -> bool {
        match self {
            Self::Referrer | Self::Browser | Self::Os | Self::Language => true,
            Self::Country | Self::Device | Self::HourOfWeek => false,
        }
    }

    /// The number that stores use.
    pub fn number(self) -> i16 {
        match self {
            Self::Referrer => 1,
            Self::Country => 2,
            Self::Browser => 3,
            Self::Os => 4,
            Self::Device => 5,
            Self::Language => 6,
            Self::HourOfWeek => 7,
        }
    }

    /// The dimension with this [number](Self::number).
    pub fn of_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|dimension| dimension.number() == number)
    }

    /// The name callers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Referrer => "referrer",
            Self::Country => "country",
            Self::Browser => "browser",
            Self::Os => "os",
            Self::Device => "device",
            Self::Language => "language",
            Self::HourOfWeek => "hour_of_week",
        }
    }
}

/// What the lookups tell of a click. A value that is not known is [`UNKNOWN`], one that is not recorded
/// [`NOT_RECORDED`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Traits {
    /// Human or bot.
    pub kind: ClickKind,
    /// See [`Dimension::Referrer`]; `(direct)` without one.
    pub referrer: Arc<str>,
    /// See [`Dimension::Country`].
    pub country: Arc<str>,
    /// See [`Dimension::Browser`].
    pub browser: Arc<str>,
    /// See [`Dimension::Os`].
    pub os: Arc<str>,
    /// See [`Dimension::Device`].
    pub device: Arc<str>,
    /// See [`Dimension::Language`].
    pub language: Arc<str>,
}

/// A click with what was looked up, ready to be counted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DescribedClick {
    /// When the redirect was answered.
    pub at: Timestamp,
    /// The id of the link.
    pub link: Uuid,
    /// Who it was, if that is recorded.
    pub visitor: Option<VisitorHash>,
    /// What was looked up.
    pub traits: Traits,
}

impl DescribedClick {
    /// The value of each dimension.
    pub(super) fn values(&self) -> [(Dimension, Arc<str>); Dimension::ALL.len()] {
        let traits = &self.traits;
        [
            (Dimension::Referrer, traits.referrer.clone()),
            (Dimension::Country, traits.country.clone()),
            (Dimension::Browser, traits.browser.clone()),
            (Dimension::Os, traits.os.clone()),
            (Dimension::Device, traits.device.clone()),
            (Dimension::Language, traits.language.clone()),
            (Dimension::HourOfWeek, hour_of_week(Hour::of(self.at)).into()),
        ]
    }
}

fn hour_of_week(hour: Hour) -> String {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    format!("{}-{:02}", DAYS[hour.day().of_week()], hour.of_day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_dimensions_are_read_back() {
        for dimension in Dimension::ALL {
            assert_eq!(Dimension::of_number(dimension.number()), Some(dimension));
        }
        assert_eq!(Dimension::of_number(0), None);
    }

    #[test]
    fn an_hour_of_the_week_is_named_by_day_and_hour() {
        let hour = |text: &str| hour_of_week(Hour::of(text.parse().expect("a moment")));
        assert_eq!(hour("2026-11-29T07:30:00Z"), "sun-07");
        assert_eq!(hour("2026-11-30T23:59:59Z"), "mon-23");
    }
}
