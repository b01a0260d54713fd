//! The port of blocks.

use async_trait::async_trait;
use uuid::Uuid;

use super::{Repeated, RepositoryError};
use crate::{
    block::{Block, Lifted, Subject},
    idempotency::IdempotentRequest,
    time::Timestamp,
};

/// Stores blocks, including lifted ones.
#[async_trait]
pub trait BlockRepository: Send + Sync {
    /// Adds a block.
    ///
    /// - If its subject is blocked already, all blocks MUST stay as they are.
    /// - Of concurrent calls for one subject, exactly one MUST add its block.
    /// - With `once`, the call MUST write the idempotency record in the same transaction. If the request has a record
    ///   already, the call MUST change nothing and return [`Blocking::Repeated`].
    async fn block(&self, block: &Block, once: Option<&IdempotentRequest>) -> Result<Blocking, RepositoryError>;

    /// Lifts a block. If it is lifted already, the first time MUST stay. Returns whether the block exists. A block that
    /// cannot be read MUST be lifted like any other, so that it does not prevent a new block.
    async fn lift(&self, id: &Uuid, lifted: &Lifted) -> Result<bool, RepositoryError>;

    /// Up to `limit` blocks, newest first, from the position `after` on. With `lifted_too` all, otherwise those in
    /// force.
    async fn list(
        &self,
        lifted_too: bool,
        after: Option<&BlockPosition>,
        limit: u32,
    ) -> Result<Vec<Block>, RepositoryError>;

    /// The blocks in force; `None` if the revision is still `known`.
    ///
    /// - It MUST see every change acknowledged before the call.
    /// - Each change MUST lead to a revision that never existed before. This includes other histories of the same
    ///   store, as a failover that loses writes creates them.
    /// - A block whose kind and value can be read MUST be included, whatever else is wrong with it.
    async fn in_force(&self, known: Option<Uuid>) -> Result<Option<Revision>, RepositoryError>;
}

/// The outcome of [`BlockRepository::block`].
#[must_use = "an outcome is no error, and may still be a refusal"]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Blocking {
    /// The subject is blocked now, by this block.
    Added(Block),
    /// The subject was blocked already, by this block.
    InForce(Block),
    /// The request was answered before. Nothing changed.
    Repeated(Repeated),
}

/// All subjects that are blocked after one change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Revision {
    /// Identifies the change. Equal ids mean the same history.
    pub id: Uuid,
    /// What is blocked.
    pub subjects: Vec<Subject>,
    /// Number of blocks in force that are not included, because their kind or value cannot be read.
    pub left_out: usize,
}

/// A position in the list of blocks: directly after this block.
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
