//! Signpost's shared memory: what one process learnt of a link, all processes on the same store know, through Redis.
//!
//! It stands between the memory of each process and the store, and never in the way: without it, everything goes on
//! as if it had never been configured.
//!
//! | file        | holds                                                                                |
//! |-------------|--------------------------------------------------------------------------------------|
//! | `address`   | one server, or sentinels that know which one it is                                     |
//! | `shared`    | [`SharedMemory`]: what there is of Redis just now, and whether it may be trusted       |
//! | `keeper`    | the task that connects, joins the epoch, and says when it is over                        |
//! | `epoch`       | when what lies in Redis can be trusted                                                 |
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
//! deleted must not come back by that. So entries belong to an *epoch*, an unbroken time in which at least one process
//! heard of every change of the store and took it to Redis, in time:
//!
//! - An epoch is held: every second, each process in it says until when it heard everything. What nobody held for ten
//!   seconds is over, and its entries are never read again.
//! - A process that begins to hear of changes enters an epoch only after somebody else held it past that moment. What
//!   happened before was taken there by that one.
//! - A process whose own message was not confirmed, whose connection broke, or who may have missed changes, leaves.
//! - Entries carry the generation of the link, and only a higher one replaces them: what comes late changes nothing.

mod address;
mod changes;
mod entry;
mod epoch;
mod links;
mod options;
mod resolver;
mod scripts;
mod session;
mod shared;
mod shared_memory;
mod supervisor;

pub use address::{InvalidUrl, check_url};
pub use changes::SharedChanges;
pub use links::SharedLinks;
pub use options::RedisOptions;
pub use resolver::SharedResolver;
pub use shared_memory::SharedMemory;
