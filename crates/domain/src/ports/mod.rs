//! Ports: what the domain needs from the world, as traits that anyone can implement.
//!
//! Every MUST below has a case in the contract suite (`test-support`), so a new store is done when
//! the suite passes. All methods take `&self` and may be called concurrently; a future may be dropped
//! at any `.await`, after which its change happened completely or not at all.

mod api_keys;
mod blocks;
mod effects;
mod error;
mod idempotency;
mod links;
mod meter;

pub use api_keys::{ApiKeyRepository, KeyCreation, KeyPosition, StoredKey};
pub use blocks::{BlockPosition, BlockRepository, Blocking, Revision};
pub use effects::{Clock, CodeGenerator, Entropy, Identify, Ping, RandomCodes};
pub use error::{FailureReason, RepositoryError, RepositoryErrorKind};
pub use idempotency::{IdempotencyRepository, Repeated};
pub use links::{
    Applied, ChangeFeed, ChangeSubscriber, Claims, CodeCatalog, Existence, LinkFilter, LinkRepository, LinkResolver,
    ListQuery, Position, Resolved, Sort, Source, StateFilter,
};
pub use meter::{Draw, Drawn, Meter};
