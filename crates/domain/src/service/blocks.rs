//! Blocks: placing and lifting them, and knowing all that are in force without asking.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, Ordering},
    },
};

use uuid::Builder;

use super::{Call, ServiceError, repeated};
use crate::{
    block::{Block, InForce, Lifted, Reason, Subject},
    idempotency::RecordedAnswer,
    ports::{BlockPosition, BlockRepository, Blocking, Clock, Entropy, RepositoryError},
};

/// What is blocked, as this process knows it. Its clones are one.
#[derive(Clone, Debug, Default)]
pub struct Blocked(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    known: RwLock<(Option<i64>, Arc<InForce>)>,
    /// So that nobody waits for a lock while nothing is blocked.
    something: AtomicBool,
}

impl Blocked {
    /// What is in force; `None` if nothing is.
    pub fn in_force(&self) -> Option<Arc<InForce>> {
        let something = self.0.something.load(Ordering::Acquire);
        something.then(|| Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner).1))
    }

    fn revision(&self) -> Option<i64> {
        self.0.known.read().unwrap_or_else(PoisonError::into_inner).0
    }

    fn learn(&self, revision: i64, in_force: InForce) {
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        // Whoever asked later may be here first.
        if known.0.is_none_or(|before| before < revision) {
            self.0.something.store(!in_force.is_empty(), Ordering::Release);
            *known = (Some(revision), Arc::new(in_force));
        }
    }
}

/// Everything that can be done with blocks.
#[derive(Clone)]
pub struct BlockService {
    blocks: Arc<dyn BlockRepository>,
    blocked: Blocked,
    clock: Arc<dyn Clock>,
    entropy: Arc<dyn Entropy>,
}

impl fmt::Debug for BlockService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("BlockService").finish_non_exhaustive()
    }
}

impl BlockService {
    /// Over these ports; `blocked` learns what changes.
    pub fn new(
        blocks: Arc<dyn BlockRepository>,
        blocked: Blocked,
        clock: Arc<dyn Clock>,
        entropy: Arc<dyn Entropy>,
    ) -> Self {
        Self { blocks, blocked, clock, entropy }
    }

    /// Blocks something. Says whether it was not blocked before.
    pub async fn block(&self, call: &Call, subject: Subject, reason: Reason) -> Result<(Block, bool), ServiceError> {
        let now = self.clock.now();
        let mut random = [0; 10];
        self.entropy.fill(&mut random);
        let milliseconds = u64::try_from(now.unix_micros() / 1_000).unwrap_or_default();
        let id = Builder::from_unix_timestamp_millis(milliseconds, &random).into_uuid();
        let created_by = call.caller.actor.clone();
        let block = Block { id, subject, reason, created_at: now, created_by, lifted: None };
        let outcome = self.blocks.block(&block, call.once(now).as_ref()).await?;
        self.refresh().await?;
        match outcome {
            Blocking::Added(block) => Ok((block, true)),
            Blocking::InForce(block) => Ok((block, false)),
            Blocking::Repeated(before) => repeated(before, |answer| match answer {
                RecordedAnswer::Block { block, added } => Some((block, added)),
                RecordedAnswer::Claims(_) | RecordedAnswer::Link(_) | RecordedAnswer::ApiKey { .. } => None,
            }),
        }
    }

    /// Lifts a block; what it was about is as it was before, unless another one is about it too.
    pub async fn lift(&self, call: &Call, id: &uuid::Uuid) -> Result<Block, ServiceError> {
        let lifted = Lifted { at: self.clock.now(), by: call.caller.actor.clone() };
        let block = self.blocks.lift(id, &lifted).await?.ok_or(ServiceError::NotFound)?;
        self.refresh().await?;
        Ok(block)
    }

    /// One page of blocks, newest first, and where the next one begins.
    pub async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<(Vec<Block>, Option<BlockPosition>), RepositoryError> {
        let mut blocks = self.blocks.list(lifted_too, after, limit + 1).await?;
        let more = blocks.len() > limit as usize;
        blocks.truncate(limit as usize);
        let next = blocks.last().filter(|_| more).map(BlockPosition::from);
        Ok((blocks, next))
    }

    /// Learns what others blocked and lifted. To be called every second or so; while it fails, what is known stays in force.
    pub async fn refresh(&self) -> Result<(), RepositoryError> {
        if let Some(revision) = self.blocks.in_force(self.blocked.revision()).await? {
            self.blocked.learn(revision.number, revision.subjects.into_iter().collect());
        }
        Ok(())
    }

    /// What this process knows of.
    pub fn blocked(&self) -> &Blocked {
        &self.blocked
    }
}
