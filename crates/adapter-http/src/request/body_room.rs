//! Room for bodies: how large one may be, how much memory all of them take, and how much work they make at a time.

use std::{sync::Arc, time::Duration};

use slog::Logger;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

use super::json::Size;
use crate::{
    limits::{
        Policy,
        concurrency::overloaded,
        memory::{MemoryBudget, OwnShare, Share},
    },
    problem::Problem,
};

/// Most bytes of a body.
pub(crate) const BODY_LIMIT: usize = 64 * 1024;
/// Most bytes of the body of a batch.
pub(crate) const BATCH_LIMIT: usize = 1024 * 1024;

/// How large the bodies of a route may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BodySize {
    /// [`BODY_LIMIT`].
    Single,
    /// [`BATCH_LIMIT`].
    Batch,
}

impl BodySize {
    /// Of the requests that are counted so.
    pub(crate) fn of(policy: Option<Policy>) -> Self {
        if policy == Some(Policy::Batch) { Self::Batch } else { Self::Single }
    }

    /// Most bytes.
    pub(crate) fn limit(self) -> usize {
        match self {
            Self::Single => BODY_LIMIT,
            Self::Batch => BATCH_LIMIT,
        }
    }
}

/// Room for the bodies of all requests. Small ones have room of their own, which large ones cannot take.
#[derive(Debug)]
pub(crate) struct Bodies {
    single: Room,
    batch: Room,
}

#[derive(Debug)]
pub(crate) struct Room {
    /// Most bytes of one body.
    pub(crate) limit: usize,
    /// Most values in it: far more than a good one has.
    pub(crate) values: usize,
    /// What has come of bodies.
    pub(crate) received: Arc<MemoryBudget>,
    /// What becomes of them: values, links, rows, answers; in [`UNIT`]s.
    work: Arc<Semaphore>,
    most_work: usize,
}

/// The room that one body takes, until its request is answered.
#[derive(Debug)]
pub(crate) struct BodyRoom {
    _received: Option<Share>,
    _work: OwnedSemaphorePermit,
}

impl Bodies {
    /// Together with the connections themselves that is well below 256 MiB.
    pub(crate) fn new(log: &Logger) -> Self {
        const MIB: usize = 1024 * 1024;
        let room = |limit, values, received, work: usize| Room {
            limit,
            values,
            received: MemoryBudget::new(received, OwnShare::Keep, log),
            work: Arc::new(Semaphore::new(work / UNIT)),
            most_work: work,
        };
        Self {
            single: room(BODY_LIMIT, 4_096, 16 * MIB, 24 * MIB),
            batch: room(BATCH_LIMIT, 65_536, 48 * MIB, 72 * MIB),
        }
    }

    pub(crate) fn of(&self, size: BodySize) -> &Room {
        match size {
            BodySize::Single => &self.single,
            BodySize::Batch => &self.batch,
        }
    }
}

/// Most claims in a batch.
pub(crate) const MAX_CLAIMS: usize = 1_000;
/// In so many bytes work is counted.
const UNIT: usize = 1024;
/// Bodies up to this size are not counted: the number of connections bounds them well enough.
pub(crate) const FREE: usize = 4 * 1024;
/// A larger one comes in pieces of this size.
pub(crate) const PIECE: usize = 16 * 1024;
/// How long a body that has come waits for its turn.
const TURN: Duration = Duration::from_secs(2);

/// How many bytes are made of a body, about: its tree, and of each object a link, its row, its answer. More claims than a
/// batch may have are refused before anything is made of them.
fn work_of(bytes: usize, size: Size) -> usize {
    6 * bytes + 64 * size.values + 3 * 1024 * size.objects.min(MAX_CLAIMS)
}

impl Room {
    /// Waits, not for long, until there is room for the work that a body makes which has been `received`.
    pub(crate) async fn admit(&self, received: Option<Share>, bytes: usize, size: Size) -> Result<BodyRoom, Problem> {
        Ok(BodyRoom { _received: received, _work: self.turn(work_of(bytes, size)).await? })
    }

    async fn turn(&self, work: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let units = u32::try_from(work.min(self.most_work) / UNIT).expect("there is no room for that many");
        match timeout(TURN, Arc::clone(&self.work).acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }
}
