//! How many calls to the store may be in flight. A burst is admitted and served a little later. A standing queue is not
//! admitted: calls that could not be served in time are rejected with `Retry-After`.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use domain::ports::FailureReason;
use tokio::{
    sync::{Semaphore, SemaphorePermit},
    time::{Instant, sleep},
};

use crate::problem::{Problem, ProblemKind};

/// An adaptive limit: it samples how many calls the store completes, and admits as many as fit into
/// [`ConcurrencyLimiter::TARGET_LATENCY`] (Little's law). It distinguishes a burst from a standing queue as `CoDel`
/// does (Nichols and Jacobson, 2012; Maurer, "Fail at Scale", 2015).
#[derive(Debug)]
pub(crate) struct ConcurrencyLimiter {
    in_flight: AtomicUsize,
    completed: AtomicU64,
    /// Rejections since the start.
    pub(crate) rejected: AtomicU64,
    /// Rejections that are being delayed.
    delayed: AtomicUsize,
    /// The limit of the last sample.
    limit: AtomicUsize,
    min_limit: usize,
    born: Instant,
    /// When a call last exceeded the limit, in milliseconds since `born`.
    last_over_limit: AtomicU64,
    /// When the current period over the limit began.
    over_limit_since: AtomicU64,
    /// When a call was last completed; `u64::MAX` if the last one failed.
    last_completed: AtomicU64,
    /// When the last sample was taken, and how many calls had been completed by then.
    last_sample: Mutex<(Instant, u64)>,
}

impl ConcurrencyLimiter {
    /// How long a call may take, its waiting included, while there are too many.
    const TARGET_LATENCY: Duration = Duration::from_millis(50);
    /// A burst lasts at most this long. After that, calls over the limit are rejected.
    const BURST_WINDOW: Duration = Duration::from_millis(500);
    /// After so long without a call over the limit the next burst is admitted.
    const QUIET_PERIOD: Duration = Duration::from_secs(2);
    /// The next burst is also admitted after so long without a call in flight: the last burst is served.
    const IDLE_RESET: Duration = Duration::from_millis(10);
    /// The limit during a burst, and the largest limit ever.
    const MAX_LIMIT: usize = 1_024;
    /// The smallest limit, however slow the store is: a hundred callers in a loop are no overload.
    const MIN_LIMIT: usize = 128;
    /// The smallest limit for each connection to the store: while some are idle, no call waits for another.
    const PER_CONNECTION: usize = 2;
    /// How long a rejection is delayed.
    const REJECT_DELAY: Duration = Duration::from_millis(400);
    /// Rejections that are delayed at a time; more are sent at once.
    const MAX_DELAYED: usize = 4_096;
    /// Time between two samples.
    const SAMPLE_INTERVAL: Duration = Duration::from_millis(100);

    /// For a store that serves so many calls at a time.
    pub(crate) fn new(store_connections: usize) -> Self {
        let now = Instant::now();
        let min_limit = (Self::PER_CONNECTION * store_connections).clamp(Self::MIN_LIMIT, Self::MAX_LIMIT);
        Self {
            in_flight: AtomicUsize::new(0),
            completed: AtomicU64::new(0),
            rejected: AtomicU64::new(0),
            delayed: AtomicUsize::new(0),
            limit: AtomicUsize::new(min_limit),
            min_limit,
            born: now,
            last_over_limit: AtomicU64::new(0),
            over_limit_since: AtomicU64::new(0),
            last_completed: AtomicU64::new(0),
            last_sample: Mutex::new((now, 0)),
        }
    }

