//! The resolver: the cache first, then the store, then an expired cache entry if the store is unavailable.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    address::Address,
    lifecycle::Resolution,
    link::{Generation, Link},
    ports::{
        AddressCatalog, ChangeSubscriber, Existence, FailureReason, LinkResolver, RepositoryError, RepositoryErrorKind,
        Resolved, Source,
    },
};
use slog::{Logger, warn};
use tokio::{runtime::Handle, sync::watch, time::Instant};

use crate::{
    CacheOptions,
    known_codes::{KnownCodes, Progress},
    l1_cache::{Asked, L1Cache, Lookup},
    single_flight::{FloorsOverflow, Outcome, Role, SingleFlight},
    status::CacheStatus,
    store_client::{DOING, StoreClient},
};

/// A resolver that caches the answers of another one. Clones share one cache.
///
/// It misses changes by other processes for [`CacheOptions::ttl`] at most, and less if the change feed reports them.
#[derive(Clone)]
pub struct CachedResolver(Arc<Inner>);

struct Inner {
    cache: L1Cache,
    single_flight: SingleFlight,
    known_codes: KnownCodes,
    store_client: StoreClient,
    /// Runs lookups in the store: they outlive the callers that start them.
    runtime: Handle,
    log: Logger,
}

impl fmt::Debug for CachedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedResolver").finish_non_exhaustive()
    }
}

impl CachedResolver {
    /// Maximum attempts of one lookup, if the link changes during each.
    const ATTEMPTS: u32 = 5;

    /// A cache in front of `store`, which is asked on `runtime`.
    pub fn new(store: Arc<dyn LinkResolver>, options: CacheOptions, runtime: Handle, log: Logger) -> Self {
        let store_client = StoreClient::new(store, options.timeout, log.clone());
        let (cache, known_codes) = (L1Cache::new(options), KnownCodes::new(options.known_codes));
        Self(Arc::new(Inner { cache, single_flight: SingleFlight::new(), known_codes, store_client, runtime, log }))
    }

    /// What the cache and the store client are doing.
    pub fn status(&self) -> CacheStatus {
        let Inner { cache, single_flight, known_codes, store_client, .. } = &*self.0;
        let (links, unknown, weight, evictions) = cache.sizes();
        let (in_flight, floors) = single_flight.sizes();
        CacheStatus {
            links,
            capacity: cache.capacity(),
            weight,
            unknown,
            evictions,
            gaps: cache.asked().epoch(),
            in_flight,
            floors,
            known_codes: known_codes.count(),
            breaker_is_open: store_client.breaker.is_open(),
            breaker_openings: store_client.breaker.openings(),
            retries: store_client.retries(),
        }
    }

