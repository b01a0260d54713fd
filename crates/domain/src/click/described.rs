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

    /// Its place in [`ALL`](Self::ALL).
    pub(super) fn place(self) -> usize {
        self as usize
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
    /// The values of the dimensions that are texts, in the order of [`Dimension::ALL`].
    pub(super) fn texts(&self) -> [&Arc<str>; Dimension::ALL.len() - 1] {
        let Traits { kind: _, referrer, country, browser, os, device, language } = &self.traits;
        [referrer, country, browser, os, device, language]
    }
}

/// The value of [`Dimension::HourOfWeek`].
pub(super) fn hour_of_week(hour: Hour) -> String {
    const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
    format!("{}-{:02}", DAYS[hour.day().of_week()], hour.of_day())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dimensions_know_their_places() {
        for (place, dimension) in Dimension::ALL.into_iter().enumerate() {
            assert_eq!(dimension.place(), place);
        }
    }

    #[test]
    fn an_hour_of_the_week_is_named_by_day_and_hour() {
        let hour = |text: &str| hour_of_week(Hour::of(text.parse().expect("a moment")));
        assert_eq!(hour("2026-11-29T07:30:00Z"), "sun-07");
        assert_eq!(hour("2026-11-30T23:59:59Z"), "mon-23");
    }
}
