//! Signpost from outside: the real binary, queried over real sockets, on both stores.
//!
//! To add a test: write a function that takes a `&Signpost` (the server that all tests of a store share) or a `&Setup`
//! (for a server of its own), and name it in `on_both_stores!` or `alone_on_both_stores!` of its file.

#![expect(
    clippy::disallowed_methods,
    reason = "the tests clear the environment of the binary, and poll other processes, which send no events"
)]

#[macro_use]
mod support;

mod clicks;
mod config;
mod crashes;
mod crowds;
mod documents;
mod failover;
mod freshness;
mod hangups;
mod health;
mod limits;
mod linearizable;
mod logs;
mod memory;
mod metrics;
mod process;
mod races;
mod routes;
mod runbook;
mod shared;
mod shared_limits;
mod targets;
mod upgrades;
mod wire;
