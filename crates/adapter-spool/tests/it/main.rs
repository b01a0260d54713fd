//! The spool as its callers see it: on a real disk, across processes, damaged and full.

#![expect(
    clippy::disallowed_methods,
    reason = "a test starts itself again as the process to kill, and the threads of the spool send no events"
)]

mod adoption;
mod crash;
mod damage;
mod fuzz;
mod limits;
mod outside;
mod round_trip;
mod support;
