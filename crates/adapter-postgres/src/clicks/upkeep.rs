//! Salts, visits that led nowhere, and what is forgotten.

use std::collections::{BTreeMap, HashMap};

use diesel::{
    QueryResult,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Integer},
};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    click::{ClickKind, DailySalt, Day, Hour, OrphanReason},
    ports::{ForgettingSteps, RepositoryError},
};
use tokio::time::Instant;
use uuid::Uuid;

use super::{
    DEFAULT_DOMAIN,
    bulk::{AddOrphans, KeepSalts},
    signed,
};
use crate::{
    PostgresStore,
    error::Effect,
    schema::{link_days, link_dimensions_day, link_dimensions_month, link_hours, link_totals, link_visitors_day},
    session::{Progress, until},
};

/// Each deletes rows from before `$1`, at most `$2` of them, and skips rows that another transaction has locked.
const OLDEST: [&str; 3] = [
    "DELETE FROM visitor_salts WHERE day = ANY(ARRAY(
        SELECT day FROM visitor_salts WHERE day < $1 ORDER BY day LIMIT $2 FOR UPDATE SKIP LOCKED))",
    "DELETE FROM link_hours WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM link_hours WHERE hour < $1 ORDER BY hour LIMIT $2 FOR UPDATE SKIP LOCKED))",
    "DELETE FROM owner_hours WHERE ctid = ANY(ARRAY(
        SELECT ctid FROM owner_hours WHERE hour < $1 ORDER BY hour LIMIT $2 FOR UPDATE SKIP LOCKED))",
];

/// Maximum number of rows of one table that one call deletes, up to the size of a step.
const AT_ONCE: u64 = 20_000;

impl PostgresStore {
    /// Deletes salts and hours. Returns whether more are left.
    pub(super) async fn forget_clicks(&self, salts: Day, hours: Hour) -> Result<bool, RepositoryError> {
        let mut more = false;
        for (oldest, before) in OLDEST.into_iter().zip([salts.0, hours.0, hours.0]) {
            more |= self.forget_oldest(oldest, before).await?;
        }
        Ok(more)
    }

    async fn forget_oldest(&self, oldest: &'static str, before: i32) -> Result<bool, RepositoryError> {
        let mut steps = ForgettingSteps::default();
        while steps.forgotten() < AT_ONCE {
            let begun = Instant::now();
            let mut session = self.shipping.open("forgetting clicks").await?;
            let deadline = session.deadline();
            let step = sql_query(oldest).bind::<Integer, _>(before).bind::<BigInt, _>(steps.most());
            let count = until(deadline, step.execute(session.connection())).await;
            let count = session.close(Effect::Write, count)? as u64;
            if !steps.took(count, begun.elapsed()) {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

/// The salt that the day of `fresh` has after this, in one statement: every caller gets the first one.
pub(super) async fn keep_salt(connection: &mut AsyncPgConnection, fresh: &DailySalt) -> QueryResult<Vec<u8>> {
    let mut statement = KeepSalts::default();
    statement.push((fresh.day().0, fresh.expose().to_vec()));
    statement.get_result::<(Vec<u8>,)>(connection).await.map(|(salt,)| salt)
}

pub(super) async fn add_orphans(
    connection: &mut AsyncPgConnection,
    orphans: &HashMap<(Day, OrphanReason), u64>,
) -> QueryResult<()> {
    // In the order of the key, in which every process locks the rows.
    let sorted: BTreeMap<_, _> = orphans.iter().filter(|(_, count)| **count > 0).collect();
    let mut statement = AddOrphans::default();
    for ((day, reason), count) in sorted {
        statement.push((DEFAULT_DOMAIN, day.0, reason.number(), signed(*count)));
    }
    statement.execute(connection).await?;
    Ok(())
}

/// Deletes all counts of a link, under its lock.
pub(super) async fn erase(connection: &mut AsyncPgConnection, progress: &Progress, link: &Uuid) -> QueryResult<()> {
    connection
        .transaction(async |connection| {
            // The row of humans is the lock, so it goes alone and first.
            let totals = link_totals::table.filter(link_totals::link_id.eq(link));
            let humans = totals.filter(link_totals::kind.eq(ClickKind::Human.number()));
            diesel::delete(humans).execute(connection).await?;
            diesel::delete(totals).execute(connection).await?;
            diesel::delete(link_hours::table.filter(link_hours::link_id.eq(link))).execute(connection).await?;
            diesel::delete(link_days::table.filter(link_days::link_id.eq(link))).execute(connection).await?;
            let days = link_dimensions_day::table.filter(link_dimensions_day::link_id.eq(link));
            diesel::delete(days).execute(connection).await?;
            let months = link_dimensions_month::table.filter(link_dimensions_month::link_id.eq(link));
            diesel::delete(months).execute(connection).await?;
            let visitors = link_visitors_day::table.filter(link_visitors_day::link_id.eq(link));
            diesel::delete(visitors).execute(connection).await?;
            progress.commits();
            QueryResult::Ok(())
        })
        .await
}
