//! The shared cache on a real Redis: the contract of every store, over a store with this cache, and the guarantees that
//! only a shared cache can break.

mod contract;
mod laws;
mod process;
mod shared_limiter;
