//! The clock, randomness and liveness: effects that the domain gets as ports.

use std::{fmt, sync::Arc};

use async_trait::async_trait;

use super::RepositoryError;
use crate::{
    code::{Code, CodeLength, draw_code},
    entropy::Entropy,
    time::Timestamp,
};

/// Tells the time.
pub trait Clock: Send + Sync {
    /// The present moment.
    fn now(&self) -> Timestamp;
}

/// Draws the codes of new links.
pub trait CodeGenerator: Send + Sync {
    /// A code that is probably free; the store decides whether it is.
    fn generate(&self) -> Code;
}

/// Codes of one length, every one equally likely.
#[derive(Clone)]
pub struct RandomCodes {
    length: CodeLength,
    entropy: Arc<dyn Entropy>,
}

impl RandomCodes {
    /// Codes of `length` drawn from `entropy`.
    pub fn new(length: CodeLength, entropy: Arc<dyn Entropy>) -> Self {
        Self { length, entropy }
    }
}

impl CodeGenerator for RandomCodes {
    fn generate(&self) -> Code {
        draw_code(self.length, self.entropy.as_ref())
    }
}

impl fmt::Debug for RandomCodes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RandomCodes").field("length", &self.length).finish_non_exhaustive()
    }
}

/// Checks whether a store works, so that health checks do not depend on a pool type.
#[async_trait]
pub trait Ping: Send + Sync {
    /// It MUST fail within a few seconds if the store cannot do its work. It MUST succeed only after an answer from the
    /// store.
    async fn ping(&self) -> Result<(), RepositoryError>;
}

/// Identifies a store, so that the processes on it can share state.
#[async_trait]
pub trait Identify: Send + Sync {
    /// An ASCII name without spaces. It MUST be the same for all processes on this store, across restarts and
    /// failovers. It MUST differ from the name of every other store.
    async fn identity(&self) -> Result<String, RepositoryError>;
}
