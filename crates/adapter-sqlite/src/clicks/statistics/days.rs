//! Reads the packed days of links and of owners.

use std::{borrow::Cow, collections::BTreeMap, ops::Range};

use diesel::{
    QueryResult,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Binary, Integer, Nullable, Text},
};
use domain::{
    click::{Counted, Day, DayCounts, Hour, HourSums, KindCounts, ValueCount, ValueSums, VisitorSketch},
    ports::{RepositoryError, StatisticsOf, in_column},
};
use uuid::Uuid;

use super::{
    super::{SqliteClicks, list_of, read_sketch},
    read_clicks,
};
use crate::threads::Caller;

/// How many links one statement reads: their list stays short.
const LINKS_AT_ONCE: usize = 500;

/// The days from `?1` until before `?2`, as far as any link has clicks: the key of a day begins with the day, so the
/// days of a link are looked up one by one.
macro_rules! days_of_links {
    () => {
        "WITH RECURSIVE days (day) AS (
            SELECT max(?1, first) FROM (SELECT min(day) AS first FROM link_days) WHERE max(?1, first) < ?2
            UNION ALL
            SELECT day + 1 FROM days WHERE day + 1 < min(?2, (SELECT max(day) + 1 FROM link_days))
        ) "
    };
}
pub(super) use days_of_links;

/// The links of the list `?3`, beside the days.
macro_rules! from_links {
    () => {
        " FROM days CROSS JOIN (SELECT unhex(value) AS link_id FROM json_each(?3) ORDER BY 1) l
          CROSS JOIN link_days d ON d.day = days.day AND d.link_id = l.link_id "
    };
}

