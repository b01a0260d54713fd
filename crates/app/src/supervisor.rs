//! The supervisor: runs background tasks, detects those that fail, end, panic or hang, logs it, and restarts those that
//! stopped.

use std::{
    error::Error,
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use adapter_http::{TaskState, Tasks};
use domain::{
    ports::{Clock, RepositoryError},
    time::Timestamp,
};
use slog::{Logger, info, o, warn};
use tokio::{
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

/// How long a task may go without success, or without any report, beyond its own period.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often each task is checked.
const LOOK: Duration = Duration::from_secs(1);
/// Pause before a task that ended is restarted for the first time. Each further pause is twice as long, up to
/// `LONGEST_PAUSE`.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The background tasks of a process. Clones share them.
#[derive(Clone)]
pub(crate) struct Supervisor(Arc<Inner>);

struct Inner {
    tasks: Mutex<Vec<Arc<Task>>>,
    running: Mutex<JoinSet<()>>,
    clock: Arc<dyn Clock>,
    log: Logger,
}

/// Why a task fails.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    /// For `/health`: no SQL, no names, no secrets.
    words: &'static str,
    /// For the log.
    details: String,
}

impl Failure {
    pub(crate) fn new(words: &'static str, details: impl Into<String>) -> Self {
        Self { words, details: details.into() }
    }

    /// The whole reason, for the log or the operator.
    pub(crate) fn details(&self) -> &str {
        &self.details
    }
}

impl From<&RepositoryError> for Failure {
    fn from(error: &RepositoryError) -> Self {
        let mut details = error.to_string();
        let mut cause = error.source();
        while let Some(below) = cause {
            details = format!("{details}: {below}");
            cause = below.source();
        }
        Self { words: error.reason().words(), details }
    }
}

impl Supervisor {
    pub(crate) fn new(clock: Arc<dyn Clock>, log: &Logger) -> Self {
        let (tasks, running) = (Mutex::default(), Mutex::default());
        Self(Arc::new(Inner { tasks, running, clock, log: log.new(o!()) }))
    }

    /// Runs `run` until the supervisor stops: when its future ends, the [`Failure`] it returns is recorded and `run` is
    /// called again. The task has to report a success at least every `period` plus [`TIMEOUT`].
    pub(crate) fn watch<F>(&self, name: &'static str, period: Duration, run: impl Fn(Report) -> F + Send + 'static)
    where
        F: Future<Output = Failure> + Send + 'static,
    {
        let task = Arc::new(Task::new(name, period, self.0.clock.clone(), self.0.log.new(o!())));
        locked(&self.0.tasks).push(Arc::clone(&task));
        locked(&self.0.running).spawn(supervise(task, run));
    }

    /// Aborts all tasks.
    pub(crate) fn stop(&self) {
        locked(&self.0.running).abort_all();
    }
}

impl Tasks for Supervisor {
    fn states(&self) -> Vec<TaskState> {
        locked(&self.0.tasks).iter().map(|task| task.state()).collect()
    }
}

impl fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Supervisor").finish_non_exhaustive()
    }
}

/// The handle with which a task reports its progress.
#[derive(Clone)]
pub(crate) struct Report(Arc<Task>);

impl Report {
    /// The task did its work.
    pub(crate) fn succeeded(&self) {
        self.0.succeeded();
    }

    /// The task did its work, but with a defect. `/health` shows `amiss` until the next success.
    pub(crate) fn succeeded_but(&self, amiss: &'static str) {
        self.0.succeeded();
        locked(&self.0.status).amiss = Some(amiss);
    }

    /// An attempt failed. The task will retry.
    pub(crate) fn failed(&self, failure: Failure) {
        let mut status = locked(&self.0.status);
        status.add(failure);
        status.last_sign = Instant::now();
    }

    /// A heartbeat: the work takes longer than usual and goes on.
    pub(crate) fn is_busy(&self) {
        locked(&self.0.status).last_sign = Instant::now();
    }
}

struct Task {
    name: &'static str,
    period: Duration,
    status: Mutex<Status>,
    clock: Arc<dyn Clock>,
    log: Logger,
}

struct Status {
    /// Time of the last success, or of the first start.
    good_since: Instant,
    last_success: Option<Timestamp>,
    /// Time of the last report or restart.
    last_sign: Instant,
    /// The task ended and has not succeeded since.
    ended: bool,
    /// The last failure since the last success.
    failure: Option<Failure>,
    /// A defect that was reported with the last success.
    amiss: Option<&'static str>,
    /// Failures since the last success.
    failures: u64,
    /// Failures since the start.
    all_failures: u64,
    restarts: u64,
    /// The failure was logged, and the recovery was not yet.
    told: bool,
}