    /// Keeps the addresses of `catalog` known. Never returns. Reads all of them after every gap; the change feed reports
    /// new ones. Calls `tell` with the progress at least every two seconds.
    pub async fn keep_codes_known(
        &self,
        catalog: &dyn AddressCatalog,
        tell: &(dyn Fn(Progress<'_>) + Send + Sync),
    ) -> Infallible {
        self.0.known_codes.keep(catalog, tell, &self.0.log).await
    }

    /// Starts a lookup in the store, or joins the one in flight; `None` if the store must not be asked now.
    fn question(&self, address: &Address) -> Option<watch::Receiver<Option<Outcome>>> {
        if !self.0.store_client.breaker.may_allow() {
            return None;
        }
        let (tell, outcome) = match self.0.single_flight.join(address)? {
            Role::Follower(outcome) => return Some(outcome),
            Role::Leader(tell, outcome) => (tell, outcome),
        };
        if !self.0.store_client.breaker.allows() {
            // Another lookup makes the try just now.
            drop(self.0.single_flight.complete(address));
            return None;
        }
        let (inner, address) = (Arc::clone(&self.0), address.clone());
        self.0.runtime.spawn(async move {
            let (outcome, asked) = (CompletionGuard(&inner, &address), inner.cache.asked());
            let outcome = outcome.keep(inner.store_client.ask(&address).await, asked);
            // All callers may have gone away.
            let _unheard = tell.send(Some(outcome));
        });
        Some(outcome)
    }

    /// The answer if the store gives none: a cached one if possible, or else the error.
    fn instead(&self, address: &Address, error: RepositoryError) -> Result<Resolved, RepositoryError> {
        match (error.kind(), self.0.cache.look_up(address)) {
            (_, Lookup::Fresh(resolved) | Lookup::RefreshDue(resolved)) => Ok(resolved),
            (RepositoryErrorKind::Unavailable | RepositoryErrorKind::Indeterminate, Lookup::Stale(resolved)) => {
                Ok(resolved)
            }
            _ => Err(error),
        }
    }
}

/// Ends a lookup, even if its task panics or is cancelled.
struct CompletionGuard<'a>(&'a Inner, &'a Address);

impl CompletionGuard<'_> {
    fn keep(self, answer: Result<Resolved, RepositoryError>, asked: Asked) -> Outcome {
        let Self(inner, address) = self;
        std::mem::forget(self);
        let (shard, invalidated) = inner.single_flight.complete(address);
        let found = match answer {
            Ok(found) => found,
            Err(error) => return Outcome::Failed(Arc::new(error)),
        };
        let generation = found.resolution.as_ref().map(|resolution| resolution.generation);
        if invalidated.outdates(generation) || shard.is_below_floor(address, generation, asked) {
            return Outcome::Outdated;
        }
        let asked = match found.source {
            Source::SharedMemory { ago } => asked.ago(ago),
            Source::Store | Source::Memory | Source::StaleMemory => asked,
        };
        match &found.resolution {
            Some(resolution) => inner.cache.keep(address, Arc::clone(resolution), asked),
            None => inner.cache.insert_unknown(address, asked),
        }
        Outcome::Found(found)
    }
}

impl Drop for CompletionGuard<'_> {
    fn drop(&mut self) {
        drop(self.0.single_flight.complete(self.1));
    }
}

#[async_trait]
impl LinkResolver for CachedResolver {
    fn resolve_at_once(&self, address: &Address) -> Option<Resolved> {
        match self.0.cache.look_up(address) {
            Lookup::Fresh(resolved) => Some(resolved),
            Lookup::RefreshDue(resolved) => {
                // The refreshed answer is for later lookups.
                let _later = self.question(address);
                Some(resolved)
            }
            Lookup::Stale(resolved) if self.0.store_client.breaker.is_open() => {
                // If another try is due, this lookup makes it.
                let _later = self.question(address);
                Some(resolved)
            }
            Lookup::Stale(_) | Lookup::Miss => None,
        }
    }

    fn existence(&self, address: &Address) -> Existence {
        self.0.known_codes.existence(address)
    }

    async fn resolve(&self, address: &Address) -> Result<Resolved, RepositoryError> {
        for _ in 0..Self::ATTEMPTS {
            if let Some(resolved) = self.resolve_at_once(address) {
                return Ok(resolved);
            }
            let Some(mut outcome) = self.question(address) else {
                let left_alone = self.0.store_client.breaker.is_open();
                let refused = if left_alone {
                    let why = "the circuit breaker is open";
                    unavailable(why).because(self.0.store_client.breaker.reason())
                } else {
                    unavailable("too many codes are asked for").because(FailureReason::Busy)
                };
                return self.instead(address, refused);
            };
            let outcome = match outcome.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone().expect("the outcome was waited for"),
                Err(_lost) => return self.instead(address, unavailable("the question was lost")),
            };
            match outcome {
                Outcome::Found(resolved) => return Ok(resolved),
                Outcome::Outdated => {}
                Outcome::Failed(error) => {
                    return self.instead(address, RepositoryError::new(error.kind(), DOING).caused_by(error));
                }
            }
        }
        Err(unavailable("the link changed at every attempt"))
    }
}

fn unavailable(cause: &'static str) -> RepositoryError {
    RepositoryError::new(RepositoryErrorKind::Unavailable, DOING).caused_by(cause)
}

impl ChangeSubscriber for CachedResolver {
    fn changed(&self, address: &Address, generation: Generation) {
        self.0.known_codes.add(address);
        self.0.note_change(address, generation, Notice::FromHistory);
    }

