//! Timestamps in UTC with whole microseconds, and lifetimes.

use std::{fmt, str::FromStr};

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Deserialize, Serialize};

/// A moment in UTC with microsecond precision, the finest that every store supports.
///
/// It lies between the years 0001 and 9999, so that RFC 3339 can represent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Timestamp(i64);

/// 0001-01-01T00:00:00Z.
const EARLIEST_MICROS: i64 = -62_135_596_800_000_000;
/// 9999-12-31T23:59:59.999999Z.
const LATEST_MICROS: i64 = 253_402_300_799_999_999;

impl Timestamp {
    /// From microseconds since 1970-01-01T00:00:00Z; `None` outside the years 0001 to 9999.
    pub fn from_unix_micros(micros: i64) -> Option<Self> {
        (EARLIEST_MICROS..=LATEST_MICROS).contains(&micros).then_some(Self(micros))
    }

    /// Microseconds since 1970-01-01T00:00:00Z.
    pub fn unix_micros(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970-01-01T00:00:00Z, never negative: the form that UUID version 7 needs.
    pub fn unix_millis(self) -> u64 {
        u64::try_from(self.0 / 1_000).unwrap_or(0)
    }

    /// This moment plus `seconds`; `None` outside the years 0001 to 9999.
    pub fn plus_seconds(self, seconds: i64) -> Option<Self> {
        seconds.checked_mul(1_000_000).and_then(|micros| self.0.checked_add(micros)).and_then(Self::from_unix_micros)
    }

    /// Whole seconds from `earlier` to this moment, rounded down, 0 if this is not later.
    pub fn seconds_since(self, earlier: Self) -> u64 {
        u64::try_from((self.0 - earlier.0) / 1_000_000).unwrap_or(0)
    }

    /// The same moment as a `chrono` date-time.
    pub fn to_datetime(self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0).expect("the range was checked at construction")
    }
}

impl TryFrom<DateTime<Utc>> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(value: DateTime<Utc>) -> Result<Self, Self::Error> {
        Self::from_unix_micros(value.timestamp_micros()).ok_or(InvalidTimestamp)
    }
}

/// RFC 3339 in UTC, six decimals and `Z`.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_datetime().to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

/// RFC 3339, any offset.
impl FromStr for Timestamp {
    type Err = InvalidTimestamp;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let parsed = DateTime::parse_from_rfc3339(text).map_err(|_| InvalidTimestamp)?;
        parsed.with_timezone(&Utc).try_into()
    }
}

impl From<Timestamp> for String {
    fn from(value: Timestamp) -> Self {
        value.to_string()
    }
}

impl TryFrom<String> for Timestamp {
    type Error = InvalidTimestamp;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The text is no RFC 3339 date-time, or lies outside the years 0001 to 9999.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be an RFC 3339 date-time between the years 0001 and 9999, as in 2099-12-31T00:00:00Z")]
pub struct InvalidTimestamp;

/// A length of time as callers write it: a whole number from 1 to 99999 and one of `s`, `m`, `h`, `d`, `w`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lifetime(i64);

impl Lifetime {
    /// In seconds, at least 1.
    pub fn seconds(self) -> i64 {
        self.0
    }
}

impl FromStr for Lifetime {
    type Err = InvalidLifetime;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unit = text.chars().last().ok_or(InvalidLifetime)?;
        let seconds_per_unit = match unit {
            's' => 1,
            'm' => 60,
            'h' => 3_600,
            'd' => 86_400,
            'w' => 604_800,
            _ => return Err(InvalidLifetime),
        };
        let digits = &text[..text.len() - 1];
        let plain = (1..=5).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
        if !plain || digits.starts_with('0') {
            return Err(InvalidLifetime);
        }
        let number: i64 = digits.parse().map_err(|_| InvalidLifetime)?;
        Ok(Self(number * seconds_per_unit))
    }
}

/// The text is no lifetime such as `30m` or `7d`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a whole number from 1 to 99999 followed by s, m, h, d or w")]
pub struct InvalidLifetime;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_written_with_six_decimals_in_utc() {
        let moment: Timestamp = "2026-01-02T03:04:05+02:00".parse().expect("valid");
        assert_eq!(moment.to_string(), "2026-01-02T01:04:05.000000Z");
    }

    #[test]
    fn moments_outside_four_digit_years_are_refused() {
        for text in ["9999-12-31T23:59:59-01:00", "0000-01-01T00:00:00Z", "now", ""] {
            assert_eq!(text.parse::<Timestamp>(), Err(InvalidTimestamp), "{text}");
        }
        assert_eq!(Timestamp::from_unix_micros(LATEST_MICROS + 1), None);
    }

    #[test]
    fn lifetimes_have_one_number_and_one_unit() {
        assert_eq!("7d".parse::<Lifetime>().map(Lifetime::seconds), Ok(604_800));
        for text in ["", "d", "7", "0s", "-1d", "+1d", "1.5h", "7 d", "7D", "100000s", "07d", "7é"] {
            assert_eq!(text.parse::<Lifetime>(), Err(InvalidLifetime), "{text}");
        }
    }

    #[test]
    fn elapsed_seconds_are_never_negative() {
        let early: Timestamp = "2026-01-01T00:00:00Z".parse().expect("valid");
        let late = early.plus_seconds(90).expect("in range");
        assert_eq!(late.seconds_since(early), 90);
        assert_eq!(early.seconds_since(late), 0);
    }
}
