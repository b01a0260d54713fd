//! The codes of all links, in a Bloom filter: it tells whether a code may be one without asking the store. Links are
//! never removed, so codes are never removed from it. It is filled in the background and grows with the history.

use std::{
    convert::Infallible,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::{
    address::Address,
    ports::{AddressCatalog, Existence, RepositoryError},
};
use fastbloom::AtomicBloomFilter;
use slog::{Logger, info, warn};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

/// Receives the progress.
pub(crate) type Tell<'a> = &'a (dyn Fn(Progress<'_>) + Send + Sync);

/// Progress of reading the codes.
#[derive(Clone, Copy, Debug)]
pub enum Progress<'a> {
    /// It works.
    Well,
    /// It reads the codes again, after a failure.
    Slow,
    /// It failed, and will try again.
    Failed(&'a RepositoryError),
}

/// The filter of all codes.
pub(crate) struct KnownCodes {
    filters: RwLock<Filters>,
    /// The filter has to be filled: for the first time, after a gap, or because it is full.
    is_outdated: AtomicBool,
    outdated: Notify,
    /// Maximum codes. With more, no code is known.
    limit: usize,
    /// Whether all codes were read once, even if there were too many.
    is_read: AtomicBool,
}

#[derive(Default)]
struct Filters {
    /// Holds every code that existed when it was filled, and every code since.
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
    /// Maximum share of the codes without a link that look as if they had one, with the filter at its capacity.
    const FALSE_POSITIVES: f64 = 0.006;

    fn new(capacity: usize) -> Self {
        let bits = AtomicBloomFilter::with_false_pos(Self::FALSE_POSITIVES).expected_items(capacity);
        Self { bits, count: AtomicUsize::new(0), capacity }
    }

    fn add(&self, address: &str) {
        if !self.bits.insert(address) {
            self.count.fetch_add(1, Ordering::AcqRel);
        }
    }

    fn contains(&self, address: &Address) -> bool {
        with_text(address, |text| self.bits.contains(text))
    }

    fn is_full(&self) -> bool {
        self.count.load(Ordering::Acquire) >= self.capacity
    }
}

/// The text of an address, under which a filter holds it.
fn with_text<T>(address: &Address, use_text: impl FnOnce(&str) -> T) -> T {
    if address.domain.is_default() { use_text(address.code.as_str()) } else { use_text(&address.to_string()) }
}

impl KnownCodes {
    /// Codes per page.
    const PAGE: u32 = 20_000;
    /// Minimum capacity of a filter.
    const MIN: usize = 1 << 16;
    const RETRY: Duration = Duration::from_secs(1);
    const SIGN_OF_LIFE: Duration = Duration::from_secs(2);

    pub(crate) fn new(limit: usize) -> Self {
        let (is_outdated, is_read) = (AtomicBool::new(false), AtomicBool::new(false));
        Self { filters: RwLock::default(), is_outdated, outdated: Notify::new(), limit, is_read }
    }

    pub(crate) fn existence(&self, address: &Address) -> Existence {
        match &self.filters.read().expect("no thread panics while it holds this lock").complete {
            None if self.limit > 0 && !self.is_read.load(Ordering::Acquire) => Existence::Pending,
            None => Existence::Unsure,
            Some(filter) if filter.contains(address) => Existence::Possible,
            Some(_) => Existence::Absent,
        }
    }

    /// How many codes are known; `None` without a complete filter.
    pub(crate) fn count(&self) -> Option<usize> {
        let filters = self.filters.read().unwrap_or_else(PoisonError::into_inner);
        filters.complete.as_ref().map(|filter| filter.count.load(Ordering::Relaxed))
    }

    /// Adds the address of a link.
    pub(crate) fn add(&self, address: &Address) {
        let filters = self.filters.read().expect("no thread panics while it holds this lock");
        for filter in filters.complete.iter().chain(&filters.filling) {
            with_text(address, |text| filter.add(text));
        }
        if filters.filling.is_none() && filters.complete.as_ref().is_some_and(|filter| filter.is_full()) {
            self.gap();
        }
    }

    /// Codes may have been missed: all are read again. Known codes stay known.
    pub(crate) fn gap(&self) {
        self.is_outdated.store(true, Ordering::Release);
        self.outdated.notify_one();
    }

    /// Fills the filter whenever that is needed. Never returns.
    pub(crate) async fn keep(&self, catalog: &dyn AddressCatalog, tell: Tell<'_>, log: &Logger) -> Infallible {
        loop {
            if self.limit > 0 && self.is_outdated.swap(false, Ordering::AcqRel) {
                self.fill_until_it_is_done(catalog, tell, log).await;
            }
            tell(Progress::Well);
            // Either way it is time to look again, and to report progress.
            let _told_or_not = timeout(Self::SIGN_OF_LIFE, self.outdated.notified()).await;
        }
    }

    async fn fill_until_it_is_done(&self, catalog: &dyn AddressCatalog, tell: Tell<'_>, log: &Logger) {
        let (begun, mut unfinished, mut failed) = (Instant::now(), Unfinished(Some(self)), false);
        let filled = loop {
            // Each attempt begins anew. After a failure, a page that was read does not show that this attempt will
            // succeed.
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

    /// Reads every code into a new filter, which replaces the last one. Returns how many codes there are; `None` if
    /// there are too many.
    async fn fill(
        &self,
        catalog: &dyn AddressCatalog,
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
                    self.filters.write().expect("no thread panics while it holds this lock").filling = None;
                    return Err(error);
                }
            }
        }
    }

    /// Starts to fill `filter`. Both filters together must stay within the limit; otherwise the complete one is dropped
    /// now.
    fn begin(&self, filter: &Arc<Filter>) {
        let mut filters = self.filters.write().expect("no thread panics while it holds this lock");
        filters.complete.take_if(|complete| complete.capacity.saturating_add(filter.capacity) > self.limit);
        filters.filling = Some(Arc::clone(filter));
    }

    fn replace(&self, complete: Option<Arc<Filter>>) {
        *self.filters.write().expect("no thread panics while it holds this lock") = Filters { complete, filling: None };
        self.is_read.store(true, Ordering::Release);
    }
}

/// A fill in progress. If it is dropped before its end, the codes are read again.
struct Unfinished<'a>(Option<&'a KnownCodes>);

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(codes) = self.0 {
            // A panic while the lock is held leaves nothing half done.
            codes.filters.write().unwrap_or_else(PoisonError::into_inner).filling = None;
            codes.gap();
        }
    }
}

/// Adds every code to `filter`. Returns whether all of them fit.
async fn fill_one(
    filter: &Filter,
    catalog: &dyn AddressCatalog,
    on_its_way: &(dyn Fn() + Send + Sync),
) -> Result<bool, RepositoryError> {
    let mut after = None;
    loop {
        let addresses = catalog.addresses(after.as_deref(), KnownCodes::PAGE).await?;
        on_its_way();
        for address in &addresses {
            filter.add(address);
        }
        if filter.is_full() {
            return Ok(false);
        }
        match addresses.into_iter().last() {
            Some(last) => after = Some(last),
            None => return Ok(true),
        }
    }
}
