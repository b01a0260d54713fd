//! Signpost's memory: redirects from the process itself, around any store, and for a while without it.
//!
//! [`CachedResolver`] is a [`LinkResolver`](domain::ports::LinkResolver) around another one. [`WriteThroughLinks`] is a
//! [`LinkRepository`](domain::ports::LinkRepository) around another one that tells it of every change made here, also
//! when the caller has left; all changes reach it as a [`ChangeSubscriber`](domain::ports::ChangeSubscriber).
//!
//! | file            | holds                                                                              |
//! |-----------------|------------------------------------------------------------------------------------|
//! | `memory`        | what is known, how old it may be, and that nothing older replaces what is newer    |
//! | `flights`       | questions and changes under way, one question for each code; floors                |
//! | `asking`        | how the store is asked: bounded, retried within a budget, left alone when it fails |
//! | `breaker`       | when it is left alone                                                              |
//! | `resolver`      | the decorator that joins them                                                      |
//! | `write_through` | the decorator of the repository                                                    |
//! | `run_to_end`    | changes that go on when their callers leave                                        |
//! | `known_codes`   | which codes may be those of links, for those that are not remembered               |
//! | `keys`          | API keys, for a moment                                                             |
//!
//! What it promises, for a time to live of ten seconds:
//!
//! - A change made by this process is seen at once, whatever became of its caller. One made by another process is seen
//!   when it is heard of, and within the time to live if it is not. While all changes are heard of, links are not asked
//!   for again.
//! - Nothing older than what was heard of is remembered, in whatever order it comes (floors): a deleted link does not
//!   come back.
//! - A change that ended without an answer outdates what is remembered: the next answer that is asked for decides.
//! - When the store does not answer, links known as active redirect on, for `stale_for` more; those known as deleted
//!   never do. Everything else fails as the store fails, or at once while it is left alone.
//! - Many who ask for one code ask the store once.

mod api_keys;
mod breaker;
mod known_codes;
mod l1_cache;
mod resolver;
mod run_to_end;
mod single_flight;
mod store_client;
mod write_through;

use std::time::Duration;

pub use api_keys::CachedApiKeys;
pub use known_codes::Progress;
pub use resolver::CachedResolver;
pub use write_through::WriteThroughLinks;

/// How much is remembered, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// Most links that are remembered.
    pub capacity: usize,
    /// How long a link is known without asking again and without being assured that it did not change. Links are asked
    /// for again a little earlier while they are in use, so that nobody waits for it.
    pub ttl: Duration,
    /// How much longer an active link is redirected to while the store does not answer.
    pub stale_for: Duration,
    /// How long an unknown code is known to be unknown.
    pub negative_ttl: Duration,
    /// Most codes of links that are known, so that those of others can be told from them; some 1.4 bytes each. With more
    /// links nothing is known; 0: never.
    pub known_codes: usize,
    /// Bound of one question to the store, with everything that is tried again.
    pub timeout: Duration,
}
