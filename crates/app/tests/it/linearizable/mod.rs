//! Linearizability: whatever several callers do to one link at several processes, there is an order that explains every
//! answer (Herlihy and Wing, 1990). Visitors follow the link meanwhile, through the cache of each process. They may get
//! a state that is up to ten seconds old, but not one from before what that process last acknowledged. The checker
//! itself is tested with planted defects.

mod checker;
mod object;
mod planted;

use std::{
    io,
    net::SocketAddr,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::net::sockopt::set_socket_linger;
use serde_json::{Value, json};
use test_support::FaultProxy;

use self::{
    checker::Call,
    object::{Answered, Operation, Outcome, Shown},
    planted::{Defect, Planted},
};
use crate::support::{Caller, Connection, Request, Setup, Signpost, meanwhile, rounds, unique};

alone_on_both_stores! { every_history_of_a_link_has_an_order_that_explains_it }

/// Concurrent callers of one link.
const CALLERS: usize = 5;
/// Operations of each caller.
const STEPS: usize = 8;
/// How old a cache entry may be.
const STALENESS: Duration = Duration::from_secs(10);

fn every_history_of_a_link_has_an_order_that_explains_it(setup: &Setup) {
    let first = setup.start();
    let second = setup.is_on_postgres().then(|| first.another().start());
    let caller = first.caller();
    let addresses: Vec<_> = [Some(&first), second.as_ref()].into_iter().flatten().map(Signpost::address).collect();
    let mut histories = Vec::new();
    for _ in 0..rounds(20, 400) {
        let (history, alias) = (History::default(), unique("linear"));
        thread::scope(|scope| {
            for number in 0..CALLERS {
                let process = number % addresses.len();
                let mut link = OverHttp::new(&caller, addresses[process], process, &alias);
                link.leaves_every = if number == CALLERS - 1 { 2 } else { usize::MAX };
                let history = &history;
                scope.spawn(move || history.record(number, &mut link));
            }
        });
        history.is_explained().expect("it is linearizable");
        histories.push((history, alias));
    }
    // From now on no answer may be older than the last change.
    thread::sleep(STALENESS);
    for (history, alias) in histories {
        // Through a list, because reading the link by its code would update the cache.
        history.observe(&Operation::List, &mut OverHttp::new(&caller, addresses[0], 0, &alias));
        for (process, address) in addresses.iter().enumerate() {
            let mut link = OverHttp::new(&caller, *address, process, &alias);
            history.observe_within(Duration::ZERO, &Operation::Follow, &mut link);
        }
        history.is_explained().expect("every process tells what is true in the end");
    }
}

/// One process reaches the database over a connection that is cut again and again, so that some answers are lost.
#[test]
fn every_history_over_a_broken_line_has_an_order_that_explains_it() {
    let first = Signpost::on_postgres().start();
    let database = first.database().clone();
    let port = database.url().rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')?.0.parse().ok());
    let proxy = FaultProxy::before(([127, 0, 0, 1], port.expect("the URL has a port")).into());
    let url = format!("postgres://signpost@{}/{}", proxy.address(), database.name());
    let second = first.another().set("store.url", &url).start();
    let caller = first.caller();
    // On a slow machine a short pause only ever cuts attempts to connect, so longer ones follow.
    let mut pauses = [5, 15, 45, 135].into_iter().cycle().map(Duration::from_millis);
    let cut = || {
        thread::sleep(pauses.next().expect("the pauses repeat without end"));
        proxy.cut();
    };
    let mut lost = 0;
    meanwhile(cut, || {
        for _ in 0..rounds(30, 400) {
            let history = History::default();
            thread::scope(|scope| {
                let alias = unique("linear");
                for number in 0..CALLERS {
                    let at = [second.address(), first.address()][usize::from(number == 0)];
                    let (history, mut link) = (&history, OverHttp::new(&caller, at, usize::from(number == 0), &alias));
                    scope.spawn(move || history.record(number, &mut link));
                }
            });
            lost += history.count_unanswered();
            history.is_explained().expect("it is linearizable");
        }
    });
    assert!(lost > 0, "no answer was ever lost");
}

#[test]
fn the_checker_finds_planted_defects() {
    for defect in [Defect::ClaimSelectsThenInserts, Defect::EditWithoutGeneration] {
        let found = (0..200).any(|_| is_explained(&Planted::new(Some(defect))).is_err());
        assert!(found, "{defect:?} goes unnoticed");
    }
    for defect in [Defect::FloorForgotten, Defect::UntoldWithoutCaller] {
        let found = (0..200).any(|_| is_explained_at_both_processes(&Planted::new(Some(defect))).is_err());
        assert!(found, "{defect:?} goes unnoticed");
    }
    for _ in 0..50 {
        is_explained(&Planted::new(None)).expect("nothing is wrong with it");
        is_explained_at_both_processes(&Planted::new(None)).expect("nothing is wrong with it");
    }
}

fn is_explained_at_both_processes(planted: &Planted) -> Result<(), String> {
    let history = History::default();
    thread::scope(|scope| {
        for number in 0..CALLERS {
            let history = &history;
            scope.spawn(move || history.record(number, &mut planted.at(number % 2)));
        }
    });
    // All notifications have arrived. The caller of this last change leaves before its answer.
    let last = if planted.is_deleted() { Operation::Reactivate } else { Operation::Delete };
    history.observe(&last, &mut planted.at(0).leaving());
    history.observe(&Operation::List, &mut planted.at(0));
    for process in 0..2 {
        history.observe_within(Duration::ZERO, &Operation::Follow, &mut planted.at(process));
    }
    history.is_explained()
}

fn is_explained(planted: &Planted) -> Result<(), String> {
    let history = History::default();
    thread::scope(|scope| {
        for number in 0..CALLERS {
            let history = &history;
            scope.spawn(move || history.record(number, &mut &*planted));
        }
    });
    history.is_explained()
}

/// A link that can be operated on.
trait Operable {
    /// The process at which it is operated on.
    fn process(&self) -> usize;

    /// The answer; `None` if it is unknown.
    fn operate(&mut self, operation: &Operation) -> Option<Answered>;
}

/// All operations and their answers.
#[derive(Debug, Default)]
struct History(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    calls: Vec<Call>,
    /// The times of all beginnings and ends.
    moments: Vec<Instant>,
    /// The calls that each process has answered about the link so far, one bit each.
    told: [u128; 2],
}

impl History {
    /// Does a mix of all operations and records them.
    fn record(&self, number: usize, link: &mut impl Operable) {
        let mut known = None;
        for step in 0..STEPS {
            // Every caller begins with a claim, and then does the operations in another order.
            let operation = match (step, (step * (number + 1) + number) % 6) {
                (0, _) | (_, 5) => Operation::Claim,
                (_, 0) => Operation::Read,
                (_, 1) => Operation::Edit { title: draw_title(), if_generation: None },
                (_, 2) => Operation::Edit { title: draw_title(), if_generation: known },
                (_, 3) => Operation::Delete,
                (_, _) => Operation::Reactivate,
            };
            let answered = self.observe(&operation, link);
            if let Some(Answered::Link(Shown { generation, .. })) = answered {
                known = Some(generation);
            }
            self.observe(&Operation::Follow, link);
        }
    }

    /// Does an operation and records it.
    fn observe(&self, operation: &Operation, link: &mut impl Operable) -> Option<Answered> {
        self.observe_within(STALENESS, operation, link)
    }

    /// Does an operation and records it. A visitor may get a state of up to this age.
    fn observe_within(&self, staleness: Duration, operation: &Operation, link: &mut impl Operable) -> Option<Answered> {
        let call = self.begins(operation.clone(), link.process(), staleness);
        let answered = link.operate(operation);
        self.ends(call, link.process(), answered.clone());
        answered
    }

    fn begins(&self, operation: Operation, process: usize, staleness: Duration) -> usize {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        record.moments.push(now);
        let is_over = |moment: &Instant| now.duration_since(*moment) > staleness;
        let (began, after) = match operation {
            Operation::Follow => (record.moments.partition_point(is_over), record.told[process]),
            _ => (record.moments.len() - 1, 0),
        };
        record.calls.push(Call { operation, answered: None, began, after, ended: usize::MAX });
        record.calls.len() - 1
    }

    fn ends(&self, call: usize, process: usize, answered: Option<Answered>) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = record.moments.len();
        record.moments.push(Instant::now());
        if let Some(Answered::Link(_) | Answered::Led | Answered::Gone) = answered {
            record.told[process] |= 1 << call;
        }
        let call = &mut record.calls[call];
        if answered.is_some() {
            call.ended = ended;
            call.answered = answered;
        }
    }

    fn count_unanswered(&self) -> usize {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        record.calls.iter().filter(|call| call.answered.is_none()).count()
    }

    fn is_explained(&self) -> Result<(), String> {
        let record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let line = |call: &Call| format!("{call:?}\n");
        if checker::is_explained(&record.calls) { Ok(()) } else { Err(record.calls.iter().map(line).collect()) }
    }
}

