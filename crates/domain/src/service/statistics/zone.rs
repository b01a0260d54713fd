//! Time zones, and the parts of a series by their clocks.

use std::str::FromStr;

use chrono::{DateTime, Datelike, Days, Duration, Months, NaiveDate, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;

use crate::{click::Hour, time::Timestamp};

/// Length of the parts of a series.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interval {
    /// An hour.
    Hour,
    /// A day.
    Day,
    /// A week, from Monday on (ISO 8601).
    Week,
    /// A month.
    Month,
}

/// A time zone, by its name in the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// UTC.
    pub const UTC: Self = Self(Tz::UTC);

    /// The name of the zone.
    pub fn name(self) -> &'static str {
        self.0.name()
    }

    /// A moment that is written as RFC 3339, or as a date: then the begin of that day in the zone, or its end.
    pub fn moment(self, text: &str, edge: Edge) -> Option<Timestamp> {
        if let Ok(date) = text.parse::<NaiveDate>() {
            let date = if edge == Edge::End { date.checked_add_days(Days::new(1))? } else { date };
            return (1970..9999).contains(&date.year()).then(|| self.hour_at(date).begin());
        }
        let moment: Timestamp = text.parse().ok()?;
        (1970..9999).contains(&moment.to_datetime().year()).then_some(moment)
    }

    /// The part of a series that begins then, by the clocks of the zone: its hour, its first day, or its month.
    pub fn label(self, begin: Timestamp, interval: Interval) -> String {
        let local = begin.to_datetime().with_timezone(&self.0);
        match interval {
            Interval::Hour => local.format("%Y-%m-%d %H:%M").to_string(),
            Interval::Month => (local + Duration::minutes(59)).format("%Y-%m").to_string(),
            Interval::Day | Interval::Week => (local + Duration::minutes(59)).format("%Y-%m-%d").to_string(),
        }
    }

    /// When the part of a series begins that holds `moment`. Clicks are counted by UTC hours, so a part begins with the
    /// hour that holds its begin in the zone.
    pub(super) fn begin_of(self, interval: Interval, moment: Timestamp) -> Hour {
        if interval == Interval::Hour {
            return Hour::of(moment);
        }
        let date = moment.to_datetime().with_timezone(&self.0).date_naive();
        self.hour_at(interval.first_day(date))
    }

    /// The hour that holds the first moment of a day in the zone.
    fn hour_at(self, date: NaiveDate) -> Hour {
        // In some zones clocks skip midnight once a year: the day begins when they go on.
        let mut time = date.and_time(NaiveTime::MIN);
        let begin = loop {
            match self.0.from_local_datetime(&time).earliest() {
                Some(begin) => break begin.with_timezone(&Utc),
                None => time += Duration::minutes(30),
            }
        };
        Hour::of(begin.try_into().expect("days come from moments"))
    }

    /// Whether its clocks differ from UTC by whole hours at that moment.
    pub(super) fn is_hourly(self, moment: Timestamp) -> bool {
        let local = moment.to_datetime().with_timezone(&self.0);
        local.offset().fix().local_minus_utc() % 3_600 == 0
    }
}

/// Which end of a day a date stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edge {
    /// Its begin.
    Begin,
    /// Its end.
    End,
}

/// A name of the IANA time zone database.
impl FromStr for Zone {
    type Err = UnknownZone;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self).map_err(|_| UnknownZone)
    }
}

/// The IANA database has no such time zone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no time zone of the IANA database has this name; an example is Europe/Berlin")]
pub struct UnknownZone;

impl Interval {
    /// All intervals.
    pub const ALL: [Self; 4] = [Self::Hour, Self::Day, Self::Week, Self::Month];

    /// The name callers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Hour => "hour",
            Self::Day => "day",
            Self::Week => "week",
            Self::Month => "month",
        }
    }

    /// How many seconds are shown if no begin is asked for: some thirty parts.
    pub fn usual_seconds(self) -> i64 {
        const DAY: i64 = 86_400;
        match self {
            Self::Hour => 2 * DAY,
            Self::Day => 30 * DAY,
            Self::Week => 26 * 7 * DAY,
            Self::Month => 365 * DAY,
        }
    }

    /// The first day of the part that holds `date`.
    fn first_day(self, date: NaiveDate) -> NaiveDate {
        match self {
            Self::Hour | Self::Day => date,
            Self::Week => date - Days::new(date.weekday().num_days_from_monday().into()),
            Self::Month => date.with_day(1).expect("every month has a first day"),
        }
    }

    /// The begin of the part after the one that begins with `begin`.
    pub(super) fn after(self, begin: Hour, zone: Zone) -> Hour {
        if self == Self::Hour {
            return Hour(begin.0 + 1);
        }
        // The middle of the first hour lies in the part, even if the part begins within that hour.
        let inside: DateTime<Tz> = (begin.begin().to_datetime() + Duration::minutes(59)).with_timezone(&zone.0);
        let first = self.first_day(inside.date_naive());
        zone.hour_at(match self {
            Self::Hour | Self::Day => first + Days::new(1),
            Self::Week => first + Days::new(7),
            Self::Month => first + Months::new(1),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn zones_have_the_names_of_the_iana_database() {
        assert_eq!("Mars/Olympus".parse::<Zone>(), Err(UnknownZone));
        assert_eq!("Europe/Berlin".parse::<Zone>().map(Zone::name), Ok("Europe/Berlin"));
    }
}
