//! The change feed: new history entries, in the order of their sequence numbers. Only one connection writes at a time,
//! so no entry appears before one that was already read.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use diesel::{dsl::max, prelude::*};
use domain::{
    address::{Address, DomainId},
    code::Code,
    link::Generation,
    ports::{ChangeFeed, ChangeSubscriber, RepositoryError},
};
use tokio::time::{Instant, sleep};

use crate::{SqliteStore, schema::link_events};

/// Time between two reads of the history. The cache of this process learns of the process's own changes at once.
const INTERVAL: Duration = Duration::from_secs(1);
/// Maximum entries of one read. More are a gap.
const MAX_ENTRIES: i64 = 100_000;

#[async_trait]
impl ChangeFeed for SqliteStore {
    async fn subscribe(&self, subscriber: Arc<dyn ChangeSubscriber>) -> RepositoryError {
        let mut place = None;
        loop {
            let asked = Instant::now();
            let Tail { end, entries } = match self.tail(place).await {
                Ok(tail) => tail,
                Err(error) => return error,
            };
            match entries {
                Some(entries) => {
                    for (domain, code, generation) in entries {
                        // An invalid address is in no cache, so it is skipped.
                        if let Some((address, generation)) = read(domain, &code, generation) {
                            subscriber.changed(&address, generation);
                        }
                    }
                }
                None => subscriber.gap(),
            }
            subscriber.synced_until(asked.elapsed());
            place = Some(end);
            sleep(INTERVAL).await;
        }
    }
}

fn read(domain: i16, code: &str, generation: i64) -> Option<(Address, Generation)> {
    let (domain, code) = (DomainId::try_from(domain).ok()?, Code::from_stored(code).ok()?);
    Some((Address::new(domain, code), Generation::new(generation)?))
}

/// The history after a position.
struct Tail {
    /// The sequence number of the last entry.
    end: i64,
    /// The entries after the position; `None` if they cannot be determined, which is a gap.
    entries: Option<Vec<(i16, String, i64)>>,
}

impl SqliteStore {
    async fn tail(&self, place: Option<i64>) -> Result<Tail, RepositoryError> {
        self.threads
            .look_up("reading the tail of the history", move |connection| {
                connection.transaction(|connection| {
                    let end = link_events::table.select(max(link_events::seq)).get_result::<Option<i64>>(connection)?;
                    let end = end.unwrap_or(0);
                    // Too many new entries are a gap. So is a position beyond the end: a shorter history is another
                    // history.
                    let Some(place) = place.filter(|place| (end - MAX_ENTRIES..=end).contains(place)) else {
                        return Ok(Tail { end, entries: None });
                    };
                    let entries = link_events::table
                        .filter(link_events::seq.gt(place))
                        .select((link_events::domain_id, link_events::code, link_events::generation))
                        .load(connection)?;
                    Ok(Tail { end, entries: Some(entries) })
                })
            })
            .await
    }
}
