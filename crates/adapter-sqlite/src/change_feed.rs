//! The change feed: the tail of the history, in the order of its sequence. One connection writes at a time, so an entry
//! never appears behind one that was read.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use diesel::{dsl::max, prelude::*};
use domain::{
    code::Code,
    link::Generation,
    ports::{ChangeFeed, ChangeSubscriber, RepositoryError},
};
use tokio::time::{Instant, sleep};

use crate::{SqliteStore, schema::link_events};

/// How often the history is read. What this process changes its memory is told at once.
const INTERVAL: Duration = Duration::from_secs(1);
/// Most entries of one reading. More are a gap.
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
                    for (code, generation) in entries {
                        // A code that cannot be one is in no memory.
                        if let (Ok(code), Some(generation)) = (Code::from_stored(&code), Generation::new(generation)) {
                            subscriber.changed(&code, generation);
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

/// What stands behind a place in the history.
struct Tail {
    /// The last entry there is.
    end: i64,
    /// What was written since; `None` if that cannot be told.
    entries: Option<Vec<(String, i64)>>,
}

impl SqliteStore {
    async fn tail(&self, place: Option<i64>) -> Result<Tail, RepositoryError> {
        self.threads
            .look_up("reading the tail of the history", move |connection| {
                connection.transaction(|connection| {
                    let end = link_events::table.select(max(link_events::seq)).get_result::<Option<i64>>(connection)?;
                    let end = end.unwrap_or(0);
                    // A history that is shorter than before is another one.
                    let Some(place) = place.filter(|place| (end - MAX_ENTRIES..=end).contains(place)) else {
                        return Ok(Tail { end, entries: None });
                    };
                    let entries = link_events::table
                        .filter(link_events::seq.gt(place))
                        .select((link_events::code, link_events::generation))
                        .load(connection)?;
                    Ok(Tail { end, entries: Some(entries) })
                })
            })
            .await
    }
}
