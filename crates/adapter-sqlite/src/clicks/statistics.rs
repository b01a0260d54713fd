//! Statistics: what is read of the counts of clicks. A count that cannot be read is left out and reported.

use std::{
    collections::{BTreeMap, HashMap},
    ops::Range,
};

use diesel::{
    QueryResult,
    prelude::*,
    query_builder::{BoxedSqlQuery, SqlQuery},
    sql_query,
    sql_types::{BigInt, Binary, Integer, Text},
    sqlite::Sqlite,
};
use domain::{
    click::{ClickKind, Day, Dimension, Hour, OrphanReason, VisitorSketch, WholeMonths},
    link::Owner,
    ports::{ClickTotals, Counted, RepositoryError, StatisticsOf, ValueCount, in_column},
    time::Timestamp,
};
use uuid::Uuid;

use super::{SqliteClicks, list_of, read_sketch, schema::link_visitors_day};
use crate::{
    rows::{Anything, hex, moment},
    threads::Caller,
};

/// How many links one statement reads. Nothing interrupts a statement, so it must be short.
const LINKS_AT_ONCE: usize = 500;

type Query = BoxedSqlQuery<'static, Sqlite, SqlQuery>;

/// Clicks of one kind with one key: the number of an hour or of a day, or the id of a value.
#[derive(QueryableByName)]
struct Row {
    #[diesel(sql_type = BigInt)]
    key: i64,
    #[diesel(sql_type = BigInt)]
    kind: i64,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

/// Sums of clicks by key and kind.
type Sums = BTreeMap<(i64, i64), i64>;

#[derive(QueryableByName)]
struct TotalRow {
    #[diesel(sql_type = Binary)]
    link_id: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    kind: i64,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
    #[diesel(sql_type = BigInt)]
    last_at: i64,
}

#[derive(QueryableByName)]
struct ValueRow {
    #[diesel(sql_type = BigInt)]
    id: i64,
    #[diesel(sql_type = BigInt)]
    dimension: i64,
    #[diesel(sql_type = Text)]
    value: String,
}

#[derive(QueryableByName)]
struct TopRow {
    #[diesel(sql_type = Binary)]
    link_id: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

#[derive(QueryableByName)]
struct OrphanRow {
    #[diesel(sql_type = Integer)]
    day: i32,
    #[diesel(sql_type = BigInt)]
    reason: i64,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

/// A statement that reads sums. Its parameters are the begin and the end of the range, then whose clicks: links as a
/// list, an owner, or none for all. Owners follow the dimensions, as a list, where there are any.
struct Source {
    sql: &'static str,
    range: Range<i32>,
    dimensions: Option<&'static [Dimension]>,
}

impl Source {
    fn new(sql: &'static str, range: Range<i32>) -> Self {
        Self { sql, range, dimensions: None }
    }

    fn of_dimensions(sql: &'static str, range: &Range<Day>, dimensions: &'static [Dimension]) -> Self {
        Self { dimensions: Some(dimensions), ..Self::new(sql, range.start.0..range.end.0) }
    }

