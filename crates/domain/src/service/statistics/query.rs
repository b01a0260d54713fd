//! What can be asked of statistics.

use super::{Interval, StatisticsService, Zone};
use crate::{
    click::{ClickKind, Hour, KindCounts},
    ports::StatisticsOf,
    time::Timestamp,
};

/// Which clicks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bots {
    /// Only those of people.
    #[default]
    Exclude,
    /// Only those of bots.
    Only,
    /// All.
    Include,
}

impl Bots {
    /// All choices.
    pub const ALL: [Self; 3] = [Self::Exclude, Self::Only, Self::Include];

    /// The name callers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Exclude => "exclude",
            Self::Only => "only",
            Self::Include => "include",
        }
    }

    /// The kinds of clicks.
    pub fn kinds(self) -> &'static [ClickKind] {
        match self {
            Self::Exclude => &[ClickKind::Human],
            Self::Only => &[ClickKind::Bot],
            Self::Include => &ClickKind::ALL,
        }
    }

    pub(super) fn counts(self, kind: ClickKind) -> bool {
        self.kinds().contains(&kind)
    }
}

impl KindCounts {
    /// How many of them `bots` counts.
    pub fn of(self, bots: Bots) -> u64 {
        match bots {
            Bots::Exclude => self.humans,
            Bots::Only => self.bots,
            Bots::Include => self.humans + self.bots,
        }
    }
}

/// What is asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StatisticsQuery {
    /// Whose clicks.
    pub of: StatisticsOf,
    /// The first moment. The statistics begin with the part of the series that holds it.
    pub from: Timestamp,
    /// The moment behind the last. The statistics end with the part of the series that holds what is before it.
    pub to: Timestamp,
    /// Length of the parts of the series.
    pub interval: Interval,
    /// The time zone of the series.
    pub zone: Zone,
    /// Which clicks the series and the breakdowns count.
    pub bots: Bots,
    /// Whether the time of the same length before is counted too.
    pub compare: bool,
}

/// A query that cannot be answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidQuery {
    /// The end is not behind the begin.
    #[error("`to` is not later than `from`")]
    Empty,
    /// The series would be too long.
    #[error("the series would have more than 2000 parts; choose a longer interval or a shorter time")]
    TooLong,
    /// Clicks are counted by UTC hours, which the hours of the zone are not.
    #[error("the hours of this time zone are no hours of UTC; choose the interval `day`, or the zone UTC")]
    NoHours,
}

impl StatisticsQuery {
    /// The begins of all parts of the series, and its end.
    pub(super) fn begins(&self) -> Result<Vec<Hour>, InvalidQuery> {
        if self.to <= self.from {
            return Err(InvalidQuery::Empty);
        }
        if self.interval == Interval::Hour && !(self.zone.is_hourly(self.from) && self.zone.is_hourly(self.to)) {
            return Err(InvalidQuery::NoHours);
        }
        let mut begins = vec![self.zone.begin_of(self.interval, self.from)];
        let mut last = begins[0];
        while last.begin() < self.to {
            if begins.len() > StatisticsService::MAX_PARTS {
                return Err(InvalidQuery::TooLong);
            }
            last = self.interval.after(last, self.zone);
            begins.push(last);
        }
        Ok(begins)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(from: &str, to: &str, interval: Interval, zone: &str) -> StatisticsQuery {
        StatisticsQuery {
            of: StatisticsOf::Everyone,
            from: from.parse().expect("a moment"),
            to: to.parse().expect("a moment"),
            interval,
            zone: zone.parse().expect("a zone"),
            bots: Bots::default(),
            compare: false,
        }
    }

    fn begins(from: &str, to: &str, interval: Interval, zone: &str) -> Vec<String> {
        let begins = query(from, to, interval, zone).begins().expect("a valid query");
        begins.into_iter().map(|hour| hour.begin().to_string()[..13].to_owned()).collect()
    }

    #[test]
    fn the_parts_of_a_series_begin_as_the_clocks_of_the_zone_say() {
        // Clocks go back on 2026-10-25, so that day has 25 hours.
        assert_eq!(
            begins("2026-10-24T22:00:00Z", "2026-10-26T00:00:00Z", Interval::Day, "Europe/Berlin"),
            ["2026-10-24T22", "2026-10-25T23", "2026-10-26T23"]
        );
        assert_eq!(
            begins("2026-11-29T12:00:00Z", "2026-12-02T00:00:00Z", Interval::Week, "UTC"),
            ["2026-11-23T00", "2026-11-30T00", "2026-12-07T00"]
        );
        assert_eq!(
            begins("2026-01-31T23:30:00Z", "2026-02-28T22:00:00Z", Interval::Month, "Europe/Berlin"),
            ["2026-01-31T23", "2026-02-28T23"]
        );
        assert_eq!(
            begins("2026-11-29T12:30:00Z", "2026-11-29T13:00:01Z", Interval::Hour, "Asia/Tokyo"),
            ["2026-11-29T12", "2026-11-29T13", "2026-11-29T14"]
        );
        // A day in India begins at 18:30 UTC: it is counted from the hour that holds its begin.
        assert_eq!(
            begins("2026-11-29T12:00:00Z", "2026-11-29T20:00:00Z", Interval::Day, "Asia/Kolkata"),
            ["2026-11-28T18", "2026-11-29T18", "2026-11-30T18"]
        );
        // Clocks of Beirut skip midnight on 2026-03-29.
        assert_eq!(
            begins("2026-03-28T10:00:00Z", "2026-03-29T10:00:00Z", Interval::Day, "Asia/Beirut"),
            ["2026-03-27T22", "2026-03-28T22", "2026-03-29T21"]
        );
    }

    #[test]
    fn what_cannot_be_answered_is_refused() {
        let (from, to) = ("2026-01-01T00:00:00Z", "2026-12-31T00:00:00Z");
        assert_eq!(query(to, to, Interval::Day, "UTC").begins(), Err(InvalidQuery::Empty));
        assert_eq!(query(from, to, Interval::Hour, "UTC").begins(), Err(InvalidQuery::TooLong));
        assert_eq!(query(from, to, Interval::Hour, "Asia/Kolkata").begins(), Err(InvalidQuery::NoHours));
    }
}
