//! Salts, visits that led nowhere, and what is forgotten.

use std::{collections::HashMap, sync::atomic::Ordering, time::Instant};

use diesel::{
    QueryResult,
    connection::SimpleConnection,
    prelude::*,
    sql_query,
    sql_types::{BigInt, Binary, Integer},
};
use domain::{
    click::{DailySalt, Day, Hour, OrphanReason},
    ports::{ForgettingSteps, RepositoryError},
};
use uuid::Uuid;

use super::{
    DEFAULT_DOMAIN, SqliteClicks,
    rows::{AddOrphans, KeepSalt},
    signed,
};
use crate::error::corrupt;

/// Each deletes hours from before the first parameter, at most as many as the second.
const OLDEST_HOURS: [&str; 2] = [
    "DELETE FROM link_hours WHERE (link_id, hour, kind) IN
        (SELECT link_id, hour, kind FROM link_hours WHERE hour < ? ORDER BY hour LIMIT ?)",
    "DELETE FROM owner_hours WHERE (owner, hour, domain_id, kind) IN
        (SELECT owner, hour, domain_id, kind FROM owner_hours WHERE hour < ? ORDER BY hour LIMIT ?)",
];

/// Maximum number of rows of one table that one call deletes, up to the size of a step.
const AT_ONCE: u64 = 20_000;

impl SqliteClicks {
    /// Deletes salts and hours. Returns whether more are left.
    pub(super) async fn forget_clicks(&self, salts: Day, hours: Hour) -> Result<bool, RepositoryError> {
        let mut more = false;
        for oldest in OLDEST_HOURS {
            more |= self.forget_hours(oldest, hours).await?;
        }
        if self.forget_salts(salts).await? {
            self.log_holds_salts.store(true, Ordering::Release);
        }
        self.empty_log().await?;
        Ok(more)
    }

    async fn forget_hours(&self, oldest: &'static str, before: Hour) -> Result<bool, RepositoryError> {
        let mut steps = ForgettingSteps::default();
        while steps.forgotten() < AT_ONCE {
            let (begun, most) = (Instant::now(), steps.most());
            let step = move |connection: &mut SqliteConnection| {
                let step = sql_query(oldest).bind::<Integer, _>(before.0).bind::<BigInt, _>(most);
                Ok(step.execute(connection)? as u64)
            };
            let count = self.threads.write("forgetting clicks", step).await?;
            if !steps.took(count, begun.elapsed()) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Returns whether there was one. There are a few at most.
    async fn forget_salts(&self, before: Day) -> Result<bool, RepositoryError> {
        let forgetting = move |connection: &mut SqliteConnection| {
            let old = sql_query("DELETE FROM visitor_salts WHERE day < ?").bind::<Integer, _>(before.0);
            Ok(old.execute(connection)? > 0)
        };
        self.threads.write("forgetting salts", forgetting).await
    }

    /// Moves the log into the file and truncates it, if it may hold a salt that is deleted. As long as another connection
    /// reads from the log, it cannot be truncated: then the next call tries again. Nothing waits meanwhile.
    async fn empty_log(&self) -> Result<(), RepositoryError> {
        #[derive(QueryableByName)]
        struct Checkpoint {
            #[diesel(sql_type = Integer)]
            busy: i32,
        }
        if !self.log_holds_salts.load(Ordering::Acquire) {
            return Ok(());
        }
        let emptying = |connection: &mut SqliteConnection| {
            connection.batch_execute("PRAGMA busy_timeout = 0")?;
            let checkpoint = sql_query("PRAGMA wal_checkpoint(TRUNCATE)").get_result::<Checkpoint>(connection);
            connection.batch_execute("PRAGMA busy_timeout = 5000")?;
            // A writer that is at work makes it fail as a reader does.
            Ok(checkpoint.is_ok_and(|checkpoint| checkpoint.busy == 0))
        };
        if self.threads.look_up("emptying the log of clicks", emptying).await? {
            self.log_holds_salts.store(false, Ordering::Release);
        }
        Ok(())
    }
}

/// The salt that the day of `fresh` has after this.
pub(super) fn keep_salt(connection: &mut SqliteConnection, fresh: &DailySalt) -> QueryResult<DailySalt> {
    let keeping = KeepSalt { day: fresh.day().0, salt: fresh.expose().to_vec() };
    let (key,): (Vec<u8>,) = keeping.get_result(connection)?;
    let key = key.try_into().map_err(|_| corrupt("a salt of the wrong length"))?;
    Ok(DailySalt::new(fresh.day(), key))
}

pub(super) fn add_orphans(
    connection: &mut SqliteConnection,
    orphans: &HashMap<(Day, OrphanReason), u64>,
) -> QueryResult<()> {
    for ((day, reason), count) in orphans.iter().filter(|(_, count)| **count > 0) {
        let (day, reason, clicks) = (day.0, reason.number().into(), signed(*count));
        AddOrphans { domain_id: DEFAULT_DOMAIN, day, reason, clicks }.execute(connection)?;
    }
    Ok(())
}

/// Deletes all counts of a link.
pub(super) fn erase(connection: &mut SqliteConnection, link: &Uuid) -> QueryResult<()> {
    for erasing in [
        "DELETE FROM link_totals WHERE link_id = ?",
        "DELETE FROM link_hours WHERE link_id = ?",
        "DELETE FROM link_days WHERE link_id = ?",
        "DELETE FROM link_dimensions_day WHERE link_id = ?",
        "DELETE FROM link_dimensions_month WHERE link_id = ?",
        "DELETE FROM link_visitors_day WHERE link_id = ?",
    ] {
        sql_query(erasing).bind::<Binary, _>(link.as_bytes().as_slice()).execute(connection)?;
    }
    Ok(())
}
