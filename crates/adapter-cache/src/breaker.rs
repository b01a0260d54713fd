//! The circuit breaker: a store that keeps failing is not asked, except for one try per second.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU32, AtomicU64, Ordering},
    },
    time::Duration,
};

use domain::ports::FailureReason;
use slog::{Logger, info, warn};
use tokio::time::Instant;

/// Number of failures in a row that open it. Failures within [`MOMENT`] count as one, because they may have shared a
/// connection. A single lookup that times out opens it too, if no other lookup was answered meanwhile.
const FAILURES: u32 = 5;
/// Failures within this time count as one.
const MOMENT: Duration = Duration::from_millis(10);
/// Time between two tries while it is open.
const PAUSE: Duration = Duration::from_secs(1);

/// Closed, every lookup may ask the store. Open, one per second.
pub(crate) struct Breaker {
    born: Instant,
    failures: AtomicU32,
    /// In milliseconds since `born`; zero while it is closed.
    next_try: AtomicU64,
    /// In milliseconds since `born`.
    last_answer: AtomicU64,
    /// In milliseconds since `born`.
    last_failure: AtomicU64,
    reason: Mutex<FailureReason>,
    /// How often it opened.
    openings: AtomicU64,
    log: Logger,
}

impl Breaker {
    pub(crate) fn new(log: Logger) -> Self {
        let never = || AtomicU64::new(0);
        let (next_try, last_answer, last_failure) = (never(), never(), never());
        Self {
            born: Instant::now(),
            failures: AtomicU32::new(0),
            next_try,
            last_answer,
            last_failure,
            reason: Mutex::default(),
            openings: AtomicU64::new(0),
            log,
        }
    }