/// A unique title.
fn draw_title() -> u64 {
    static TITLES: AtomicU64 = AtomicU64::new(1);
    TITLES.fetch_add(1, Ordering::Relaxed)
}

/// A link of the real service.
struct OverHttp {
    caller: Caller,
    address: SocketAddr,
    process: usize,
    connection: Option<Connection>,
    alias: String,
    /// The caller hangs up at every change whose number is a multiple of this.
    leaves_every: usize,
    changes: usize,
}

impl OverHttp {
    fn new(caller: &Caller, address: SocketAddr, process: usize, alias: &str) -> Self {
        let (caller, alias) = (caller.clone(), alias.to_owned());
        Self { caller, address, process, connection: None, alias, leaves_every: usize::MAX, changes: 0 }
    }

    /// Counts a change. Whether the caller sends this request and hangs up.
    fn leaves(&mut self, operation: &Operation) -> bool {
        let changes = !matches!(operation, Operation::Read | Operation::List | Operation::Follow);
        self.changes += usize::from(changes);
        changes && self.changes.is_multiple_of(self.leaves_every)
    }

    fn send_and_leave(&mut self, request: &Request) -> io::Result<()> {
        let mut connection = Connection::open(self.address)?;
        connection.write(&request.to_bytes())?;
        set_socket_linger(connection.into_stream(), Some(Duration::ZERO))?;
        Ok(())
    }

