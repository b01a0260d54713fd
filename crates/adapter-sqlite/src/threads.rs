//! Threads: SQLite blocks, so it runs on its own threads and callers wait for a reply.
//!
//! There is one writer (`writer.rs`), so no call ever waits for a lock of this process. Readers have their own
//! read-only connections. Reads that may examine every row have their own threads, so a redirect never waits for them.

use std::{
    mem,
    sync::Mutex,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, Sender, TrySendError, bounded};
use diesel::{QueryResult, SqliteConnection, result::Error};
use domain::ports::{DurationCounter, DurationCounts, FailureReason, RepositoryError, RepositoryErrorKind};
use tokio::{sync::oneshot, time::timeout};

use crate::{
    error::failed,
    job::{Job, guarded},
    writer::{self, Fate, Undo, Undoing, Write},
};

/// Maximum calls that wait for a thread. More are rejected at once: they could not be answered in time.
const QUEUE: usize = 4_096;
/// A call that only reads.
type Read = Box<dyn FnOnce(&mut SqliteConnection) + Send>;

/// The calls of one kind, at one moment.
#[derive(Clone, Copy, Debug)]
pub struct QueueStatus {
    /// `writes`, `lookups` (reads through an index) or `scans` (reads that may examine every row).
    pub name: &'static str,
    /// Calls that wait for a thread.
    pub waiting: usize,
    /// How long calls took, including their wait in the queue.
    pub calls: DurationCounts,
}

/// How long calls took, by kind.
#[derive(Debug, Default)]
struct CallTimes {
    writes: DurationCounter,
    lookups: DurationCounter,
    scans: DurationCounter,
}

/// Hands calls to the threads. The threads end when it is dropped, or earlier with [`Threads::end`].
pub(crate) struct Threads {
    writes: Sender<Job<Box<dyn Write>>>,
    lookups: Sender<Job<Read>>,
    scans: Sender<Job<Read>>,
    running: Mutex<Running>,
    /// Timeout of one call, including its wait in the queue.
    call_timeout: Duration,
    times: CallTimes,
}

/// The threads, in the order in which they end. The writer's connection closes last: SQLite then moves the whole log
/// into the file.
#[derive(Default)]
struct Running {
    lookups: Vec<JoinHandle<()>>,
    scans: Vec<JoinHandle<()>>,
    writer: Option<JoinHandle<()>>,
}

/// The connections of the threads. Only the writer's connection may write.
pub(crate) struct Connections {
    pub(crate) writer: SqliteConnection,
    pub(crate) lookups: Vec<SqliteConnection>,
    pub(crate) scans: Vec<SqliteConnection>,
}

/// The caller that waits for a read.
pub(crate) struct Caller<'a>(&'a dyn Fn() -> bool);

impl Caller<'_> {
    /// Fails if the caller went away or timed out: its answer is then worth no work.
    pub(crate) fn still_waits(&self) -> QueryResult<()> {
        if (self.0)() { Err(Error::QueryBuilderError("its caller went away".into())) } else { Ok(()) }
    }
}

impl Threads {
    /// Starts one thread for each connection. A call times out after `call_timeout`, including its wait in the queue.
    pub(crate) fn start(connections: Connections, call_timeout: Duration) -> std::io::Result<Self> {
        let (writes, write_queue) = bounded(QUEUE);
        let writer = connections.writer;
        let mut running = Running {
            writer: Some(spawn("sqlite-writer", move || writer::run(writer, &write_queue))?),
            ..Running::default()
        };
        let lookups = start_readers("sqlite-lookup", connections.lookups, &mut running.lookups)?;
        let scans = start_readers("sqlite-scan", connections.scans, &mut running.scans)?;
        let (running, times) = (Mutex::new(running), CallTimes::default());
        Ok(Self { writes, lookups, scans, running, call_timeout, times })
    }

    /// The calls of each kind.
    pub(crate) fn queues(&self) -> [QueueStatus; 3] {
        let Self { writes, lookups, scans, times, .. } = self;
        [
            QueueStatus { name: "writes", waiting: writes.len(), calls: times.writes.counts() },
            QueueStatus { name: "lookups", waiting: lookups.len(), calls: times.lookups.counts() },
            QueueStatus { name: "scans", waiting: scans.len(), calls: times.scans.counts() },
        ]
    }

    /// Ends all threads after the queued calls, and so closes every connection. Later calls fail.
    pub(crate) fn end(&self) {
        let running = mem::take(&mut *self.running.lock().expect("no thread panics while it holds this lock"));
        for (queue, readers) in [(&self.lookups, running.lookups), (&self.scans, running.scans)] {
            for _ in &readers {
                // If it cannot be sent, the threads have ended, and `join` returns at once.
                let _ended = queue.send(Job::End);
            }
            for reader in readers {
                let _panicked = reader.join();
            }
        }
        if let Some(writer) = running.writer {
            let _ended = self.writes.send(Job::End);
            let _panicked = writer.join();
        }
    }

