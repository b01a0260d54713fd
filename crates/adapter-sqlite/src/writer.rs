//! The writer: one thread that writes, with group commit. All calls that are queued when a transaction begins share one
//! sync to disk.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::Receiver;
use diesel::{
    QueryResult, RunQueryDsl, SqliteConnection,
    connection::SimpleConnection,
    query_builder::{AstPass, QueryFragment, QueryId},
    result::Error,
    sqlite::Sqlite,
};
use domain::ports::{RepositoryError, RepositoryErrorKind};
use tokio::sync::oneshot;

use crate::{
    error::{changes_nothing, classify, failed, of_failed_commit, reason},
    job::{Job, guarded},
};

/// Maximum calls that share one transaction.
const GROUP: usize = 256;
/// Time between two looks at the queue while the writer waits for a group. It waits for as many calls as shared the
/// larger of the last two transactions: most of a transaction's cost is the same for one call and for many.
const STEP: Duration = Duration::from_micros(100);
/// Maximum number of steps that the writer waits. It also goes on after [`EMPTY_STEPS`] without a new call. Callers
/// that were just answered need a moment to call again.
const STEPS: u32 = 20;
const EMPTY_STEPS: u32 = 4;

/// Why a write is rolled back.
pub(crate) enum Undo<T> {
    /// The call decided to roll back; this is its answer.
    Answer(T),
    /// It failed.
    Error(Error),
    /// It failed after it had changed something.
    Half(Error),
}

impl<T> From<Error> for Undo<T> {
    fn from(error: Error) -> Self {
        Self::Error(error)
    }
}

/// Serves the queue until it ends.
pub(crate) fn run(mut connection: SqliteConnection, queue: &Receiver<Job<Box<dyn Write>>>) {
    let (mut ends, mut crowds) = (false, [0, 0]);
    while !ends && let Ok(Job::Call(first)) = queue.recv() {
        let mut group = vec![first];
        wait_for(crowds[0].max(crowds[1]), queue);
        for call in queue.try_iter().take(GROUP - 1) {
            let Job::Call(call) = call else {
                ends = true;
                break;
            };
            group.push(call);
        }
        crowds = [crowds[1], group.len()];
        let committed = commit_together(&mut connection, &mut group);
        for call in group {
            call.answer(&committed);
        }
    }
}

/// Waits until `crowd` calls are there, the first one included. Does not wait for a crowd of one.
#[expect(clippy::disallowed_methods, reason = "to be woken by each call would cost more than polling")]
fn wait_for<C>(crowd: usize, queue: &Receiver<Job<C>>) {
    let (mut waiting, mut empty) = (queue.len(), 0);
    for _ in 0..STEPS {
        if waiting + 1 >= crowd || empty == EMPTY_STEPS {
            return;
        }
        thread::sleep(STEP);
        let before = mem::replace(&mut waiting, queue.len());
        empty = if waiting > before { 0 } else { empty + 1 };
    }
}

/// Runs a group in one transaction, each call in a savepoint of its own if it needs one.
fn commit_together(connection: &mut SqliteConnection, group: &mut [Box<dyn Write>]) -> Committed {
    if let Err(error) = begin(connection) {
        return Committed::No(classify(&error), error.to_string());
    }
    for call in group {
        let ran = match call.undoing() {
            Undoing::Savepoint => run_in_savepoint(connection, call.as_mut()),
            Undoing::Itself => run_whole(connection, call.as_mut()),
        };
        if let Err((kind, cause)) = ran {
            return Committed::No(if roll_back(connection) { kind } else { RepositoryErrorKind::Indeterminate }, cause);
        }
    }
    match connection.batch_execute("COMMIT") {
        Ok(()) => Committed::Yes,
        Err(error) => {
            let kind = if roll_back(connection) { classify(&error) } else { RepositoryErrorKind::Indeterminate };
            Committed::No(of_failed_commit(kind), error.to_string())
        }
    }
}

/// Begins a transaction. If that fails, it first rolls back a transaction that was left open, which would block every
/// later one.
pub(crate) fn begin(connection: &mut SqliteConnection) -> QueryResult<()> {
    const BEGIN: &str = "BEGIN IMMEDIATE";
    connection.batch_execute(BEGIN).or_else(|error| match connection.batch_execute("ROLLBACK") {
        Ok(()) => connection.batch_execute(BEGIN),
        Err(_) => Err(error),
    })
}

/// Runs a call in a savepoint. Fails if the whole transaction has to end, with the kind of error and its message.
fn run_in_savepoint(
    connection: &mut SqliteConnection,
    call: &mut dyn Write,
) -> Result<(), (RepositoryErrorKind, String)> {
    let told = |error: Error| (classify(&error), error.to_string());
    Fixed("SAVEPOINT call").execute(connection).map_err(told)?;
    if call.run(connection) {
        return Fixed("RELEASE call").execute(connection).map(drop).map_err(told);
    }
    // Fails if SQLite itself rolled everything back, as it does when the disk is full, a page cannot be read or memory
    // is short. The savepoint is gone then, and the cause is the error of the call.
    connection
        .batch_execute("ROLLBACK TO call; RELEASE call")
        .map_err(|error| call.failure().unwrap_or_else(|| told(error)))
}

