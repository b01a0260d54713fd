//! The change feed with Redis: each change is written to Redis first, then passed to the subscriber. The order matters,
//! because a cache that drops a link reads Redis next.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    address::Address,
    link::Generation,
    ports::{ChangeFeed, ChangeSubscriber, RepositoryError},
};
use futures_util::future::join;
use tokio::{sync::mpsc, time::Instant};

use crate::SharedMemory;

/// A change feed that keeps the shared cache up to date.
pub struct SharedChanges {
    feed: Arc<dyn ChangeFeed>,
    shared: SharedMemory,
}

impl fmt::Debug for SharedChanges {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedChanges").finish_non_exhaustive()
    }
}

impl SharedChanges {
    /// Maximum changes that wait to be written to Redis. More are a gap: all of them count as missed.
    const MAX_WAITING: usize = 10_000;
    /// Maximum changes that are written to Redis at once.
    const AT_ONCE: usize = 256;

    /// Writes to `shared` what `feed` reports.
    pub fn new(feed: Arc<dyn ChangeFeed>, shared: SharedMemory) -> Self {
        Self { feed, shared }
    }
}

#[async_trait]
impl ChangeFeed for SharedChanges {
    async fn subscribe(&self, subscriber: Arc<dyn ChangeSubscriber>) -> RepositoryError {
        let (news, mut waiting) = mpsc::channel(Self::MAX_WAITING);
        let (subscribed, shared) = (Arc::clone(&subscriber), self.shared.clone());
        let relay = Relay { news, overflows: AtomicBool::new(false), subscriber: subscribed, shared };
        let hearing = async {
            let error = self.feed.subscribe(Arc::new(relay)).await;
            self.shared.0.note_gap();
            error
        };
        // Writes what is still queued when the feed has ended.
        let carrying = async {
            let mut some = Vec::with_capacity(Self::AT_ONCE);
            while waiting.recv_many(&mut some, Self::AT_ONCE).await > 0 {
                carry(&mut some, &self.shared, subscriber.as_ref()).await;
            }
        };
        join(hearing, carrying).await.0
    }
}

enum News {
    Changed(Address, Generation),
    SyncedUntil(Instant),
}

async fn carry(some: &mut Vec<News>, shared: &SharedMemory, subscriber: &dyn ChangeSubscriber) {
    let changed = |news: &News| match news {
        // No entry can be older than a creation.
        News::Changed(address, generation) if *generation > Generation::FIRST => Some((address.clone(), *generation)),
        News::Changed(..) | News::SyncedUntil(_) => None,
    };
    let changes: Vec<_> = some.iter().filter_map(changed).collect();
    if !changes.is_empty() {
        shared.0.outdate(&changes).await;
    }
    for news in some.drain(..) {
        match news {
            News::Changed(address, generation) => subscriber.changed(&address, generation),
            News::SyncedUntil(moment) => {
                shared.0.synced_until(moment);
                subscriber.synced_until(moment.elapsed());
            }
        }
    }
}

/// Queues what the feed reports, without waiting.
struct Relay {
    news: mpsc::Sender<News>,
    /// The queue overflowed, and the gap was reported.
    overflows: AtomicBool,
    subscriber: Arc<dyn ChangeSubscriber>,
    shared: SharedMemory,
}

impl Relay {
    fn take(&self, news: News) {
        match self.news.try_send(news) {
            Ok(()) => self.overflows.store(false, Ordering::Release),
            Err(_) if self.overflows.swap(true, Ordering::AcqRel) => {}
            Err(_) => self.gap(),
        }
    }
}

impl ChangeSubscriber for Relay {
    fn changed(&self, address: &Address, generation: Generation) {
        self.take(News::Changed(address.clone(), generation));
    }

    fn synced_until(&self, ago: Duration) {
        let now = Instant::now();
        self.take(News::SyncedUntil(now.checked_sub(ago).unwrap_or(now)));
    }

    fn gap(&self) {
        self.shared.0.begin_watching();
        self.subscriber.gap();
    }
}
