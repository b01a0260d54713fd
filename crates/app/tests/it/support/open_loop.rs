//! An open loop: redirects that are requested when they are due, whether or not earlier ones were answered.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Connection, Request, Signpost, in_soak};

/// The latencies of the answers, in ascending order.
pub(crate) struct Late(Vec<Duration>);

impl Late {
    /// The median latency. A machine that stalls for a moment hardly changes it.
    pub(crate) fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    pub(crate) fn p99(&self) -> Duration {
        self.0[self.0.len() * 99 / 100]
    }

    /// Asserts that the latency is less than twice the usual one plus `slack`: the median, and in the soak, where few
    /// tests run together, the p99 too.
    pub(crate) fn assert_as_usual(&self, usual: &Self, slack: Duration, whence: &str) {
        let bound = |usual: Duration| usual * 2 + slack;
        let (median, p99) = ((self.median(), usual.median()), (self.p99(), usual.p99()));
        assert!(median.0 < bound(median.1), "{whence}: median {median:?}, of which the second is usual");
        assert!(!in_soak() || p99.0 < bound(p99.1), "{whence}: p99 {p99:?}, of which the second is usual");
    }
}

/// Requests `redirects` in turn over 16 connections, for a while. All of them have to be answered. Latencies grow if
/// the machine cannot serve that many a second.
pub(crate) fn ask_steadily(server: &Signpost, per_second: u32, redirects: &[Request], lasts: Duration) -> Late {
    const CONNECTIONS: u32 = 16;
    let every = Duration::from_secs(1) * CONNECTIONS / per_second;
    let begun = Instant::now();
    let ask = |number: u32| {
        let mut connection = Connection::open(server.address()).expect("it listens");
        let mut late = Vec::new();
        while begun.elapsed() < lasts {
            let due = begun + every / CONNECTIONS * number + every * u32::try_from(late.len()).expect("the count fits");
            thread::sleep(due.saturating_duration_since(Instant::now()));
            let next = late.len() * CONNECTIONS as usize + number as usize;
            let answer = connection.send(&redirects[next % redirects.len()]).expect("it is answered");
            answer.with_status(302);
            late.push(due.elapsed());
        }
        late
    };
    let mut late: Vec<Duration> = thread::scope(|scope| {
        let ask = &ask;
        let asking: Vec<_> = (0..CONNECTIONS).map(|number| scope.spawn(move || ask(number))).collect();
        asking.into_iter().flat_map(|asked| asked.join().expect("every redirect is answered")).collect()
    });
    late.sort_unstable();
    Late(late)
}
