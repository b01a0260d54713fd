//! Upgrades of rows, which run once after the migrations, in their transaction.

use diesel::{QueryResult, prelude::*};

use crate::{
    rows::LinkRow,
    schema::{links, unfinished_upgrades},
};

/// How many rows are read at a time.
const STEP: i64 = 1_000;
/// Name of the upgrade that recomputes the deduplication keys of targets with percent-escapes in their fragment.
const FRAGMENT_KEYS: &str = "fragment_keys";

/// Runs every unfinished upgrade.
pub(crate) fn finish(connection: &mut SqliteConnection) -> QueryResult<()> {
    let names: Vec<String> = unfinished_upgrades::table.select(unfinished_upgrades::name).load(connection)?;
    if names.iter().any(|name| name == FRAGMENT_KEYS) {
        compute_fragment_keys(connection)?;
        diesel::delete(unfinished_upgrades::table.find(FRAGMENT_KEYS)).execute(connection)?;
    }
    Ok(())
}

/// Targets that had one key before may have different keys now, never the reverse: no link can collide with another
/// one.
fn compute_fragment_keys(connection: &mut SqliteConnection) -> QueryResult<()> {
    let mut after = Vec::new();
    loop {
        let rows: Vec<LinkRow> = links::table
            .filter(links::id.gt(&after))
            .filter(links::target.like("%#%"))
            .order(links::id)
            .limit(STEP)
            .select(LinkRow::as_select())
            .load(connection)?;
        let Some(last) = rows.last() else {
            return Ok(());
        };
        after = last.position().id;
        // An unreadable row stays as it is; `check-store` reports it.
        for link in rows.into_iter().filter_map(|row| row.parse().ok()) {
            if link.behaviour.has_escapes_in_fragment() {
                diesel::update(links::table.find(link.id.as_bytes().as_slice()))
                    .set(links::dedup_key.eq(link.dedup_key().as_bytes().as_slice()))
                    .execute(connection)?;
            }
        }
    }
}
