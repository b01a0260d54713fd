//! Support for the tests: the binary as a process, a plain HTTP client, and callers with links of their own.

#[macro_use]
mod stores;

mod caller;
pub(crate) mod guardian;
mod http;
mod open_loop;
mod server;

use std::{
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

pub(crate) use self::{
    caller::{Caller, code_of, next_page},
    http::{Answer, Connection, Request, ask, ask_together},
    open_loop::ask_steadily,
    server::{Setup, Signpost, Told, run, signpost},
    stores::Store,
};

/// Far longer than every promise: a test that exceeds it fails instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether the condition became true within about this time.
#[must_use]
pub(crate) fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    let deadline = Instant::now() + limit;
    while !condition() {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(Duration::from_millis(5));
    }
    true
}

/// How often to repeat what fails only now and then: `usual` times, `soak` times in `just soak`, or in between.
pub(crate) fn rounds(usual: usize, soak: usize) -> usize {
    usual + soak.saturating_sub(usual) * soak_percent() / 100
}

/// Whether this is `just soak`, where few tests run together, so that times can be measured.
pub(crate) fn in_soak() -> bool {
    soak_percent() == 100
}

/// The percentage of the way from the usual to the full size, from `SIGNPOST_TEST_SOAK`.
fn soak_percent() -> usize {
    let percent = std::env::var("SIGNPOST_TEST_SOAK").unwrap_or_else(|_| "0".to_owned());
    percent.parse().ok().filter(|percent| *percent <= 100).expect("SIGNPOST_TEST_SOAK is a percentage")
}

/// A name that is unique in this test process.
pub(crate) fn unique(word: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{word}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A body of that many bytes: white space behind JSON has no meaning.
pub(crate) fn padded(json: &str, length: usize) -> String {
    json.to_owned() + &" ".repeat(length - json.len())
}

/// Repeats `background` on another thread for as long as `foreground` runs.
pub(crate) fn meanwhile<T>(mut background: impl FnMut() + Send, foreground: impl FnOnce() -> T) -> T {
    let done = Flag::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            while !done.is_raised() {
                background();
            }
        });
        let _raised_by_a_panic_too = done.raised_at_the_end();
        foreground()
    })
}

/// Ends what runs in the background.
#[derive(Debug, Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Raises the flag when dropped, so that a panic in the foreground also ends the background.
    #[must_use]
    pub(crate) fn raised_at_the_end(&self) -> RaisedOnDrop<'_> {
        RaisedOnDrop(self)
    }
}

pub(crate) struct RaisedOnDrop<'a>(&'a Flag);

impl Drop for RaisedOnDrop<'_> {
    fn drop(&mut self) {
        self.0.raise();
    }
}
