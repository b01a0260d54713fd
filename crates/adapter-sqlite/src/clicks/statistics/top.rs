//! The most clicked links.

use std::ops::Range;

use diesel::{
    QueryResult,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Binary, Integer, Text},
};
use domain::{
    click::{ClickKind, Day},
    link::Owner,
    ports::{RepositoryError, in_column},
};
use uuid::Uuid;

use super::{super::SqliteClicks, days::days_of_links};
use crate::{
    rows::{Anything, hex},
    threads::Caller,
};

/// The days of so many links are looked up one by one. The days of more links are found by reading all days.
const FEW_LINKS: i64 = 2_000;

const OF_ALL: &str = "SELECT link_id, sum(humans * ?4 + bots * ?5) AS clicks FROM link_days
    WHERE day >= ?1 AND day < ?2
    GROUP BY link_id HAVING clicks > 0 ORDER BY clicks DESC, link_id LIMIT ?6";
const OF_MANY: &str = "SELECT link_id, sum(humans * ?4 + bots * ?5) AS clicks FROM link_days
    WHERE day >= ?1 AND day < ?2 AND link_id IN (SELECT link_id FROM link_totals WHERE owner = ?3)
    GROUP BY link_id HAVING clicks > 0 ORDER BY clicks DESC, link_id LIMIT ?6";
const OF_FEW: &str = concat!(
    days_of_links!(),
    "SELECT d.link_id, sum(d.humans * ?4 + d.bots * ?5) AS clicks
     FROM days CROSS JOIN (SELECT link_id FROM link_totals WHERE owner = ?3) l
     CROSS JOIN link_days d ON d.day = days.day AND d.link_id = l.link_id
     GROUP BY d.link_id HAVING clicks > 0 ORDER BY clicks DESC, d.link_id LIMIT ?6"
);

#[derive(QueryableByName)]
struct TopRow {
    #[diesel(sql_type = Binary)]
    link_id: Vec<u8>,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

#[derive(QueryableByName)]
struct Count {
    #[diesel(sql_type = BigInt)]
    count: i64,
}

impl SqliteClicks {
    pub(in super::super) async fn most_clicked(
        &self,
        owner: Option<&Owner>,
        kinds: &[ClickKind],
        range: Range<Day>,
        limit: u32,
    ) -> Result<Vec<(Uuid, u64)>, RepositoryError> {
        let [humans, bots] = ClickKind::ALL.map(|kind| i32::from(kinds.contains(&kind)));
        let owner = owner.map(ToString::to_string);
        let asking = move |connection: &mut SqliteConnection, _: &Caller<'_>| {
            let sql = match &owner {
                None => OF_ALL,
                Some(owner) if has_few_links(connection, owner)? => OF_FEW,
                Some(_) => OF_MANY,
            };
            let query = sql_query(sql).bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
            let query = query.bind::<Text, _>(owner.unwrap_or_default()).bind::<Integer, _>(humans);
            query.bind::<Integer, _>(bots).bind::<BigInt, _>(i64::from(limit)).load::<TopRow>(connection)
        };
        let rows = self.threads.scan("finding the most clicked links", asking).await?;
        let read = |row: TopRow| self.left_out.unless("link_days", hex(&row.link_id), row.parse());
        Ok(rows.into_iter().filter_map(read).collect())
    }
}

fn has_few_links(connection: &mut SqliteConnection, owner: &str) -> QueryResult<bool> {
    const SQL: &str = "SELECT count(*) AS count FROM (SELECT 1 FROM link_totals WHERE owner = ? LIMIT ?)";
    let count = sql_query(SQL).bind::<Text, _>(owner).bind::<BigInt, _>(FEW_LINKS + 1);
    Ok(count.get_result::<Count>(connection)?.count <= FEW_LINKS)
}

impl TopRow {
    fn parse(&self) -> Result<(Uuid, u64), Anything> {
        let link = in_column("link_id", Uuid::from_slice(&self.link_id))?;
        Ok((link, in_column("clicks", u64::try_from(self.clicks))?))
    }
}
