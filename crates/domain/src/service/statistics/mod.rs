//! Statistics: clicks of links over time, and by what they tell.

mod answer;
mod query;
mod zone;

use std::{fmt, sync::Arc};

use uuid::Uuid;

use crate::{
    click::{Counted, Day, Hour, KindCounts, Orphan},
    link::Owner,
    ports::{ClickProgress, ClickRepository, ClickTotals, Clock, RepositoryError, StatisticsOf},
    time::Timestamp,
};

pub use answer::{Breakdowns, Statistics};
pub use query::{Bots, InvalidQuery, StatisticsQuery};
pub use zone::{Edge, Interval, UnknownZone, Zone};

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
            series[place].1 += KindCounts::of_kind(kind, clicks);
            totals += KindCounts::of_kind(kind, clicks);
        }
        let mut previous = None;
        if query.compare {
            let before = Hour(first.0 - (end.0 - first.0));
            let mut counts = KindCounts::default();
            for Counted { kind, clicks, .. } in self.by_hour(&query.of, before, first).await? {
                counts += KindCounts::of_kind(kind, clicks);
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
            StatisticsOf::Links(_) | StatisticsOf::Owner(_) | StatisticsOf::On { .. } | StatisticsOf::Everyone => None,
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
    pub async fn orphans(&self, from: Timestamp, to: Timestamp) -> Result<Vec<(Orphan, u64)>, RepositoryError> {
        self.clicks.orphans(Day::of(from)..Day::of(to).next()).await
    }

    /// Deletes the counts of a link.
    pub async fn erase(&self, link: &Uuid) -> Result<(), RepositoryError> {
        self.clicks.erase(link).await
    }
}