    fn query(&self) -> Query {
        let query = sql_query(self.sql).into_boxed();
        let query = query.bind::<Integer, _>(self.range.start).bind::<Integer, _>(self.range.end);
        match self.dimensions {
            Some(dimensions) => {
                let numbers: Vec<_> = dimensions.iter().map(|dimension| dimension.number()).collect();
                query.bind::<Text, _>(serde_json::to_string(&numbers).expect("a list of numbers is JSON"))
            }
            None => query,
        }
    }
}

/// The dimension that the days of owners are the sums of: the one with the fewest values.
const SUMMED: &[Dimension] = &[Dimension::Device];

const HOURS_OF_LINKS: &str = "SELECT hour AS key, kind, sum(clicks) AS clicks FROM link_hours
    WHERE hour >= ? AND hour < ? AND link_id IN (SELECT unhex(value) FROM json_each(?)) GROUP BY hour, kind";
const HOURS_OF_OWNER: &str = "SELECT hour AS key, kind, sum(clicks) AS clicks FROM owner_hours
    WHERE hour >= ? AND hour < ? AND owner = ? GROUP BY hour, kind";
const HOURS_OF_ALL: &str = "SELECT hour AS key, kind, sum(clicks) AS clicks FROM owner_hours
    WHERE hour >= ? AND hour < ? GROUP BY hour, kind";
const DAYS_OF_LINKS: &str = "SELECT day AS key, kind, sum(clicks) AS clicks FROM link_days
    WHERE day >= ? AND day < ? AND link_id IN (SELECT unhex(value) FROM json_each(?)) GROUP BY day, kind";
const DAYS_OF_OWNER: &str = "SELECT day AS key, kind, sum(clicks) AS clicks FROM owner_dimensions_day
    WHERE day >= ? AND day < ? AND dimension IN (SELECT value FROM json_each(?)) AND owner = ? GROUP BY day, kind";
/// Skips from one owner to the next: there are few of them, with many rows each.
const DAYS_OF_ALL: &str = "WITH RECURSIVE owners (owner) AS (
        SELECT min(owner) FROM owner_dimensions_day
        UNION ALL
        SELECT (SELECT min(d.owner) FROM owner_dimensions_day d WHERE d.owner > owners.owner)
        FROM owners WHERE owners.owner IS NOT NULL
    )
    SELECT day AS key, kind, sum(clicks) AS clicks FROM owners CROSS JOIN owner_dimensions_day USING (owner)
    WHERE day >= ? AND day < ? AND dimension IN (SELECT value FROM json_each(?)) GROUP BY day, kind";
const VALUES_OF_DAYS: &str = "SELECT value_id AS key, kind, sum(clicks) AS clicks FROM link_dimensions_day
    WHERE day >= ? AND day < ? AND link_id IN (SELECT unhex(value) FROM json_each(?)) GROUP BY value_id, kind";
const VALUES_OF_MONTHS: &str = "SELECT value_id AS key, kind, sum(clicks) AS clicks FROM link_dimensions_month
    WHERE month >= ? AND month < ? AND link_id IN (SELECT unhex(value) FROM json_each(?)) GROUP BY value_id, kind";
/// Naming the dimensions lets the key find the days of each.
const VALUES_OF_OWNER: &str = "SELECT value_id AS key, kind, sum(clicks) AS clicks FROM owner_dimensions_day
    WHERE day >= ? AND day < ? AND dimension IN (SELECT value FROM json_each(?)) AND owner = ? GROUP BY value_id, kind";
const VALUES_OF_ALL: &str = "SELECT value_id AS key, kind, sum(clicks) AS clicks FROM owner_dimensions_day
    WHERE day >= ? AND day < ? AND dimension IN (SELECT value FROM json_each(?)) GROUP BY value_id, kind";

impl SqliteClicks {
    pub(super) async fn click_totals(&self, links: &[Uuid]) -> Result<HashMap<Uuid, ClickTotals>, RepositoryError> {
        const SQL: &str = "SELECT link_id, kind, clicks, last_at FROM link_totals
            WHERE link_id IN (SELECT unhex(value) FROM json_each(?))";
        let links = list_of(links);
        let asking = move |connection: &mut SqliteConnection| sql_query(SQL).bind::<Text, _>(links).load(connection);
        let rows: Vec<TotalRow> = self.threads.look_up("reading totals of clicks", asking).await?;
        let mut totals = HashMap::<Uuid, ClickTotals>::new();
        for row in rows {
            let id = format!("{} {}", hex(&row.link_id), row.kind);
            if let Some((link, kind, clicks, last_at)) = self.left_out.unless("link_totals", id, row.parse()) {
                let total = totals.entry(link).or_default();
                match kind {
                    ClickKind::Human => total.humans = clicks,
                    ClickKind::Bot => total.bots = clicks,
                }
                total.last_at = total.last_at.max(Some(last_at));
            }
        }
        Ok(totals)
    }

