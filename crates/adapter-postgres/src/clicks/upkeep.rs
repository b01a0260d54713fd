//! Salts, visits that led nowhere, and what is forgotten.

use std::collections::{BTreeMap, HashMap};

use diesel::{QueryResult, prelude::*, sql_query, sql_types::Integer};
use diesel_async::{AsyncConnection, AsyncPgConnection, RunQueryDsl};
use domain::{
    click::{DailySalt, Day, Hour, Orphan},
    ports::RepositoryError,
};
use uuid::Uuid;

use super::{
    bulk::{AddOrphans, ForgetHours, KeepSalts},
    signed,
};
use crate::{
    PostgresStore,
    error::Effect,
    schema::{link_days, link_totals},
    session::{Progress, until},
};

impl PostgresStore {
    /// Deletes salts, of which there are a few at most, and forgets hours.
    pub(super) async fn forget_clicks(&self, salts: Day, hours: Hour) -> Result<(), RepositoryError> {
        let mut session = self.shipping.open("forgetting salts and hours").await?;
        let deadline = session.deadline();
        let connection = session.connection();
        let forgotten = until(deadline, async {
            let mut statement = ForgetHours::default();
            statement.push((true, hours.0));
            statement.execute(connection).await?;
            // Another process may delete the same ones.
            let old = "DELETE FROM visitor_salts WHERE day = ANY(ARRAY(
                SELECT day FROM visitor_salts WHERE day < $1 FOR UPDATE SKIP LOCKED))";
            sql_query(old).bind::<Integer, _>(salts.0).execute(connection).await?;
            QueryResult::Ok(())
        })
        .await;
        session.close(Effect::Write, forgotten)
    }
}

/// The salt that the day of `fresh` has after this, in one statement: every caller gets the first one.
pub(super) async fn keep_salt(connection: &mut AsyncPgConnection, fresh: &DailySalt) -> QueryResult<Vec<u8>> {
    let mut statement = KeepSalts::default();
    statement.push((fresh.day().0, fresh.expose().to_vec()));
    statement.get_result::<(Vec<u8>,)>(connection).await.map(|(salt,)| salt)
}

pub(super) async fn add_orphans(connection: &mut AsyncPgConnection, orphans: &HashMap<Orphan, u64>) -> QueryResult<()> {
    // In the order of the key, in which every process locks the rows.
    let key = |orphan: &Orphan| (orphan.domain, orphan.day, orphan.reason);
    let counted = orphans.iter().filter(|(_, count)| **count > 0);
    let sorted: BTreeMap<_, _> = counted.map(|(orphan, count)| (key(orphan), (orphan, count))).collect();
    let mut statement = AddOrphans::default();
    for (Orphan { day, domain, reason }, count) in sorted.into_values() {
        statement.push(((*domain).into(), day.0, reason.number(), signed(*count)));
    }
    statement.execute(connection).await?;
    Ok(())
}

/// Deletes all counts of a link, under its lock.
pub(super) async fn erase(connection: &mut AsyncPgConnection, progress: &Progress, link: &Uuid) -> QueryResult<()> {
    connection
        .transaction(async |connection| {
            // The totals are the lock, so they go first.
            diesel::delete(link_totals::table.find(link)).execute(connection).await?;
            diesel::delete(link_days::table.filter(link_days::link_id.eq(link))).execute(connection).await?;
            progress.commits();
            QueryResult::Ok(())
        })
        .await
}
