//! An open loop: redirects that are asked for when they are due, whether earlier ones were answered or not.

use std::{
    thread,
    time::{Duration, Instant},
};

use super::{Connection, Request, Signpost, rounds};

/// How late the answers came, in ascending order.
pub(crate) struct Late(Vec<Duration>);

impl Late {
    /// Of which a stall of the machine, or another test, makes little.
    pub(crate) fn median(&self) -> Duration {
        self.0[self.0.len() / 2]
    }

    pub(crate) fn p99(&self) -> Duration {
        self.0[self.0.len() * 99 / 100]
    }
}

/// Asks for `redirects` in turn, over 16 connections for a while; all of them have to be answered. In the soak 500 a
/// second; elsewhere as many as a slow machine manages beside other tests, or what is late would only be ever later.
pub(crate) fn ask_steadily(server: &Signpost, redirects: &[Request], lasts: Duration) -> Late {
    const CONNECTIONS: u32 = 16;
    let per_second = u32::try_from(rounds(100, 500)).expect("a few hundred");
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