    pub(super) async fn clicks_by_hour(
        &self,
        of: &StatisticsOf,
        range: Range<Hour>,
    ) -> Result<Vec<Counted<Hour>>, RepositoryError> {
        let range = range.start.0..range.end.0;
        let (table, source) = match of {
            StatisticsOf::Link(_) | StatisticsOf::Links(_) => ("link_hours", Source::new(HOURS_OF_LINKS, range)),
            StatisticsOf::Owner(_) => ("owner_hours", Source::new(HOURS_OF_OWNER, range)),
            StatisticsOf::Everyone => ("owner_hours", Source::new(HOURS_OF_ALL, range)),
        };
        let sums = self.sums(of, vec![source]).await?;
        Ok(self.counted(table, sums, Hour))
    }

    pub(super) async fn clicks_by_day(
        &self,
        of: &StatisticsOf,
        range: Range<Day>,
    ) -> Result<Vec<Counted<Day>>, RepositoryError> {
        let (table, source) = match of {
            StatisticsOf::Link(_) | StatisticsOf::Links(_) => {
                ("link_days", Source::new(DAYS_OF_LINKS, range.start.0..range.end.0))
            }
            StatisticsOf::Owner(_) => ("owner_dimensions_day", Source::of_dimensions(DAYS_OF_OWNER, &range, SUMMED)),
            StatisticsOf::Everyone => ("owner_dimensions_day", Source::of_dimensions(DAYS_OF_ALL, &range, SUMMED)),
        };
        let sums = self.sums(of, vec![source]).await?;
        Ok(self.counted(table, sums, Day))
    }

    fn counted<T>(&self, table: &'static str, sums: Sums, when: impl Fn(i32) -> T) -> Vec<Counted<T>> {
        let read = |((at, kind), clicks)| {
            let count = i32::try_from(at).map_err(Into::into);
            let count = count.and_then(|at| Ok((at, read_kind(kind)?, read_clicks(clicks)?)));
            let (at, kind, clicks) = self.left_out.unless(table, at, count)?;
            Some(Counted { when: when(at), kind, clicks })
        };
        sums.into_iter().filter_map(read).collect()
    }

    pub(super) async fn clicks_by_value(
        &self,
        of: &StatisticsOf,
        range: Range<Day>,
    ) -> Result<Vec<ValueCount>, RepositoryError> {
        let (table, sources) = match of {
            StatisticsOf::Link(_) | StatisticsOf::Links(_) => {
                let WholeMonths { before, months, after } = WholeMonths::of(range);
                let of_months = Source::new(VALUES_OF_MONTHS, months.start.0..months.end.0);
                let of_days = [before, after].map(|days| Source::new(VALUES_OF_DAYS, days.start.0..days.end.0));
                ("link_dimensions_day", of_days.into_iter().chain([of_months]).collect())
            }
            StatisticsOf::Owner(_) => {
                let source = Source::of_dimensions(VALUES_OF_OWNER, &range, &Dimension::ALL);
                ("owner_dimensions_day", vec![source])
            }
            StatisticsOf::Everyone => {
                ("owner_dimensions_day", vec![Source::of_dimensions(VALUES_OF_ALL, &range, &Dimension::ALL)])
            }
        };
        let sums = self.sums(of, sources).await?;
        let values = self.values(&sums).await?;
        let read = |((id, kind), clicks)| {
            let value = in_column("value_id", values.get(&id).ok_or("no such value")).map_err(Into::into);
            let count = value.and_then(|value| value.count(kind, clicks));
            self.left_out.unless(table, format!("value {id}"), count)
        };
        let mut counts: Vec<_> = sums.into_iter().filter_map(read).collect();
        counts.sort_by(|one, other| {
            let place = |count: &ValueCount| (count.dimension, std::cmp::Reverse(count.clicks));
            place(one).cmp(&place(other)).then_with(|| (&one.value, one.kind).cmp(&(&other.value, other.kind)))
        });
        Ok(counts)
    }