    /// Runs `work` in a write transaction. `Ok` means that the change is on disk. A call that has not started when it
    /// times out never starts.
    pub(crate) async fn write<T, F>(&self, doing: &'static str, work: F) -> Result<T, RepositoryError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Undo<T>> + Send + 'static,
    {
        self.write_as(Undoing::Savepoint, doing, work).await
    }

    /// The same for `work` that changes nothing when it fails, or else fails with [`Undo::Half`]. It runs without a
    /// savepoint, for which SQLite would copy every page that it changes.
    pub(crate) async fn write_whole<T, F>(&self, doing: &'static str, work: F) -> Result<T, RepositoryError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Undo<T>> + Send + 'static,
    {
        self.write_as(Undoing::Itself, doing, work).await
    }

    async fn write_as<T, F>(&self, undoing: Undoing, doing: &'static str, work: F) -> Result<T, RepositoryError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> Result<T, Undo<T>> + Send + 'static,
    {
        let _timed = Timed::begin(&self.times.writes);
        let (reply, answer) = oneshot::channel();
        let fate = Fate::default();
        let call = writer::call(undoing, doing, work, fate.clone(), reply);
        self.writes.try_send(Job::Call(call)).map_err(|error| turned_away(&error, doing))?;
        match timeout(self.call_timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) if fate.decide() => {
                let error = RepositoryError::new(RepositoryErrorKind::Unavailable, doing);
                Err(error.because(FailureReason::Busy).caused_by("the writer was busy for too long"))
            }
            Ok(Err(_)) | Err(_) => {
                Err(RepositoryError::new(RepositoryErrorKind::Indeterminate, doing).because(FailureReason::TimedOut))
            }
        }
    }

    /// Runs `work`, which finds its rows through an index, on a read-only connection.
    pub(crate) async fn look_up<T, F>(&self, doing: &'static str, work: F) -> Result<T, RepositoryError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection) -> QueryResult<T> + Send + 'static,
    {
        let _timed = Timed::begin(&self.times.lookups);
        self.read(&self.lookups, doing, |connection, _| work(connection)).await
    }

    /// The same for `work` that may examine every row. Nothing interrupts a statement, so `work` runs in short steps.
    /// Before each step it checks that its caller still waits.
    pub(crate) async fn scan<T, F>(&self, doing: &'static str, work: F) -> Result<T, RepositoryError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection, &Caller<'_>) -> QueryResult<T> + Send + 'static,
    {
        let _timed = Timed::begin(&self.times.scans);
        self.read(&self.scans, doing, work).await
    }

    async fn read<T, F>(&self, queue: &Sender<Job<Read>>, doing: &'static str, work: F) -> Result<T, RepositoryError>
    where
        T: Send + 'static,
        F: FnOnce(&mut SqliteConnection, &Caller<'_>) -> QueryResult<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let call = move |connection: &mut SqliteConnection| {
            if !reply.is_closed() {
                let is_gone = || reply.is_closed();
                let caller = Caller(&is_gone);
                let result = guarded(|| work(connection, &caller)).map_err(|error| failed(doing, error));
                // A caller that went away needs no answer.
                let _gone = reply.send(result);
            }
        };
        queue.try_send(Job::Call(Box::new(call))).map_err(|error| turned_away(&error, doing))?;
        match timeout(self.call_timeout, answer).await {
            Ok(Ok(result)) => result,
            Ok(Err(_)) | Err(_) => {
                Err(RepositoryError::new(RepositoryErrorKind::Unavailable, doing).because(FailureReason::TimedOut))
            }
        }
    }
}

/// A call whose time is counted when it ends or its caller goes away.
struct Timed<'a> {
    times: &'a DurationCounter,
    begun: Instant,
}

impl<'a> Timed<'a> {
    fn begin(times: &'a DurationCounter) -> Self {
        Self { times, begun: Instant::now() }
    }
}

impl Drop for Timed<'_> {
    fn drop(&mut self) {
        self.times.add(self.begun.elapsed());
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}

fn start_readers(
    name: &str,
    connections: Vec<SqliteConnection>,
    running: &mut Vec<JoinHandle<()>>,
) -> std::io::Result<Sender<Job<Read>>> {
    let (calls, queue) = bounded(QUEUE);
    for (index, reader) in connections.into_iter().enumerate() {
        let queue = queue.clone();
        running.push(spawn(&format!("{name}-{index}"), move || run_reader(reader, &queue))?);
    }
    Ok(calls)
}

fn spawn(name: &str, body: impl FnOnce() + Send + 'static) -> std::io::Result<JoinHandle<()>> {
    thread::Builder::new().name(name.to_owned()).spawn(body)
}

fn turned_away<C>(error: &TrySendError<C>, doing: &'static str) -> RepositoryError {
    let cause = match error {
        TrySendError::Full(_) => "too many calls are waiting",
        TrySendError::Disconnected(_) => "the store is closed",
    };
    RepositoryError::new(RepositoryErrorKind::Unavailable, doing).because(FailureReason::Busy).caused_by(cause)
}

fn run_reader(mut connection: SqliteConnection, queue: &Receiver<Job<Read>>) {
    while let Ok(Job::Call(call)) = queue.recv() {
        call(&mut connection);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc,
    };

    use diesel::{Connection, connection::SimpleConnection};

    use super::*;

    fn threads(call_timeout: Duration) -> Threads {
        let memory = || SqliteConnection::establish(":memory:").expect("an in-memory database needs no file");
        let connections = Connections { writer: memory(), lookups: vec![memory()], scans: vec![memory(), memory()] };
        Threads::start(connections, call_timeout).expect("threads can be started")
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn long_reads_hold_up_no_lookup() {
        let threads = Arc::new(threads(Duration::from_secs(30)));
        let (mut releases, mut scanning) = (Vec::new(), Vec::new());
        for _ in 0..2 {
            let (release, released) = mpsc::channel::<()>();
            let (begin, begun) = oneshot::channel();
            let threads = threads.clone();
            scanning.push(tokio::spawn(async move {
                threads
                    .scan("scanning", move |_, _| {
                        begin.send(()).expect("the test waits for it");
                        released.recv().expect("the test ends it");
                        Ok(())
                    })
                    .await
            }));
            begun.await.expect("it begins");
            releases.push(release);
        }
        assert_eq!(threads.look_up("looking up", |_| Ok(7)).await.ok(), Some(7));
        for release in releases {
            release.send(()).expect("it waits");
        }
        for scan in scanning {
            scan.await.expect("no panic").expect("it ends");
        }
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_call_that_panics_fails_alone() {
        let threads = threads(Duration::from_secs(30));
        let panicked: Result<(), _> = threads.look_up("panicking", |_| panic!("on purpose")).await;
        assert_eq!(panicked.map_err(|error| error.kind()), Err(RepositoryErrorKind::Internal));
        assert_eq!(threads.look_up("looking up", |_| Ok(7)).await.ok(), Some(7));
        let panicked: Result<(), _> = threads.write("panicking", |_| panic!("on purpose")).await;
        assert_eq!(panicked.map_err(|error| error.kind()), Err(RepositoryErrorKind::Internal));
        assert_eq!(threads.write("writing", |_| Ok(7)).await.ok(), Some(7));
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_write_that_times_out_before_it_starts_never_starts() {
        let threads = Arc::new(threads(Duration::from_millis(200)));
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let busy = tokio::spawn({
            let threads = threads.clone();
            async move {
                threads
                    .write("keeping it busy", move |_| {
                        begin.send(()).expect("the test waits for it");
                        released.recv().expect("the test ends it");
                        Ok(())
                    })
                    .await
            }
        });
        begun.await.expect("it begins");
        let begun_late = Arc::new(AtomicBool::new(false));
        let mark = begun_late.clone();
        let late = threads
            .write("coming late", move |_| {
                mark.store(true, Ordering::SeqCst);
                Ok(())
            })
            .await;
        assert_eq!(late.map_err(|error| error.kind()), Err(RepositoryErrorKind::Unavailable));
        let busy = busy.await.expect("no panic").map_err(|error| error.kind());
        assert_eq!(busy, Err(RepositoryErrorKind::Indeterminate), "it had begun");
        release.send(()).expect("it waits");
        assert_eq!(threads.write("writing", |_| Ok(7)).await.ok(), Some(7));
        assert!(!begun_late.load(Ordering::SeqCst), "its caller was told that it does not happen");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_scan_stops_when_its_caller_goes_away() {
        let threads = Arc::new(threads(Duration::from_secs(30)));
        let (begin, begun) = oneshot::channel();
        let (end, ended) = oneshot::channel();
        let scanning = tokio::spawn({
            let threads = threads.clone();
            async move {
                threads
                    .scan("scanning", move |_, caller| {
                        begin.send(()).expect("the test waits for it");
                        while caller.still_waits().is_ok() {
                            thread::yield_now();
                        }
                        end.send(()).expect("the test waits for it");
                        Ok(())
                    })
                    .await
            }
        });
        begun.await.expect("it begins");
        scanning.abort();
        ended.await.expect("the scan sees that its caller is gone");
    }

    /// SQLite itself rolls back when a page does not fit any more. The savepoint is gone then.
    #[tokio::test(flavor = "multi_thread")]
    async fn calls_that_share_a_transaction_with_a_full_disk_succeed_or_report_the_full_disk() {
        for undoing in [Undoing::Savepoint, Undoing::Itself] {
            share_a_full_disk(undoing).await;
        }
    }

    async fn share_a_full_disk(undoing: Undoing) {
        let threads = Arc::new(threads(Duration::from_secs(30)));
        let table = "CREATE TABLE filler (data BLOB); PRAGMA max_page_count = 20";
        threads.write("making room", move |connection| Ok(connection.batch_execute(table)?)).await.expect("it fits");
        let (release, released) = mpsc::channel::<()>();
        let (begin, begun) = oneshot::channel();
        let mut calls = Vec::new();
        let first = threads.clone();
        calls.push(tokio::spawn(async move {
            first
                .write("waiting", move |_| {
                    begin.send(()).expect("the test waits for it");
                    released.recv().expect("the test ends it");
                    Ok(())
                })
                .await
        }));
        begun.await.expect("it begins");
        // Calls that arrive while the writer is busy share the next transaction.
        let small = "INSERT INTO filler VALUES (zeroblob(1))";
        let huge = "INSERT INTO filler VALUES (zeroblob(1000000))";
        let mut sent = Vec::new();
        for sql in [small, huge, small] {
            let filling = threads.clone();
            sent.push(tokio::spawn(async move {
                filling.write_as(undoing, "filling", move |connection| Ok(connection.batch_execute(sql)?)).await
            }));
            while threads.writes.len() < sent.len() {
                tokio::task::yield_now().await;
            }
        }
        release.send(()).expect("it waits");
        let mut kinds = Vec::new();
        for call in sent {
            kinds.push(call.await.expect("no panic").map_err(|error| error.kind()));
        }
        assert_eq!(kinds[1], Err(RepositoryErrorKind::StorageFull));
        for kind in [kinds[0], kinds[2]] {
            assert!(matches!(kind, Ok(()) | Err(RepositoryErrorKind::StorageFull)), "{kind:?}");
        }
        for call in calls {
            call.await.expect("no panic").expect("it changes nothing");
        }
        threads.write("going on", move |connection| Ok(connection.batch_execute(small)?)).await.expect("it fits");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn a_failed_call_without_a_savepoint_leaves_no_change() {
        let threads = threads(Duration::from_secs(30));
        let run = |sql: &'static str| move |connection: &mut SqliteConnection| Ok(connection.batch_execute(sql)?);
        threads.write("making a table", run("CREATE TABLE t (n INTEGER PRIMARY KEY)")).await.expect("it is new");
        let one = "INSERT INTO t VALUES (1)";
        threads.write_whole("adding", run(one)).await.expect("it is new");
        assert!(threads.write_whole("adding", run(one)).await.is_err());
        let half = |connection: &mut SqliteConnection| -> Result<(), Undo<()>> {
            connection.batch_execute("INSERT INTO t VALUES (2)")?;
            Err(Undo::Half(Error::RollbackTransaction))
        };
        assert!(threads.write_whole("adding", half).await.is_err());
        let panicking = |connection: &mut SqliteConnection| -> Result<(), Undo<()>> {
            connection.batch_execute("INSERT INTO t VALUES (3)")?;
            panic!("on purpose")
        };
        assert!(threads.write_whole("adding", panicking).await.is_err());
        let rows = "SELECT CASE WHEN (SELECT count(*) FROM t) <> 1 THEN json('') END";
        threads.write("counting", run(rows)).await.expect("only the first is there");
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn calls_fail_after_the_threads_ended() {
        let threads = threads(Duration::from_secs(30));
        threads.end();
        threads.end();
        assert!(threads.write("writing", |_| Ok(7)).await.is_err());
        assert!(threads.look_up("looking up", |_| Ok(7)).await.is_err());
        assert!(threads.scan("scanning", |_, _| Ok(7)).await.is_err());
    }

    #[test]
    fn begin_rolls_back_a_transaction_that_was_left_open() {
        let mut connection = SqliteConnection::establish(":memory:").expect("an in-memory database needs no file");
        connection.batch_execute("BEGIN").expect("nothing is open");
        writer::begin(&mut connection).expect("it is rolled back first");
        connection.batch_execute("COMMIT").expect("one is open");
    }
}
