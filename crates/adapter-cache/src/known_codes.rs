//! The codes that links have, as a Bloom filter: whether a code may be one, without asking the store. Links are never
//! removed, so nothing is ever taken out of it. It is filled in the background and grows with the history.

use std::{
    convert::Infallible,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{
    code::Code,
    ports::{CodeCatalog, Existence, RepositoryError},
};
use fastbloom::AtomicBloomFilter;
use slog::{Logger, info, warn};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

/// Is told how it goes.
pub(crate) type Tell<'a> = &'a (dyn Fn(Progress<'_>) + Send + Sync);

/// How it goes.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// As it should.
    Well,
    /// It is at it again, after it failed.
    Slow,
    /// It failed, and will try again.
    Failed(&'a RepositoryError),
}

/// What is known of all codes.
pub(crate) struct KnownCodes {
    filters: RwLock<Filters>,
    /// The filter has to be filled: for the first time, after a gap, or because it is full.
    is_outdated: AtomicBool,
    outdated: Notify,
    /// Most codes that are known. With more, nothing is.
    limit: usize,
    /// Whether they have been read once, however that ended.
    is_read: AtomicBool,
}

#[derive(Default)]
struct Filters {
    /// Of every code that was there when it was filled, and of all since.
    complete: Option<Arc<Filter>>,
    /// The one that is being filled.
    filling: Option<Arc<Filter>>,
}

struct Filter {
    bits: AtomicBloomFilter,
    count: AtomicUsize,
    capacity: usize,
}

impl Filter {
    /// Of the codes that no link has, at most so many look as if a link had them, with the filter at its capacity.
    const FALSE_POSITIVES: f64 = 0.006;

    fn new(capacity: usize) -> Self {
        let bits = AtomicBloomFilter::with_false_pos(Self::FALSE_POSITIVES).expected_items(capacity);
        Self { bits, count: AtomicUsize::new(0), capacity }
    }

    fn add(&self, code: &str) {
        if !self.bits.insert(code) {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn is_full(&self) -> bool {
        self.count.load(Ordering::Acquire) >= self.capacity
    }
}

impl KnownCodes {
    /// Codes that are read at once.
    const PAGE: u32 = 20_000;
    /// Room in a filter from the start.
    const MIN: usize = 1 << 16;
    const RETRY: Duration = Duration::from_secs(1);
    const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

    pub(crate) fn new(limit: usize) -> Self {
        let (is_outdated, is_read) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { filters: RwLock::default(), is_outdated, outdated: Notify::new(), limit, is_read }
    }

    pub(crate) fn existence(&self, code: &Code) -> Existence {
        match &self.filters.read().expect("nothing panics while it is held").complete {
            None if self.limit > 0 && !self.is_read.load(Ordering::Acquire) => Existence::Pending,
            None => Existence::Unsure,
            Some(filter) if filter.bits.contains(code.as_str()) => Existence::Possible,
            Some(_) => Existence::Absent,
        }
    }

    /// A link has that code.
    pub(crate) fn add(&self, code: &Code) {
        let filters = self.filters.read().expect("nothing panics while it is held");
        for filter in filters.complete.iter().chain(&filters.filling) {
            filter.add(code.as_str());
        }
        if filters.filling.is_none() && filters.complete.as_ref().is_some_and(|filter| filter.is_full()) {
            self.gap();
        }
    }

    /// Codes may have gone untold: they are read again. Those that are known stay known.
    pub(crate) fn gap(&self) {
        self.is_outdated.store(true, Ordering::Release);
        self.outdated.notify_one();
    }

    /// Fills the filter whenever that has to be, for ever.
    pub(crate) async fn keep(&self, catalog: &dyn CodeCatalog, tell: Tell<'_>, log: &Logger) -> Infallible {
        loop {
            if self.limit > 0 && self.is_outdated.swap(false, Ordering::AcqRel) {
                self.fill_until_it_is_done(catalog, tell, log).await;
            }
            tell(Progress::Well);
            // However it ends, it is time to look again, and to say so.
            let _told_or_not = timeout(Self::SIGN_OF_LIFE, self.outdated.notified()).await;
        }
    }

    async fn fill_until_it_is_done(&self, catalog: &dyn CodeCatalog, tell: Tell<'_>, log: &Logger) {
        let (begun, mut unfinished, mut failed) = (Instant::now(), Unfinished(Some(self)), false);
        let filled = loop {
            // Each attempt begins anew: after one that failed, a page says nothing of whether this one will end.
            let on_its_way = || tell(if failed { Progress::Slow } else { Progress::Well });
            match self.fill(catalog, &on_its_way).await {
                Ok(filled) => break filled,
                Err(error) => tell(Progress::Failed(&error)),
            }
            failed = true;
            sleep(Self::RETRY).await;
        };
        unfinished.0 = None;
        match filled {
            Some(count) => info!(log, "{} codes of links loaded in {:?}", count, begun.elapsed();
                "event.name" => "codes.loaded", "count" => count),
            None => warn!(log, "there are more links than cache.known_codes = {}: every code that is not remembered \
                needs the quota of unknown codes", self.limit; "event.name" => "codes.limit_exceeded"),
        }
    }

    /// Reads every code into a new filter and puts it into the place of the last; how many there are, `None` if there
    /// are too many.
    async fn fill(
        &self,
        catalog: &dyn CodeCatalog,
        on_its_way: &(dyn Fn() + Send + Sync),
    ) -> Result<Option<usize>, RepositoryError> {
        let estimate = usize::try_from(catalog.estimate().await?).unwrap_or(usize::MAX);
        let mut capacity = estimate.saturating_mul(2).max(Self::MIN).min(self.limit);
        loop {
            let filter = Arc::new(Filter::new(capacity));
            self.begin(&filter);
            let filled = fill_one(&filter, catalog, on_its_way).await;
            match filled {
                Ok(true) => {
                    self.replace(Some(Arc::clone(&filter)));
                    return Ok(Some(filter.count.load(Ordering::Acquire)));
                }
                Ok(false) if capacity >= self.limit => {
                    self.replace(None);
                    return Ok(None);
                }
                Ok(false) => capacity = capacity.saturating_mul(4).min(self.limit),
                Err(error) => {
                    self.filters.write().expect("nothing panics while it is held").filling = None;
                    return Err(error);
                }
            }
        }
    }

    /// Both filters together have to keep within the limit: if they would not, less is known for a while.
    fn begin(&self, filter: &Arc<Filter>) {
        let mut filters = self.filters.write().expect("nothing panics while it is held");
        filters.complete.take_if(|complete| complete.capacity.saturating_add(filter.capacity) > self.limit);
        filters.filling = Some(Arc::clone(filter));
    }

    fn replace(&self, complete: Option<Arc<Filter>>) {
        *self.filters.write().expect("nothing panics while it is held") = Filters { complete, filling: None };
        self.is_read.store(true, Ordering::Release);
    }
}

/// A fill under way: if it is cut short, it has to be done all the same.
struct Unfinished<'a>(Option<&'a KnownCodes>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(codes) = self.0 {
            // A panic while it is held leaves nothing half done.
            codes.filters.write().unwrap_or_else(PoisonError::into_inner).filling = None;
            codes.gap();
        }
    }
}

/// Whether every code found room.
async fn fill_one(
    filter: &Filter,
    catalog: &dyn CodeCatalog,
    on_its_way: &(dyn Fn() + Send + Sync),
) -> Result<bool, RepositoryError> {
    let mut after = None;
    loop {
        let codes = catalog.codes(after.as_deref(), KnownCodes::PAGE).await?;
        on_its_way();
        for code in &codes {
            filter.add(code);
        }
        if filter.is_full() {
            return Ok(false);
        }
        match codes.into_iter().last() {
            Some(last) => after = Some(last),
            None => return Ok(true),
        }
    }
}
