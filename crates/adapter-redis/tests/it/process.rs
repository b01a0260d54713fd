//! A process as far as the shared cache is concerned: a store, a feed of its changes, and Redis.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use adapter_redis::{RedisOptions, SharedChanges, SharedLinks, SharedMemory, SharedResolver};
use async_trait::async_trait;
use domain::{
    address::Address,
    link::{Generation, Link},
    ports::{
        ChangeFeed, ChangeSubscriber, Identify, LinkResolver, RepositoryError, RepositoryErrorKind, Resolved, Source,
    },
};
use slog::{Discard, Logger, o};
use test_support::{
    Decorated, MemoryStore, SeededEntropy,
    contract::{Subject, a_link},
};
use tokio::{
    runtime::Handle,
    sync::{broadcast, watch},
    task::{JoinError, JoinSet},
    time::{Instant, sleep, timeout},
};

/// How long a test waits for a condition, far beyond every promise: it then fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

pub(crate) fn code(text: &str) -> Address {
    text.parse().expect("valid")
}

/// A seed of its own for each process: epochs that two of them begin must have different names.
static SEED: AtomicU64 = AtomicU64::new(0);

/// One of the processes on a store.
pub(crate) struct Process {
    pub(crate) store: Arc<MemoryStore>,
    pub(crate) subject: Subject,
    pub(crate) links: Arc<SharedLinks>,
    pub(crate) resolver: Arc<SharedResolver>,
    pub(crate) shared_limiter: SharedMemory,
    /// The feed of its changes.
    pub(crate) feed: Arc<Feed>,
    /// What its subscriber received.
    pub(crate) told: Arc<Recorder>,
    asked: Arc<Counted>,
    _tasks: Tasks,
}

impl Process {
    pub(crate) fn on(store: Arc<MemoryStore>, redis: &str) -> Self {
        let (timeout, ttl) = (Duration::from_millis(50), Duration::from_mins(1));
        let options = RedisOptions { url: redis.to_owned(), sentinel_password: None, timeout, ttl };
        let entropy = Arc::new(SeededEntropy::new(SEED.fetch_add(1, Ordering::SeqCst)));
        let shared = SharedMemory::new(options, entropy, Handle::current(), Logger::root(Discard, o!()));
        let shared = shared.expect("the URL is valid");
        let (feed, told) = (Arc::new(Feed::default()), Arc::new(Recorder::default()));
        let mut tasks = JoinSet::new();
        let (changes, watcher) = (SharedChanges::new(feed.clone(), shared.clone()), told.clone());
        tasks.spawn(async move {
            loop {
                changes.subscribe(watcher.clone()).await;
                sleep(Duration::from_millis(10)).await;
            }
        });
        let (keeping, identity, watcher) = (shared.clone(), Identity(identity(&store)), told.clone());
        tasks.spawn(async move {
            keeping.keep(&identity, watcher).await;
        });
        let asked = Arc::new(Counted { store: store.clone(), times: AtomicUsize::new(0) });
        Self {
            subject: Subject::over(store.clone(), 7),
            links: Arc::new(SharedLinks::new(store.clone(), shared.clone())),
            resolver: Arc::new(SharedResolver::new(asked.clone(), shared.clone())),
            shared_limiter: shared,
            store,
            feed,
            told,
            asked,
            _tasks: Tasks(tasks),
        }
    }

    pub(crate) fn decorated(&self) -> Arc<Decorated> {
        let (store, links, resolver) = (self.store.clone(), self.links.clone(), self.resolver.clone());
        Arc::new(Decorated { keys: store.clone(), store, links, resolver })
    }

    /// The identity of its store.
    pub(crate) fn identity(&self) -> String {
        identity(&self.store)
    }

    /// Creates a link in the store.
    pub(crate) async fn link(&self, alias: &str) -> Link {
        self.subject.given(&a_link().alias(alias)).await
    }

    /// Deletes a link through this process.
    pub(crate) async fn delete(&self, link: &Link) -> Link {
        Subject::over(self.decorated(), 7).delete(link).await
    }

    pub(crate) async fn resolve(&self, code: &Address) -> Resolved {
        self.resolver.resolve(code).await.expect("the store answers")
    }

    /// The source of the answer for a link; `None` if there is no link.
    pub(crate) async fn source(&self, code: &Address) -> Option<Source> {
        let resolved = self.resolve(code).await;
        resolved.resolution.map(|_| resolved.source)
    }

    /// Whether this process answers a link from Redis.
    pub(crate) async fn shares(&self, code: &Address) -> bool {
        matches!(self.source(code).await, Some(Source::SharedMemory { .. }))
    }