    /// Whether to ask the store now. While open, the caller that gets `true` makes the try.
    pub(crate) fn allows(&self) -> bool {
        let next_try = self.next_try.load(Ordering::Acquire);
        if next_try == 0 {
            return true;
        }
        let now = self.milliseconds();
        now >= next_try
            && self.next_try.compare_exchange(next_try, now + pause(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Whether [`Breaker::allows`] can return `true`. Costs nothing and does not use up the try.
    pub(crate) fn may_allow(&self) -> bool {
        let next_try = self.next_try.load(Ordering::Acquire);
        next_try == 0 || self.milliseconds() >= next_try
    }

    pub(crate) fn is_open(&self) -> bool {
        self.next_try.load(Ordering::Acquire) != 0
    }

    /// How often it opened since the start.
    pub(crate) fn openings(&self) -> u64 {
        self.openings.load(Ordering::Relaxed)
    }

    /// The store answered, whatever the answer.
    pub(crate) fn succeeded(&self) {
        self.last_answer.store(self.milliseconds(), Ordering::Release);
        self.failures.store(0, Ordering::Release);
        self.close();
    }

    /// The store answered another query than a lookup. This closes an open breaker for another try, and does nothing
    /// more.
    pub(crate) fn may_answer_again(&self) {
        if self.is_open() {
            self.failures.store(0, Ordering::Release);
            self.close();
        }
    }

    fn close(&self) {
        // A failure at the same moment may leave any mix of the two numbers. The next answer closes it.
        if self.is_open() && self.next_try.swap(0, Ordering::AcqRel) != 0 {
            info!(self.log, "circuit breaker closed: the store answers again"; "event.name" => "store.circuit_closed");
        }
    }

    /// A lookup that started at `asked` timed out.
    pub(crate) fn timed_out(&self, asked: Instant) {
        let asked = milliseconds(asked - self.born);
        self.fail_because(FailureReason::TimedOut);
        let others_were_answered = self.last_answer.load(Ordering::Acquire) > asked;
        self.count(if others_were_answered { 1 } else { FAILURES });
    }

    /// A lookup failed, for this reason.
    pub(crate) fn failed_because(&self, reason: FailureReason) {
        self.fail_because(reason);
        self.failed();
    }

    fn fail_because(&self, reason: FailureReason) {
        *self.reason.lock().expect("no thread panics while it holds this lock") = reason;
    }

    /// The reason of the last failure.
    pub(crate) fn reason(&self) -> FailureReason {
        *self.reason.lock().expect("no thread panics while it holds this lock")
    }

    fn failed(&self) {
        let now = self.milliseconds();
        let last = self.last_failure.swap(now, Ordering::AcqRel);
        if last == 0 || now >= last + milliseconds(MOMENT) || self.is_open() {
            self.count(1);
        }
    }

    fn count(&self, failures: u32) {
        let before = self.failures.fetch_add(failures, Ordering::AcqRel);
        if before + failures >= FAILURES {
            self.next_try.store(self.milliseconds() + pause(), Ordering::Release);
        }
        if before < FAILURES && before + failures >= FAILURES {
            self.openings.fetch_add(1, Ordering::Relaxed);
            warn!(self.log, "circuit breaker open: redirects come from the cache, and the store is tried once a second";
                "event.name" => "store.circuit_opened");
        }
    }

    fn milliseconds(&self) -> u64 {
        milliseconds(self.born.elapsed())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn pause() -> u64 {
    milliseconds(PAUSE)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use slog::{Discard, Drain, Never, OwnedKVList, Record, o};
    use tokio::time::advance;

    use super::*;

    fn breaker() -> Breaker {
        Breaker::new(Logger::root(Discard, o!()))
    }

    /// The messages that were logged.
    #[derive(Clone, Default)]
    struct Messages(Arc<Mutex<Vec<String>>>);

    impl Drain for Messages {
        type Ok = ();
        type Err = Never;

        fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
            self.0.lock().expect("no thread panics while it holds this lock").push(record.msg().to_string());
            Ok(())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn opening_and_closing_are_logged_once() {
        let messages = Messages::default();
        let breaker = Breaker::new(Logger::root(messages.clone(), o!()));
        let told = || std::mem::take(&mut *messages.0.lock().expect("no thread panics while it holds this lock"));
        breaker.count(FAILURES - 1);
        breaker.succeeded();
        assert_eq!(told(), [""; 0]);
        breaker.count(1);
        breaker.count(FAILURES - 1);
        assert!(matches!(&told()[..], [one] if one.contains("circuit breaker open")));
        breaker.count(1);
        breaker.count(FAILURES);
        assert_eq!(told(), [""; 0]);
        breaker.succeeded();
        breaker.succeeded();
        assert!(matches!(&told()[..], [one] if one.contains("answers again")));
    }

    #[tokio::test(start_paused = true)]
    async fn may_allow_does_not_use_up_the_try() {
        let breaker = breaker();
        assert!(breaker.may_allow());
        breaker.count(FAILURES);
        advance(PAUSE.saturating_sub(Duration::from_millis(1))).await;
        assert!(!breaker.may_allow() && !breaker.allows());
        advance(Duration::from_millis(1)).await;
        assert!(breaker.may_allow() && breaker.may_allow() && breaker.allows() && !breaker.may_allow());
    }

    /// As when the caller that makes the try goes away.
    #[tokio::test(start_paused = true)]
    async fn a_try_without_an_outcome_is_followed_by_another() {
        let breaker = breaker();
        breaker.count(FAILURES);
        for _ in 0..3 {
            advance(PAUSE).await;
            assert!(breaker.allows() && !breaker.allows());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_reason_is_that_of_the_last_failure() {
        let breaker = breaker();
        breaker.failed_because(FailureReason::Busy);
        breaker.failed_because(FailureReason::TimedOut);
        assert_eq!(breaker.reason(), FailureReason::TimedOut);
        breaker.failed_because(FailureReason::NotAccepting);
        breaker.timed_out(Instant::now());
        assert_eq!(breaker.reason(), FailureReason::TimedOut, "an outage of before is not this one");
    }

    #[tokio::test(start_paused = true)]
    async fn it_opens_only_after_enough_failures_in_a_row() {
        let breaker = breaker();
        for _ in 0..FAILURES - 1 {
            advance(MOMENT).await;
            breaker.failed();
        }
        breaker.succeeded();
        for _ in 0..FAILURES - 1 {
            advance(MOMENT).await;
            breaker.failed();
            assert!(breaker.allows());
        }
        advance(MOMENT).await;
        breaker.failed();
        assert!(breaker.is_open() && !breaker.allows());
    }

    #[tokio::test(start_paused = true)]
    async fn failures_within_one_moment_count_as_one() {
        let breaker = breaker();
        advance(PAUSE).await;
        for _ in 0..10 * FAILURES {
            breaker.failed();
        }
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_opens_it_unless_other_lookups_were_answered() {
        let breaker = breaker();
        advance(PAUSE).await;
        let asked = Instant::now();
        advance(PAUSE).await;
        breaker.succeeded();
        breaker.timed_out(asked);
        assert!(!breaker.is_open());
        let asked = Instant::now();
        advance(PAUSE).await;
        breaker.timed_out(asked);
        assert!(breaker.is_open());
    }

    /// As when the change feed has a session of its own while no lookup gets one.
    #[tokio::test(start_paused = true)]
    async fn answers_to_other_queries_close_it_but_do_not_keep_it_closed() {
        let breaker = breaker();
        for _ in 0..FAILURES {
            assert!(!breaker.is_open());
            advance(MOMENT).await;
            breaker.failed();
            if !breaker.is_open() {
                breaker.may_answer_again();
            }
        }
        assert!(breaker.is_open());
        breaker.may_answer_again();
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_closes_it_even_if_the_failures_were_reset() {
        let breaker = breaker();
        breaker.count(FAILURES);
        // As when an answer comes between the two steps of the last failure.
        breaker.failures.store(0, Ordering::Release);
        breaker.succeeded();
        assert!(!breaker.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn while_open_it_allows_one_try_per_second_until_one_succeeds() {
        let breaker = breaker();
        for _ in 0..FAILURES {
            advance(MOMENT).await;
            breaker.failed();
        }
        for _ in 0..3 {
            advance(PAUSE).await;
            assert!(breaker.allows() && !breaker.allows());
            advance(MOMENT).await;
            breaker.failed();
            assert!(!breaker.allows());
        }
        advance(PAUSE).await;
        assert!(breaker.allows());
        breaker.succeeded();
        assert!(breaker.allows() && breaker.allows() && !breaker.is_open());
    }
}
