//! The gate to the store. A rush of callers is let in and served a little later; but when they keep coming faster than
//! they are served, waiting helps nobody: who could not be served soon is told at once to come back.

use std::{
    sync::{
        Mutex,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use tokio::time::{Instant, sleep};

/// Counts calls, learns how fast they are served, and lets in what can be served within [`Gate::SOON`] (Little's law).
/// The idea of telling a rush from a standing queue is that of `CoDel` (Nichols and Jacobson, 2012; Maurer, "Fail at
/// Scale", 2015).
#[derive(Debug)]
pub(crate) struct Gate {
    inside: AtomicUsize,
    served: AtomicU64,
    held_off: AtomicUsize,
    /// How many may be inside, as was learnt last.
    room: AtomicUsize,
    fewest: usize,
    born: Instant,
    /// When there were last more than there is room for, in milliseconds since `born`.
    last_crowded: AtomicU64,
    /// When that began, after a calm time.
    crowded_since: AtomicU64,
    /// When somebody left last; far ahead, if that one was not served.
    last_left: AtomicU64,
    /// When it was learnt, and how many had been served by then.
    learnt: Mutex<(Instant, u64)>,
}

impl Gate {
    /// How long a call may take with all its waiting, when there are too many.
    const SOON: Duration = Duration::from_millis(50);
    /// Too many for longer than this are no rush any more.
    const RUSH: Duration = Duration::from_millis(500);
    /// A calm time. After it there may be a rush again.
    const CALM: Duration = Duration::from_secs(2);
    /// So is a moment in which nobody is inside: those who came before are served, all of them.
    const IDLE: Duration = Duration::from_millis(10);
    /// Most in a rush.
    const MOST: usize = 1_024;
    /// Fewest, however slowly they are served: a hundred callers who ask on and on are no overload yet.
    const FEWEST: usize = 128;
    /// Or so many times what the store serves at a time: while its connections are not busy, nobody waits for others.
    const BEHIND_EACH: usize = 2;
    /// How long somebody is held off.
    const HOLD_OFF: Duration = Duration::from_millis(400);
    /// More are told at once.
    const MOST_HELD_OFF: usize = 4_096;
    /// How often it learns.
    const LESSON: Duration = Duration::from_millis(100);

    pub(crate) fn new(store_connections: usize) -> Self {
        let now = Instant::now();
        let fewest = (Self::BEHIND_EACH * store_connections).clamp(Self::FEWEST, Self::MOST);
        Self {
            inside: AtomicUsize::new(0),
            served: AtomicU64::new(0),
            held_off: AtomicUsize::new(0),
            room: AtomicUsize::new(fewest),
            fewest,
            born: now,
            last_crowded: AtomicU64::new(0),
            crowded_since: AtomicU64::new(0),
            last_left: AtomicU64::new(0),
            learnt: Mutex::new((now, 0)),
        }
    }

    /// Whether one more can be served soon, or this is only a rush.
    pub(crate) fn is_open(&self) -> bool {
        let (inside, room) = (self.inside.load(Ordering::Relaxed), self.room.load(Ordering::Relaxed));
        if inside < room {
            return true;
        }
        let now = self.milliseconds();
        let calm_for = now.saturating_sub(self.last_crowded.swap(now, Ordering::Relaxed));
        if calm_for > milliseconds(Self::CALM) {
            self.crowded_since.store(now, Ordering::Relaxed);
        }
        let crowded_for = now.saturating_sub(self.crowded_since.load(Ordering::Relaxed));
        inside < Self::MOST && crowded_for < milliseconds(Self::RUSH)
    }

    /// Lets somebody who is turned away wait for that. Who asks again at once on the same connection would otherwise
    /// cost more than those who are served.
    pub(crate) async fn hold_off(&self) {
        let held = Counted::one_of(&self.held_off);
        if held.before < Self::MOST_HELD_OFF {
            sleep(Self::HOLD_OFF).await;
        }
    }

    /// Somebody inside, until dropped.
    pub(crate) fn enter(&self) -> Inside<'_> {
        if self.inside.fetch_add(1, Ordering::Acquire) == 0 {
            let idle_for = self.milliseconds().saturating_sub(self.last_left.load(Ordering::Relaxed));
            if idle_for >= milliseconds(Self::IDLE) {
                self.last_crowded.store(0, Ordering::Relaxed);
            }
        }
        Inside { gate: self, is_served: false }
    }

    /// Takes into account how many were served lately.
    fn learn(&self) {
        // Whoever finds somebody else learning need not.
        let Ok(mut learnt) = self.learnt.try_lock() else {
            return;
        };
        let (since, before) = *learnt;
        let took = since.elapsed();
        if took < Self::LESSON {
            return;
        }
        let served = self.served.load(Ordering::Relaxed);
        *learnt = (Instant::now(), served);
        let fits = Self::SOON.as_secs_f64() / took.as_secs_f64();
        #[expect(
            clippy::cast_precision_loss,
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "it is an estimate of thousands"
        )]
        let now = ((served - before) as f64 * fits) as usize;
        // Slowly: a pause is not a slow store, and what is made up for after it is no fast one.
        let held = self.room.load(Ordering::Relaxed);
        let room = (3 * held + now) / 4;
        self.room.store(room.clamp(self.fewest, Self::MOST), Ordering::Relaxed);
    }

    /// Begins behind a calm time: whoever comes just after the start may be a rush too.
    fn milliseconds(&self) -> u64 {
        milliseconds(2 * Self::CALM + self.born.elapsed())
    }
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// A call that is under way.
#[derive(Debug)]
pub(crate) struct Inside<'a> {
    gate: &'a Gate,
    is_served: bool,
}

