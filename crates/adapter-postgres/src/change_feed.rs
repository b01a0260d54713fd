//! The change feed: new history entries, found by comparing snapshots. Each entry carries the transaction that wrote
//! it. Transactions commit in another order than they begin, so reading from the highest number seen would miss
//! entries. An entry is new if the last snapshot could not see it.

use std::{convert::Infallible, sync::Arc, time::Duration};

use async_trait::async_trait;
use deadpool::managed::Manager;
use diesel::{
    QueryableByName, sql_query,
    sql_types::{Array, BigInt, Bool, Text},
};
use diesel_async::RunQueryDsl;
use domain::{
    address::{Address, DomainId},
    code::Code,
    link::Generation,
    ports::{ChangeFeed, ChangeSubscriber, FailureReason, RepositoryError, RepositoryErrorKind},
};
use tokio::{
    sync::Notify,
    task::JoinSet,
    time::{Instant, error::Elapsed, sleep, sleep_until, timeout},
};

use crate::{
    PostgresStore,
    connection::{ConnectError, Connection},
    error::reason,
    listener::{self, CHANNEL},
};

/// Time between two reads without a notification. Behind a pooler that shares sessions, no notification arrives.
const INTERVAL: Duration = Duration::from_millis(900);
/// Minimum time between two reads, and between two notifications by one process. At 5,000 claims per second, ten
/// processes that read this often cost the server about 5 % of its claims.
const SPACING: Duration = Duration::from_millis(250);
/// Timeout of one read.
const READING: Duration = Duration::from_secs(2);
/// Maximum entries of one read. More are a gap.
const MAX_ENTRIES: usize = 100_000;

/// The current snapshot, and the entries that it sees and snapshot `$1` did not: their transactions began later, or had
/// not ended then. Entries of another server, as in a restored dump, may carry any number; they are not included.
const TAIL: &str = "\
SELECT pg_current_snapshot()::text AS snapshot,
    NOT pg_is_in_recovery() AND pg_snapshot_xmax(pg_current_snapshot()) >= pg_snapshot_xmax($1::pg_snapshot)
        AND concat_ws(' ', inet_server_addr(), inet_server_port(), pg_postmaster_start_time()) = $3 AS same_server,
    ARRAY(
    SELECT domain_id || '/' || code || ' ' || generation FROM link_events
    WHERE xact >= pg_snapshot_xmax($1::pg_snapshot) AND xact < pg_snapshot_xmax(pg_current_snapshot())
    UNION ALL
    SELECT e.domain_id || '/' || e.code || ' ' || e.generation
    FROM pg_snapshot_xip($1::pg_snapshot) AS in_progress JOIN link_events e ON e.xact = in_progress
    LIMIT $2
) AS entries";
/// The current snapshot and its server. A restarted server counts as another one.
const POSITION: &str = "\
SELECT pg_current_snapshot()::text AS snapshot,
    concat_ws(' ', inet_server_addr(), inet_server_port(), pg_postmaster_start_time()) AS server";

#[derive(Clone, Debug, PartialEq, Eq, QueryableByName)]
struct FeedPosition {
    #[diesel(sql_type = Text)]
    snapshot: String,
    #[diesel(sql_type = Text)]
    server: String,
}

#[derive(QueryableByName)]
struct Tail {
    #[diesel(sql_type = Text)]
    snapshot: String,
    /// False if a pooler moved the session to another server, or if the server is a standby, whose snapshots do not
    /// show which transactions are in progress.
    #[diesel(sql_type = Bool)]
    same_server: bool,
    #[diesel(sql_type = Array<Text>)]
    entries: Vec<String>,
}

type Anything = Box<dyn std::error::Error + Send + Sync>;

