//! The HTTP adapter over stores that fail in every way a store can.

mod documentation;
mod failures;
mod ops_listener;
mod qr;
mod server;
mod troubled_store;
