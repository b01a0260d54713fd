//! The ports of clicks: recording them, describing them, and storing their counts.

use std::{collections::HashMap, ops::Range};

use async_trait::async_trait;
use uuid::Uuid;

use super::RepositoryError;
use crate::{
    address::DomainId,
    click::{
        Click, ClickKind, Counted, DailySalt, Day, DescribedClick, Hour, Orphan, Traits, ValueCount, VisitorSketch,
    },
    link::Owner,
    time::Timestamp,
};

/// Records the clicks of one worker. Its calls neither block nor fail: a click that cannot be recorded is counted as
/// dropped.
pub trait ClickRecorder {
    /// Records a click. Once this returns, the click survives the death of the process.
    fn record(&self, click: &Click<'_>);
}

/// Makes the recorders of the workers.
pub trait ClickRecorders: Send + Sync {
    /// A recorder for one worker; `None` if clicks are not recorded.
    fn recorder(&self) -> Option<Box<dyn ClickRecorder>>;
}

/// Looks up what clicks tell.
pub trait ClickDescriber: Send {
    /// What a click tells. The same click MUST give the same traits as long as the lists behind do not change.
    fn describe(&mut self, click: &Click<'_>) -> Traits;
}

/// How far the clicks of this process are counted.
pub trait ClickProgress: Send + Sync {
    /// All clicks that this process recorded before that moment are stored.
    fn counted_until(&self) -> Timestamp;
}

/// Stores counts of clicks.
///
/// A stream of clicks is numbered from 1 without holes. The store keeps the number up to which it has counted each
/// stream, in the same transaction as the counts: so no click is counted twice, whatever is repeated.
#[async_trait]
pub trait ClickRepository: Send + Sync {
    /// Counts a batch, if the stream is counted exactly up to the begin of the batch.
    ///
    /// - If the stream is counted up to another number, the call MUST change nothing and return that number.
    /// - Counts and number MUST change in one transaction. A batch whose outcome is unknown may be stored again: it MUST
    ///   then be counted once.
    /// - Totals, hours, days and each dimension MUST grow by the same number of clicks.
    /// - Clicks of links that do not exist MUST be left out, and their number returned.
    /// - A stored row that cannot be read MUST NOT fail the call: it is reported, and begins anew.
    async fn store(&self, batch: &ClickBatch) -> Result<Shipped, RepositoryError>;

    /// The number up to which a stream is counted, 0 if none of it is.
    async fn acked(&self, stream: &Uuid) -> Result<u64, RepositoryError>;

    /// Forgets a stream whose records are all gone. No batch of it may be stored again.
    async fn forget_stream(&self, stream: &Uuid) -> Result<(), RepositoryError>;

    /// Adds visits that led nowhere.
    async fn add_orphans(&self, orphans: &HashMap<Orphan, u64>) -> Result<(), RepositoryError>;

    /// The salt of the day of `fresh`, which becomes it if the day has none yet. Every caller MUST get the same one.
    async fn salt(&self, fresh: &DailySalt) -> Result<DailySalt, RepositoryError>;

    /// Deletes the salts of the days before `salts`, and forgets the hours before `hours`: from then on
    /// [`hours`](Self::hours) MUST leave them out, also if a later call names an earlier hour, and if a late click falls
    /// into them.
    async fn forget(&self, salts: Day, hours: Hour) -> Result<(), RepositoryError>;

    /// Deletes all counts of a link, but not those of all links of its owner.
    async fn erase(&self, link: &Uuid) -> Result<(), RepositoryError>;

    /// Totals of these links. Links without a click are left out.
    async fn totals(&self, links: &[Uuid]) -> Result<HashMap<Uuid, ClickTotals>, RepositoryError>;

    /// Clicks by hour, in ascending order, without hours that have none or are [forgotten](Self::forget).
    async fn hours(&self, of: &StatisticsOf, range: Range<Hour>) -> Result<Vec<Counted<Hour>>, RepositoryError>;

    /// Clicks by day, in ascending order, without days that have none. It MUST also know the days whose hours were
    /// [forgotten](Self::forget).
    async fn days(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<Counted<Day>>, RepositoryError>;

    /// Clicks by the value of each dimension, over all days of the range.
    async fn dimensions(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<ValueCount>, RepositoryError>;

    /// The visitors of a link by day, in ascending order.
    async fn visitors(&self, link: &Uuid, range: Range<Day>) -> Result<Vec<(Day, VisitorSketch)>, RepositoryError>;

    /// The links with most clicks of these kinds in a range, most first; of one owner or of all.
    async fn top(
        &self,
        owner: Option<&Owner>,
        kinds: &[ClickKind],
        range: Range<Day>,
        limit: u32,
    ) -> Result<Vec<(Uuid, u64)>, RepositoryError>;

    /// Visits that led nowhere, in the order of [`Orphan`].
    async fn orphans(&self, range: Range<Day>) -> Result<Vec<(Orphan, u64)>, RepositoryError>;
}

/// Clicks of one stream, and the numbers of the records they were read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClickBatch {
    /// The stream.
    pub stream: Uuid,
    /// The number of the last record before the batch.
    pub after: u64,
    /// The number of its last record.
    pub until: u64,
    /// Records between both that are lost: dropped or damaged.
    pub lost: u64,
    /// The clicks of the other records. Some records may be no clicks.
    pub clicks: Vec<DescribedClick>,
    /// When it is stored.
    pub at: Timestamp,
}

/// The outcome of [`ClickRepository::store`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shipped {
    /// The batch is counted.
    Stored {
        /// Clicks of links that do not exist. They are not counted.
        of_missing_links: u64,
    },
    /// The stream is counted up to another number. Nothing changed.
    Elsewhere {
        /// That number.
        acked: u64,
    },
}

/// Whose clicks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StatisticsOf {
    /// Those of one link.
    Link(Uuid),
    /// Those of some links.
    Links(Vec<Uuid>),
    /// Those of all links of an owner.
    Owner(Owner),
    /// Those of all links on some short domains, of one owner or of all.
    On {
        /// The owner; `None` for all.
        owner: Option<Owner>,
        /// The short domains.
        domains: Vec<DomainId>,
    },
    /// Those of all links.
    Everyone,
}

/// All clicks of a link.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClickTotals {
    /// By people.
    pub humans: u64,
    /// By bots.
    pub bots: u64,
    /// When the last one was, of either kind.
    pub last_at: Option<Timestamp>,
}

impl ClickTotals {
    /// By both.
    pub fn total(&self) -> u64 {
        self.humans + self.bots
    }
}
