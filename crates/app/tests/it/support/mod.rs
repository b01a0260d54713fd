//! What the tests stand on: the binary as a process, a plain HTTP client, callers with links of their own.

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

/// Far beyond every promise: what takes longer fails, instead of hanging.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);

/// Whether it became true in about this time.
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

/// How often to try what only goes wrong now and then: a few times, as often as `just soak` wants, or in between.
pub(crate) fn rounds(usual: usize, soak: usize) -> usize {
    usual + soak.saturating_sub(usual) * soak_percent() / 100
}

/// Whether this is `just soak`, where few tests run together and waiting can be told by the clock.
pub(crate) fn in_soak() -> bool {
    soak_percent() == 100
}

/// How far `SIGNPOST_TEST_SOAK` leads from the usual to the full size.
fn soak_percent() -> usize {
    let percent = std::env::var("SIGNPOST_TEST_SOAK").unwrap_or_else(|_| "0".to_owned());
    percent.parse().ok().filter(|percent| *percent <= 100).expect("SIGNPOST_TEST_SOAK is a percentage")
}

/// A name that nothing else in this test process has.
pub(crate) fn unique(word: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    format!("{word}-{}", COUNT.fetch_add(1, Ordering::Relaxed))
}

/// A body of that many bytes: white space behind JSON means nothing.
pub(crate) fn padded(json: &str, length: usize) -> String {
    json.to_owned() + &" ".repeat(length - json.len())
}

/// Does `background` again and again on another thread as long as `foreground` takes.
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

/// Ends what goes on in the background.
#[derive(Debug, Default)]
pub(crate) struct Flag(AtomicBool);

impl Flag {
    pub(crate) fn is_raised(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    pub(crate) fn raise(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// Raises it when dropped: a panic in the foreground must not wait for ever for the background.
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