    /// Whether one more call may begin: it is within the limit, or part of a burst.
    pub(crate) fn admits(&self) -> bool {
        let (in_flight, limit) = (self.in_flight.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed));
        if in_flight < limit {
            return true;
        }
        let now = self.milliseconds();
        let quiet_for = now.saturating_sub(self.last_over_limit.swap(now, Ordering::Relaxed));
        if quiet_for > milliseconds(Self::QUIET_PERIOD) {
            self.over_limit_since.store(now, Ordering::Relaxed);
        }
        let over_limit_for = now.saturating_sub(self.over_limit_since.load(Ordering::Relaxed));
        in_flight < Self::MAX_LIMIT && over_limit_for < milliseconds(Self::BURST_WINDOW)
    }

    /// Calls in flight, and how many are admitted outside of bursts.
    pub(crate) fn in_flight(&self) -> (usize, usize) {
        (self.in_flight.load(Ordering::Relaxed), self.limit.load(Ordering::Relaxed))
    }

    /// Counts a rejection, and delays it: a client that asks again at once on the same connection would cost more than those that are
    /// served.
    pub(crate) async fn delay_rejection(&self) {
        self.rejected.fetch_add(1, Ordering::Relaxed);
        let delayed = Delayed::one_of(&self.delayed);
        if delayed.before < Self::MAX_DELAYED {
            sleep(Self::REJECT_DELAY).await;
        }
    }

    /// Counts a call until the value is dropped.
    pub(crate) fn begin(&self) -> InFlight<'_> {
        if self.in_flight.fetch_add(1, Ordering::Acquire) == 0 {
            let idle_for = self.milliseconds().saturating_sub(self.last_completed.load(Ordering::Relaxed));
            if idle_for >= milliseconds(Self::IDLE_RESET) {
                self.last_over_limit.store(0, Ordering::Relaxed);
            }
        }
        InFlight { limiter: self, is_completed: false }
    }

    /// Adapts the limit to what was completed since the last sample, if that is long enough ago.
    fn sample(&self) {
        // While another thread takes the sample, this one need not.
        let Ok(mut last_sample) = self.last_sample.try_lock() else {
            return;
        };
        let (since, before) = *last_sample;
        let took = since.elapsed();
        if took < Self::SAMPLE_INTERVAL {
            return;
        }
        let completed = self.completed.load(Ordering::Relaxed);
        *last_sample = (Instant::now(), completed);
        let fits = Self::TARGET_LATENCY.as_secs_f64() / took.as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is an estimate of thousands"
        )]
        let sampled = ((completed - before) as f64 * fits) as usize;
        // Smoothed: a pause does not mean a slow store, and catching up after it does not mean a fast one.
        let limit = (3 * self.limit.load(Ordering::Relaxed) + sampled) / 4;
        self.limit.store(limit.clamp(self.min_limit, Self::MAX_LIMIT), Ordering::Relaxed);
    }

    /// Milliseconds since `born`, plus two quiet periods, so that a burst right after the start is admitted.
    fn milliseconds(&self) -> u64 {
        milliseconds(2 * Self::QUIET_PERIOD + self.born.elapsed())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A call in flight.
#[derive(Debug)]
pub(crate) struct InFlight<'a> {
    limiter: &'a ConcurrencyLimiter,
    is_completed: bool,
}

impl InFlight<'_> {
    /// Ends a call that the store served. Failed calls are dropped instead: however fast they fail, they do not raise
    /// the limit.
    pub(crate) fn completed(mut self) {
        self.is_completed = true;
        self.limiter.completed.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        let limiter = self.limiter;
        // Stored before the count falls: a call that finds none in flight must also see this time.
        let last_completed = if self.is_completed { limiter.milliseconds() } else { u64::MAX };
        limiter.last_completed.store(last_completed, Ordering::Relaxed);
        limiter.in_flight.fetch_sub(1, Ordering::Release);
        limiter.sample();
    }
}

/// A rejection that is being delayed, until dropped.
struct Delayed<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Delayed<'a> {
    fn one_of(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Delayed<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

/// How many calls of which kind may be in flight. Lookups of redirects are bounded by the cache.
#[derive(Debug)]
pub(crate) struct CallLimits {
    /// For all calls of the API.
    pub(crate) all: ConcurrencyLimiter,
    /// For lists: they may take long, and must leave connections for other calls.
    lists: Semaphore,
    /// Lists that were rejected since the start.
    pub(crate) rejected_lists: AtomicU64,
}

impl CallLimits {
    const MAX_LISTS: usize = 32;

    pub(crate) fn new(store_connections: usize) -> Self {
        let (all, lists) = (ConcurrencyLimiter::new(store_connections), Semaphore::new(Self::MAX_LISTS));
        Self { all, lists, rejected_lists: AtomicU64::new(0) }
    }

    /// Begins a list, unless too many are in flight.
    pub(crate) fn begin_list(&self) -> Result<SemaphorePermit<'_>, Problem> {
        self.lists.try_acquire().map_err(|_| {
            self.rejected_lists.fetch_add(1, Ordering::Relaxed);
            overloaded()
        })
    }
}

/// Too many calls are in flight.
#[derive(Debug, thiserror::Error)]
#[error("too many calls wait for the store")]
struct Overloaded;

