//! The calendar that clicks are counted in: UTC hours, days and months, as numbers since 1970.

use std::ops::Range;

use chrono::{DateTime, Datelike, NaiveDate};

use crate::time::Timestamp;

const SECONDS_PER_HOUR: i64 = 3_600;
const HOURS_PER_DAY: i32 = 24;

/// An hour in UTC: the number of hours from 1970-01-01T00:00:00Z to its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i32);

/// A day in UTC: the number of days from 1970-01-01 to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

/// A month in UTC: the number of months from January 1970 to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Month(pub i32);

impl Hour {
    /// The hour of `moment`.
    pub fn of(moment: Timestamp) -> Self {
        let hours = moment.unix_micros().div_euclid(SECONDS_PER_HOUR * 1_000_000);
        Self(i32::try_from(hours).expect("the years 1 to 9999 have fewer hours"))
    }

    /// When it begins.
    pub fn begin(self) -> Timestamp {
        let micros = i64::from(self.0) * SECONDS_PER_HOUR * 1_000_000;
        Timestamp::from_unix_micros(micros).expect("hours come from moments, or from a checked store")
    }

    /// Its day.
    pub fn day(self) -> Day {
        Day(self.0.div_euclid(HOURS_PER_DAY))
    }

    /// The hour of its day, 0 to 23.
    pub fn of_day(self) -> i32 {
        self.0.rem_euclid(HOURS_PER_DAY)
    }
}

impl Day {
    /// The day of `moment`.
    pub fn of(moment: Timestamp) -> Self {
        Hour::of(moment).day()
    }

    /// Its first hour.
    pub fn first_hour(self) -> Hour {
        Hour(self.0 * HOURS_PER_DAY)
    }

    /// When it begins.
    pub fn begin(self) -> Timestamp {
        self.first_hour().begin()
    }

    /// The day after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }

    /// The day as a date.
    pub fn date(self) -> NaiveDate {
        self.begin().to_datetime().date_naive()
    }

    /// Its month.
    pub fn month(self) -> Month {
        let date = self.date();
        Month((date.year() - 1970) * 12 + i32::try_from(date.month0()).expect("a year has twelve months"))
    }

    /// The day of the week, 0 for Monday to 6 for Sunday.
    pub fn of_week(self) -> usize {
        // 1970-01-01 was a Thursday.
        usize::try_from((self.0 + 3).rem_euclid(7)).expect("the remainder is not negative")
    }
}

impl Month {
    /// Its first day.
    pub fn first_day(self) -> Day {
        let (year, month) = (1970 + self.0.div_euclid(12), self.0.rem_euclid(12) + 1);
        let month = u32::try_from(month).expect("the remainder is not negative");
        let date = NaiveDate::from_ymd_opt(year, month, 1).expect("months come from moments, or from a checked store");
        let days = date.signed_duration_since(DateTime::UNIX_EPOCH.date_naive()).num_days();
        Day(i32::try_from(days).expect("the years 1 to 9999 have fewer days"))
    }

    /// The month after it.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// A range of days, cut into whole months and the days before and after them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeMonths {
    /// Days before the first whole month; all days if there is no whole month.
    pub before: Range<Day>,
    /// The months of which every day is in the range.
    pub months: Range<Month>,
    /// Days after the last whole month.
    pub after: Range<Day>,
}

impl WholeMonths {
    /// The whole months of `days`.
    pub fn of(days: Range<Day>) -> Self {
        let Range { start, end } = days;
        if start < end {
            let (first, last) = (start.month(), Day(end.0 - 1).month());
            let from = if first.first_day() == start { first } else { first.next() };
            let until = if last.next().first_day() == end { last.next() } else { last };
            if from < until {
                let (before, after) = (start..from.first_day(), until.first_day()..end);
                return Self { before, months: from..until, after };
            }
        }
        Self { before: start..end, months: Month(0)..Month(0), after: end..end }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    #[test]
    fn a_moment_has_an_hour_a_day_and_a_month() {
        let moment = moment("2026-11-29T13:59:59.999999Z");
        assert_eq!(Hour::of(moment).begin().to_string(), "2026-11-29T13:00:00.000000Z");
        assert_eq!(Hour::of(moment).of_day(), 13);
        let day = Day::of(moment);
        assert_eq!((day.begin().to_string(), day.of_week()), ("2026-11-29T00:00:00.000000Z".to_owned(), 6));
        assert_eq!(day.month().first_day().begin().to_string(), "2026-11-01T00:00:00.000000Z");
        assert_eq!(day.month().next().first_day().begin().to_string(), "2026-12-01T00:00:00.000000Z");
        assert_eq!(day.next().month(), day.month());
        assert_eq!(day.next().next().month(), day.month().next());
    }

    #[test]
    fn moments_before_1970_belong_to_the_hour_that_began_before_them() {
        let moment = moment("1969-12-31T23:59:59Z");
        assert_eq!((Hour::of(moment), Day::of(moment), Day::of(moment).month()), (Hour(-1), Day(-1), Month(-1)));
        assert_eq!((Hour(-1).of_day(), Day(-1).of_week()), (23, 2));
        assert_eq!(Month(-1).first_day().begin().to_string(), "1969-12-01T00:00:00.000000Z");
    }

    #[test]
    fn each_day_of_a_range_is_in_a_whole_month_or_beside_them() {
        let begin = Day::of(moment("2023-12-30T00:00:00Z"));
        for (start, length) in (0..70).flat_map(|start| (-1..140).map(move |length| (start, length))) {
            let days = Day(begin.0 + start)..Day(begin.0 + start + length);
            let WholeMonths { before, months, after } = WholeMonths::of(days.clone());
            let in_months = months.start.first_day().0..months.end.first_day().0;
            let covered: Vec<_> =
                (before.start.0..before.end.0).chain(in_months).chain(after.start.0..after.end.0).collect();
            assert_eq!(covered, (days.start.0..days.end.0).collect::<Vec<_>>(), "{days:?}");
            assert!(before.end.0 - before.start.0 < 61 && after.end.0 - after.start.0 < 31, "{days:?}");
        }
    }

    #[test]
    fn whole_months_reach_to_the_last_day_there_is() {
        let last = Day::of(moment("9999-12-31T00:00:00Z"));
        let months = WholeMonths::of(last.month().first_day()..last.next()).months;
        assert_eq!(months, last.month()..last.month().next());
    }
}
