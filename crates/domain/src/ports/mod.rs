//! Ports: what the domain needs from outside, as traits to implement.
//!
//! Every MUST of the ports of a store (links, resolving, idempotency records, keys, blocks) has a case in the contract
//! suite (`test-support`). A new store is done when the suite passes. The MUSTs of change feeds, of code catalogues and
//! of rows that cannot be read depend on how a store is built. The tests of each store cover them.
//!
//! All methods take `&self` and may be called concurrently. A future may be dropped at any `.await`: its change then
//! happened completely or not at all.
//!
//! A row that cannot be read ([`UnreadableRow`]) fails only a call that asks for that one row. A call that reads many
//! rows MUST leave it out, report it to an [`UnreadableRows`], and continue. A list then still returns as many rows as
//! requested, if enough follow.

mod api_keys;
mod blocks;
mod clicks;
mod durations;
mod effects;
mod error;
mod idempotency;
mod links;
mod shared_limiter;
mod short_domains;
mod unreadable;

pub use crate::entropy::Entropy;
pub use api_keys::{ApiKeyRepository, KeyCreation, KeyPosition, StoredKey};
pub use blocks::{BlockPosition, BlockRepository, Blocking, Revision};
pub use clicks::{
    ClickBatch, ClickDescriber, ClickProgress, ClickRecorder, ClickRecorders, ClickRepository, ClickTotals, Shipped,
    StatisticsOf,
};
pub use durations::{DurationCounter, DurationCounts};
pub use effects::{Clock, CodeGenerator, Identify, Ping, RandomCodes};
pub use error::{FailureReason, RepositoryError, RepositoryErrorKind};
pub use idempotency::{ForgettingSteps, IdempotencyRepository, Repeated};
pub use links::{
    AddressCatalog, Applied, ChangeFeed, ChangeSubscriber, Claims, Existence, LinkFilter, LinkRepository, LinkResolver,
    ListQuery, Position, Resolved, Sort, Source, StateFilter,
};
pub use shared_limiter::{LimiterReply, LimiterRequest, SharedLimiter};
pub use short_domains::{Adding, NewShortDomain, Removal, ShortDomainRepository};
pub use unreadable::{LeftOut, Page, UnreadableColumn, UnreadableRow, UnreadableRows, in_column};
