//! The port of blocks.

use async_trait::async_trait;
use uuid::Uuid;

use super::{Repeated, RepositoryError};
use crate::{
    block::{Block, Lifted, Subject},
    idempotency::IdempotentRequest,
    time::Timestamp,
};

/// Keeps blocks, lifted ones too.
#[async_trait]
pub trait BlockRepository: Send + Sync {
    /// Adds a block, unless its subject is blocked already: then nothing MUST change. Of many at once for one subject,
    /// one MUST win. With `once`, the answer MUST be recorded in the same transaction; if one is recorded already,
    /// nothing MUST change and [`Blocking::Repeated`] be returned.
    async fn block(&self, block: &Block, once: Option<&IdempotentRequest>) -> Result<Blocking, RepositoryError>;

    /// Lifts a block; if it is lifted already, the first time MUST stay. Says whether there is one. One that cannot be
    /// read MUST be lifted like any other: it is in no other's way then.
    async fn lift(&self, id: &Uuid, lifted: &Lifted) -> Result<bool, RepositoryError>;

    /// Up to `limit` blocks, newest first, behind `after`; those in force only, or all.
    async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<Vec<Block>, RepositoryError>;

    /// What is in force, unless that is as it was in the revision `known`. MUST see every change acknowledged before
    /// the call, and each change MUST lead to a revision that was never there before, also not in another history of
    /// the same store, as a lossy failover makes one. A block whose kind and value can be read MUST be in it, whatever
    /// else is wrong with it.
    async fn in_force(&self, known: Option<Uuid>) -> Result<Option<Revision>, RepositoryError>;
}

/// What became of a call of [`BlockRepository::block`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// It is blocked now.
    Added(Block),
    /// It was before, by this.
    InForce(Block),
    /// The request was answered before; nothing changed.
    Repeated(Repeated),
}

/// All that is blocked, as of one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Which change: two that are equal have one history.
    pub id: Uuid,
    /// What is blocked.
    pub subjects: Vec<Subject>,
    /// How many blocks in force are not in it, because their kind or value cannot be read.
    pub left_out: usize,
}

/// A place in the list of blocks: right behind this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BlockPosition {
    /// When the block was made.
    pub created_at: Timestamp,
    /// Its id.
    pub id: Uuid,
}

impl From<&Block> for BlockPosition {
    fn from(block: &Block) -> Self {
        Self { created_at: block.created_at, id: block.id }
    }
}
