//! Signpost's shared memory: what one process learnt of a link, all processes on the same store know, through Redis.
//!
//! It stands between the memory of each process and the store, and never in the way: without it, everything goes on
//! as if it had never been configured.
//!
//! | file        | holds                                                                                |
//! |-------------|--------------------------------------------------------------------------------------|
//! | `address`   | one server, or sentinels that know which one it is                                     |
//! | `shared`    | [`SharedMemory`]: what there is of Redis just now, and whether it may be trusted       |
//! | `keeper`    | the task that connects, joins the era, and says when it is over                        |
//! | `era`       | when what lies in Redis can be trusted                                                 |
//! | `session`   | one connection: every command in time, or not at all                                   |
//! | `scripts`   | what Redis does in one step                                                            |
//! | `entry`     | how a link is written down                                                             |
//! | `resolver`  | the decorator of a resolver: asks Redis first, and tells it what the store said        |
//! | `links`     | the decorator of a repository: tells Redis of every change before it is acknowledged   |
//! | `changes`   | the decorator of a change feed: takes to Redis what others changed, then tells it on   |
//!
//! # When to trust it
//!
//! Redis can lose what it was told: by a restart, a failover, an eviction, a connection that broke. A link that was
//! deleted must not come back by that. So entries belong to an *era*, an unbroken time in which at least one process
//! heard of every change of the store and took it to Redis, in time:
//!
//! - An era is held: every second, each process in it says until when it heard everything. What nobody held for ten
//!   seconds is over, and its entries are never read again.
//! - A process that begins to hear of changes enters an era only after somebody else held it past that moment. What
//!   happened before was taken there by that one.
//! - A process whose own message was not confirmed, whose connection broke, or who may have missed changes, leaves.
//! - Entries carry the generation of the link, and only a higher one replaces them: what comes late changes nothing.

mod address;
mod changes;
mod entry;
mod era;
mod keeper;
mod links;
mod resolver;
mod scripts;
mod session;
mod shared;

use std::time::Duration;

pub use address::{InvalidUrl, check_url};
pub use changes::SharedChanges;
pub use links::SharedLinks;
pub use resolver::SharedResolver;
pub use shared::SharedMemory;

/// Which Redis, and how long things may take.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://`, `rediss://` (TLS) or `unix://`, with whatever credentials it needs; or with sentinels
    /// `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/PRIMARY[/DATABASE]`, `rediss+` for TLS to all of them. The
    /// credentials are those of the servers.
    pub url: String,
    /// What sentinels want to know from whoever asks them.
    pub sentinel_password: Option<String>,
    /// Bound of one command. What takes longer is done without Redis.
    pub timeout: Duration,
    /// How long an entry is kept.
    pub ttl: Duration,
}

/// Without the passwords.
impl std::fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisOptions").field("timeout", &self.timeout).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}
