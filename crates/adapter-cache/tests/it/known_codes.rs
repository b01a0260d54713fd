//! The filter of known codes: filled in the background, within its limit.

use std::{
    collections::BTreeSet,
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use adapter_cache::{CacheOptions, CachedResolver, Progress, WriteThroughLinks};
use async_trait::async_trait;
use domain::{
    history::EventKind,
    lifecycle::Change,
    link::Generation,
    ports::{
        AddressCatalog, Applied, ChangeSubscriber, Existence, LinkRepository, LinkResolver, RepositoryError,
        RepositoryErrorKind,
    },
};
use tokio::{
    task::{JoinSet, yield_now},
    time::advance,
};

use crate::{
    OPTIONS, cached,
    store::{AskedStore, Changing, a_caller, code, link},
};

/// The codes of a store, and how often it fails before it returns them.
#[derive(Default)]
struct Catalog {
    codes: Mutex<BTreeSet<String>>,
    failures: AtomicUsize,
    told: AtomicUsize,
    /// Pages after this code cannot be read.
    unreadable_behind: Mutex<Option<String>>,
}

#[async_trait]
impl AddressCatalog for Catalog {
    async fn estimate(&self) -> Result<u64, RepositoryError> {
        Ok(0)
    }

    async fn addresses(&self, after: Option<&str>, limit: u32) -> Result<Vec<String>, RepositoryError> {
        if self.failures.load(Ordering::SeqCst) > 0 {
            self.failures.fetch_sub(1, Ordering::SeqCst);
            return Err(RepositoryError::new(RepositoryErrorKind::Unavailable, "reading codes"));
        }
        let end = self.unreadable_behind.lock().expect("no panic").clone();
        if end.is_some_and(|end| after.is_some_and(|after| after > end.as_str())) {
            return Err(RepositoryError::new(RepositoryErrorKind::Corrupt, "reading codes"));
        }
        let codes = self.codes.lock().expect("no panic");
        let behind = codes.iter().filter(|code| after.is_none_or(|after| code.as_str() > after));
        Ok(behind.take(limit as usize).cloned().collect())
    }

    async fn with_codes(&self, words: &[&str]) -> Result<Vec<String>, RepositoryError> {
        let codes = self.codes.lock().expect("no panic");
        Ok(words.iter().filter(|word| codes.contains(**word)).map(|word| (*word).to_owned()).collect())
    }
}

impl Catalog {
    fn of(codes: impl IntoIterator<Item = String>) -> Arc<Self> {
        Arc::new(Self { codes: Mutex::new(codes.into_iter().collect()), ..Self::default() })
    }
}

/// A resolver that knows the codes of `catalog`, up to `known_codes` of them.
fn knowing(catalog: &Arc<Catalog>, known_codes: usize) -> (CachedResolver, JoinSet<()>) {
    let (store, _questions) = AskedStore::new();
    let resolver = cached(store, CacheOptions { known_codes, ..OPTIONS });
    let tasks = keeping(&resolver, catalog);
    (resolver, tasks)
}

fn keeping(resolver: &CachedResolver, catalog: &Arc<Catalog>) -> JoinSet<()> {
    let mut tasks = JoinSet::new();
    let (keeping, catalog) = (resolver.clone(), Arc::clone(catalog));
    tasks.spawn(async move {
        let tell = |progress: Progress<'_>| {
            if matches!(progress, Progress::Well) {
                catalog.told.fetch_add(1, Ordering::SeqCst);
            }
        };
        keeping.keep_codes_known(catalog.as_ref(), &tell).await;
    });
    tasks
}

async fn settle() {
    for _ in 0..50 {
        yield_now().await;
    }
}

/// Checks that all links are known, and that few other codes look like one.
fn assert_knows_links(resolver: &CachedResolver, count: u32) {
    let possible = |code: String| resolver.existence(&crate::store::code(&code)) == Existence::Possible;
    assert!((0..count).all(|number| possible(format!("link-{number}"))));
    let taken = (0..10_000).filter(|number| possible(format!("none-{number}"))).count();
    assert!(taken <= 100, "{taken} of 10,000 look like a link");
}

#[tokio::test(start_paused = true)]
async fn existence_is_pending_until_all_codes_were_read() {
    let catalog = Catalog::of((0..50_000).map(|number| format!("link-{number}")));
    let (resolver, _tasks) = knowing(&catalog, 1_000_000);
    settle().await;
    assert_eq!(resolver.existence(&code("link-7")), Existence::Pending);
    resolver.gap();
    settle().await;
    assert_knows_links(&resolver, 50_000);
}

