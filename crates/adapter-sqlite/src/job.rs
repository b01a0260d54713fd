//! Jobs of the threads.

use std::panic::{AssertUnwindSafe, catch_unwind};

use diesel::result::Error;

/// What a thread takes from its queue.
pub(crate) enum Job<C> {
    Call(C),
    /// The thread that takes it ends.
    End,
}

/// Runs `work` and turns a panic into an error: a panic of one call must not end the thread for all others.
pub(crate) fn guarded<T, E: From<Error>>(work: impl FnOnce() -> Result<T, E>) -> Result<T, E> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(Error::QueryBuilderError("the call panicked".into()).into()))
}
