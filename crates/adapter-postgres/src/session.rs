//! Sessions: one connection for one call, given back only when it is known to be healthy.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use deadpool::managed::{Object, Pool, PoolError};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use domain::ports::{FailureReason, RepositoryError, RepositoryErrorKind};
use tokio::time::{Instant, timeout, timeout_at};

use crate::{
    connection::{ConnectError, Connector},
    error::{Effect, classify, leaves_connection_healthy, reason},
};

/// The pool, with its bounds.
pub(crate) struct Sessions {
    pool: Pool<Connector>,
    pool_timeout: Duration,
    statement_timeout: Duration,
}

impl Sessions {
    pub(crate) fn new(pool: Pool<Connector>, pool_timeout: Duration, statement_timeout: Duration) -> Self {
        Self { pool, pool_timeout, statement_timeout }
    }

    /// A connection for `doing` something. The one deadline covers all that the pool does meanwhile:
    /// without it, walking over dead connections would cost a timeout for each.
    pub(crate) async fn open(&self, doing: &'static str) -> Result<Session, RepositoryError> {
        let unavailable = || RepositoryError::new(RepositoryErrorKind::Unavailable, doing);
        let connection = timeout(self.pool_timeout, self.pool.get())
            .await
            .map_err(|elapsed| unavailable().because(FailureReason::Busy).caused_by(elapsed))?
            .map_err(|error| match error {
                // The pool has nothing to add.
                PoolError::Backend(error) => unavailable().because(error.reason()).caused_by(error),
                other => unavailable().because(of_pool(&other)).caused_by(other),
            })?;
        let deadline = Instant::now() + self.statement_timeout;
        Ok(Session { connection: Some(connection), doing, deadline })
    }
}

fn of_pool(error: &PoolError<ConnectError>) -> FailureReason {
    match error {
        PoolError::Timeout(_) => FailureReason::Busy,
        PoolError::Backend(error) => error.reason(),
        PoolError::Closed | PoolError::NoRuntimeSpecified | PoolError::PostCreateHook(_) => FailureReason::Unknown,
    }
}

/// A connection on loan. Dropped before it is closed (a timeout, a caller that went away), its
/// connection is thrown away: a late answer must never meet another call.
pub(crate) struct Session {
    connection: Option<Object<Connector>>,
    doing: &'static str,
    deadline: Instant,
}

impl Session {
    pub(crate) fn connection(&mut self) -> &mut AsyncPgConnection {
        &mut self.connection.as_mut().expect("it is there until the session closes").diesel
    }

    /// Until when all statements of the session must be answered.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Gives it back without having asked anything.
    pub(crate) fn give_back(mut self) {
        drop(self.connection.take());
    }

    /// Ends the session with the outcome of its statements, `None` if the deadline passed.
    pub(crate) fn close<T>(mut self, effect: Effect, outcome: Option<QueryResult<T>>) -> Result<T, RepositoryError> {
        let Some(result) = outcome else {
            let unanswered = RepositoryError::new(effect.unanswered(), self.doing);
            return Err(unanswered.because(FailureReason::TimedOut).caused_by("no answer in time"));
        };
        if result.as_ref().err().is_none_or(leaves_connection_healthy) {
            // Dropping the pool's own wrapper gives the connection back.
            drop(self.connection.take());
        }
        result.map_err(|error| {
            RepositoryError::new(classify(&error, effect), self.doing).because(reason(&error)).caused_by(error)
        })
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        if let Some(connection) = self.connection.take() {
            drop(Object::take(connection));
        }
    }
}

/// How far a transaction has come. Its COMMIT is sent only after every statement before it was answered in time, so
/// until then nothing can have changed, and nothing will: a server that executes a late statement finds the
/// connection closed behind it, and rolls back.
#[derive(Default)]
pub(crate) struct Progress(AtomicBool);

impl Progress {
    /// Every statement is answered; the COMMIT comes next.
    pub(crate) fn commits(&self) {
        self.0.store(true, Ordering::Release);
    }

    /// What an answer that does not come means now.
    pub(crate) fn effect(&self) -> Effect {
        if self.0.load(Ordering::Acquire) { Effect::Write } else { Effect::Read }
    }
}

/// Runs statements until `deadline`; `None` once it passed.
pub(crate) async fn until<T>(deadline: Instant, statements: impl Future<Output = T>) -> Option<T> {
    timeout_at(deadline, statements).await.ok()
}