    /// Waits until this process trusts the entries in Redis.
    pub(crate) async fn trusts_redis(&self) {
        let probe = self.subject.claim(&a_link().alias("probe")).await;
        assert!(probe.link().is_some(), "{probe:?}");
        assert!(eventually(async || self.shares(&code("probe")).await).await, "it does not trust Redis");
    }

    /// Waits until this process no longer uses Redis.
    pub(crate) async fn does_without_redis(&self) {
        assert!(eventually(async || !self.shares(&code("probe")).await).await, "it goes on trusting Redis");
    }

    pub(crate) fn times_asked(&self) -> usize {
        self.asked.times.load(Ordering::SeqCst)
    }
}

/// Whether `condition` became true within [`PATIENCE`].
#[must_use]
pub(crate) async fn eventually(mut condition: impl AsyncFnMut() -> bool) -> bool {
    let deadline = Instant::now() + PATIENCE;
    while !condition().await {
        if Instant::now() > deadline {
            return false;
        }
        sleep(Duration::from_millis(5)).await;
    }
    true
}

/// The tasks of a process, which run as long as it lives. A task that ends earlier has panicked, and a test of a
/// process without it shows nothing.
struct Tasks(JoinSet<()>);

impl Drop for Tasks {
    fn drop(&mut self) {
        // The end of the runtime cancels them too.
        let ended = self.0.try_join_next().filter(|ended| !ended.as_ref().is_err_and(JoinError::is_cancelled));
        assert!(ended.is_none() || thread::panicking(), "a task ended: {ended:?}");
    }
}

/// The store, with a count of its lookups.
struct Counted {
    store: Arc<MemoryStore>,
    times: AtomicUsize,
}

#[async_trait]
impl LinkResolver for Counted {
    async fn resolve(&self, code: &Address) -> Result<Resolved, RepositoryError> {
        self.times.fetch_add(1, Ordering::SeqCst);
        self.store.resolve(code).await
    }
}

pub(crate) fn identity(store: &Arc<MemoryStore>) -> String {
    format!("{:p}", Arc::as_ptr(store))
}

/// Identifies stores by their address in memory.
struct Identity(String);

#[async_trait]
impl Identify for Identity {
    async fn identity(&self) -> Result<String, RepositoryError> {
        Ok(self.0.clone())
    }
}

/// A feed that reports what the test sends, and in between that it is in sync.
pub(crate) struct Feed {
    changes: broadcast::Sender<(Address, Generation)>,
    is_hearing: watch::Sender<bool>,
}

impl Default for Feed {
    fn default() -> Self {
        Self { changes: broadcast::Sender::new(1_000), is_hearing: watch::Sender::new(true) }
    }
}

impl Feed {
    /// Reports a change.
    pub(crate) fn tell_of(&self, link: &Link) {
        self.changes.send((link.address(), link.generation)).expect("the feed is subscribed");
    }

    /// Stops receiving changes, or starts again.
    pub(crate) fn be_deaf(&self, deaf: bool) {
        self.is_hearing.send_replace(!deaf);
    }
}

#[async_trait]
impl ChangeFeed for Feed {
    async fn subscribe(&self, subscriber: Arc<dyn ChangeSubscriber>) -> RepositoryError {
        let mut is_hearing = self.is_hearing.subscribe();
        drop(is_hearing.wait_for(|is_hearing| *is_hearing).await);
        let mut changes = self.changes.subscribe();
        subscriber.gap();
        while *self.is_hearing.borrow() {
            match timeout(Duration::from_millis(20), changes.recv()).await {
                Ok(Ok((address, generation))) => subscriber.changed(&address, generation),
                Ok(Err(_)) => break,
                Err(_) => subscriber.synced_until(Duration::ZERO),
            }
        }
        RepositoryError::new(RepositoryErrorKind::Unavailable, "listening for changes")
    }
}

/// The changes that a subscriber received.
#[derive(Default)]
pub(crate) struct Recorder(Mutex<Vec<(Address, Generation)>>);

impl Recorder {
    pub(crate) fn of(&self, link: &Link) -> bool {
        self.0.lock().expect("no panic").contains(&(link.address(), link.generation))
    }
}

impl ChangeSubscriber for Recorder {
    fn changed(&self, code: &Address, generation: Generation) {
        self.0.lock().expect("no panic").push((code.clone(), generation));
    }

    fn synced_until(&self, _: Duration) {}

    fn gap(&self) {}
}
