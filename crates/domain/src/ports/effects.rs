//! The clock, randomness and liveness: effects the domain is handed instead of reaching for them.

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

/// Answers whether something is there, so that health needs no pool type.
#[async_trait]
pub trait Ping: Send + Sync {
    /// MUST fail within a few seconds when the store cannot do its work, and MUST succeed only after
    /// an answer from it.
    async fn ping(&self) -> Result<(), RepositoryError>;
}

/// Tells stores apart, for what is shared between the processes on one.
#[async_trait]
pub trait Identify: Send + Sync {
    /// A name in ASCII without spaces that MUST be the same for all who use this store, over restarts and failovers,
    /// and MUST be another for every other store.
    async fn identity(&self) -> Result<String, RepositoryError>;
}
