//! Ports: what the domain needs from the world, as traits that anyone can implement.
//!
//! Every MUST of the ports of a store (links, resolving, answers, keys, blocks) has a case in the contract suite
//! (`test-support`), so a new store is done when the suite passes. Those of a change feed, of a catalogue of codes and of rows that
//! cannot be read depend on how a store is built, and are tested with it. All methods take `&self` and may be called concurrently; a future may be dropped
//! at any `.await`, after which its change happened completely or not at all.
//!
//! A row that cannot be read ([`UnreadableRow`]) fails only the call that asks for that one row. Whatever reads many
//! MUST leave it out, tell an [`UnreadableRows`], and go on: a list then still gives as many as were asked for, if there
//! are so many behind.

mod api_keys;
mod blocks;
mod effects;
mod error;
mod idempotency;
mod links;

mod shared_limiter;
mod unreadable;

pub use crate::entropy::Entropy;
pub use api_keys::{ApiKeyRepository, KeyCreation, KeyPosition, StoredKey};
pub use blocks::{BlockPosition, BlockRepository, Blocking, Revision};
pub use effects::{Clock, CodeGenerator, Identify, Ping, RandomCodes};
pub use error::{FailureReason, RepositoryError, RepositoryErrorKind};
pub use idempotency::{ForgettingSteps, IdempotencyRepository, Repeated};
pub use links::{
    Applied, ChangeFeed, ChangeSubscriber, Claims, CodeCatalog, Existence, LinkFilter, LinkRepository, LinkResolver,
    ListQuery, Position, Resolved, Sort, Source, StateFilter,
};
pub use shared_limiter::{LimiterReply, LimiterRequest, SharedLimiter};
pub use unreadable::{LeftOut, Page, UnreadableColumn, UnreadableRow, UnreadableRows, in_column};
