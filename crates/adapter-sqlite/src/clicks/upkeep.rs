//! Salts, visits that led nowhere, and what is forgotten.

use std::{collections::HashMap, sync::atomic::Ordering};

use diesel::{
    QueryResult,
    connection::SimpleConnection,
    prelude::*,
    sql_query,
    sql_types::{Binary, Integer},
};
use domain::{
    click::{DailySalt, Day, Hour, Orphan},
    ports::RepositoryError,
};
use uuid::Uuid;

use super::{
    SqliteClicks,
    rows::{AddOrphans, ForgetHours, KeepSalt},
    signed,
};
use crate::error::corrupt;

impl SqliteClicks {
    /// Deletes salts, of which there are a few at most, and forgets hours.
    pub(super) async fn forget_clicks(&self, salts: Day, hours: Hour) -> Result<(), RepositoryError> {
        let forgetting = move |connection: &mut SqliteConnection| {
            ForgetHours { single: 1, before: hours.0 }.execute(connection)?;
            let old = sql_query("DELETE FROM visitor_salts WHERE day < ?").bind::<Integer, _>(salts.0);
            Ok(old.execute(connection)? > 0)
        };
        if self.threads.write("forgetting salts and hours", forgetting).await? {
            self.log_holds_salts.store(true, Ordering::Release);
        }
        self.empty_log().await
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

pub(super) fn add_orphans(connection: &mut SqliteConnection, orphans: &HashMap<Orphan, u64>) -> QueryResult<()> {
    for (Orphan { day, domain, reason }, count) in orphans.iter().filter(|(_, count)| **count > 0) {
        let (day, reason, clicks) = (day.0, reason.number().into(), signed(*count));
        AddOrphans { domain_id: i16::from(*domain).into(), day, reason, clicks }.execute(connection)?;
    }
    Ok(())
}

/// Deletes all counts of a link, day by day: the key of a day begins with the day.
pub(super) fn erase(connection: &mut SqliteConnection, link: &Uuid) -> QueryResult<()> {
    const DAYS: &str = "WITH RECURSIVE days (day) AS (
            SELECT min(day) FROM link_days
            UNION ALL SELECT day + 1 FROM days WHERE day < (SELECT max(day) FROM link_days)
        )
        DELETE FROM link_days WHERE link_id = ? AND day IN (SELECT day FROM days)";
    for erasing in ["DELETE FROM link_totals WHERE link_id = ?", DAYS] {
        sql_query(erasing).bind::<Binary, _>(link.as_bytes().as_slice()).execute(connection)?;
    }
    Ok(())
}
