//! Signpost's shared cache in Redis ([`SharedMemory`]): what one process looked up, all processes on the same store can
//! read.
//!
//! It stands between the L1 cache of each process and the store. If Redis fails, requests still succeed: everything
//! works as if Redis had never been configured.
//!
//! | file            | holds                                                                                        |
//! |-----------------|----------------------------------------------------------------------------------------------|
//! | `endpoint`      | the address of one server, or of sentinels that know the current primary                     |
//! | `options`       | [`RedisOptions`]                                                                             |
//! | `shared_memory` | [`SharedMemory`]: what other crates use, and the ports it implements                         |
//! | `shared`        | the state behind it: the current connection, and whether entries can be trusted              |
//! | `supervisor`    | the task that connects, joins the epoch, holds it, and reconnects                            |
//! | `epoch`         | when entries in Redis can be trusted                                                         |
//! | `session`       | one connection: every command has a timeout                                                  |
//! | `scripts`       | the Lua scripts that Redis runs in one step                                                  |
//! | `entry`         | the form of a link in Redis, and the names of keys                                           |
//! | `status`        | what the shared cache is doing, for metrics                                                  |
//! | `resolver`      | the decorator of a resolver: reads Redis first, and writes what the store answered           |
//! | `links`         | the decorator of a repository: writes every change to Redis before it is acknowledged        |
//! | `changes`       | the decorator of a change feed: writes the changes of others to Redis, then passes them on   |
//!
//! # When to trust it
//!
//! Redis can lose writes: by a restart, a failover, an eviction or a broken connection. That must never make a deleted
//! link redirect again. So entries belong to an *epoch*: an unbroken time in which at least one process received every
//! change of the store and wrote it to Redis in time.
//!
//! - Processes hold an epoch with a heartbeat every second. Each one reports its watermark: the time up to which all
//!   changes are in Redis. An epoch that no process has held for ten seconds is over. Its entries are never read again.
//! - A process that starts to receive changes enters an epoch only after another process has held it past that start:
//!   that process wrote all earlier changes.
//! - A process leaves the epoch if a write of its own was not confirmed, if its connection broke, or if it may have
//!   missed changes.
//! - An entry carries the generation of its link, and only a higher generation replaces it. A late write changes
//!   nothing.

mod changes;
mod endpoint;
mod entry;
mod epoch;
mod links;
mod options;
mod resolver;
mod scripts;
mod session;
mod shared;
mod shared_memory;
mod status;
mod supervisor;

pub use changes::SharedChanges;
pub use endpoint::{InvalidUrl, check_url};
pub use links::SharedLinks;
pub use options::RedisOptions;
pub use resolver::SharedResolver;
pub use shared_memory::SharedMemory;
pub use status::SharedMemoryStatus;
