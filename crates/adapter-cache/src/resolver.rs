//! The resolver: memory first, the store behind it, and memory again when there is no store.

use std::{convert::Infallible, fmt, sync::Arc, time::Duration};

use async_trait::async_trait;
use domain::{
    code::Code,
    lifecycle::Resolution,
    link::{Generation, Link},
    ports::{
        ChangeSubscriber, CodeCatalog, Existence, FailureReason, LinkResolver, RepositoryError, RepositoryErrorKind,
        Resolved, Source,
    },
};
use slog::{Logger, warn};
use tokio::{runtime::Handle, sync::watch, time::Instant};

use crate::{
    CacheOptions,
    asking::{Asking, DOING},
    flights::{Flights, FloorsOverflow, Landing, Seat},
    known_codes::{KnownCodes, Progress},
    memory::{Asked, Memory, Recall},
};

/// A resolver that remembers what another one said. Its clones share one memory.
///
/// It misses changes made by other processes for [`CacheOptions::ttl`] at most, and less if it hears of them.
#[derive(Clone)]
pub struct CachedResolver(Arc<Inner>);

struct Inner {
    memory: Memory,
    flights: Flights,
    known_codes: KnownCodes,
    asking: Asking,
    /// Where questions live: longer than whoever asks them first.
    runtime: Handle,
    log: Logger,
}

impl fmt::Debug for CachedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CachedResolver").finish_non_exhaustive()
    }
}

impl CachedResolver {
    /// How often a question is asked anew because the link changed meanwhile.
    const ATTEMPTS: u32 = 5;

    /// A memory of `store`, which is asked on `runtime`.
    pub fn new(store: Arc<dyn LinkResolver>, options: CacheOptions, runtime: Handle, log: Logger) -> Self {
        let asking = Asking::new(store, options.patience, log.clone());
        let (memory, known_codes) = (Memory::new(options), KnownCodes::new(options.known_codes));
        Self(Arc::new(Inner { memory, flights: Flights::new(), known_codes, asking, runtime, log }))
    }

    /// Knows the codes of `catalog`, for ever: reads all of them after every gap, and hears of new ones as a subscriber.
    /// Tells every two seconds at least how that goes.
    pub async fn keep_codes_known(
        &self,
        catalog: &dyn CodeCatalog,
        tell: &(dyn Fn(Progress<'_>) + Send + Sync),
    ) -> Infallible {
        self.0.known_codes.keep(catalog, tell, &self.0.log).await
    }

    /// Asks the store, or joins who asks already; none if it must not be asked now.
    fn question(&self, code: &Code) -> Option<watch::Receiver<Option<Landing>>> {
        if !self.0.asking.breaker.may_allow() {
            return None;
        }
        let (tell, landing) = match self.0.flights.board(code)? {
            Seat::Passenger(landing) => return Some(landing),
            Seat::Pilot(tell, landing) => (tell, landing),
        };
        if !self.0.asking.breaker.allows() {
            // Somebody else tries just now.
            drop(self.0.flights.land(code));
            return None;
        }
        let (inner, code) = (Arc::clone(&self.0), code.clone());
        self.0.runtime.spawn(async move {
            let (landing, asked) = (Landed(&inner, &code), inner.memory.asked());
            let outcome = landing.keep(inner.asking.ask(&code).await, asked);
            // Nobody may be waiting any more.
            let _unheard = tell.send(Some(outcome));
        });
        Some(landing)
    }

    /// What to answer when the store gives no answer.
    fn instead(&self, code: &Code, error: RepositoryError) -> Result<Resolved, RepositoryError> {
        match (error.kind(), self.0.memory.recall(code)) {
            (_, Recall::Good(resolved) | Recall::Aging(resolved)) => Ok(resolved),
            (RepositoryErrorKind::Unavailable | RepositoryErrorKind::Indeterminate, Recall::Stale(resolved)) => {
                Ok(resolved)
            }
            _ => Err(error),
        }
    }
}

/// A flight that lands, also if its pilot is lost.
struct Landed<'a>(&'a Inner, &'a Code);

impl Landed<'_> {
    fn keep(self, answer: Result<Resolved, RepositoryError>, asked: Asked) -> Landing {
        let Self(inner, code) = self;
        std::mem::forget(self);
        let (shard, overtaken) = inner.flights.land(code);
        let found = match answer {
            Ok(found) => found,
            Err(error) => return Landing::Failed(Arc::new(error)),
        };
        let generation = found.resolution.as_ref().map(|resolution| resolution.generation);
        if overtaken.outdates(generation) || shard.is_below_floor(code, generation, asked) {
            return Landing::Overtaken;
        }
        let asked = match found.source {
            Source::SharedMemory { ago } => asked.ago(ago),
            Source::Store | Source::Memory | Source::StaleMemory => asked,
        };
        match &found.resolution {
            Some(resolution) => inner.memory.keep(code, Arc::clone(resolution), asked),
            None => inner.memory.keep_unknown(code, asked),
        }
        Landing::Found(found)
    }
}

impl Drop for Landed<'_> {
    fn drop(&mut self) {
        drop(self.0.flights.land(self.1));
    }
}

#[async_trait]
impl LinkResolver for CachedResolver {
    fn resolve_at_once(&self, code: &Code) -> Option<Resolved> {
        match self.0.memory.recall(code) {
            Recall::Good(resolved) => Some(resolved),
            Recall::Aging(resolved) => {
                // Its answer comes for those who ask later.
                let _later = self.question(code);
                Some(resolved)
            }
            Recall::Stale(resolved) if self.0.asking.breaker.is_open() => {
                // If it is time for another try, this is it.
                let _later = self.question(code);
                Some(resolved)
            }
            Recall::Stale(_) | Recall::Nothing => None,
        }
    }