    /// The values with the ids that are the keys of these sums.
    async fn values(&self, sums: &Sums) -> Result<HashMap<i64, ValueRow>, RepositoryError> {
        const SQL: &str = "SELECT id, dimension, value FROM dimension_values
            WHERE id IN (SELECT value FROM json_each(?))";
        let ids: Vec<_> = sums.keys().map(|(id, _)| *id).collect();
        let ids = serde_json::to_string(&ids).expect("a list of numbers is JSON");
        let asking = move |connection: &mut SqliteConnection, _: &Caller<'_>| {
            sql_query(SQL).bind::<Text, _>(ids).load::<ValueRow>(connection)
        };
        let rows = self.threads.scan("reading values of dimensions", asking).await?;
        Ok(rows.into_iter().map(|row| (row.id, row)).collect())
    }

    /// Adds up what the sources have, one after the other and some links at a time.
    async fn sums(&self, of: &StatisticsOf, sources: Vec<Source>) -> Result<Sums, RepositoryError> {
        let subjects: Vec<Option<String>> = match of {
            StatisticsOf::Link(link) => vec![Some(list_of([link]))],
            StatisticsOf::Links(links) => links.chunks(LINKS_AT_ONCE).map(|some| Some(list_of(some))).collect(),
            StatisticsOf::Owner(owner) => vec![Some(owner.to_string())],
            StatisticsOf::Everyone => vec![None],
        };
        let adding = move |connection: &mut SqliteConnection, caller: &Caller<'_>| {
            // One transaction, so that all statements see the same clicks.
            connection.transaction(|connection| {
                let mut sums = Sums::new();
                for (subject, source) in subjects.iter().flat_map(|subject| sources.iter().map(move |s| (subject, s))) {
                    caller.still_waits()?;
                    let query = match subject {
                        Some(subject) => source.query().bind::<Text, _>(subject.clone()),
                        None => source.query(),
                    };
                    for row in query.load::<Row>(connection)? {
                        let sum = sums.entry((row.key, row.kind)).or_insert(0_i64);
                        *sum = sum.saturating_add(row.clicks);
                    }
                }
                QueryResult::Ok(sums)
            })
        };
        self.threads.scan("counting clicks", adding).await
    }