/// Why the history could not be read, for the operator.
fn reason_of(error: &(dyn std::error::Error + Send + Sync + 'static)) -> FailureReason {
    if let Some(connecting) = error.downcast_ref::<ConnectError>() {
        connecting.reason()
    } else if let Some(statement) = error.downcast_ref::<diesel::result::Error>() {
        reason(statement)
    } else if error.is::<Elapsed>() {
        FailureReason::TimedOut
    } else {
        FailureReason::Unknown
    }
}

#[async_trait]
impl ChangeFeed for PostgresStore {
    async fn subscribe(&self, subscriber: Arc<dyn ChangeSubscriber>) -> RepositoryError {
        let mut read_to = None;
        loop {
            let before: Option<FeedPosition> = read_to.clone();
            let Err(reason) = self.follow(subscriber.as_ref(), &mut read_to).await;
            // A failed read loses nothing: the next one starts where the last good one ended.
            if read_to.is_none() || read_to == before {
                let error = RepositoryError::new(RepositoryErrorKind::Unavailable, "reading the tail of the history");
                return error.because(reason_of(reason.as_ref())).caused_by(reason);
            }
        }
    }
}

impl PostgresStore {
    /// Continues from `read_to`. After a change of servers it reports a gap and starts at the current snapshot.
    async fn follow(
        &self,
        subscriber: &dyn ChangeSubscriber,
        read_to: &mut Option<FeedPosition>,
    ) -> Result<Infallible, Anything> {
        let mut session = self.connector.create().await?;
        let woken = Arc::new(Notify::new());
        let mut listening = JoinSet::new();
        listening.spawn_on(listener::listen(self.connector.clone(), Arc::clone(&woken)), self.connector.runtime());
        let here: FeedPosition = timeout(READING, sql_query(POSITION).get_result(&mut session.diesel)).await??;
        if read_to.as_ref().is_none_or(|read_to| read_to.server != here.server) {
            // Done before the gap is reported: a lookup after the gap must not be answered by the old server.
            self.connector.reads_from(here.server.clone());
            subscriber.gap();
            *read_to = Some(here);
        }
        loop {
            let asked = Instant::now();
            let position = read_to.as_mut().expect("the position was set above");
            let tail = timeout(READING, read(&mut session, position)).await??;
            if !tail.same_server {
                *read_to = None;
                return Err("the session is at another server, or at a standby".into());
            }
            if tail.entries.len() > MAX_ENTRIES {
                subscriber.gap();
            }
            // An invalid address is in no cache, so it is skipped.
            for (address, generation) in tail.entries.iter().filter_map(|entry| parse(entry)) {
                subscriber.changed(&address, generation);
            }
            subscriber.synced_until(asked.elapsed());
            position.snapshot = tail.snapshot;
            sleep(SPACING).await;
            tokio::select! {
                () = woken.notified() => {}
                () = self.creations.next() => timeout(READING, notify(&mut session)).await??,
                () = sleep_until(asked + INTERVAL) => {}
            }
        }
    }
}

async fn read(session: &mut Connection, FeedPosition { snapshot, server }: &FeedPosition) -> Result<Tail, Anything> {
    let limit = i64::try_from(MAX_ENTRIES + 1).expect("the limit fits in an `i64`");
    let tail = sql_query(TAIL).bind::<Text, _>(snapshot).bind::<BigInt, _>(limit).bind::<Text, _>(server);
    Ok(tail.get_result(&mut session.diesel).await?)
}

/// Wakes the change feeds of all processes, including this one.
async fn notify(session: &mut Connection) -> Result<(), Anything> {
    sql_query("SELECT pg_notify($1, '')").bind::<Text, _>(CHANNEL).execute(&mut session.diesel).await?;
    Ok(())
}

fn parse(entry: &str) -> Option<(Address, Generation)> {
    let (address, generation) = entry.split_once(' ')?;
    let (domain, code) = address.split_once('/')?;
    let domain = domain.parse().ok().and_then(DomainId::new)?;
    let address = Address::new(domain, Code::from_stored(code).ok()?);
    Some((address, Generation::new(generation.parse().ok()?)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_an_address_and_a_generation() {
        for (entry, text) in [("0/h7RkQ2mX 12", "h7RkQ2mX"), ("7/h7RkQ2mX 12", "7/h7RkQ2mX")] {
            let (address, generation) = parse(entry).expect("valid");
            assert_eq!((address.to_string().as_str(), generation.get()), (text, 12));
        }
        for bad in ["", "0/h7RkQ2mX", "h7RkQ2mX 1", "0/h7RkQ2mX 0", "0/h7RkQ2mX x", "0/? 1", "-1/a 1"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
