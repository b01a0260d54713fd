//! Room for bodies: how large one may be, how much memory all of them take, and how much work they cause at a time.

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
    /// The size for requests of this policy.
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

/// Room for the bodies of all requests. Single requests have room of their own, which batches cannot take.
#[derive(Debug)]
pub(crate) struct Bodies {
    single: Room,
    batch: Room,
}

#[derive(Debug)]
pub(crate) struct Room {
    /// Most bytes of one body.
    pub(crate) limit: usize,
    /// Most JSON values in one body: far more than a valid one has.
    pub(crate) values: usize,
    /// Bounds the bytes of bodies that are received.
    pub(crate) received: Arc<MemoryBudget>,
    /// Bounds what is made of bodies: values, links, rows, answers; in [`UNIT`]s.
    work: Arc<Semaphore>,
    most_work: usize,
}

/// The room of one body, until its request is answered.
#[derive(Debug)]
pub(crate) struct BodyRoom {
    _received: Option<Share>,
    _work: OwnedSemaphorePermit,
}

impl Bodies {
    /// All of this together, connections included, is well below 256 MiB.
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
/// Bytes in one unit of work.
const UNIT: usize = 1024;
/// Bodies up to this size are not counted: the number of connections bounds them well enough.
pub(crate) const FREE: usize = 4 * 1024;
/// The rest of a larger body is received in pieces of this size.
pub(crate) const PIECE: usize = 16 * 1024;
/// How long a received body waits until there is room to work on it.
const TURN: Duration = Duration::from_secs(2);

/// About how many bytes are made of a body: its tree and, for each object, a link, its row and its answer. Objects
/// count up to [`MAX_CLAIMS`]: a batch with more claims is refused before anything is made of them.
fn work_of(bytes: usize, size: Size) -> usize {
    6 * bytes + 64 * size.values + 3 * 1024 * size.objects.min(MAX_CLAIMS)
}

impl Room {
    /// Waits until there is room to work on a body that was `received`. Fails as overloaded after [`TURN`].
    pub(crate) async fn admit(&self, received: Option<Share>, bytes: usize, size: Size) -> Result<BodyRoom, Problem> {
        Ok(BodyRoom { _received: received, _work: self.turn(work_of(bytes, size)).await? })
    }

    async fn turn(&self, work: usize) -> Result<OwnedSemaphorePermit, Problem> {
        let units = u32::try_from(work.min(self.most_work) / UNIT).expect("all units of a room fit");
        match timeout(TURN, Arc::clone(&self.work).acquire_many_owned(units)).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(overloaded()),
        }
    }
}
