//! A subscriber of changes that takes down what it is told.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use domain::{
    code::Code,
    link::Generation,
    ports::{ChangeFeed, ChangeSubscriber},
};
use tokio::{sync::Notify, task::JoinSet, time::timeout};

/// Far beyond every promise: what takes longer fails, instead of hanging.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What a subscriber is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Changes may have gone untold.
    Gap,
    /// A link has this generation.
    Changed(Code, Generation),
    /// All until now was told.
    Synced,
}

/// A subscriber that takes down what it is told, of a feed that goes on as long as it lives.
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
    /// Follows `feed`; returns when it is in step with it.
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

    /// All that was told so far.
    pub fn told(&self) -> Vec<Told> {
        self.record.told.lock().expect("no panic").clone()
    }

    /// Forgets what was told so far.
    pub fn forget(&self) {
        self.record.told.lock().expect("no panic").clear();
    }

    /// Waits until that is told.
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
    fn changed(&self, code: &Code, generation: Generation) {
        self.take(Told::Changed(code.clone(), generation));
    }

    fn synced_until(&self, _: Duration) {
        self.take(Told::Synced);
    }

    fn gap(&self) {
        self.take(Told::Gap);
    }
}
