//! Changes by others: taken to Redis first, then told to whoever watches. In this order, for whoever forgets a link
//! asks Redis next.

use std::{fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    code::Code,
    link::{Generation, Link},
    ports::{ChangeFeed, LinkWatcher, RepositoryError},
};
use futures_util::future::join;
use tokio::{sync::mpsc, time::Instant};

use crate::SharedMemory;

/// A change feed that keeps the shared memory up to date.
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
    /// Changes that wait to be taken to Redis. With more, all of them count as missed.
    const MOST_WAITING: usize = 10_000;
    /// Changes that are taken there at once.
    const AT_ONCE: usize = 256;

    /// Takes to `shared` what `feed` tells.
    pub fn new(feed: Arc<dyn ChangeFeed>, shared: SharedMemory) -> Self {
        Self { feed, shared }
    }
}

#[async_trait]
impl ChangeFeed for SharedChanges {
    async fn tell(&self, watcher: Arc<dyn LinkWatcher>) -> RepositoryError {
        let (news, mut waiting) = mpsc::channel(Self::MOST_WAITING);
        let relay = Relay { news, watcher: Arc::clone(&watcher), shared: self.shared.clone() };
        let hearing = async {
            let error = self.feed.tell(Arc::new(relay)).await;
            self.shared.0.hears_no_more();
            error
        };
        // Goes on to the last of the news when nothing more is heard.
        let carrying = async {
            let mut some = Vec::with_capacity(Self::AT_ONCE);
            while waiting.recv_many(&mut some, Self::AT_ONCE).await > 0 {
                carry(&mut some, &self.shared, watcher.as_ref()).await;
            }
        };
        join(hearing, carrying).await.0
    }
}

enum News {
    Changed(Code, Generation),
    HeardAll(Instant),
}

async fn carry(some: &mut Vec<News>, shared: &SharedMemory, watcher: &dyn LinkWatcher) {
    let changed = |news: &News| match news {
        News::Changed(code, generation) => Some((code.clone(), *generation)),
        News::HeardAll(_) => None,
    };
    let changes: Vec<_> = some.iter().filter_map(changed).collect();
    if !changes.is_empty() {
        shared.0.outdate(&changes).await;
    }
    for news in some.drain(..) {
        match news {
            News::Changed(code, generation) => watcher.heard_of(&code, generation),
            News::HeardAll(moment) => {
                shared.0.heard_until(moment);
                watcher.heard_all(moment.elapsed());
            }
        }
    }
}

/// Takes down what is told, without waiting.
struct Relay {
    news: mpsc::Sender<News>,
    watcher: Arc<dyn LinkWatcher>,
    shared: SharedMemory,
}

impl Relay {
    fn take(&self, news: News) {
        if self.news.try_send(news).is_err() {
            self.missed_some();
        }
    }
}

impl LinkWatcher for Relay {
    fn saw(&self, link: &Link) {
        self.watcher.saw(link);
    }

    fn heard_of(&self, code: &Code, generation: Generation) {
        self.take(News::Changed(code.clone(), generation));
    }

    fn heard_all(&self, ago: Duration) {
        let now = Instant::now();
        self.take(News::HeardAll(now.checked_sub(ago).unwrap_or(now)));
    }

    fn missed_some(&self) {
        self.shared.0.hears();
        self.watcher.missed_some();
    }
}