    pub(super) async fn visitors_by_day(
        &self,
        link: Uuid,
        range: Range<Day>,
    ) -> Result<Vec<(Day, VisitorSketch)>, RepositoryError> {
        let asking = move |connection: &mut SqliteConnection, _: &Caller<'_>| {
            link_visitors_day::table
                .filter(link_visitors_day::link_id.eq(link.as_bytes().as_slice()))
                .filter(link_visitors_day::day.ge(range.start.0))
                .filter(link_visitors_day::day.lt(range.end.0))
                .order(link_visitors_day::day)
                .select((link_visitors_day::day, link_visitors_day::sketch))
                .load::<(i32, Vec<u8>)>(connection)
        };
        let rows = self.threads.scan("reading visitors", asking).await?;
        let read = |(day, sketch): (i32, Vec<u8>)| {
            read_sketch(&self.left_out, link, Day(day), &sketch).map(|sketch| (Day(day), sketch))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    pub(super) async fn most_clicked(
        &self,
        owner: Option<&Owner>,
        kinds: &[ClickKind],
        range: Range<Day>,
        limit: u32,
    ) -> Result<Vec<(Uuid, u64)>, RepositoryError> {
        // No index leads to the days of all links: this reads them all.
        const OF_ALL: &str = "SELECT link_id, sum(clicks) AS clicks FROM link_days
            WHERE day >= ? AND day < ? AND kind IN (SELECT value FROM json_each(?))
            GROUP BY link_id ORDER BY clicks DESC, link_id LIMIT ?";
        const OF_OWNER: &str = "SELECT link_id, sum(clicks) AS clicks FROM link_days
            WHERE day >= ? AND day < ? AND kind IN (SELECT value FROM json_each(?))
                AND link_id IN (SELECT link_id FROM link_totals WHERE owner = ?)
            GROUP BY link_id ORDER BY clicks DESC, link_id LIMIT ?";
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.number()).collect();
        let kinds = serde_json::to_string(&kinds).expect("a list of numbers is JSON");
        let query = sql_query(if owner.is_some() { OF_OWNER } else { OF_ALL }).into_boxed();
        let mut query = query.bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0).bind::<Text, _>(kinds);
        if let Some(owner) = owner {
            query = query.bind::<Text, _>(owner.to_string());
        }
        let query: Query = query.bind::<BigInt, _>(i64::from(limit));
        let asking = move |connection: &mut SqliteConnection, _: &Caller<'_>| query.load::<TopRow>(connection);
        let rows = self.threads.scan("finding the most clicked links", asking).await?;
        let read = |row: TopRow| self.left_out.unless("link_days", hex(&row.link_id), row.parse());
        Ok(rows.into_iter().filter_map(read).collect())
    }

    pub(super) async fn orphans_by_day(
        &self,
        range: Range<Day>,
    ) -> Result<Vec<(Day, OrphanReason, u64)>, RepositoryError> {
        const SQL: &str = "SELECT day, reason, sum(clicks) AS clicks FROM orphans_day WHERE day >= ? AND day < ?
            GROUP BY day, reason ORDER BY day, reason";
        let asking = move |connection: &mut SqliteConnection, _: &Caller<'_>| {
            let query = sql_query(SQL).bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
            query.load::<OrphanRow>(connection)
        };
        let rows = self.threads.scan("counting visits that led nowhere", asking).await?;
        let read =
            |row: OrphanRow| self.left_out.unless("orphans_day", format!("{} {}", row.day, row.reason), row.parse());
        Ok(rows.into_iter().filter_map(read).collect())
    }
}

impl TotalRow {
    fn parse(self) -> Result<(Uuid, ClickKind, u64, Timestamp), Anything> {
        let link = in_column("link_id", Uuid::from_slice(&self.link_id))?;
        let last_at = in_column("last_at", moment(self.last_at))?;
        Ok((link, read_kind(self.kind)?, read_clicks(self.clicks)?, last_at))
    }
}

impl ValueRow {
    fn count(&self, kind: i64, clicks: i64) -> Result<ValueCount, Anything> {
        let number = i16::try_from(self.dimension).ok();
        let dimension = number.and_then(Dimension::of_number).ok_or("unknown dimension");
        Ok(ValueCount {
            dimension: in_column("dimension", dimension)?,
            value: self.value.clone(),
            kind: read_kind(kind)?,
            clicks: read_clicks(clicks)?,
        })
    }
}

impl TopRow {
    fn parse(self) -> Result<(Uuid, u64), Anything> {
        Ok((in_column("link_id", Uuid::from_slice(&self.link_id))?, read_clicks(self.clicks)?))
    }
}

impl OrphanRow {
    fn parse(self) -> Result<(Day, OrphanReason, u64), Anything> {
        let number = i16::try_from(self.reason).ok();
        let reason = number.and_then(OrphanReason::of_number).ok_or("unknown reason");
        Ok((Day(self.day), in_column("reason", reason)?, read_clicks(self.clicks)?))
    }
}

fn read_kind(kind: i64) -> Result<ClickKind, Anything> {
    let number = i16::try_from(kind).ok();
    Ok(in_column("kind", number.and_then(ClickKind::of_number).ok_or("unknown kind of click"))?)
}

fn read_clicks(clicks: i64) -> Result<u64, Anything> {
    Ok(in_column("clicks", u64::try_from(clicks))?)
}
