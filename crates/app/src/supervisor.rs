//! The supervisor: runs what watches something in the background, sees when it does not, says so, and starts it again.

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

/// How long a task may go without success, beyond its own period.
const TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// The first pause before one that ended is started again; each next one is twice as long.
const SHORTEST_PAUSE: Duration = Duration::from_millis(500);
const LONGEST_PAUSE: Duration = Duration::from_secs(4);

/// The tasks of a process. Its clones are one.
#[derive(Clone)]
pub(crate) struct Supervisor(Arc<Inner>);

struct Inner {
    tasks: Mutex<Vec<Arc<Task>>>,
    running: Mutex<JoinSet<()>>,
    clock: Arc<dyn Clock>,
    log: Logger,
}

/// Why a task does not do its work.
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

    /// Runs `run` for ever: what it returns says why it ended, and then it is started again. It has to report its
    /// success at least every `period`, and [`TIMEOUT`] beyond that.
    pub(crate) fn watch<F>(&self, name: &'static str, period: Duration, run: impl Fn(Report) -> F + Send + 'static)
    where
        F: Future<Output = Failure> + Send + 'static,
    {
        let task = Arc::new(Task::new(name, period, self.0.clock.clone(), self.0.log.new(o!())));
        locked(&self.0.tasks).push(Arc::clone(&task));
        locked(&self.0.running).spawn(supervise(task, run));
    }

    /// Ends all of them.
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

/// With what a task says how it gets on.
#[derive(Clone)]
pub(crate) struct Report(Arc<Task>);

impl Report {
    /// It did what it is there for.
    pub(crate) fn succeeded(&self) {
        self.0.succeeded();
    }

    /// The same, but something of it is amiss, which health shows until this task succeeds otherwise.
    pub(crate) fn succeeded_but(&self, amiss: &'static str) {
        self.0.succeeded();
        locked(&self.0.status).amiss = Some(amiss);
    }

    /// It tried, and will again.
    pub(crate) fn failed(&self, failure: Failure) {
        let mut status = locked(&self.0.status);
        status.failures += 1;
        status.failure = Some(failure);
        status.last_sign = Instant::now();
    }

    /// It is at it, for longer than usual.
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
    /// When it did its work last, or was started first.
    good_since: Instant,
    last_success: Option<Timestamp>,
    /// When it said anything last.
    last_sign: Instant,
    /// It ended, and has not succeeded since.
    ended: bool,
    /// The last one.
    failure: Option<Failure>,
    /// What is amiss although it succeeded.
    amiss: Option<&'static str>,
    /// Since the last success.
    failures: u64,
    restarts: u64,
    /// Its failing was told, and not yet that it is over.
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
            info!(self.log, "the task {} works again", self.name; "event.name" => "task.recovered", "task" => self.name,
                "restarts" => status.restarts);
        }
    }

    fn ended(&self, failure: Failure) {
        let mut status = locked(&self.status);
        status.ended = true;
        status.failures += 1;
        status.failure = Some(failure);
    }

    fn starts_again(&self) {
        let mut status = locked(&self.status);
        status.restarts += 1;
        status.last_sign = Instant::now();
    }

    /// Whether it gives no sign of life for so long that it is ended.
    fn hangs(&self) -> bool {
        locked(&self.status).last_sign.elapsed() >= self.period + TIMEOUT
    }

    /// Says at `warning`, once, that it does not work.
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
            amiss: status.failing(self.period).or(status.amiss),
        }
    }
}

impl Status {
    fn failing(&self, period: Duration) -> Option<&'static str> {
        let failing = self.ended || self.good_since.elapsed() >= period + TIMEOUT;
        failing.then(|| self.failure.as_ref().map_or("it did nothing for too long", |failure| failure.words))
    }
}

/// A panic while it is held leaves nothing half done.
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
        // Apart, so that its panics end here; a set, so that it ends when this does.
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

    /// The lines of a log.
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
        supervisor.states().pop().expect("one is watched")
    }

    async fn pass(seconds: u64) {
        for _ in 0..seconds * 4 {
            // Whatever became due runs before more time passes.
            tokio::task::yield_now().await;
            advance(Duration::from_millis(250)).await;
        }
        tokio::task::yield_now().await;
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ends_or_panics_is_seen_at_once_told_once_and_started_again() {
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
    async fn one_that_tries_in_vain_for_ten_seconds_is_seen_and_goes_on_trying() {
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
    async fn one_that_hangs_is_ended_and_started_again() {
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
    async fn one_that_has_little_to_do_is_measured_by_its_own_period() {
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