    fn existence(&self, code: &Code) -> Existence {
        self.0.known_codes.existence(code)
    }

    async fn resolve(&self, code: &Code) -> Result<Resolved, RepositoryError> {
        for _ in 0..Self::ATTEMPTS {
            if let Some(resolved) = self.resolve_at_once(code) {
                return Ok(resolved);
            }
            let Some(mut landing) = self.question(code) else {
                let left_alone = self.0.asking.breaker.is_open();
                let refused = if left_alone {
                    let why = "it is left alone because it does not answer";
                    unavailable(why).because(self.0.asking.breaker.reason())
                } else {
                    unavailable("too many codes are asked for").because(FailureReason::Busy)
                };
                return self.instead(code, refused);
            };
            let landing = match landing.wait_for(Option::is_some).await {
                Ok(landing) => landing.clone().expect("that was waited for"),
                Err(_lost) => return self.instead(code, unavailable("the question was lost")),
            };
            match landing {
                Landing::Found(resolved) => return Ok(resolved),
                Landing::Overtaken => {}
                Landing::Failed(error) => {
                    return self.instead(code, RepositoryError::new(error.kind(), DOING).caused_by(error));
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
    fn changed(&self, code: &Code, generation: Generation) {
        self.0.known_codes.add(code);
        self.0.heard_of(code, generation, Heard::FromHistory);
    }

    /// The history is read on a session of its own, which says little of whether links can be looked up.
    fn synced_until(&self, ago: Duration) {
        self.0.asking.breaker.may_answer_again();
        let now = Instant::now();
        let moment = now.checked_sub(ago).unwrap_or(now);
        self.0.memory.assure(moment);
        self.0.flights.end_floors(moment);
    }

    /// What tells of a gap has just been answered by the store: from now on the store is asked, also for what is stale,
    /// lest what changed in the gap be followed once more.
    fn gap(&self) {
        self.0.known_codes.gap();
        self.0.memory.distrust();
        self.0.asking.breaker.succeeded();
    }
}

/// How a generation was heard of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Heard {
    /// Somewhere in the history.
    FromHistory,
    /// In what a call of this process returned, changed by it or not.
    FromAnswer,
}

impl Inner {
    /// Raises the floor, outdates the question under way, and forgets what is older.
    fn heard_of(&self, code: &Code, generation: Generation, heard: Heard) {
        let (next_write, writes_are_under_way) = self.flights.next_write();
        let epoch = self.memory.asked().epoch();
        let mut shard = self.flights.shard(code);
        shard.overtake(code, generation);
        self.memory.forget_before(code, generation);
        // An answer that is read only matters to those that are on their way.
        if heard == Heard::FromHistory || writes_are_under_way {
            let raised = shard.raise_floor(code, generation, next_write, epoch);
            drop(shard);
            self.check(raised);
        }
    }

    /// Without room for a floor anything may be remembered that is over: as if changes had gone untold.
    fn check(&self, raised: Result<(), FloorsOverflow>) {
        if raised.is_err() {
            self.memory.distrust();
            self.flights.drop_floors();
            warn!(self.log, "more than {} links changed since the history was last read: everything is asked for again",
                Flights::MAX_FLOORS; "event.name" => "cache.floors_overflow");
        }
    }
}

/// A change by this process, from before the store is asked for it until everything is told that came of it. If it is
/// dropped earlier, its outcome is unknown.
pub(crate) struct WriteInFlight {
    memory: Arc<Inner>,
    number: u64,
    begun: Asked,
    /// Links that it may have changed, as long as that is not known.
    unsettled: Vec<Code>,
}

impl CachedResolver {
    /// A change of the links with these codes begins, as far as they are known.
    pub(crate) fn begin_write(&self, codes: Vec<Code>) -> WriteInFlight {
        let memory = Arc::clone(&self.0);
        let (begun, number) = (memory.memory.asked(), memory.flights.begin_write());
        WriteInFlight { memory, number, begun, unsettled: codes }
    }

    /// A link was read that has this generation.
    pub(crate) fn read(&self, code: &Code, generation: Generation) {
        self.0.heard_of(code, generation, Heard::FromAnswer);
    }
}

impl WriteInFlight {
    /// This came of it.
    pub(crate) fn written(&self, link: &Link) {
        let inner = self.memory.as_ref();
        let (code, generation) = (&link.code, link.generation);
        inner.known_codes.add(code);
        let (next_write, _) = inner.flights.next_write();
        let mut shard = inner.flights.shard(code);
        // Others may have gone on from there before this process came to tell of it.
        if shard.is_below_floor(code, Some(generation), self.begun) {
            return;
        }
        shard.overtake(code, generation);
        inner.memory.forget_before(code, generation);
        if !shard.is_doubted(code, self.number) {
            inner.memory.keep(code, Arc::new(Resolution::from(link)), self.begun);
        }
        let raised = shard.raise_floor(code, generation, next_write, self.begun.epoch());
        drop(shard);
        inner.check(raised);
    }

    /// Everything is told that came of it.
    pub(crate) fn settle(mut self) {
        self.unsettled.clear();
    }
}

impl Drop for WriteInFlight {
    fn drop(&mut self) {
        let inner = self.memory.as_ref();
        let (next_write, _) = inner.flights.next_write();
        for code in &self.unsettled {
            let mut shard = inner.flights.shard(code);
            let doubted = shard.doubt(code, next_write, self.begun.epoch());
            inner.memory.doubt(code);
            drop(shard);
            inner.check(doubted);
        }
        inner.flights.end_write(self.number);
    }
}
