//! A subscriber of the change feed that records all reports.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    address::Address,
    link::Generation,
    ports::{ChangeFeed, ChangeSubscriber},
};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

/// Far longer than any promise allows: a test that waits longer fails instead of hanging.
const TIMEOUT: Duration = Duration::from_secs(30);

/// A report to a subscriber.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Changes may be missing from the reports.
    Gap,
    /// A link has this generation.
    Changed(Address, Generation),
    /// All changes until now have been reported.
    Synced,
}

/// A subscriber that records all reports of a feed. The feed must not end while this exists.
#[derive(Debug)]
pub struct Recorder {
    record: Arc<Record>,
    _following: JoinSet<()>,
}

#[derive(Debug, Default)]
struct Record {
    told: Mutex<Vec<Told>>,
    more: Notify,
}

impl Recorder {
    /// Subscribes to `feed`, and returns once it has caught up.
    pub async fn of(feed: Arc<dyn ChangeFeed>) -> Self {
        let record = Arc::new(Record::default());
        let mut following = JoinSet::new();
        let subscriber = Arc::clone(&record);
        following.spawn(async move {
            let error = feed.subscribe(subscriber).await;
            panic!("the feed ended: {error}");
        });
        let recorder = Self { record, _following: following };
        recorder.until(&Told::Synced).await;
        recorder
    }

    /// All reports so far.
    pub fn told(&self) -> Vec<Told> {
        self.record.told.lock().expect("no panic").clone()
    }

    /// Discards all reports so far.
    pub fn forget(&self) {
        self.record.told.lock().expect("no panic").clear();
    }

    /// Waits until `wanted` is reported.
    pub async fn until(&self, wanted: &Told) {
        let waiting = async {
            while !self.told().contains(wanted) {
                self.record.more.notified().await;
            }
        };
        timeout(TIMEOUT, waiting).await.unwrap_or_else(|_| panic!("{wanted:?} is not told, but {:?}", self.told()));
    }
}

impl Record {
    fn take(&self, told: Told) {
        self.told.lock().expect("no panic").push(told);
        self.more.notify_one();
    }
}

impl ChangeSubscriber for Record {
    fn changed(&self, address: &Address, generation: Generation) {
        self.take(Told::Changed(address.clone(), generation));
    }

    fn synced_until(&self, _: Duration) {
        self.take(Told::Synced);
    }

    fn gap(&self) {
        self.take(Told::Gap);
    }
}
