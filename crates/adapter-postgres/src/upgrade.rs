//! Upgrades of rows, after the migrations and under their lock. They run in steps that commit one by one, so an
//! interrupted upgrade continues later.

use diesel::{
    QueryResult,
    dsl::{exists, select},
    prelude::*,
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::{
    rows::LinkRow,
    schema::{links, unfinished_upgrades},
};

/// Maximum rows that one transaction changes.
const STEP: i64 = 1_000;
/// Name of the upgrade that recomputes the deduplication keys of targets with percent-escapes in their fragment.
const FRAGMENT_KEYS: &str = "fragment_keys";

/// Runs every unfinished upgrade to its end.
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

/// Runs one step. Targets that had one key before may have different keys now, never the reverse, so no two old links
/// collide. Other processes may claim and edit links meanwhile. A link that changed since it was read got its new key
/// from that change. A link whose new key another link already holds leaves deduplication.
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
    // An unreadable row stays as it is; `check-store` reports it.
    for link in rows.into_iter().filter_map(|row| row.parse().ok()) {
        if link.behaviour.has_escapes_in_fragment() {
            let key = link.dedup_key();
            let holder = links::table
                .filter(links::owner_id.eq(link.owner.as_str()))
                .filter(links::domain_id.eq(i16::from(link.domain)))
                .filter(links::dedup_key.eq(key.as_bytes().as_slice()))
                .filter(links::deduplicated)
                .filter(links::id.ne(link.id));
            let is_held: bool = select(exists(holder)).get_result(connection).await?;
            let unchanged = links::table.find(link.id).filter(links::generation.eq(link.generation.get()));
            let change =
                (links::dedup_key.eq(key.as_bytes().as_slice()), links::deduplicated.eq(link.deduplicated && !is_held));
            diesel::update(unchanged).set(change).execute(connection).await?;
        }
    }
    diesel::update(unfinished).set(unfinished_upgrades::after.eq(last)).execute(connection).await?;
    Ok(())
}
