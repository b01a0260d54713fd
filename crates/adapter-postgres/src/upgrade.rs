//! What an upgrade has to do with the rows themselves, after the migrations and under their lock: in steps, each of which
//! stays done, so that it can be broken off and go on later.

use diesel::{QueryResult, prelude::*};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::{
    rows::LinkRow,
    schema::{links, unfinished_upgrades},
};

/// How many rows one transaction changes at most.
const STEP: i64 = 1_000;
/// Computes the keys of targets with percent-escapes in their fragment again.
const FRAGMENT_KEYS: &str = "fragment_keys";

/// Does what is not done yet.
pub(crate) async fn finish(connection: &mut AsyncPgConnection) -> QueryResult<()> {
    loop {
        let unfinished = unfinished_upgrades::table.find(FRAGMENT_KEYS).select(unfinished_upgrades::after);
        let there: Option<Option<Uuid>> = unfinished.first(connection).await.optional()?;
        let Some(after) = there else {
            return Ok(());
        };
        connection.transaction(async |connection| compute_fragment_keys(connection, after).await).await?;
    }
}

/// One step. Keys differ now that were one before, never the other way round: no link can meet another one.
async fn compute_fragment_keys(connection: &mut AsyncPgConnection, after: Option<Uuid>) -> QueryResult<()> {
    let rows: Vec<LinkRow> = links::table
        .filter(links::id.gt(after.unwrap_or(Uuid::nil())))
        .filter(links::target.like("%#%"))
        .order(links::id)
        .limit(STEP)
        .select(LinkRow::as_select())
        .load(connection)
        .await?;
    let unfinished = unfinished_upgrades::table.find(FRAGMENT_KEYS);
    let Some(last) = rows.last().map(LinkRow::name) else {
        diesel::delete(unfinished).execute(connection).await?;
        return Ok(());
    };
    // A row that cannot be read stays as it is: `check-store` tells of it.
    for link in rows.into_iter().filter_map(|row| row.parse().ok()) {
        if link.behaviour.has_escapes_in_fragment() {
            diesel::update(links::table.find(link.id))
                .set(links::dedup_key.eq(link.dedup_key().as_bytes().as_slice()))
                .execute(connection)
                .await?;
        }
    }
    diesel::update(unfinished).set(unfinished_upgrades::after.eq(last)).execute(connection).await?;
    Ok(())
}