/// Statements of the same columns about links, about an owner and about all owners.
struct Statements {
    table: [&'static str; 3],
    sql: [&'static str; 3],
}

const COUNTS: Statements = Statements {
    table: ["link_days", "owner_days", "owner_days"],
    sql: [
        concat!(days_of_links!(), "SELECT d.day, hex(d.link_id) AS of, d.counts", from_links!()),
        "SELECT day, owner AS of, counts FROM owner_days WHERE day >= ?1 AND day < ?2 AND owner = ?3",
        "SELECT day, owner AS of, counts FROM owner_days WHERE day >= ?1 AND day < ?2",
    ],
};

const SUMS: Statements = Statements {
    table: ["link_days", "owner_days", "owner_days"],
    sql: [
        concat!(
            days_of_links!(),
            "SELECT d.day, sum(d.humans) AS humans, sum(d.bots) AS bots",
            from_links!(),
            "GROUP BY d.day"
        ),
        "SELECT day, sum(humans) AS humans, sum(bots) AS bots FROM owner_days
            WHERE day >= ?1 AND day < ?2 AND owner = ?3 GROUP BY day",
        "SELECT day, sum(humans) AS humans, sum(bots) AS bots FROM owner_days
            WHERE day >= ?1 AND day < ?2 GROUP BY day",
    ],
};

impl Statements {
    /// The statement for whose clicks are asked, its table, and its third parameter: one of each at a time.
    fn of(&self, of: &StatisticsOf) -> (Cow<'static, str>, &'static str, Vec<Option<String>>) {
        let (place, subjects) = match of {
            StatisticsOf::Link(link) => (0, vec![Some(list_of([link]))]),
            StatisticsOf::Links(links) => (0, links.chunks(LINKS_AT_ONCE).map(|some| Some(list_of(some))).collect()),
            StatisticsOf::Owner(owner) | StatisticsOf::On { owner: Some(owner), .. } => {
                (1, vec![Some(owner.to_string())])
            }
            StatisticsOf::On { owner: None, .. } | StatisticsOf::Everyone => (2, vec![None]),
        };
        let sql = self.sql[place];
        let sql = match of {
            StatisticsOf::On { domains, .. } => {
                // Numbers, so nothing has to be escaped.
                let numbers: Vec<_> = domains.iter().map(ToString::to_string).collect();
                let on = format!("?2 AND domain_id IN ({})", numbers.join(", "));
                Cow::Owned(sql.replace("?2", &on))
            }
            StatisticsOf::Link(_) | StatisticsOf::Links(_) | StatisticsOf::Owner(_) | StatisticsOf::Everyone => {
                Cow::Borrowed(sql)
            }
        };
        (sql, self.table[place], subjects)
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

#[derive(QueryableByName)]
struct VisitorsRow {
    #[diesel(sql_type = Integer)]
    day: i32,
    #[diesel(sql_type = Nullable<Binary>)]
    visitors: Option<Vec<u8>>,
}

impl SqliteClicks {
    pub(in super::super) async fn clicks_by_hour(
        &self,
        of: &StatisticsOf,
        range: Range<Hour>,
    ) -> Result<Vec<Counted<Hour>>, RepositoryError> {
        let days = range.start.day()..Day(range.end.0.div_euclid(24)).next();
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
    async fn folded<S: Send + 'static>(
        &self,
        of: &StatisticsOf,
        range: Range<Day>,
        mut sums: S,
        add: impl Fn(&mut S, Day, &DayCounts<'_>) + Send + 'static,
    ) -> Result<(S, Hour), RepositoryError> {
        let (sql, table, subjects) = COUNTS.of(of);
        let left_out = self.left_out.clone();
        let folding = move |connection: &mut SqliteConnection, caller: &Caller<'_>| {
            // One transaction, so that all statements see the same clicks.
            connection.transaction(|connection| {
                let forgotten = forgotten_hours(connection)?;
                for subject in subjects {
                    let query = sql_query(&*sql).into_boxed();
                    let mut query = query.bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
                    if let Some(subject) = subject {
                        query = query.bind::<Text, _>(subject);
                    }
                    for row in query.load_iter::<CountsRow, _>(connection)? {
                        caller.still_waits()?;
                        let CountsRow { day, of, counts } = row?;
                        let counts = in_column("counts", DayCounts::from_bytes(&counts)).map_err(Into::into);
                        if let Some(counts) = left_out.unless(table, format_args!("{day} {of}"), counts) {
                            add(&mut sums, Day(day), &counts);
                        }
                    }
                }
                QueryResult::Ok((sums, forgotten))
            })
        };
        self.threads.scan("counting clicks", folding).await
    }

    pub(in super::super) async fn clicks_by_day(
        &self,
        of: &StatisticsOf,
        range: Range<Day>,
    ) -> Result<Vec<Counted<Day>>, RepositoryError> {
        let (sql, table, subjects) = SUMS.of(of);
        let left_out = self.left_out.clone();
        let adding = move |connection: &mut SqliteConnection, caller: &Caller<'_>| {
            connection.transaction(|connection| {
                let mut sums = BTreeMap::<Day, KindCounts>::new();
                for subject in subjects {
                    let query = sql_query(&*sql).into_boxed();
                    let mut query = query.bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
                    if let Some(subject) = subject {
                        query = query.bind::<Text, _>(subject);
                    }
                    for row in query.load_iter::<SumRow, _>(connection)? {
                        caller.still_waits()?;
                        let row = row?;
                        if let Some(clicks) = left_out.unless(table, row.day, read_clicks(row.humans, row.bots)) {
                            *sums.entry(Day(row.day)).or_default() += clicks;
                        }
                    }
                }
                QueryResult::Ok(sums)
            })
        };
        let sums = self.threads.scan("counting clicks by day", adding).await?;
        let counted = |(when, clicks): (Day, KindCounts)| {
            clicks.by_kind().map(move |(kind, clicks)| Counted { when, kind, clicks })
        };
        Ok(sums.into_iter().flat_map(counted).collect())
    }

    pub(in super::super) async fn visitors_by_day(
        &self,
        link: Uuid,
        range: Range<Day>,
    ) -> Result<Vec<(Day, VisitorSketch)>, RepositoryError> {
        const SQL: &str = concat!(days_of_links!(), "SELECT d.day, d.visitors", from_links!());
        let asking = move |connection: &mut SqliteConnection, _: &Caller<'_>| {
            let query = sql_query(SQL).bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
            query.bind::<Text, _>(list_of([&link])).load::<VisitorsRow>(connection)
        };
        let rows = self.threads.scan("reading visitors", asking).await?;
        let read = |VisitorsRow { day, visitors }: VisitorsRow| {
            let sketch = read_sketch(&self.left_out, (Day(day), link), &visitors?)?;
            Some((Day(day), sketch))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }
}

/// The first hour that is not forgotten.
fn forgotten_hours(connection: &mut SqliteConnection) -> QueryResult<Hour> {
    #[derive(QueryableByName)]
    struct Row {
        #[diesel(sql_type = Integer)]
        before: i32,
    }
    let row: Option<Row> = sql_query("SELECT before FROM forgotten_hours").get_result(connection).optional()?;
    Ok(Hour(row.map_or(i32::MIN, |row| row.before)))
}