    fn request(&self, operation: &Operation) -> Request {
        let Self { caller, alias, .. } = self;
        match operation {
            Operation::Claim => caller.claiming(&json!({"url": "https://example.com/linear", "alias": alias})),
            Operation::Read => caller.request("GET", &format!("/api/v1/links/{alias}")),
            Operation::Edit { title, if_generation } => {
                let edit = caller.editing(alias, &json!({"title": title.to_string()}));
                match if_generation {
                    Some(generation) => edit.header("If-Match", &format!("\"{generation}\"")),
                    None => edit,
                }
            }
            Operation::Delete => caller.deleting(alias),
            Operation::Reactivate => caller.reactivating(alias),
            Operation::List => caller.request("GET", &format!("/api/v1/links?q={alias}")),
            Operation::Follow => Request::get(&format!("/{alias}")),
        }
    }

    fn send(&mut self, request: &Request) -> io::Result<(u16, Value)> {
        if self.connection.is_none() {
            self.connection = Some(Connection::open(self.address)?);
        }
        let connection = self.connection.as_mut().expect("it was opened");
        let answer = connection.send(request)?;
        if answer.header("connection") == Some("close") {
            self.connection = None;
        }
        // A redirect has no body.
        Ok((answer.status, if answer.status == 302 { Value::Null } else { answer.json() }))
    }
}

impl Operable for OverHttp {
    fn process(&self) -> usize {
        self.process
    }

    fn operate(&mut self, operation: &Operation) -> Option<Answered> {
        let request = self.request(operation);
        if self.leaves(operation) {
            self.send_and_leave(&request).expect("the server reads");
            return None;
        }
        let (status, mut body) = self.send(&request).expect("it answers");
        if *operation == Operation::List && status == 200 {
            let mut items = body["items"].as_array().cloned().unwrap_or_default();
            items.retain(|link| link["code"] == self.alias);
            body = items.pop().expect("the link is in the list");
        }
        match (status, body["code"].as_str().unwrap_or_default()) {
            (200 | 201, _) => Some(Answered::Link(shown(&body))),
            (302, _) => Some(Answered::Led),
            (410, _) => Some(Answered::Gone),
            (404, _) => Some(Answered::Missing),
            (409, "link-deleted") => Some(Answered::Deleted),
            (412, _) => Some(Answered::Stale),
            (503, "unavailable") => Some(Answered::Refused),
            (503, "outcome-unknown") => None,
            _ => panic!("{operation:?}: {status} {body}"),
        }
    }
}

fn shown(link: &Value) -> Shown {
    let outcome = |name: &str| match name {
        "created" => Outcome::Created,
        "existing" => Outcome::Existing,
        "reactivated" => Outcome::Reactivated,
        other => panic!("no outcome: {other}"),
    };
    Shown {
        outcome: link["outcome"].as_str().map(outcome),
        generation: link["generation"].as_u64().expect("a number"),
        deleted: link["state"] == "deleted",
        title: link["title"].as_str().map_or(0, |title| title.parse().expect("ours are numbers")),
    }
}
