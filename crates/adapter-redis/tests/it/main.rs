//! The shared memory on a real Redis: the contract of every store, over a store that is shared; and the laws that only
//! a shared memory can break.

mod contract;
mod laws;
mod process;
mod shared_limiter;
