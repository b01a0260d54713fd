//! Statistics: what is read of the counts of clicks. A count that cannot be read is left out and reported.

mod days;
mod top;

use std::{collections::HashMap, ops::Range};

use diesel::{
    pg::data_types::PgTimestamp,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Integer, SmallInt},
};
use diesel_async::RunQueryDsl;
use domain::{
    address::DomainId,
    click::{Day, KindCounts, Orphan, OrphanReason},
    ports::{ClickTotals, RepositoryError, in_column},
};
use uuid::Uuid;

use crate::{
    PostgresStore,
    error::Effect,
    rows::{Anything, moment},
    schema::link_totals,
    session::until,
};

/// A sum as text of SQL. Rows that were not written by a store may add up to more than a `bigint`.
macro_rules! sum {
    ($what:literal, $name:literal) => {
        concat!("least(sum(", $what, "), 9223372036854775807)::bigint AS ", $name)
    };
}
use sum;

#[derive(QueryableByName)]
struct OrphanRow {
    #[diesel(sql_type = Integer)]
    day: i32,
    #[diesel(sql_type = SmallInt)]
    domain_id: i16,
    #[diesel(sql_type = SmallInt)]
    reason: i16,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

impl PostgresStore {
    pub(super) async fn click_totals(&self, links: &[Uuid]) -> Result<HashMap<Uuid, ClickTotals>, RepositoryError> {
        let mut session = self.statistics.open("reading totals of clicks").await?;
        let deadline = session.deadline();
        let query = link_totals::table.filter(link_totals::link_id.eq_any(links)).select((
            link_totals::link_id,
            link_totals::humans,
            link_totals::bots,
            link_totals::last_at,
        ));
        let rows = until(deadline, query.load::<(Uuid, i64, i64, PgTimestamp)>(session.connection())).await;
        let rows = session.close(Effect::Read, rows)?;
        let read = |(link, humans, bots, last_at): (Uuid, i64, i64, PgTimestamp)| {
            let totals = self.left_out.unless("link_totals", link, read_totals(humans, bots, last_at))?;
            Some((link, totals))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }

    pub(super) async fn orphans_by_day(&self, range: Range<Day>) -> Result<Vec<(Orphan, u64)>, RepositoryError> {
        const SQL: &str = concat!(
            "SELECT day, domain_id, reason, ",
            sum!("clicks", "clicks"),
            " FROM orphans_day WHERE day >= $1 AND day < $2 
             GROUP BY day, domain_id, reason ORDER BY day, domain_id, reason"
        );
        let mut session = self.statistics.open("counting visits that led nowhere").await?;
        let deadline = session.deadline();
        let query = sql_query(SQL).bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
        let rows = until(deadline, query.load::<OrphanRow>(session.connection())).await;
        let rows = session.close(Effect::Read, rows)?;
        let read = |row: OrphanRow| {
            self.left_out.unless("orphans_day", format_args!("{} {}", row.day, row.reason), row.parse())
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }
}

impl OrphanRow {
    fn parse(&self) -> Result<(Orphan, u64), Anything> {
        let reason = in_column("reason", OrphanReason::of_number(self.reason).ok_or("unknown reason"))?;
        let domain = in_column("domain_id", DomainId::try_from(self.domain_id))?;
        Ok((Orphan { day: Day(self.day), domain, reason }, in_column("clicks", u64::try_from(self.clicks))?))
    }
}

fn read_totals(humans: i64, bots: i64, last_at: PgTimestamp) -> Result<ClickTotals, Anything> {
    let KindCounts { humans, bots } = read_clicks(humans, bots)?;
    Ok(ClickTotals { humans, bots, last_at: Some(in_column("last_at", moment(last_at))?) })
}

fn read_clicks(humans: i64, bots: i64) -> Result<KindCounts, Anything> {
    Ok(KindCounts {
        humans: in_column("humans", u64::try_from(humans))?,
        bots: in_column("bots", u64::try_from(bots))?,
    })
}
