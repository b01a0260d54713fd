//! What the tests of Signpost share: the contract suite for stores, an in-memory store, time and randomness under
//! control, and private PostgreSQL and Redis servers. It is a development dependency only.
//!
//! To test a new store against the contract, write a function that makes a fresh, empty one. Pass it to
//! [`contract_suite!`](crate::contract_suite).

#![expect(
    clippy::disallowed_methods,
    reason = "environment variables name the server programs, and server processes give no event to wait for"
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