/// The problem of a call that is rejected because too many are in flight.
pub(crate) fn overloaded() -> Problem {
    Problem::new(ProblemKind::Unavailable).failed_by_store(FailureReason::Busy).caused_by(Overloaded)
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Simulates a store that completes `served_each` calls in each hundredth of a second. As many calls as are
    /// admitted wait for it. Returns how many were in flight in each hundredth.
    async fn serve_for(limiter: &ConcurrencyLimiter, hundredths: usize, served_each: usize) -> Vec<usize> {
        let mut in_flight = Vec::new();
        let mut most = Vec::new();
        for _ in 0..hundredths {
            while limiter.admits() {
                in_flight.push(limiter.begin());
            }
            most.push(in_flight.len());
            advance(Duration::from_millis(10)).await;
            for call in in_flight.drain(..served_each.min(in_flight.len())) {
                call.completed();
            }
        }
        most
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_is_admitted_and_a_standing_queue_is_not() {
        let limiter = ConcurrencyLimiter::new(16);
        let in_flight = serve_for(&limiter, 500, 40).await;
        assert_eq!(in_flight[0], ConcurrencyLimiter::MAX_LIMIT);
        // Once the burst is served: as many as can be served in time.
        assert!(in_flight[200..].iter().all(|in_flight| (150..=250).contains(in_flight)), "{in_flight:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_right_after_the_start_is_admitted() {
        let limiter = ConcurrencyLimiter::new(16);
        advance(ConcurrencyLimiter::BURST_WINDOW * 2).await;
        let calls: Vec<_> = std::iter::from_fn(|| limiter.admits().then(|| limiter.begin())).collect();
        assert_eq!(calls.len(), ConcurrencyLimiter::MAX_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_serves_no_call_gets_few() {
        let limiter = ConcurrencyLimiter::new(16);
        let _stuck: Vec<_> = (0..ConcurrencyLimiter::MIN_LIMIT).map(|_| limiter.begin()).collect();
        assert!(limiter.admits());
        advance(ConcurrencyLimiter::BURST_WINDOW).await;
        assert!(!limiter.admits());
    }

    /// Calls do not wait for each other while there are connections for all of them.
    #[tokio::test(start_paused = true)]
    async fn a_slow_store_is_used_with_all_its_connections() {
        let limiter = ConcurrencyLimiter::new(200);
        serve_for(&limiter, 500, 1).await;
        let calls: Vec<_> = std::iter::from_fn(|| limiter.admits().then(|| limiter.begin())).collect();
        assert_eq!(calls.len(), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_quiet_period_a_burst_is_admitted_again() {
        let limiter = ConcurrencyLimiter::new(16);
        serve_for(&limiter, 500, 40).await;
        let _busy = limiter.begin();
        advance(ConcurrencyLimiter::QUIET_PERIOD + Duration::from_millis(1)).await;
        let calls: Vec<_> = std::iter::from_fn(|| limiter.admits().then(|| limiter.begin())).collect();
        assert_eq!(calls.len() + 1, ConcurrencyLimiter::MAX_LIMIT);
    }

    /// Two bursts, the second when the first is served: no standing queue.
    #[tokio::test(start_paused = true)]
    async fn after_an_idle_moment_a_burst_is_admitted_again() {
        let limiter = ConcurrencyLimiter::new(16);
        serve_for(&limiter, 500, 40).await;
        let admitted = || -> Vec<_> { std::iter::from_fn(|| limiter.admits().then(|| limiter.begin())).collect() };
        let still_crowded = admitted();
        assert!(still_crowded.len() < ConcurrencyLimiter::MAX_LIMIT / 2, "{}", still_crowded.len());
        still_crowded.into_iter().for_each(InFlight::completed);
        advance(ConcurrencyLimiter::IDLE_RESET).await;
        assert_eq!(admitted().len(), ConcurrencyLimiter::MAX_LIMIT);
    }

    /// Abandoned calls do not count as an idle moment.
    #[tokio::test(start_paused = true)]
    async fn after_abandoned_calls_no_burst_is_admitted() {
        let limiter = ConcurrencyLimiter::new(16);
        let admitted = || -> Vec<_> { std::iter::from_fn(|| limiter.admits().then(|| limiter.begin())).collect() };
        let calls = admitted();
        advance(ConcurrencyLimiter::BURST_WINDOW).await;
        drop(calls);
        advance(ConcurrencyLimiter::IDLE_RESET).await;
        assert_eq!(admitted().len(), ConcurrencyLimiter::MIN_LIMIT);
    }

    #[tokio::test(start_paused = true)]
    async fn failed_calls_do_not_raise_the_limit() {
        let limiter = ConcurrencyLimiter::new(16);
        for _ in 0..50 {
            let calls: Vec<_> = (0..1_000).map(|_| limiter.begin()).collect();
            advance(Duration::from_millis(100)).await;
            drop(calls);
        }
        assert_eq!(limiter.limit.load(Ordering::Relaxed), ConcurrencyLimiter::MIN_LIMIT);
    }
}
