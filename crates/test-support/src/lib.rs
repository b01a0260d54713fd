//! What tests of Signpost share: the contract every store must keep, a store in memory, time and chance
//! under control, and private servers. Only ever a development dependency.
//!
//! To put a new store under the contract: write a function that makes a fresh, empty one and hand it to
//! [`contract_suite!`](crate::contract_suite).

#![expect(
    clippy::disallowed_methods,
    reason = "private servers are looked for in the environment, and their processes give no event to wait for"
)]

pub mod contract;
mod decorated;
mod effects;
mod memory;
mod postgres;
mod processes;
mod proxy;
mod redis;
mod subscriber;
mod unreadable;

pub use decorated::Decorated;
pub use effects::{ManualClock, ScriptedCodes, SeededEntropy};
pub use memory::MemoryStore;
pub use postgres::{
    PostgresServer, ServerOptions, TestDatabase, TlsFiles, postgres_bin_dir, shared_database_from_template,
    shared_server,
};
pub use proxy::{Direction, FaultProxy};
pub use redis::RedisServer;
pub use subscriber::{Recorder, Told};
pub use unreadable::KeptRows;