    /// The change feed reads on a session of its own, which says little of whether lookups work.
    fn synced_until(&self, ago: Duration) {
        self.0.store_client.breaker.may_answer_again();
        let now = Instant::now();
        let moment = now.checked_sub(ago).unwrap_or(now);
        self.0.cache.assure(moment);
        self.0.single_flight.end_floors(moment);
    }

    /// The store has just answered the query that found the gap. So from now on the store is asked, also for stale
    /// links: a link that changed in the gap must not redirect once more.
    fn gap(&self) {
        self.0.known_codes.gap();
        self.0.cache.invalidate_all();
        self.0.store_client.breaker.succeeded();
    }
}

/// How a generation became known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Notice {
    /// From the change feed.
    FromHistory,
    /// From what a call of this process returned, whether the call changed the link or not.
    FromAnswer,
}

impl Inner {
    /// Raises the floor, outdates the lookup in flight, and removes what is older.
    fn note_change(&self, address: &Address, generation: Generation, notice: Notice) {
        let (next_write, writes_are_under_way) = self.single_flight.next_write();
        let epoch = self.cache.asked().epoch();
        let mut shard = self.single_flight.shard(address);
        shard.invalidate(address, generation);
        self.cache.remove_older(address, generation);
        // A generation that was only read matters only to writes in flight.
        if notice == Notice::FromHistory || writes_are_under_way {
            let raised = shard.raise_floor(address, generation, next_write, epoch);
            drop(shard);
            self.check(raised);
        }
    }

    /// Without room for a floor, something outdated might be cached. So this counts as a gap.
    fn check(&self, raised: Result<(), FloorsOverflow>) {
        if raised.is_err() {
            self.cache.invalidate_all();
            self.single_flight.drop_floors();
            warn!(self.log, "more than {} links changed since the history was last read: every cached link is looked up again",
                SingleFlight::MAX_FLOORS; "event.name" => "cache.floors_overflow");
        }
    }
}

/// A write of this process: from before the store is called until its whole result is reported. If it is dropped
/// earlier, its outcome is unknown.
pub(crate) struct WriteInFlight {
    cache: Arc<Inner>,
    number: u64,
    begun: Asked,
    /// Codes of links that it may have changed, until its outcome is known.
    unsettled: Vec<Address>,
}

impl CachedResolver {
    /// A write begins that may change the links with these addresses, as far as they are known.
    pub(crate) fn begin_write(&self, addresses: Vec<Address>) -> WriteInFlight {
        let cache = Arc::clone(&self.0);
        let (begun, number) = (cache.cache.asked(), cache.single_flight.begin_write());
        WriteInFlight { cache, number, begun, unsettled: addresses }
    }

    /// A link was read with this generation.
    pub(crate) fn read(&self, address: &Address, generation: Generation) {
        self.0.note_change(address, generation, Notice::FromAnswer);
    }
}

impl WriteInFlight {
    /// The write changed a link to this.
    pub(crate) fn written(&self, link: &Link) {
        let inner = self.cache.as_ref();
        let (address, generation) = (&link.address(), link.generation);
        inner.known_codes.add(address);
        let (next_write, _) = inner.single_flight.next_write();
        let mut shard = inner.single_flight.shard(address);
        // Newer changes may have been reported before this one.
        if shard.is_below_floor(address, Some(generation), self.begun) {
            return;
        }
        shard.invalidate(address, generation);
        inner.cache.remove_older(address, generation);
        if !shard.is_doubted(address, self.number) {
            inner.cache.keep(address, Arc::new(Resolution::from(link)), self.begun);
        }
        let raised = shard.raise_floor(address, generation, next_write, self.begun.epoch());
        drop(shard);
        inner.check(raised);
    }

    /// The whole result is reported.
    pub(crate) fn settle(mut self) {
        self.unsettled.clear();
    }
}

impl Drop for WriteInFlight {
    fn drop(&mut self) {
        let inner = self.cache.as_ref();
        let (next_write, _) = inner.single_flight.next_write();
        for address in &self.unsettled {
            let mut shard = inner.single_flight.shard(address);
            let doubted = shard.doubt(address, next_write, self.begun.epoch());
            inner.cache.doubt(address);
            drop(shard);
            inner.check(doubted);
        }
        inner.single_flight.end_write(self.number);
    }
}