#[tokio::test(start_paused = true)]
async fn a_reported_code_is_known_at_once() {
    let catalog = Catalog::of([]);
    let (resolver, _tasks) = knowing(&catalog, 1_000_000);
    resolver.gap();
    settle().await;
    assert_eq!(resolver.existence(&code("heard")), Existence::Absent);
    resolver.changed(&code("heard"), Generation::FIRST);
    assert_eq!(resolver.existence(&code("heard")), Existence::Possible);

    let links = WriteThroughLinks::new(Arc::new(Changing::Done), resolver.clone());
    let change = Change { from: Generation::FIRST, after: link("written"), kind: EventKind::Edited };
    assert_eq!(links.apply(&change, &a_caller(), None).await.expect("the store works"), Applied::Done);
    assert_eq!(resolver.existence(&code("written")), Existence::Possible);
}

#[tokio::test(start_paused = true)]
async fn with_more_links_than_the_limit_no_code_is_known() {
    let catalog = Catalog::of((0..2_000).map(|number| format!("link-{number}")));
    let (resolver, _tasks) = knowing(&catalog, 1_000);
    resolver.gap();
    settle().await;
    assert_eq!(resolver.existence(&code("link-7")), Existence::Unsure);
    assert_eq!(resolver.existence(&code("none")), Existence::Unsure);
}

#[tokio::test(start_paused = true)]
async fn a_full_filter_is_filled_again_with_more_capacity() {
    let catalog = Catalog::of([]);
    let (resolver, _tasks) = knowing(&catalog, 1_000_000);
    resolver.gap();
    settle().await;
    for number in 0..70_000 {
        let code = format!("link-{number}");
        catalog.codes.lock().expect("no panic").insert(code.clone());
        resolver.changed(&crate::store::code(&code), Generation::FIRST);
    }
    settle().await;
    assert_knows_links(&resolver, 70_000);
}

#[tokio::test(start_paused = true)]
async fn a_failed_read_of_codes_is_retried_and_progress_is_reported() {
    let catalog = Catalog::of(["known".to_owned()]);
    catalog.failures.store(3, Ordering::SeqCst);
    let (resolver, _tasks) = knowing(&catalog, 1_000_000);
    resolver.gap();
    settle().await;
    assert_eq!(resolver.existence(&code("known")), Existence::Pending);
    for _ in 0..3 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(resolver.existence(&code("known")), Existence::Possible);
    let told = catalog.told.load(Ordering::SeqCst);
    advance(Duration::from_secs(2)).await;
    settle().await;
    assert!(catalog.told.load(Ordering::SeqCst) > told, "it says nothing while there is nothing to do");
}

/// The first pages can be read each time, a later one never. That is no success.
#[tokio::test(start_paused = true)]
async fn a_read_that_fails_at_a_later_page_is_no_success() {
    let catalog = Catalog::of((0..50_000).map(|number| format!("link-{number:05}")));
    catalog.unreadable_behind.lock().expect("no panic").replace("link-30000".to_owned());
    let (resolver, _tasks) = knowing(&catalog, 1_000_000);
    resolver.gap();
    settle().await;
    let told = catalog.told.load(Ordering::SeqCst);
    for _ in 0..10 {
        advance(Duration::from_secs(1)).await;
        settle().await;
    }
    assert_eq!(catalog.told.load(Ordering::SeqCst), told);
    assert_eq!(resolver.existence(&code("link-00007")), Existence::Pending);
    catalog.unreadable_behind.lock().expect("no panic").take();
    advance(Duration::from_secs(1)).await;
    settle().await;
    assert!(catalog.told.load(Ordering::SeqCst) > told);
    assert_eq!(resolver.existence(&code("link-00007")), Existence::Possible);
}

/// Its supervisor ends a task that hangs, and starts it again.
#[tokio::test(start_paused = true)]
async fn a_fill_that_was_interrupted_starts_again() {
    let catalog = Catalog::of(["known".to_owned()]);
    catalog.failures.store(usize::MAX, Ordering::SeqCst);
    let (resolver, tasks) = knowing(&catalog, 1_000_000);
    resolver.gap();
    settle().await;
    drop(tasks);
    catalog.failures.store(0, Ordering::SeqCst);
    let _tasks = keeping(&resolver, &catalog);
    settle().await;
    assert_eq!(resolver.existence(&code("known")), Existence::Possible);
}

/// More links change than there is room for floors, while the change feed is not in sync.
#[tokio::test(start_paused = true)]
async fn too_many_floors_are_a_gap() {
    let (store, _questions) = AskedStore::new();
    store.put(&link("known"));
    let resolver = cached(store, OPTIONS);
    resolver.resolve(&code("known")).await.expect("the store answers");
    assert!(resolver.resolve_at_once(&code("known")).is_some());
    for number in 0..=100_000 {
        resolver.changed(&code(&format!("link-{number}")), Generation::FIRST.next());
    }
    assert_eq!(resolver.resolve_at_once(&code("known")), None);
}