/// Runs a call without a savepoint. Fails if the whole transaction has to end: it may have ended already, or half of
/// the call would stay in it.
fn run_whole(connection: &mut SqliteConnection, call: &mut dyn Write) -> Result<(), (RepositoryErrorKind, String)> {
    if call.run(connection) { Ok(()) } else { call.half_done().map_or(Ok(()), Err) }
}

/// A statement without values. It runs for each call, so it is prepared once.
struct Fixed(&'static str);

impl QueryId for Fixed {
    type QueryId = ();
    const HAS_STATIC_QUERY_ID: bool = false;
}

impl QueryFragment<Sqlite> for Fixed {
    fn walk_ast<'b>(&'b self, mut out: AstPass<'_, 'b, Sqlite>) -> QueryResult<()> {
        out.push_sql(self.0);
        Ok(())
    }
}

impl RunQueryDsl<SqliteConnection> for Fixed {}

/// Rolls back the transaction. Returns whether it has certainly ended.
fn roll_back(connection: &mut SqliteConnection) -> bool {
    match connection.batch_execute("ROLLBACK") {
        Ok(()) => true,
        // No transaction is open: SQLite rolled back already.
        Err(ended) => ended.to_string().contains("no transaction is active"),
    }
}

/// The outcome of a group.
pub(crate) enum Committed {
    Yes,
    No(RepositoryErrorKind, String),
}

/// Whether a write runs. Decided once: by the writer when it starts the write, or by the caller when it gives up,
/// whichever is first.
#[derive(Clone, Default)]
pub(crate) struct Fate(Arc<AtomicBool>);

impl Fate {
    /// Decides. Returns whether nothing had decided before.
    pub(crate) fn decide(&self) -> bool {
        !self.0.swap(true, Ordering::AcqRel)
    }
}

/// A write in the queue of the writer.
pub(crate) trait Write: Send {
    /// Runs it. Returns whether its changes stay.
    fn run(&mut self, connection: &mut SqliteConnection) -> bool;
    /// How it is undone.
    fn undoing(&self) -> Undoing;
    /// The kind of error and its message, if it failed.
    fn failure(&self) -> Option<(RepositoryErrorKind, String)>;
    /// The same, but `None` if it certainly changed nothing and the transaction goes on.
    fn half_done(&self) -> Option<(RepositoryErrorKind, String)>;
    /// Sends the caller the outcome, after the commit.
    fn answer(self: Box<Self>, committed: &Committed);
}

/// How a call that failed is undone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Undoing {
    Savepoint,
    Itself,
}

struct WriteCall<T, F> {
    undoing: Undoing,
    doing: &'static str,
    work: Option<F>,
    fate: Fate,
    result: Option<Result<T, Undo<T>>>,
    reply: oneshot::Sender<Result<T, RepositoryError>>,
}

/// A write whose outcome is sent to `reply` after the commit.
pub(crate) fn call<T, F>(
    undoing: Undoing,
    doing: &'static str,
    work: F,
    fate: Fate,
    reply: oneshot::Sender<Result<T, RepositoryError>>,
) -> Box<dyn Write>
where
    T: Send + 'static,
    F: FnOnce(&mut SqliteConnection) -> Result<T, Undo<T>> + Send + 'static,
{
    Box::new(WriteCall { undoing, doing, work: Some(work), fate, result: None, reply })
}

impl<T, F> Write for WriteCall<T, F>
where
    T: Send,
    F: FnOnce(&mut SqliteConnection) -> Result<T, Undo<T>> + Send,
{
    fn run(&mut self, connection: &mut SqliteConnection) -> bool {
        // A caller that went away without deciding, for example by closing its connection, is not worth the work
        // either.
        if self.reply.is_closed() || !self.fate.decide() {
            return false;
        }
        let work = self.work.take().expect("a call runs once");
        let result = guarded(|| work(connection));
        let stays = result.is_ok();
        self.result = Some(result);
        stays
    }

    fn failure(&self) -> Option<(RepositoryErrorKind, String)> {
        match &self.result {
            Some(Err(Undo::Error(error) | Undo::Half(error))) => Some((classify(error), error.to_string())),
            Some(Err(Undo::Answer(_)) | Ok(_)) | None => None,
        }
    }

    fn undoing(&self) -> Undoing {
        self.undoing
    }

    fn half_done(&self) -> Option<(RepositoryErrorKind, String)> {
        match &self.result {
            Some(Err(Undo::Error(error))) if changes_nothing(error) => None,
            _ => self.failure(),
        }
    }

    fn answer(self: Box<Self>, committed: &Committed) {
        let doing = self.doing;
        let result = match (self.result, committed) {
            // The call's own error says more than the group's.
            (Some(Err(Undo::Error(error) | Undo::Half(error))), _) => Err(failed(doing, error)),
            (_, Committed::No(kind, cause)) => {
                Err(RepositoryError::new(*kind, doing).because(reason(cause)).caused_by(cause.clone()))
            }
            (Some(Ok(value) | Err(Undo::Answer(value))), Committed::Yes) => Ok(value),
            (None, Committed::Yes) => Err(RepositoryError::new(RepositoryErrorKind::Internal, doing)),
        };
        // A caller that went away needs no answer.
        let _gone = self.reply.send(result);
    }
}
