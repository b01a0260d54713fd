//! Statistics: what is read of the counts of clicks. A count that cannot be read is left out and reported.

use std::{collections::HashMap, ops::Range};

use diesel::{
    pg::{Pg, data_types::PgTimestamp},
    prelude::*,
    query_builder::{BoxedSqlQuery, SqlQuery},
    sql_query,
    sql_types::{Array, BigInt, Integer, Nullable, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use domain::{
    click::{ClickKind, Day, Dimension, Hour, OrphanReason, VisitorSketch, WholeMonths},
    link::Owner,
    ports::{ClickTotals, Counted, RepositoryError, StatisticsOf, ValueCount, in_column},
    time::Timestamp,
};
use uuid::Uuid;

use super::read_sketch;
use crate::{
    PostgresStore,
    error::Effect,
    rows::{Anything, moment},
    schema::{link_totals, link_visitors_day},
    session::until,
};

type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

/// A sum of clicks as text of SQL. Rows that were not written by a store may add up to more than a `bigint`.
macro_rules! sum {
    () => {
        "least(sum(clicks), 9223372036854775807)::bigint AS clicks"
    };
}

/// The owners that were clicked, found by skipping from one to the next: there are few of them, with many rows each.
macro_rules! all_owners {
    () => {
        "WITH RECURSIVE owners AS (
            (SELECT owner FROM owner_dimensions_day ORDER BY owner LIMIT 1)
            UNION ALL
            SELECT (SELECT d.owner FROM owner_dimensions_day d WHERE d.owner > o.owner ORDER BY d.owner LIMIT 1)
            FROM owners o WHERE o.owner IS NOT NULL
        ) "
    };
}

/// Clicks of one kind at a time: the number of an hour or of a day.
#[derive(QueryableByName)]
struct CountedRow {
    #[diesel(sql_type = Integer)]
    at: i32,
    #[diesel(sql_type = SmallInt)]
    kind: i16,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

#[derive(QueryableByName)]
struct ValueRow {
    #[diesel(sql_type = BigInt)]
    value_id: i64,
    #[diesel(sql_type = Nullable<SmallInt>)]
    dimension: Option<i16>,
    #[diesel(sql_type = Nullable<Text>)]
    value: Option<String>,
    #[diesel(sql_type = SmallInt)]
    kind: i16,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

#[derive(QueryableByName)]
struct TopRow {
    #[diesel(sql_type = SqlUuid)]
    link_id: Uuid,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

#[derive(QueryableByName)]
struct OrphanRow {
    #[diesel(sql_type = Integer)]
    day: i32,
    #[diesel(sql_type = SmallInt)]
    reason: i16,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

impl PostgresStore {
    pub(super) async fn click_totals(&self, links: &[Uuid]) -> Result<HashMap<Uuid, ClickTotals>, RepositoryError> {
        let mut session = self.statistics.open("reading totals of clicks").await?;
        let deadline = session.deadline();
        let query = link_totals::table
            .filter(link_totals::link_id.eq_any(links))
            .filter(link_totals::clicks.ne(0))
            .select((link_totals::link_id, link_totals::kind, link_totals::clicks, link_totals::last_at));
        let rows = until(deadline, query.load::<(Uuid, i16, i64, Option<PgTimestamp>)>(session.connection())).await;
        let mut totals = HashMap::<Uuid, ClickTotals>::new();
        for (link, kind, clicks, last_at) in session.close(Effect::Read, rows)? {
            let id = format!("{link} {kind}");
            if let Some((kind, clicks, last_at)) =
                self.left_out.unless("link_totals", id, read_total(kind, clicks, last_at))
            {
                let total = totals.entry(link).or_default();
                match kind {
                    ClickKind::Human => total.humans = clicks,
                    ClickKind::Bot => total.bots = clicks,
                }
                total.last_at = total.last_at.max(last_at);
            }
        }
        Ok(totals)
    }

    pub(super) async fn clicks_by_hour(
        &self,
        of: &StatisticsOf,
        range: Range<Hour>,
    ) -> Result<Vec<Counted<Hour>>, RepositoryError> {
        let (table, query) = match of {
            StatisticsOf::Link(_) | StatisticsOf::Links(_) => {
                const SQL: &str = concat!(
                    "SELECT hour AS at, kind, ",
                    sum!(),
                    " FROM link_hours WHERE hour >= $1 AND hour < $2 AND link_id = ANY($3)
                    GROUP BY hour, kind ORDER BY hour, kind"
                );
                ("link_hours", sql_query(SQL))
            }
            StatisticsOf::Owner(_) => {
                const SQL: &str = concat!(
                    "SELECT hour AS at, kind, ",
                    sum!(),
                    " FROM owner_hours WHERE hour >= $1 AND hour < $2 AND owner = $3
                    GROUP BY hour, kind ORDER BY hour, kind"
                );
                ("owner_hours", sql_query(SQL))
            }
            StatisticsOf::Everyone => {
                const SQL: &str = concat!(
                    "SELECT hour AS at, kind, ",
                    sum!(),
                    " FROM owner_hours WHERE hour >= $1 AND hour < $2
                    GROUP BY hour, kind ORDER BY hour, kind"
                );
                ("owner_hours", sql_query(SQL))
            }
        };
        let query = query.into_boxed().bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
        self.counted(table, with_subject(query, of), Hour).await
    }

    pub(super) async fn clicks_by_day(
        &self,
        of: &StatisticsOf,
        range: Range<Day>,
    ) -> Result<Vec<Counted<Day>>, RepositoryError> {
        // The days of owners are the sums of one dimension: of the one with the fewest values.
        let owners_days = |sql| (SUMMED.0, sql_query(sql), true);
        let (table, query, is_of_owners) = match of {
            StatisticsOf::Link(_) | StatisticsOf::Links(_) => {
                const SQL: &str = concat!(
                    "SELECT day AS at, kind, ",
                    sum!(),
                    " FROM link_days WHERE day >= $1 AND day < $2 AND link_id = ANY($3)
                    GROUP BY day, kind ORDER BY day, kind"
                );
                ("link_days", sql_query(SQL), false)
            }
            StatisticsOf::Owner(_) => {
                const SQL: &str = concat!(
                    "SELECT day AS at, kind, ",
                    sum!(),
                    " FROM owner_dimensions_day WHERE day >= $1 AND day < $2 AND dimension = $3 AND owner = $4
                    GROUP BY day, kind ORDER BY day, kind"
                );
                owners_days(SQL)
            }
            StatisticsOf::Everyone => {
                const SQL: &str = concat!(
                    all_owners!(),
                    "SELECT day AS at, kind, ",
                    sum!(),
                    " FROM owners JOIN owner_dimensions_day USING (owner)
                    WHERE day >= $1 AND day < $2 AND dimension = $3
                    GROUP BY day, kind ORDER BY day, kind"
                );
                owners_days(SQL)
            }
        };
        let mut query = query.into_boxed().bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
        if is_of_owners {
            query = query.bind::<SmallInt, _>(SUMMED.1.number());
        }
        self.counted(table, with_subject(query, of), Day).await
    }

    async fn counted<T>(
        &self,
        table: &'static str,
        query: Query,
        when: impl Fn(i32) -> T,
    ) -> Result<Vec<Counted<T>>, RepositoryError> {
        let rows: Vec<CountedRow> = self.statistics_of("counting clicks", query).await?;
        let read = |row: CountedRow| {
            let count = read_kind(row.kind).and_then(|kind| Ok((kind, read_clicks(row.clicks)?)));
            let (kind, clicks) = self.left_out.unless(table, row.at, count)?;
            Some(Counted { when: when(row.at), kind, clicks })
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    pub(super) async fn clicks_by_value(
        &self,
        of: &StatisticsOf,
        range: Range<Day>,
    ) -> Result<Vec<ValueCount>, RepositoryError> {
        const VALUES: &str = " LEFT JOIN dimension_values v ON v.id = c.value_id
            ORDER BY v.dimension, c.clicks DESC, v.value, c.kind";
        let (table, query) = match of {
            StatisticsOf::Link(_) | StatisticsOf::Links(_) => {
                const COUNTS: &str = concat!(
                    "SELECT c.value_id, v.dimension, v.value, c.kind, c.clicks FROM (SELECT value_id, kind, ",
                    sum!(),
                    " FROM (
                        SELECT value_id, kind, clicks FROM link_dimensions_month
                        WHERE month >= $1 AND month < $2 AND link_id = ANY($7)
                        UNION ALL
                        SELECT value_id, kind, clicks FROM link_dimensions_day
                        WHERE day >= $3 AND day < $4 AND link_id = ANY($7)
                        UNION ALL
                        SELECT value_id, kind, clicks FROM link_dimensions_day
                        WHERE day >= $5 AND day < $6 AND link_id = ANY($7)
                    ) parts GROUP BY value_id, kind) c"
                );
                let WholeMonths { before, months, after } = WholeMonths::of(range);
                let query = sql_query(COUNTS).sql(VALUES).into_boxed();
                let query = query.bind::<Integer, _>(months.start.0).bind::<Integer, _>(months.end.0);
                let query = query.bind::<Integer, _>(before.start.0).bind::<Integer, _>(before.end.0);
                let query = query.bind::<Integer, _>(after.start.0).bind::<Integer, _>(after.end.0);
                ("link_dimensions_day", query)
            }
            StatisticsOf::Owner(_) => {
                const COUNTS: &str = concat!(
                    "SELECT c.value_id, v.dimension, v.value, c.kind, c.clicks FROM (SELECT value_id, kind, ",
                    sum!(),
                    " FROM owner_dimensions_day
                    WHERE day >= $1 AND day < $2 AND dimension = ANY($3) AND owner = $4
                    GROUP BY value_id, kind) c"
                );
                ("owner_dimensions_day", of_owners(COUNTS, VALUES, &range))
            }
            StatisticsOf::Everyone => {
                const COUNTS: &str = concat!(
                    "SELECT c.value_id, v.dimension, v.value, c.kind, c.clicks FROM (SELECT value_id, kind, ",
                    sum!(),
                    " FROM owner_dimensions_day
                    WHERE day >= $1 AND day < $2 AND dimension = ANY($3)
                    GROUP BY value_id, kind) c"
                );
                ("owner_dimensions_day", of_owners(COUNTS, VALUES, &range))
            }
        };
        let rows: Vec<ValueRow> =
            self.statistics_of("counting clicks by their dimensions", with_subject(query, of)).await?;
        let read = |row: ValueRow| self.left_out.unless(table, format!("value {}", row.value_id), row.parse());
        Ok(rows.into_iter().filter_map(read).collect())
    }

    pub(super) async fn visitors_by_day(
        &self,
        link: &Uuid,
        range: Range<Day>,
    ) -> Result<Vec<(Day, VisitorSketch)>, RepositoryError> {
        let mut session = self.statistics.open("reading visitors").await?;
        let deadline = session.deadline();
        let query = link_visitors_day::table
            .filter(link_visitors_day::link_id.eq(link))
            .filter(link_visitors_day::day.ge(range.start.0))
            .filter(link_visitors_day::day.lt(range.end.0))
            .order(link_visitors_day::day)
            .select((link_visitors_day::day, link_visitors_day::sketch));
        let rows = until(deadline, query.load::<(i32, Vec<u8>)>(session.connection())).await;
        let rows = session.close(Effect::Read, rows)?;
        let read = |(day, sketch): (i32, Vec<u8>)| {
            read_sketch(&self.left_out, *link, Day(day), &sketch).map(|sketch| (Day(day), sketch))
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
        const OF_ALL: &str = concat!(
            "SELECT link_id, ",
            sum!(),
            " FROM link_days WHERE day >= $1 AND day < $2 AND kind = ANY($3)
            GROUP BY link_id ORDER BY clicks DESC, link_id LIMIT $4"
        );
        const OF_OWNER: &str = concat!(
            "SELECT link_id, ",
            sum!(),
            " FROM (SELECT link_id FROM link_totals WHERE owner = $5 AND kind = 0) links JOIN link_days USING (link_id)
            WHERE day >= $1 AND day < $2 AND kind = ANY($3)
            GROUP BY link_id ORDER BY clicks DESC, link_id LIMIT $4"
        );
        let kinds: Vec<_> = kinds.iter().map(|kind| kind.number()).collect();
        let query = sql_query(if owner.is_some() { OF_OWNER } else { OF_ALL }).into_boxed();
        let query = query.bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
        let mut query = query.bind::<Array<SmallInt>, _>(kinds).bind::<BigInt, _>(i64::from(limit));
        if let Some(owner) = owner {
            query = query.bind::<Text, _>(owner.to_string());
        }
        let rows: Vec<TopRow> = self.statistics_of("finding the most clicked links", query).await?;
        let read = |row: TopRow| {
            let clicks = self.left_out.unless("link_days", row.link_id, read_clicks(row.clicks))?;
            Some((row.link_id, clicks))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    pub(super) async fn orphans_by_day(
        &self,
        range: Range<Day>,
    ) -> Result<Vec<(Day, OrphanReason, u64)>, RepositoryError> {
        const SQL: &str = concat!(
            "SELECT day, reason, ",
            sum!(),
            " FROM orphans_day WHERE day >= $1 AND day < $2 GROUP BY day, reason ORDER BY day, reason"
        );
        let query = sql_query(SQL).into_boxed().bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
        let rows: Vec<OrphanRow> = self.statistics_of("counting visits that led nowhere", query).await?;
        let read = |row: OrphanRow| {
            let id = format!("{} {}", row.day, row.reason);
            let reason = OrphanReason::of_number(row.reason).ok_or("unknown reason");
            let orphans = in_column("reason", reason).map_err(Into::into);
            let orphans = orphans.and_then(|reason| Ok((Day(row.day), reason, read_clicks(row.clicks)?)));
            self.left_out.unless("orphans_day", id, orphans)
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    async fn statistics_of<R>(&self, doing: &'static str, query: Query) -> Result<Vec<R>, RepositoryError>
    where
        R: QueryableByName<Pg> + Send + 'static,
    {
        let mut session = self.statistics.open(doing).await?;
        let deadline = session.deadline();
        let rows = until(deadline, query.load::<R>(session.connection())).await;
        session.close(Effect::Read, rows)
    }
}

/// The table and the dimension that the days of owners are the sums of.
const SUMMED: (&str, Dimension) = ("owner_dimensions_day", Dimension::Device);

/// A breakdown of owners. Naming the dimensions lets the index find the days of each.
fn of_owners(counts: &'static str, values: &'static str, range: &Range<Day>) -> Query {
    let dimensions: Vec<_> = Dimension::ALL.iter().map(|dimension| dimension.number()).collect();
    let query = sql_query(counts).sql(values).into_boxed();
    let query = query.bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
    query.bind::<Array<SmallInt>, _>(dimensions)
}

/// Binds whose clicks are asked for, as the last parameter.
fn with_subject(query: Query, of: &StatisticsOf) -> Query {
    match of {
        StatisticsOf::Link(link) => query.bind::<Array<SqlUuid>, _>(vec![*link]),
        StatisticsOf::Links(links) => query.bind::<Array<SqlUuid>, _>(links.clone()),
        StatisticsOf::Owner(owner) => query.bind::<Text, _>(owner.to_string()),
        StatisticsOf::Everyone => query,
    }
}

impl ValueRow {
    fn parse(self) -> Result<ValueCount, Anything> {
        let value = in_column("value_id", self.value.ok_or("no such value"))?;
        let dimension = self.dimension.and_then(Dimension::of_number).ok_or("unknown dimension");
        Ok(ValueCount {
            dimension: in_column("dimension", dimension)?,
            value,
            kind: read_kind(self.kind)?,
            clicks: read_clicks(self.clicks)?,
        })
    }
}

fn read_total(
    kind: i16,
    clicks: i64,
    last_at: Option<PgTimestamp>,
) -> Result<(ClickKind, u64, Option<Timestamp>), Anything> {
    let last_at = in_column("last_at", last_at.map(moment).transpose())?;
    Ok((read_kind(kind)?, read_clicks(clicks)?, last_at))
}

fn read_kind(kind: i16) -> Result<ClickKind, Anything> {
    Ok(in_column("kind", ClickKind::of_number(kind).ok_or("unknown kind of click"))?)
}

fn read_clicks(clicks: i64) -> Result<u64, Anything> {
    Ok(in_column("clicks", u64::try_from(clicks))?)
}
