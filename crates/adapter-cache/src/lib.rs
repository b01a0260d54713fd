//! Signpost's L1 cache: redirects from the process itself, in front of any store, and for a while without it.
//!
//! [`CachedResolver`] is a [`LinkResolver`](domain::ports::LinkResolver) in front of another one. [`WriteThroughLinks`]
//! is a [`LinkRepository`](domain::ports::LinkRepository) in front of another one. It reports every change made here to
//! the cache, even if the caller has left. The cache receives all changes as a
//! [`ChangeSubscriber`](domain::ports::ChangeSubscriber).
//!
//! | file            | holds                                                                              |
//! |-----------------|------------------------------------------------------------------------------------|
//! | `l1_cache`      | cached links and unknown codes, their age; only a gap lets an older one replace it |
//! | `single_flight` | lookups and writes in flight, one lookup for each code; floors                     |
//! | `store_client`  | lookups in the store: timeout, retry budget, circuit breaker                       |
//! | `breaker`       | the circuit breaker                                                                |
//! | `resolver`      | the decorator of a resolver, which joins them                                      |
//! | `write_through` | the decorator of a repository                                                      |
//! | `status`        | what the cache is doing, for metrics                                               |
//! | `run_to_end`    | changes that go on when their callers leave                                        |
//! | `known_codes`   | which codes may be those of links, for codes that are not cached                   |
//! | `api_keys`      | API keys, cached for two seconds                                                   |
//!
//! What it promises (the default time to live is ten seconds):
//!
//! - A change by this process is visible at once, even if its caller has left. A change by another process is visible
//!   when the change feed reports it, or else within the time to live. While the change feed reports all changes, links
//!   are not looked up again.
//! - Nothing older than a reported generation is cached, in whatever order answers arrive (floors): a deleted link does
//!   not come back.
//! - A change that ended with an unknown outcome outdates the cached link: the next lookup asks the store.
//! - If the store does not answer, links cached as active redirect for another `stale_for`; links cached as deleted
//!   never do. Every other lookup fails as the store fails, or at once while the circuit breaker is open.
//! - Many callers that look up one code at the same time ask the store once (single-flight).

mod api_keys;
mod breaker;
mod known_codes;
mod l1_cache;
mod resolver;
mod run_to_end;
mod single_flight;
mod status;
mod store_client;
mod write_through;

use std::time::Duration;

pub use api_keys::CachedApiKeys;
pub use known_codes::Progress;
pub use resolver::CachedResolver;
pub use status::CacheStatus;
pub use write_through::WriteThroughLinks;

/// How much is cached, and for how long.
#[derive(Clone, Copy, Debug)]
pub struct CacheOptions {
    /// Maximum cached links. A link with a long target counts as several.
    pub capacity: usize,
    /// Time to live of a link, unless the change feed confirms that it did not change. A link in use is refreshed a
    /// little earlier, so that no request waits for it.
    pub ttl: Duration,
    /// How much longer an active link redirects while the store does not answer.
    pub stale_for: Duration,
    /// Time to live of an unknown code.
    pub negative_ttl: Duration,
    /// Maximum codes of links that are known without asking the store, at some 1.4 bytes each. With more links no code
    /// is known; 0 turns this off.
    pub known_codes: usize,
    /// Timeout of one lookup in the store, including retries.
    pub timeout: Duration,
}
