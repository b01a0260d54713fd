//! The most clicked links.

use std::ops::Range;

use diesel::{
    prelude::*,
    sql_query,
    sql_types::{BigInt, Integer, Text, Uuid as SqlUuid},
};
use diesel_async::RunQueryDsl;
use domain::{
    click::{ClickKind, Day},
    link::Owner,
    ports::{RepositoryError, in_column},
};
use uuid::Uuid;

use super::sum;
use crate::{PostgresStore, error::Effect, session::until};

const OF_ALL: &str = concat!(
    "SELECT link_id, ",
    sum!("humans * $3 + bots * $4", "clicks"),
    " FROM link_days WHERE day >= $1 AND day < $2 AND $6 = ''
    GROUP BY link_id HAVING sum(humans * $3 + bots * $4) > 0 ORDER BY clicks DESC, link_id LIMIT $5"
);
const OF_OWNER: &str = concat!(
    "SELECT link_id, ",
    sum!("d.humans * $3 + d.bots * $4", "clicks"),
    " FROM (SELECT link_id FROM link_totals WHERE owner = $6) links JOIN link_days d USING (link_id)
    WHERE day >= $1 AND day < $2
    GROUP BY link_id HAVING sum(d.humans * $3 + d.bots * $4) > 0 ORDER BY clicks DESC, link_id LIMIT $5"
);

#[derive(QueryableByName)]
struct TopRow {
    #[diesel(sql_type = SqlUuid)]
    link_id: Uuid,
    #[diesel(sql_type = BigInt)]
    clicks: i64,
}

impl PostgresStore {
    pub(in super::super) async fn most_clicked(
        &self,
        owner: Option<&Owner>,
        kinds: &[ClickKind],
        range: Range<Day>,
        limit: u32,
    ) -> Result<Vec<(Uuid, u64)>, RepositoryError> {
        let [humans, bots] = ClickKind::ALL.map(|kind| i32::from(kinds.contains(&kind)));
        let query = sql_query(if owner.is_some() { OF_OWNER } else { OF_ALL });
        let query = query.bind::<Integer, _>(range.start.0).bind::<Integer, _>(range.end.0);
        let query = query.bind::<Integer, _>(humans).bind::<Integer, _>(bots).bind::<BigInt, _>(i64::from(limit));
        let query = query.bind::<Text, _>(owner.map(ToString::to_string).unwrap_or_default());
        let mut session = self.statistics.open("finding the most clicked links").await?;
        let deadline = session.deadline();
        let rows = until(deadline, query.load::<TopRow>(session.connection())).await;
        let rows = session.close(Effect::Read, rows)?;
        let read = |row: TopRow| {
            let clicks = in_column("clicks", u64::try_from(row.clicks)).map_err(Into::into);
            self.left_out.unless("link_days", row.link_id, clicks).map(|clicks| (row.link_id, clicks))
        };
        Ok(rows.into_iter().filter_map(read).collect())
    }
}