impl Task {
    fn new(name: &'static str, period: Duration, clock: Arc<dyn Clock>, log: Logger) -> Self {
        let now = Instant::now();
        let status = Status {
            good_since: now,
            last_success: None,
            last_sign: now,
            ended: false,
            failure: None,
            amiss: None,
            failures: 0,
            all_failures: 0,
            restarts: 0,
            told: false,
        };
        Self { name, period, status: Mutex::new(status), clock, log }
    }

    fn succeeded(&self) {
        let now = Instant::now();
        let mut status = locked(&self.status);
        (status.good_since, status.last_sign) = (now, now);
        status.last_success = Some(self.clock.now());
        (status.ended, status.failure, status.failures) = (false, None, 0);
        status.amiss = None;
        if std::mem::take(&mut status.told) {
            info!(self.log, "{} works again", self.name; "event.name" => "task.recovered", "task" => self.name,
                "restarts" => status.restarts);
        }
    }

    fn ended(&self, failure: Failure) {
        let mut status = locked(&self.status);
        status.ended = true;
        status.add(failure);
    }

    fn starts_again(&self) {
        let mut status = locked(&self.status);
        status.restarts += 1;
        status.last_sign = Instant::now();
    }

    /// Whether the last report is so old that the task has to be aborted.
    fn hangs(&self) -> bool {
        locked(&self.status).last_sign.elapsed() >= self.period + TIMEOUT
    }

    /// Logs at `warning` that the task fails, once until it succeeds again.
    fn look_after(&self) {
        let mut status = locked(&self.status);
        if status.told {
            return;
        }
        if let Some(words) = status.failing(self.period) {
            status.told = true;
            let details = status.failure.as_ref().map_or(words, |failure| &failure.details);
            warn!(self.log, "{} does not work: {}", self.name, words; "event.name" => "task.failing",
                "task" => self.name, "error.message" => details, "failures" => status.failures,
                "restarts" => status.restarts);
        }
    }

    fn state(&self) -> TaskState {
        let status = locked(&self.status);
        TaskState {
            name: self.name,
            last_success: status.last_success,
            restarts: status.restarts,
            failures: status.all_failures,
            amiss: status.failing(self.period).or(status.amiss),
        }
    }
}

impl Status {
    fn add(&mut self, failure: Failure) {
        self.failures += 1;
        self.all_failures += 1;
        self.failure = Some(failure);
    }

    fn failing(&self, period: Duration) -> Option<&'static str> {
        let failing = self.ended || self.good_since.elapsed() >= period + TIMEOUT;
        failing.then(|| self.failure.as_ref().map_or("it did nothing for too long", |failure| failure.words))
    }
}

/// Ignores poisoning: a panic while the lock is held leaves no partial update.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn supervise<F>(task: Arc<Task>, run: impl Fn(Report) -> F)
where
    F: Future<Output = Failure> + Send + 'static,
{
    let mut pause = SHORTEST_PAUSE;
    loop {
        let before = locked(&task.status).last_success;
        // A task of its own, so that its panics end here. A set, so that it is aborted when this future is dropped.
        let mut running = JoinSet::new();
        running.spawn(run(Report(Arc::clone(&task))));
        let failure = until_it_ends(&task, &mut running).await;
        drop(running);
        if locked(&task.status).last_success != before {
            pause = SHORTEST_PAUSE;
        }
        task.ended(failure);
        task.look_after();
        sleep(pause).await;
        pause = LONGEST_PAUSE.min(pause * 2);
        task.starts_again();
    }
}

