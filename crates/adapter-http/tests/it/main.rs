//! The HTTP face over stores that misbehave in every way a store can.

mod failures;
mod papers;
mod server;
mod troubled_store;
