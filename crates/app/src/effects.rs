//! The real clock and the real randomness, for the ports that ask for them.

use std::time::{SystemTime, UNIX_EPOCH};

use domain::{
    ports::{Clock, Entropy},
    time::Timestamp,
};

/// The operating system's clock.
#[derive(Debug)]
pub(crate) struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> Timestamp {
        #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the clock")]
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let micros = i64::try_from(since.as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_unix_micros(micros).expect("the clock stands before the year 10000")
    }
}

/// The operating system's CSPRNG.
#[derive(Debug)]
pub(crate) struct SystemEntropy;

impl Entropy for SystemEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        getrandom::fill(bytes).expect("without randomness from the operating system nothing here is safe");
    }
}
