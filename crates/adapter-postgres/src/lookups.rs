//! Redirect lookups. Lookups that arrive while all connections are busy share one statement on the next free
//! connection. So the cost of each lookup falls as load rises.

use std::{collections::HashMap, panic::AssertUnwindSafe, slice, sync::Arc};

use diesel::prelude::*;
use diesel_async::RunQueryDsl;
use domain::{
    address::Address,
    ports::{FailureReason, RepositoryError, RepositoryErrorKind, Resolved},
};
use futures_util::{FutureExt, future::join_all};
use tokio::{
    runtime::Handle,
    sync::{Mutex, mpsc, oneshot},
    task::yield_now,
};

use crate::{
    error::Effect,
    rows::ResolutionRow,
    schema::links,
    session::{Session, Sessions, until},
};

const DOING: &str = "resolving a code";
/// Maximum addresses in one statement.
const AT_ONCE: usize = 64;
/// Maximum addresses that wait for a connection. More are rejected: they could not be answered in time.
const MAX_WAITING: usize = 4_096;

type Answer = Result<Resolved, RepositoryError>;
type Found = HashMap<(i16, String), ResolutionRow>;

/// The queue of lookups that wait for a connection.
pub(crate) struct Lookups {
    ask: mpsc::Sender<Question>,
    /// The connections on which they are answered.
    pub(crate) sessions: Arc<Sessions>,
}

struct Question {
    address: Address,
    asker: oneshot::Sender<Answer>,
}

impl Lookups {
    /// Starts `connections` tasks, each of which answers lookups on one connection of `sessions` at a time. They end
    /// when this is dropped.
    pub(crate) fn new(sessions: Sessions, connections: usize, runtime: &Handle) -> Self {
        let (ask, questions) = mpsc::channel(MAX_WAITING);
        let (questions, sessions) = (Arc::new(Mutex::new(questions)), Arc::new(sessions));
        for _ in 0..connections {
            runtime.spawn(answer_all(Arc::clone(&questions), Arc::clone(&sessions)));
        }
        Self { ask, sessions }
    }

    /// How many lookups wait for a connection.
    pub(crate) fn waiting(&self) -> usize {
        self.ask.max_capacity() - self.ask.capacity()
    }

    pub(crate) async fn resolve(&self, address: &Address) -> Answer {
        let (asker, answer) = oneshot::channel();
        if self.ask.try_send(Question { address: address.clone(), asker }).is_err() {
            return Err(unavailable("too many wait for a connection"));
        }
        answer.await.unwrap_or_else(|_lost| Err(unavailable("the question was lost")))
    }
}

async fn answer_all(questions: Arc<Mutex<mpsc::Receiver<Question>>>, sessions: Arc<Sessions>) {
    let mut some = Vec::with_capacity(AT_ONCE);
    loop {
        {
            // One task holds the lock and waits for the next lookup. The other tasks wait for the lock.
            let mut questions = questions.lock().await;
            let Some(first) = questions.recv().await else {
                return;
            };
            // Lets tasks that are ready queue their lookups first, so that this batch includes them.
            yield_now().await;
            some.push(first);
            while some.len() < AT_ONCE
                && let Ok(question) = questions.try_recv()
            {
                some.push(question);
            }
        }
        some.retain(|question| !question.asker.is_closed());
        if some.is_empty() {
            continue;
        }
        // After a panic, the callers of this batch get an error and the loop goes on with the next batch.
        let _panicked = AssertUnwindSafe(answer(&mut some, &sessions)).catch_unwind().await;
        some.clear();
    }
}

/// Answers every lookup of the batch. If all callers go away meanwhile, the connection is closed, because no caller is
/// left for its reply.
async fn answer(some: &mut Vec<Question>, sessions: &Sessions) {
    // Connecting goes on even if all callers give up. With a distant server it may take longer than they wait, and the
    // next batch needs the connection.
    let session = sessions.open(DOING).await;
    some.retain(|question| !question.asker.is_closed());
    let (addresses, mut askers): (Vec<_>, Vec<_>) =
        some.drain(..).map(|question| (question.address, question.asker)).unzip();
    let session = match session {
        Ok(session) if addresses.is_empty() => return session.give_back(),
        other => other,
    };
    let found = tokio::select! {
        biased;
        found = look_up(&addresses, session) => found,
        _ = join_all(askers.iter_mut().map(oneshot::Sender::closed)) => return,
    };
    match found {
        Ok(found) => {
            for (address, asker) in addresses.iter().zip(askers) {
                tell(asker, read(&found, address));
            }
        }
        // One unreadable row must not fail the other addresses, so each is looked up on its own.
        Err(error) if addresses.len() > 1 && error.kind() != RepositoryErrorKind::Unavailable => {
            for (address, asker) in addresses.iter().zip(askers) {
                let found = look_up(slice::from_ref(address), sessions.open(DOING).await).await;
                tell(asker, found.and_then(|found| read(&found, address)));
            }
        }
        Err(error) => {
            let error = Arc::new(error);
            for asker in askers {
                tell(asker, Err(RepositoryError::new(error.kind(), DOING).caused_by(Arc::clone(&error))));
            }
        }
    }
}

fn tell(asker: oneshot::Sender<Answer>, answer: Answer) {
    // The caller may have gone away.
    let _gone = asker.send(answer);
}

/// The answer for `address`. The row is cloned, because several callers may have asked for the same one.
fn read(found: &Found, address: &Address) -> Answer {
    let key = (address.domain.into(), address.code.as_str().to_owned());
    let row = found.get(&key).cloned();
    row.map(|row| row.into_resolution(DOING)).transpose().map(Resolved::by_store)
}

async fn look_up(addresses: &[Address], session: Result<Session, RepositoryError>) -> Result<Found, RepositoryError> {
    let mut session = session?;
    let deadline = session.deadline();
    // Namesakes on other short domains are found too. They are few, and the statement is the same for all.
    let wanted: Vec<_> = addresses.iter().map(|address| address.code.as_str()).collect();
    let columns = (links::domain_id, links::code, ResolutionRow::as_select());
    let query = links::table.filter(links::code.eq_any(wanted)).select(columns);
    let found = until(deadline, query.load::<(i16, String, ResolutionRow)>(session.connection())).await;
    let rows = session.close(Effect::Read, found)?;
    Ok(rows.into_iter().map(|(domain, code, row)| ((domain, code), row)).collect())
}

fn unavailable(cause: &'static str) -> RepositoryError {
    RepositoryError::new(RepositoryErrorKind::Unavailable, DOING).because(FailureReason::Busy).caused_by(cause)
}