async fn until_it_ends(task: &Task, running: &mut JoinSet<Failure>) -> Failure {
    loop {
        match timeout(LOOK, running.join_next()).await {
            Ok(Some(Ok(failure))) => return failure,
            Ok(Some(Err(panicked))) => return Failure::new("it panicked", panicked.to_string()),
            Ok(None) => return Failure::new("it was lost", "there is no such task"),
            Err(_still_running) => {
                task.look_after();
                if task.hangs() {
                    return Failure::new("it hung", "it gave no sign of life, and was ended");
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        future::pending,
        sync::atomic::{AtomicU64, Ordering},
    };

    use domain::ports::{FailureReason, RepositoryErrorKind};
    use slog::{Drain, Never, OwnedKVList, Record};
    use tokio::time::advance;

    use super::*;
    use crate::effects::SystemClock;

    /// Collects the lines of a log.
    #[derive(Clone, Default)]
    struct Told(Arc<Mutex<Vec<String>>>);

    impl Drain for Told {
        type Ok = ();
        type Err = Never;

        fn log(&self, record: &Record<'_>, _: &OwnedKVList) -> Result<(), Never> {
            locked(&self.0).push(format!("{} {}", record.level().as_short_str(), record.msg()));
            Ok(())
        }
    }

    impl Told {
        fn lines(&self) -> Vec<String> {
            locked(&self.0).clone()
        }
    }

    fn supervisor() -> (Supervisor, Told) {
        let told = Told::default();
        let supervisor = Supervisor::new(Arc::new(SystemClock), &Logger::root(told.clone(), o!()));
        (supervisor, told)
    }

    fn state(supervisor: &Supervisor) -> TaskState {
        supervisor.states().pop().expect("one task is watched")
    }

    async fn pass(seconds: u64) {
        for _ in 0..seconds * 4 {
            // Timers that are due run before more time passes.
            tokio::task::yield_now().await;
            advance(Duration::from_millis(250)).await;
        }
        tokio::task::yield_now().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_ends_or_panics_is_reported_at_once_logged_once_and_restarted() {
        for panics in [false, true] {
            let (supervisor, told) = supervisor();
            let starts = Arc::new(AtomicU64::new(0));
            let started = Arc::clone(&starts);
            supervisor.watch("the feed", Duration::ZERO, move |report| {
                let start = started.fetch_add(1, Ordering::SeqCst);
                async move {
                    match start {
                        0..=2 if panics => panic!("on purpose"),
                        0..=2 => Failure::new("it is read-only", "10.0.0.7 is read-only"),
                        _ => loop {
                            report.succeeded();
                            sleep(LOOK).await;
                        },
                    }
                }
            });
            pass(1).await;
            let failing = state(&supervisor);
            assert_eq!(failing.amiss, Some(if panics { "it panicked" } else { "it is read-only" }));
            pass(10).await;
            let well = state(&supervisor);
            assert!(well.amiss.is_none() && well.last_success.is_some(), "{well:?}");
            assert_eq!(well.restarts, 3);
            let lines = told.lines();
            assert_eq!(lines.len(), 2, "{lines:?}");
            assert!(lines[0].starts_with("WARN the feed does not work: it "), "{lines:?}");
            assert_eq!(lines[1], "INFO the feed works again");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_fails_for_ten_seconds_is_reported_and_keeps_retrying() {
        let (supervisor, told) = supervisor();
        supervisor.watch("blocks", Duration::ZERO, |report| async move {
            loop {
                let error = RepositoryError::new(RepositoryErrorKind::Unavailable, "reading");
                report.failed(Failure::from(&error.because(FailureReason::Locked).caused_by("SELECT")));
                sleep(LOOK).await;
            }
        });
        pass(9).await;
        assert!(state(&supervisor).amiss.is_none());
        pass(3).await;
        let failing = state(&supervisor);
        assert_eq!((failing.amiss, failing.restarts), (Some("it is locked by others"), 0));
        pass(60).await;
        assert_eq!(told.lines(), ["WARN blocks does not work: it is locked by others"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_that_hangs_is_aborted_and_restarted() {
        let (supervisor, _) = supervisor();
        let starts = Arc::new(AtomicU64::new(0));
        let started = Arc::clone(&starts);
        supervisor.watch("lists", Duration::ZERO, move |_| {
            started.fetch_add(1, Ordering::SeqCst);
            pending()
        });
        pass(14).await;
        assert_eq!(starts.load(Ordering::SeqCst), 2);
        assert_eq!(state(&supervisor).amiss, Some("it hung"));
        supervisor.stop();
    }

    #[tokio::test(start_paused = true)]
    async fn a_task_with_a_long_period_fails_only_after_that_period() {
        let (supervisor, told) = supervisor();
        let period = Duration::from_mins(15);
        supervisor.watch("retention", period, move |report| async move {
            report.succeeded();
            sleep(period).await;
            report.failed(Failure::new("it is read-only", "it is read-only"));
            pending().await
        });
        pass(14 * 60).await;
        assert!(state(&supervisor).amiss.is_none());
        pass(75).await;
        assert_eq!(state(&supervisor).amiss, Some("it is read-only"));
        assert_eq!(told.lines().len(), 1);
    }
}
