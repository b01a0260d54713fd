//! Sessions: one pooled connection for one call. It returns to the pool only if it is known to be healthy.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{Object, Pool, PoolError};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use domain::ports::{DurationCounter, FailureReason, RepositoryError, RepositoryErrorKind};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    connection::{ConnectError, Connector},
    error::{Effect, classify, leaves_connection_healthy, reason},
    pools::PoolStatus,
};

/// A connection pool with its timeouts.
pub(crate) struct Sessions {
    pool: Pool<Connector>,
    pool_timeout: Duration,
    statement_timeout: Duration,
    timeouts: AtomicU64,
    waits: DurationCounter,
    uses: Arc<DurationCounter>,
}

impl Sessions {
    pub(crate) fn new(pool: Pool<Connector>, pool_timeout: Duration, statement_timeout: Duration) -> Self {
        let (timeouts, waits, uses) = (AtomicU64::new(0), DurationCounter::default(), Arc::default());
        Self { pool, pool_timeout, statement_timeout, timeouts, waits, uses }
    }

    /// Takes a connection from the pool; `doing` names the operation in errors. One timeout covers everything the pool
    /// does. Otherwise each dead connection in the pool would cost a timeout of its own.
    pub(crate) async fn open(&self, doing: &'static str) -> Result<Session, RepositoryError> {
        let unavailable = || RepositoryError::new(RepositoryErrorKind::Unavailable, doing);
        let asked = Instant::now();
        let got = timeout(self.pool_timeout, self.pool.get()).await;
        self.waits.add(asked.elapsed());
        if matches!(got, Err(_) | Ok(Err(PoolError::Timeout(_)))) {
            self.timeouts.fetch_add(1, Ordering::Relaxed);
        }
        let connection = got
            .map_err(|elapsed| unavailable().because(FailureReason::Busy).caused_by(elapsed))?
            .map_err(|error| match error {
                // The pool adds nothing to the connection's own error.
                PoolError::Backend(error) => unavailable().because(error.reason()).caused_by(error),
                other => unavailable().because(of_pool(&other)).caused_by(other),
            })?;
        let opened = Instant::now();
        let deadline = opened + self.statement_timeout;
        Ok(Session { connection: Some(connection), doing, opened, deadline, uses: Arc::clone(&self.uses) })
    }
}

impl Sessions {
    /// What the pool is doing.
    pub(crate) fn status(&self, name: &'static str) -> PoolStatus {
        let status = self.pool.status();
        PoolStatus {
            name,
            max: status.max_size,
            size: status.size,
            idle: status.available,
            waiting: status.waiting,
            timeouts: self.timeouts.load(Ordering::Relaxed),
            waits: self.waits.counts(),
            uses: self.uses.counts(),
        }
    }
}

fn of_pool(error: &PoolError<ConnectError>) -> FailureReason {
    match error {
        PoolError::Timeout(_) => FailureReason::Busy,
        PoolError::Backend(error) => error.reason(),
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => FailureReason::Unknown,
    }
}

/// A connection lent by the pool. If the session is dropped before it is closed (a timeout, a cancelled caller), the
/// connection is closed: a late reply must never reach another call.
pub(crate) struct Session {
    connection: Option<Object<Connector>>,
    doing: &'static str,
    opened: Instant,
    deadline: Instant,
    uses: Arc<DurationCounter>,
}

impl Session {
    pub(crate) fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection.as_mut().expect("a session has its connection until it closes").diesel
    }

    /// When all statements of the session must have been answered.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Returns the connection to the pool without running a statement.
    pub(crate) fn give_back(mut self) {
        drop(self.connection.take());
    }

    /// Ends the session with the outcome of its statements; `None` means that the deadline passed.
    pub(crate) fn close<T>(mut self, effect: Effect, outcome: Option<QueryResult<T>>) -> Result<T, RepositoryError> {
        let Some(result) = outcome else {
            let unanswered = RepositoryError::new(effect.unanswered(), self.doing);
            return Err(unanswered.because(FailureReason::TimedOut).caused_by("no answer in time"));
        };
        if result.as_ref().err().is_none_or(leaves_connection_healthy) {
            // Dropping the pool's wrapper returns the connection to the pool.
            drop(self.connection.take());
        }
        result.map_err(|error| {
            RepositoryError::new(classify(&error, effect), self.doing).because(reason(&error)).caused_by(error)
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.uses.add(self.opened.elapsed());
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

/// How far a transaction has come. COMMIT is sent only after every earlier statement was answered in time. Before that,
/// nothing has changed and nothing will: a server that executes a late statement finds the connection closed and rolls
/// back.
#[derive(Default)]
pub(crate) struct Progress(AtomicBool);

impl Progress {
    /// Notes that every statement was answered and that COMMIT comes next.
    pub(crate) fn commits(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// What a missing reply means at this point.
    pub(crate) fn effect(&self) -> Effect {
        if self.0.load(Ordering::Acquire) { Effect::Write } else { Effect::Read }
    }
}

/// Runs statements until `deadline`; `None` if it passed.
pub(crate) async fn until<T>(deadline: Instant, statements: impl Future<Output = T>) -> Option<T> {
    timeout_at(deadline, statements).await.ok()
}
