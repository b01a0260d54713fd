//! Outcomes of calls to the store in the last seconds. A probe shows whether the store can work; these show whether it
//! did.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

use domain::ports::FailureReason;
use tokio::time::Instant;

use crate::problem::Problem;

/// The outcomes of changes and of lookups.
#[derive(Debug)]
pub(crate) struct StoreOutcomes {
    /// Claims, edits and all other writes.
    pub(crate) changes: Window,
    /// Redirects for which the store was asked.
    pub(crate) lookups: Window,
}

impl StoreOutcomes {
    pub(crate) fn new() -> Self {
        let now = Instant::now();
        Self { changes: Window::since(now), lookups: Window::since(now) }
    }
}

/// Counts the calls of the last seconds.
#[derive(Debug)]
pub(crate) struct Window {
    born: Instant,
    /// Oldest first. A second without a call has no entry.
    seconds: Mutex<VecDeque<Second>>,
}

#[derive(Debug)]
struct Second {
    /// Since `born`.
    number: u64,
    served: u32,
    failed: BTreeMap<FailureReason, u32>,
}

/// How many calls failed, and why most of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Judgement {
    /// The percentage of calls that failed.
    pub(crate) failed_percent: u64,
    /// Why most of them failed. `None` unless there were at least three calls and more than half of them failed.
    pub(crate) reason: Option<FailureReason>,
}

impl Window {
    /// How many seconds are kept: few enough that failures show, and pass, within ten seconds.
    const SECONDS: u64 = 6;
    /// With fewer calls there is no judgement.
    const MIN: u32 = 3;
    /// A call that its client abandons after so long counts as failed.
    const LET_DOWN: Duration = Duration::from_millis(500);

    fn since(born: Instant) -> Self {
        Self { born, seconds: Mutex::default() }
    }

    /// One call was answered.
    pub(crate) fn served(&self) {
        self.count(|second| second.served += 1);
    }

    /// One call failed.
    pub(crate) fn failed(&self, reason: FailureReason) {
        self.count(|second| *second.failed.entry(reason).or_default() += 1);
    }

    /// One call begins. It counts once it ends or is abandoned.
    pub(crate) fn begin(&self) -> Waiting<'_> {
        Waiting { window: self, begun: Instant::now(), settled: false }
    }

    fn count(&self, add: impl FnOnce(&mut Second)) {
        let number = self.number();
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        if seconds.back().is_none_or(|last| last.number < number) {
            forget_old(&mut seconds, number);
            seconds.push_back(Second { number, served: 0, failed: BTreeMap::new() });
        }
        if let Some(last) = seconds.back_mut() {
            add(last);
        }
    }

    pub(crate) fn judge(&self) -> Judgement {
        let number = self.number();
        let mut seconds = self.seconds.lock().unwrap_or_else(PoisonError::into_inner);
        forget_old(&mut seconds, number);
        let served: u32 = seconds.iter().map(|second| second.served).sum();
        let mut by_reason = BTreeMap::<_, u32>::new();
        for (reason, count) in seconds.iter().flat_map(|second| &second.failed) {
            *by_reason.entry(*reason).or_default() += count;
        }
        let failed: u32 = by_reason.values().sum();
        let all = served + failed;
        // A specific reason wins over a vague one, however few calls failed for it.
        let worst = by_reason.into_iter().max_by_key(|(reason, count)| (!reason.is_vague(), *count));
        Judgement {
            failed_percent: u64::from(failed) * 100 / u64::from(all.max(1)),
            reason: worst.map(|(reason, _)| reason).filter(|_| all >= Self::MIN && failed > served),
        }
    }

    fn number(&self) -> u64 {
        self.born.elapsed().as_secs()
    }
}

fn forget_old(seconds: &mut VecDeque<Second>, now: u64) {
    while seconds.front().is_some_and(|first| first.number + Window::SECONDS <= now) {
        seconds.pop_front();
    }
}

/// A call that is not answered yet.
#[derive(Debug)]
pub(crate) struct Waiting<'a> {
    window: &'a Window,
    begun: Instant,
    settled: bool,
}

impl Waiting<'_> {
    /// The call succeeded, with the store or without it. It is counted as served only if it `counts`.
    pub(crate) fn ends_served(mut self, counts: bool) {
        self.settled = true;
        if counts {
            self.window.served();
        }
    }

    /// The call failed. That counts only if the store caused it.
    pub(crate) fn ends_refused(mut self, problem: &Problem) {
        self.settled = true;
        if let Some(reason) = problem.store_failure() {
            self.window.failed(reason);
        }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        if !self.settled && self.begun.elapsed() >= Window::LET_DOWN {
            self.window.failed(FailureReason::TimedOut);
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    fn window() -> Window {
        Window::since(Instant::now())
    }

    #[tokio::test(start_paused = true)]
    async fn a_reason_needs_three_calls_of_which_more_than_half_failed() {
        let window = window();
        assert_eq!(window.judge(), Judgement { failed_percent: 0, reason: None });
        window.failed(FailureReason::Locked);
        window.failed(FailureReason::Locked);
        assert_eq!(window.judge(), Judgement { failed_percent: 100, reason: None });
        window.failed(FailureReason::Locked);
        assert_eq!(window.judge(), Judgement { failed_percent: 100, reason: Some(FailureReason::Locked) });
        for _ in 0..3 {
            window.served();
        }
        assert_eq!(window.judge(), Judgement { failed_percent: 50, reason: None });
    }

    #[tokio::test(start_paused = true)]
    async fn a_specific_reason_wins_over_a_frequent_vague_one() {
        let window = window();
        window.failed(FailureReason::SessionsRefused);
        for _ in 0..10 {
            window.failed(FailureReason::Busy);
        }
        assert_eq!(window.judge().reason, Some(FailureReason::SessionsRefused));
    }

    #[tokio::test(start_paused = true)]
    async fn failures_show_and_pass_within_ten_seconds() {
        let window = window();
        for _ in 0..30 {
            (0..100).for_each(|_| window.served());
            advance(Duration::from_secs(1)).await;
        }
        for _ in 0..9 {
            (0..51).for_each(|_| window.failed(FailureReason::ReadOnly));
            (0..49).for_each(|_| window.served());
            advance(Duration::from_secs(1)).await;
        }
        assert_eq!(window.judge().reason, Some(FailureReason::ReadOnly));
        advance(Duration::from_secs(Window::SECONDS)).await;
        assert_eq!(window.judge(), Judgement { failed_percent: 0, reason: None });
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_counts_as_failed_if_it_is_abandoned_late_and_not_if_at_once() {
        let window = window();
        for _ in 0..3 {
            drop(window.begin());
        }
        assert_eq!(window.judge().failed_percent, 0);
        for _ in 0..3 {
            let waiting = window.begin();
            advance(Window::LET_DOWN).await;
            drop(waiting);
        }
        assert_eq!(window.judge().reason, Some(FailureReason::TimedOut));
    }
}
