//! Statistics: what is read of the counts of clicks. A count that cannot be read is left out and reported.

mod days;
mod top;

use std::{collections::HashMap, ops::Range};

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Binary, Integer, Text},
};
use domain::{
    address::DomainId,
    click::{Day, KindCounts, Orphan, OrphanReason},
    ports::{ClickTotals, RepositoryError, in_column},
};
use uuid::Uuid;

use super::{SqliteClicks, list_of};
use crate::{
    rows::{Anything, hex, moment},
    threads::Caller,
};

#[derive(QueryableByName)]
struct TotalRow {
    #[diesel(sql_type = Binary)]
    link_id: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    humans: i64,
    #[diesel(sql_type = BigInt)]
    bots: i64,
    #[diesel(sql_type = BigInt)]
    last_at: i64,
}

#[derive(QueryableByName)]
struct OrphanRow {
    #[diesel(sql_type = Integer)]
    day: i32,
    #[diesel(sql_type = Integer)]
    domain_id: i32,
    #[diesel(sql_type = BigInt)]
    reason: i64,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

impl SqliteClicks {
    pub(super) async fn click_totals(&self, links: &[Uuid]) -> Result<HashMap<Uuid, ClickTotals>, RepositoryError> {
        const SQL: &str = "SELECT link_id, humans, bots, last_at FROM link_totals
            WHERE link_id IN (SELECT unhex(value) FROM json_each(?))";
        let links = list_of(links);
        let asking = move |connection: &mut SqliteConnection| sql_query(SQL).bind::<Text, _>(links).load(connection);
        let rows: Vec<TotalRow> = self.threads.look_up("reading totals of clicks", asking).await?;
        let read = |row: TotalRow| self.left_out.unless("link_totals", hex(&row.link_id), row.parse());
        Ok(rows.into_iter().filter_map(read).collect())
    }

    pub(super) async fn orphans_by_day(&self, range: Range<Day>) -> Result<Vec<(Orphan, u64)>, RepositoryError> {
        const SQL: &str = "SELECT day, domain_id, reason, sum(clicks) AS clicks FROM orphans_day
            WHERE day >= ? AND day < ? GROUP BY day, domain_id, reason ORDER BY day, domain_id, reason";
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
    fn parse(&self) -> Result<(Uuid, ClickTotals), Anything> {
        let link = in_column("link_id", Uuid::from_slice(&self.link_id))?;
        let KindCounts { humans, bots } = read_clicks(self.humans, self.bots)?;
        let last_at = in_column("last_at", moment(self.last_at))?;
        Ok((link, ClickTotals { humans, bots, last_at: Some(last_at) }))
    }
}

impl OrphanRow {
    fn parse(self) -> Result<(Orphan, u64), Anything> {
        let number = i16::try_from(self.reason).ok();
        let reason = number.and_then(OrphanReason::of_number).ok_or("unknown reason");
        let clicks = in_column("clicks", u64::try_from(self.clicks))?;
        let domain = in_column("domain_id", i16::try_from(self.domain_id))?;
        let domain = in_column("domain_id", DomainId::try_from(domain))?;
        Ok((Orphan { day: Day(self.day), domain, reason: in_column("reason", reason)? }, clicks))
    }
}

fn read_clicks(humans: i64, bots: i64) -> Result<KindCounts, Anything> {
    Ok(KindCounts {
        humans: in_column("humans", u64::try_from(humans))?,
        bots: in_column("bots", u64::try_from(bots))?,
    })
}
