//! The calendar that clicks are counted in: UTC hours and days, as numbers since 1970.

use chrono::NaiveDate;

use crate::time::Timestamp;

const SECONDS_PER_HOUR: i64 = 3_600;
const HOURS_PER_DAY: i32 = 24;

/// An hour in UTC: the number of hours from 1970-01-01T00:00:00Z to its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub i32);

/// A day in UTC: the number of days from 1970-01-01 to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(pub i32);

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

    /// The day of the week, 0 for Monday to 6 for Sunday.
    pub fn of_week(self) -> usize {
        // 1970-01-01 was a Thursday.
        usize::try_from((self.0 + 3).rem_euclid(7)).expect("the remainder is not negative")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(text: &str) -> Timestamp {
        text.parse().expect("a moment")
    }

    #[test]
    fn a_moment_has_an_hour_and_a_day() {
        let moment = moment("2026-11-29T13:59:59.999999Z");
        assert_eq!(Hour::of(moment).begin().to_string(), "2026-11-29T13:00:00.000000Z");
        assert_eq!(Hour::of(moment).of_day(), 13);
        let day = Day::of(moment);
        assert_eq!((day.begin().to_string(), day.of_week()), ("2026-11-29T00:00:00.000000Z".to_owned(), 6));
    }

    #[test]
    fn moments_before_1970_belong_to_the_hour_that_began_before_them() {
        let moment = moment("1969-12-31T23:59:59Z");
        assert_eq!((Hour::of(moment), Day::of(moment)), (Hour(-1), Day(-1)));
        assert_eq!((Hour(-1).of_day(), Day(-1).of_week()), (23, 2));
    }
}