impl Inside<'_> {
    /// It was served. Only these count: that others fail quickly does not mean that there is room.
    pub(crate) fn served(mut self) {
        self.is_served = true;
        self.gate.served.fetch_add(1, Ordering::Relaxed);
    }
}

impl Drop for Inside<'_> {
    fn drop(&mut self) {
        let gate = self.gate;
        // Before it is gone: who finds nobody inside finds the time as well.
        let left = if self.is_served { gate.milliseconds() } else { u64::MAX };
        gate.last_left.store(left, Ordering::Relaxed);
        gate.inside.fetch_sub(1, Ordering::Release);
        gate.learn();
    }
}

/// One of several, until dropped.
struct Counted<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl<'a> Counted<'a> {
    fn one_of(count: &'a AtomicUsize) -> Self {
        Self { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// A store that serves so many in each hundredth of a second, of callers who are always more.
    async fn a_while(gate: &Gate, hundredths: usize, served_each: usize) -> Vec<usize> {
        let mut inside = Vec::new();
        let mut most = Vec::new();
        for _ in 0..hundredths {
            while gate.is_open() {
                inside.push(gate.enter());
            }
            most.push(inside.len());
            advance(Duration::from_millis(10)).await;
            for call in inside.drain(..served_each.min(inside.len())) {
                call.served();
            }
        }
        most
    }

    #[tokio::test(start_paused = true)]
    async fn a_rush_is_let_in_and_a_standing_queue_is_not() {
        let gate = Gate::new(16);
        let inside = a_while(&gate, 500, 40).await;
        assert_eq!(inside[0], Gate::MOST);
        // What can be served soon, once the rush is served.
        assert!(inside[200..].iter().all(|inside| (150..=250).contains(inside)), "{inside:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn just_after_the_start_there_may_be_a_rush() {
        let gate = Gate::new(16);
        advance(Gate::RUSH * 2).await;
        let calls: Vec<_> = std::iter::from_fn(|| gate.is_open().then(|| gate.enter())).collect();
        assert_eq!(calls.len(), Gate::MOST);
    }

    #[tokio::test(start_paused = true)]
    async fn a_store_that_serves_nobody_is_left_alone() {
        let gate = Gate::new(16);
        let _stuck: Vec<_> = (0..Gate::FEWEST).map(|_| gate.enter()).collect();
        assert!(gate.is_open());
        advance(Gate::RUSH).await;
        assert!(!gate.is_open());
    }

    /// Callers do not wait for each other as long as there are connections for all of them.
    #[tokio::test(start_paused = true)]
    async fn a_slow_store_is_used_with_all_its_connections() {
        let gate = Gate::new(200);
        a_while(&gate, 500, 1).await;
        let calls: Vec<_> = std::iter::from_fn(|| gate.is_open().then(|| gate.enter())).collect();
        assert_eq!(calls.len(), 400);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_calm_time_there_may_be_a_rush_again() {
        let gate = Gate::new(16);
        a_while(&gate, 500, 40).await;
        let _busy = gate.enter();
        advance(Gate::CALM + Duration::from_millis(1)).await;
        let calls: Vec<_> = std::iter::from_fn(|| gate.is_open().then(|| gate.enter())).collect();
        assert_eq!(calls.len() + 1, Gate::MOST);
    }

    /// Many at once, and many more when those are served: each of them is a rush, and all together no standing queue.
    #[tokio::test(start_paused = true)]
    async fn after_an_idle_moment_there_may_be_a_rush_again() {
        let gate = Gate::new(16);
        a_while(&gate, 500, 40).await;
        let let_in = || -> Vec<_> { std::iter::from_fn(|| gate.is_open().then(|| gate.enter())).collect() };
        let still_crowded = let_in();
        assert!(still_crowded.len() < Gate::MOST / 2, "{}", still_crowded.len());
        still_crowded.into_iter().for_each(Inside::served);
        advance(Gate::IDLE).await;
        assert_eq!(let_in().len(), Gate::MOST);
    }

    /// That everybody has given up is no idle moment.
    #[tokio::test(start_paused = true)]
    async fn a_store_that_serves_nobody_is_left_alone_when_nobody_waits_any_more() {
        let gate = Gate::new(16);
        let let_in = || -> Vec<_> { std::iter::from_fn(|| gate.is_open().then(|| gate.enter())).collect() };
        let calls = let_in();
        advance(Gate::RUSH).await;
        drop(calls);
        advance(Gate::IDLE).await;
        assert_eq!(let_in().len(), Gate::FEWEST);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_does_not_count_as_served() {
        let gate = Gate::new(16);
        for _ in 0..50 {
            let calls: Vec<_> = (0..1_000).map(|_| gate.enter()).collect();
            advance(Duration::from_millis(100)).await;
            drop(calls);
        }
        assert_eq!(gate.room.load(Ordering::Relaxed), Gate::FEWEST);
    }
}
