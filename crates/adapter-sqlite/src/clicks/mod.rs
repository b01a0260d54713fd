//! Counts of clicks, in a file of their own, with threads of their own: neither counting nor statistics delay a call of
//! the file of links.

mod file;
mod rows;
mod schema;
mod shipping;
mod statistics;
mod upkeep;

use std::{
    collections::{BTreeSet, HashMap},
    fmt,
    ops::Range,
    sync::{Arc, atomic::AtomicBool},
};

use async_trait::async_trait;
use diesel::prelude::*;
use domain::{
    click::{ClickCounts, ClickKind, Counted, DailySalt, Day, Hour, LinkOwner, Orphan, ValueCount, VisitorSketch},
    link::Owner,
    ports::{
        ClickBatch, ClickRepository, ClickTotals, LeftOut, RepositoryError, Shipped, StatisticsOf, UnreadableRows,
        in_column,
    },
};
use uuid::Uuid;

use crate::{
    SqliteStore,
    threads::{QueueStatus, Threads},
};

pub use file::SqliteClickFile;

/// The repository of clicks, beside the store of their links.
pub struct SqliteClicks {
    threads: Threads,
    links: Arc<SqliteStore>,
    left_out: LeftOut,
    /// Whether the log may hold a salt that is deleted.
    log_holds_salts: AtomicBool,
}

impl fmt::Debug for SqliteClicks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqliteClicks").finish_non_exhaustive()
    }
}

impl SqliteClicks {
    /// Reports rows that cannot be read to `listener`, each time the repository leaves one out.
    pub fn tell_of_unreadable_rows(&self, listener: Arc<dyn UnreadableRows>) {
        self.left_out.tell(listener);
    }

    /// The calls of each kind, of this file.
    pub fn queues(&self) -> [QueueStatus; 3] {
        self.threads.queues()
    }

    /// Completes the queued calls and closes the file, which then holds all counts without a log. Later calls fail.
    /// Blocks until the work is done. Does not close the file of links.
    pub fn close(&self) {
        self.threads.end();
    }

    async fn owners(&self, batch: &ClickBatch) -> Result<HashMap<Uuid, LinkOwner>, RepositoryError> {
        let links: BTreeSet<_> = batch.clicks.iter().map(|click| click.link).collect();
        if links.is_empty() {
            return Ok(HashMap::new());
        }
        let left_out = self.left_out.clone();
        let asking = move |connection: &mut SqliteConnection| shipping::owners(connection, &links, &left_out);
        self.links.threads.look_up("finding the owners of clicked links", asking).await
    }
}

#[async_trait]
impl ClickRepository for SqliteClicks {
    async fn store(&self, batch: &ClickBatch) -> Result<Shipped, RepositoryError> {
        // Owners never change and links are never removed, so they may be asked before the transaction.
        let counts = ClickCounts::of(&batch.clicks, &self.owners(batch).await?);
        let (records, left_out) = (shipping::Records::from(batch), self.left_out.clone());
        self.threads
            .write_whole("storing clicks", move |connection| shipping::ship(connection, &records, counts, &left_out))
            .await
    }

    async fn acked(&self, stream: &Uuid) -> Result<u64, RepositoryError> {
        let stream = *stream;
        let asking = move |connection: &mut SqliteConnection| shipping::acked(connection, &stream);
        self.threads.look_up("reading how far a stream is counted", asking).await
    }

    async fn forget_stream(&self, stream: &Uuid) -> Result<(), RepositoryError> {
        let stream = *stream;
        self.threads
            .write("forgetting a stream of clicks", move |connection| {
                let row = schema::click_streams::table.find(stream.as_bytes().as_slice());
                diesel::delete(row).execute(connection)?;
                Ok(())
            })
            .await
    }

    async fn add_orphans(&self, orphans: &HashMap<Orphan, u64>) -> Result<(), RepositoryError> {
        let orphans = orphans.clone();
        self.threads
            .write("counting visits that led nowhere", move |connection| Ok(upkeep::add_orphans(connection, &orphans)?))
            .await
    }

    async fn salt(&self, fresh: &DailySalt) -> Result<DailySalt, RepositoryError> {
        let fresh = *fresh;
        self.threads.write("agreeing on a salt", move |connection| Ok(upkeep::keep_salt(connection, &fresh)?)).await
    }

    async fn forget(&self, salts: Day, hours: Hour) -> Result<(), RepositoryError> {
        self.forget_clicks(salts, hours).await
    }

    async fn erase(&self, link: &Uuid) -> Result<(), RepositoryError> {
        let link = *link;
        self.threads
            .write("erasing the clicks of a link", move |connection| Ok(upkeep::erase(connection, &link)?))
            .await
    }

    async fn totals(&self, links: &[Uuid]) -> Result<HashMap<Uuid, ClickTotals>, RepositoryError> {
        self.click_totals(links).await
    }

    async fn hours(&self, of: &StatisticsOf, range: Range<Hour>) -> Result<Vec<Counted<Hour>>, RepositoryError> {
        self.clicks_by_hour(of, range).await
    }

    async fn days(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<Counted<Day>>, RepositoryError> {
        self.clicks_by_day(of, range).await
    }

    async fn dimensions(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<ValueCount>, RepositoryError> {
        self.clicks_by_value(of, range).await
    }

    async fn visitors(&self, link: &Uuid, range: Range<Day>) -> Result<Vec<(Day, VisitorSketch)>, RepositoryError> {
        self.visitors_by_day(*link, range).await
    }

    async fn top(
        &self,
        owner: Option<&Owner>,
        kinds: &[ClickKind],
        range: Range<Day>,
        limit: u32,
    ) -> Result<Vec<(Uuid, u64)>, RepositoryError> {
        self.most_clicked(owner, kinds, range, limit).await
    }

    async fn orphans(&self, range: Range<Day>) -> Result<Vec<(Orphan, u64)>, RepositoryError> {
        self.orphans_by_day(range).await
    }
}

/// A count as it is stored.
fn signed(count: u64) -> i64 {
    i64::try_from(count).expect("fewer than 2^63 clicks are ever counted")
}

/// Ids as a parameter for `SELECT unhex(value) FROM json_each(?)`.
fn list_of<'a>(ids: impl IntoIterator<Item = &'a Uuid>) -> String {
    let ids: Vec<_> = ids.into_iter().map(|id| id.simple().to_string()).collect();
    serde_json::to_string(&ids).expect("a list of strings is JSON")
}

/// The sketch of the visitors of a link on a day; `None` if it cannot be read.
fn read_sketch(left_out: &LeftOut, (day, link): (Day, Uuid), bytes: &[u8]) -> Option<VisitorSketch> {
    let sketch = in_column("visitors", VisitorSketch::from_bytes(bytes));
    left_out.unless("link_days", format_args!("{} {link}", day.0), sketch.map_err(Into::into))
}
