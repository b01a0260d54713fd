//! Statistics: clicks of links over time, and by what they tell.

use std::{collections::BTreeMap, fmt, str::FromStr, sync::Arc};

use chrono::{DateTime, Datelike, Days, Duration, Months, NaiveDate, NaiveTime, Offset, TimeZone, Utc};
use chrono_tz::Tz;
use uuid::Uuid;

use crate::{
    click::{ClickKind, Day, Dimension, Hour, OTHER, OrphanReason},
    link::Owner,
    ports::{ClickProgress, ClickRepository, ClickTotals, Clock, Counted, RepositoryError, StatisticsOf, ValueCount},
    time::Timestamp,
};

/// Reads statistics.
#[derive(Clone)]
pub struct StatisticsService {
    clicks: Arc<dyn ClickRepository>,
    progress: Arc<dyn ClickProgress>,
    clock: Arc<dyn Clock>,
    hours_kept_days: u32,
}

impl fmt::Debug for StatisticsService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StatisticsService").finish_non_exhaustive()
    }
}

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
    fn begin_of(self, interval: Interval, moment: Timestamp) -> Hour {
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
    fn is_hourly(self, moment: Timestamp) -> bool {
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
    fn after(self, begin: Hour, zone: Zone) -> Hour {
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

    fn counts(self, kind: ClickKind) -> bool {
        self.kinds().contains(&kind)
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

/// Clicks of people and of bots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KindCounts {
    /// By people.
    pub humans: u64,
    /// By bots.
    pub bots: u64,
}

impl KindCounts {
    fn add(&mut self, kind: ClickKind, clicks: u64) {
        match kind {
            ClickKind::Human => self.humans += clicks,
            ClickKind::Bot => self.bots += clicks,
        }
    }

    /// How many of them `bots` counts.
    pub fn of(self, bots: Bots) -> u64 {
        match bots {
            Bots::Exclude => self.humans,
            Bots::Only => self.bots,
            Bots::Include => self.humans + self.bots,
        }
    }
}

/// Statistics of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// When they begin.
    pub from: Timestamp,
    /// When they end.
    pub to: Timestamp,
    /// All clicks in that time: the sum of the series.
    pub totals: KindCounts,
    /// All clicks in the time of the same length before; `None` if that was not asked.
    pub previous: Option<KindCounts>,
    /// Visitors of each UTC day, added up; `None` unless it is about one link. A person who comes on two days counts
    /// twice.
    pub daily_visitors: Option<u64>,
    /// Clicks by time, without holes.
    pub series: Vec<(Timestamp, KindCounts)>,
    /// Clicks by what they tell.
    pub breakdowns: Breakdowns,
    /// Clicks until then are counted, as far as this process knows.
    pub as_of: Timestamp,
}

/// Clicks by the value of each dimension, over whole UTC days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakdowns {
    /// The first day.
    pub first_day: Day,
    /// The day behind the last.
    pub end_day: Day,
    /// All clicks of these days: the sum of each breakdown.
    pub total: u64,
    /// The most frequent values of each dimension, most frequent first. All others are one value, the last.
    pub by: Vec<(Dimension, Vec<(String, u64)>)>,
}

impl StatisticsService {
    /// Most parts of a series.
    pub const MAX_PARTS: usize = 2_000;
    /// Most values of a breakdown, without the one that stands for all others.
    pub const MAX_VALUES: usize = 50;
    /// Most links whose clicks are added up one by one.
    pub const MAX_LINKS: usize = 10_000;

    /// A service over these ports. Hours are kept for so many days.
    pub fn new(
        clicks: Arc<dyn ClickRepository>,
        progress: Arc<dyn ClickProgress>,
        clock: Arc<dyn Clock>,
        hours_kept_days: u32,
    ) -> Self {
        Self { clicks, progress, clock, hours_kept_days }
    }

    /// The clock of the service.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Statistics of links.
    pub async fn statistics(
        &self,
        query: &StatisticsQuery,
    ) -> Result<Result<Statistics, InvalidQuery>, RepositoryError> {
        let begins = match query.begins() {
            Ok(begins) => begins,
            Err(invalid) => return Ok(Err(invalid)),
        };
        // Read before the counts: clicks until then are in them.
        let as_of = self.progress.counted_until();
        let (first, end) = (begins[0], begins[begins.len() - 1]);
        let mut series: Vec<_> =
            begins[..begins.len() - 1].iter().map(|begin| (begin.begin(), KindCounts::default())).collect();
        let mut totals = KindCounts::default();
        for Counted { when, kind, clicks } in self.by_hour(&query.of, first, end).await? {
            let place = begins.partition_point(|begin| *begin <= when) - 1;
            series[place].1.add(kind, clicks);
            totals.add(kind, clicks);
        }
        let mut previous = None;
        if query.compare {
            let before = Hour(first.0 - (end.0 - first.0));
            let mut counts = KindCounts::default();
            for Counted { kind, clicks, .. } in self.by_hour(&query.of, before, first).await? {
                counts.add(kind, clicks);
            }
            previous = Some(counts);
        }
        let (first_day, end_day) = (first.day(), Hour(end.0 - 1).day().next());
        let values = self.clicks.dimensions(&query.of, first_day..end_day).await?;
        let daily_visitors = match &query.of {
            StatisticsOf::Link(link) => {
                let days = self.clicks.visitors(link, first_day..end_day).await?;
                Some(days.iter().map(|(_, sketch)| sketch.count()).sum())
            }
            StatisticsOf::Links(_) | StatisticsOf::Owner(_) | StatisticsOf::Everyone => None,
        };
        let breakdowns = Breakdowns::of(first_day, end_day, values, query.bots);
        let (from, to) = (first.begin(), end.begin());
        Ok(Ok(Statistics { from, to, totals, previous, daily_visitors, series, breakdowns, as_of }))
    }

    /// Clicks by hour. Days whose hours are not kept count as their first hour.
    async fn by_hour(&self, of: &StatisticsOf, first: Hour, end: Hour) -> Result<Vec<Counted<Hour>>, RepositoryError> {
        let kept = self.first_kept_day();
        let mut counted = Vec::new();
        if first < kept.first_hour() {
            let first_day = if first.of_day() == 0 { first.day() } else { first.day().next() };
            let days = self.clicks.days(of, first_day..kept.min(Hour(end.0 - 1).day().next())).await?;
            let as_hours = days.into_iter().map(|Counted { when, kind, clicks }| Counted {
                when: when.first_hour(),
                kind,
                clicks,
            });
            counted.extend(as_hours);
        }
        let from = first.max(kept.first_hour());
        if from < end {
            counted.extend(self.clicks.hours(of, from..end).await?);
        }
        Ok(counted)
    }

    /// The first day whose hours are certainly kept.
    pub fn first_kept_day(&self) -> Day {
        let oldest = self.clock.now().plus_seconds(-i64::from(self.hours_kept_days) * 86_400);
        oldest.map_or(Day(0), Day::of)
    }

    /// The totals of these links, in their order.
    pub async fn totals(&self, links: &[Uuid]) -> Result<Vec<ClickTotals>, RepositoryError> {
        let totals = self.clicks.totals(links).await?;
        Ok(links.iter().map(|link| totals.get(link).copied().unwrap_or_default()).collect())
    }

    /// The links with most clicks from the day of `from` to the day of `to`, both included; most first.
    pub async fn top(
        &self,
        owner: Option<&Owner>,
        bots: Bots,
        from: Timestamp,
        to: Timestamp,
        limit: u32,
    ) -> Result<Vec<(Uuid, u64)>, RepositoryError> {
        self.clicks.top(owner, bots.kinds(), Day::of(from)..Day::of(to).next(), limit).await
    }

    /// Visits that led nowhere, from the day of `from` to the day of `to`, both included.
    pub async fn orphans(
        &self,
        from: Timestamp,
        to: Timestamp,
    ) -> Result<Vec<(Day, OrphanReason, u64)>, RepositoryError> {
        self.clicks.orphans(Day::of(from)..Day::of(to).next()).await
    }

    /// Deletes the counts of a link.
    pub async fn erase(&self, link: &Uuid) -> Result<(), RepositoryError> {
        self.clicks.erase(link).await
    }
}

impl StatisticsQuery {
    /// The begins of all parts of the series, and its end.
    fn begins(&self) -> Result<Vec<Hour>, InvalidQuery> {
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

impl Breakdowns {
    fn of(first_day: Day, end_day: Day, values: Vec<ValueCount>, bots: Bots) -> Self {
        let mut all: BTreeMap<Dimension, BTreeMap<String, u64>> = BTreeMap::new();
        for ValueCount { dimension, value, kind, clicks } in values {
            if bots.counts(kind) {
                *all.entry(dimension).or_default().entry(value).or_default() += clicks;
            }
        }
        let total = all.values().next().map_or(0, |values| values.values().sum());
        let by = Dimension::ALL.into_iter().map(|dimension| {
            let mut values = all.remove(&dimension).unwrap_or_default();
            let mut others = values.remove(OTHER).unwrap_or_default();
            let mut values: Vec<_> = values.into_iter().collect();
            // Values with as many clicks stay in the order of their names.
            values.sort_by_key(|(_, clicks)| std::cmp::Reverse(*clicks));
            others +=
                values.drain(StatisticsService::MAX_VALUES.min(values.len())..).map(|(_, clicks)| clicks).sum::<u64>();
            if others > 0 {
                values.push((OTHER.to_owned(), others));
            }
            (dimension, values)
        });
        Self { first_day, end_day, total, by: by.collect() }
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
        assert_eq!("Mars/Olympus".parse::<Zone>(), Err(UnknownZone));
    }

    #[test]
    fn a_breakdown_adds_up_although_rare_values_are_one() {
        let count = |value: String, kind, clicks| ValueCount { dimension: Dimension::Referrer, value, kind, clicks };
        let mut values: Vec<_> =
            (0..60).map(|number| count(format!("{number:02}.example"), ClickKind::Human, number + 1)).collect();
        values.push(count(OTHER.to_owned(), ClickKind::Human, 5));
        values.push(count("59.example".to_owned(), ClickKind::Bot, 1_000));
        let breakdowns = Breakdowns::of(Day(0), Day(1), values, Bots::Exclude);
        let (dimension, referrers) = &breakdowns.by[0];
        assert_eq!((*dimension, breakdowns.total), (Dimension::Referrer, (1..=60).sum::<u64>() + 5));
        assert_eq!(referrers.iter().map(|(_, clicks)| clicks).sum::<u64>(), breakdowns.total);
        assert_eq!(referrers.len(), StatisticsService::MAX_VALUES + 1);
        assert_eq!(referrers[0], ("59.example".to_owned(), 60));
        assert_eq!(referrers[50], (OTHER.to_owned(), (1..=10).sum::<u64>() + 5));
    }
}
