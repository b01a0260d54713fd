//! An open loop: redirects that are asked for when they are due, whether earlier ones were answered or not.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Connection, Request, Signpost, in_soak};

/// How late the answers came, in ascending order.
pub(crate) struct Late(Vec<Duration>);

impl Late {
    /// Whoever fell behind for a moment, as a machine does that stalls, hardly changes it.
    pub(crate) fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    pub(crate) fn p99(&self) -> Duration {
        self.0[self.0.len() * 99 / 100]
    }

    /// That they came less than twice as late as usual, or `slack` later than that: by the median; in the soak, where few
    /// tests run together, by the p99 too.
    pub(crate) fn assert_as_usual(&self, usual: &Self, slack: Duration, whence: &str) {
        let bound = |usual: Duration| usual * 2 + slack;
        let (median, p99) = ((self.median(), usual.median()), (self.p99(), usual.p99()));
        assert!(median.0 < bound(median.1), "{whence}: median {median:?}, of which the second is usual");
        assert!(!in_soak() || p99.0 < bound(p99.1), "{whence}: p99 {p99:?}, of which the second is usual");
    }
}

/// Asks for `redirects` in turn over 16 connections, for a while; all of them have to be answered. A machine that does not
/// manage as many a second answers later and later.
pub(crate) fn ask_steadily(server: &Signpost, per_second: u32, redirects: &[Request], lasts: Duration) -> Late {
    const CONNECTIONS: u32 = 16;
    let every = Duration::from_secs(1) * CONNECTIONS / per_second;
    let begun = Instant::now();
    let ask = |number: u32| {
        let mut connection = Connection::open(server.address()).expect("it listens");
        let mut late = Vec::new();
        while begun.elapsed() < lasts {
            let due = begun + every / CONNECTIONS * number + every * u32::try_from(late.len()).expect("not that many");
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
