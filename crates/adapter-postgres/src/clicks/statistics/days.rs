//! Reads the packed days of links and of owners.

use std::ops::Range;

use diesel::{
    QueryResult,
    pg::Pg,
    prelude::*,
    query_builder::{BoxedSqlQuery, SqlQuery},
    sql_query,
    sql_types::{Array, BigInt, Binary, Integer, SmallInt, Text, Uuid as SqlUuid},
};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use domain::{
    click::{Counted, Day, DayCounts, Hour, HourSums, KindCounts, ValueCount, ValueSums, VisitorSketch},
    ports::{RepositoryError, StatisticsOf, in_column},
};
use futures_util::TryStreamExt;
use uuid::Uuid;

use super::{super::read_sketch, read_clicks, sum};
use crate::{PostgresStore, error::Effect, schema::link_days, session::until};

type Query = BoxedSqlQuery<'static, Pg, SqlQuery>;

/// A statement about links, about an owner, about all owners, and about the latter two on some short domains. Each takes the range of days, and whose clicks.
struct Statements([&'static str; 5]);

const COUNTS: Statements = Statements([
    "SELECT day, link_id::text AS of, counts FROM link_days WHERE day >= $1 AND day < $2 AND link_id = ANY($3)",
    "SELECT day, owner AS of, counts FROM owner_days WHERE day >= $1 AND day < $2 AND owner = $3",
    "SELECT day, owner AS of, counts FROM owner_days WHERE day >= $1 AND day < $2",
    "SELECT day, owner AS of, counts FROM owner_days
     WHERE day >= $1 AND day < $2 AND owner = $3 AND domain_id = ANY($4)",
    "SELECT day, owner AS of, counts FROM owner_days WHERE day >= $1 AND day < $2 AND domain_id = ANY($3)",
]);

const SUMS: Statements = Statements([
    concat!(
        "SELECT day, ",
        sum!("humans", "humans"),
        ", ",
        sum!("bots", "bots"),
        " FROM link_days WHERE day >= $1 AND day < $2 AND link_id = ANY($3) GROUP BY day ORDER BY day"
    ),
    concat!(
        "SELECT day, ",
        sum!("humans", "humans"),
        ", ",
        sum!("bots", "bots"),
        " FROM owner_days WHERE day >= $1 AND day < $2 AND owner = $3 GROUP BY day ORDER BY day"
    ),
    concat!(
        "SELECT day, ",
        sum!("humans", "humans"),
        ", ",
        sum!("bots", "bots"),
        " FROM owner_days WHERE day >= $1 AND day < $2 GROUP BY day ORDER BY day"
    ),
    concat!(
        "SELECT day, ",
        sum!("humans", "humans"),
        ", ",
        sum!("bots", "bots"),
        " FROM owner_days WHERE day >= $1 AND day < $2 AND owner = $3 AND domain_id = ANY($4)
          GROUP BY day ORDER BY day"
    ),
    concat!(
        "SELECT day, ",
        sum!("humans", "humans"),
        ", ",
        sum!("bots", "bots"),
        " FROM owner_days WHERE day >= $1 AND day < $2 AND domain_id = ANY($3) GROUP BY day ORDER BY day"
    ),
]);

impl Statements {
    /// The statement for whose clicks are asked, and the table it reads.
    fn of(&self, of: &StatisticsOf, range: &Range<Day>) -> (Query, &'static str) {
        let query = |place: usize| {
            let query = sql_query(self.0[place]).into_boxed();
            query.bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0)
        };
        match of {
            StatisticsOf::Link(link) => (query(0).bind::<Array<SqlUuid>, _>(vec![*link]), "link_days"),
            StatisticsOf::Links(links) => (query(0).bind::<Array<SqlUuid>, _>(links.clone()), "link_days"),
            StatisticsOf::Owner(owner) => (query(1).bind::<Text, _>(owner.to_string()), "owner_days"),
            StatisticsOf::Everyone => (query(2), "owner_days"),
            StatisticsOf::On { owner, domains } => {
                let domains: Vec<_> = domains.iter().map(|domain| i16::from(*domain)).collect();
                let query = match owner {
                    Some(owner) => query(3).bind::<Text, _>(owner.to_string()),
                    None => query(4),
                };
                (query.bind::<Array<SmallInt>, _>(domains), "owner_days")
            }
        }
    }
}

#[derive(QueryableByName)]
struct CountsRow {
    #[diesel(sql_type = Integer)]
    day: i32,
    #[diesel(sql_type = Text)]
    of: String,
    #[diesel(sql_type = Binary)]
    counts: Vec<u8>,
}

#[derive(QueryableByName)]
struct SumRow {
    #[diesel(sql_type = Integer)]
    day: i32,
    #[diesel(sql_type = BigInt)]
    humans: i64,
    #[diesel(sql_type = BigInt)]
    bots: i64,
}

impl PostgresStore {
    pub(in super::super) async fn clicks_by_hour(
        &self,
        of: &StatisticsOf,
        range: Range<Hour>,
    ) -> Result<Vec<Counted<Hour>>, RepositoryError> {
        let days = range.start.day()..range.end.day().next();
        let (sums, forgotten) = self.folded(of, days, HourSums::default(), HourSums::add).await?;
        Ok(sums.between(range.start.max(forgotten), range.end))
    }

    pub(in super::super) async fn clicks_by_value(
        &self,
        of: &StatisticsOf,
        range: Range<Day>,
    ) -> Result<Vec<ValueCount>, RepositoryError> {
        let (sums, _) = self.folded(of, range, ValueSums::default(), ValueSums::add).await?;
        Ok(sums.into_counts())
    }

    /// Adds up the counts of all days, and reads which hours are forgotten.
    async fn folded<S: Send>(
        &self,
        of: &StatisticsOf,
        range: Range<Day>,
        mut sums: S,
        add: impl Fn(&mut S, Day, &DayCounts<'_>) + Send,
    ) -> Result<(S, Hour), RepositoryError> {
        let (query, table) = COUNTS.of(of, &range);
        let mut session = self.statistics.open("counting clicks").await?;
        let deadline = session.deadline();
        let connection = session.connection();
        let folded = until(deadline, async {
            let forgotten = forgotten_hours(connection).await?;
            // One row after the other: those of many links do not fit into memory.
            let mut rows = query.load_stream::<CountsRow>(connection).await?;
            while let Some(CountsRow { day, of, counts }) = rows.try_next().await? {
                let counts = in_column("counts", DayCounts::from_bytes(&counts)).map_err(Into::into);
                if let Some(counts) = self.left_out.unless(table, format_args!("{day} {of}"), counts) {
                    add(&mut sums, Day(day), &counts);
                }
            }
            QueryResult::Ok((sums, forgotten))
        })
        .await;
        session.close(Effect::Read, folded)
    }

    pub(in super::super) async fn clicks_by_day(
        &self,
        of: &StatisticsOf,
        range: Range<Day>,
    ) -> Result<Vec<Counted<Day>>, RepositoryError> {
        let (query, table) = SUMS.of(of, &range);
        let mut session = self.statistics.open("counting clicks by day").await?;
        let deadline = session.deadline();
        let rows = until(deadline, query.load::<SumRow>(session.connection())).await;
        let rows = session.close(Effect::Read, rows)?;
        let read = |row: SumRow| {
            let clicks = self.left_out.unless(table, row.day, read_clicks(row.humans, row.bots));
            let when = Day(row.day);
            let by_kind = clicks.into_iter().flat_map(KindCounts::by_kind);
            by_kind.map(move |(kind, clicks)| Counted { when, kind, clicks })
        };
        Ok(rows.into_iter().flat_map(read).collect())
    }

    pub(in super::super) async fn visitors_by_day(
        &self,
        link: &Uuid,
        range: Range<Day>,
    ) -> Result<Vec<(Day, VisitorSketch)>, RepositoryError> {
        let mut session = self.statistics.open("reading visitors").await?;
        let deadline = session.deadline();
        let query = link_days::table
            .filter(link_days::link_id.eq(link))
            .filter(link_days::day.ge(range.start.0))
            .filter(link_days::day.lt(range.end.0))
            .order(link_days::day)
            .select((link_days::day, link_days::visitors));
        let rows = until(deadline, query.load::<(i32, Option<Vec<u8>>)>(session.connection())).await;
        let rows = session.close(Effect::Read, rows)?;
        let read = |(day, visitors): (i32, Option<Vec<u8>>)| {
            let sketch = read_sketch(&self.left_out, (Day(day), *link), &visitors?)?;
            Some((Day(day), sketch))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }
}

/// The first hour that is not forgotten.
async fn forgotten_hours(connection: &mut AsyncPgConnection) -> QueryResult<Hour> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        before: i32,
    }
    let rows: Vec<Row> = sql_query("SELECT before FROM forgotten_hours").load(connection).await?;
    Ok(Hour(rows.into_iter().next().map_or(i32::MIN, |row| row.before)))
}
