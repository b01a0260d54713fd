//! Linearizability: whatever several callers do to one link at several processes, there is an order of it all that
//! explains every answer (Herlihy and Wing, 1990). And the checker that says so finds defects that are planted.

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
    time::Duration,
};

use serde_json::{Value, json};
use test_support::FaultProxy;

use self::{
    checker::Call,
    object::{Answered, Operation, Outcome, Shown},
    planted::{Defect, Planted},
};
use crate::support::{Caller, Connection, Request, Setup, Signpost, meanwhile, rounds, unique};

alone_on_both_stores! { every_history_of_a_link_has_an_order_that_explains_it }

/// Callers of one link at the same time.
const CALLERS: usize = 5;
/// What each of them does.
const STEPS: usize = 8;

fn every_history_of_a_link_has_an_order_that_explains_it(setup: &Setup) {
    let first = setup.start();
    let second = setup.is_on_postgres().then(|| first.another().start());
    let caller = first.caller();
    let addresses: Vec<_> = [Some(&first), second.as_ref()].into_iter().flatten().map(Signpost::address).collect();
    for _ in 0..rounds(20, 400) {
        let history = History::default();
        thread::scope(|scope| {
            let alias = unique("linear");
            for number in 0..CALLERS {
                let (history, at) = (&history, addresses[number % addresses.len()]);
                let mut link = OverHttp::new(&caller, at, &alias);
                scope.spawn(move || history.record(number, &mut link));
            }
        });
        history.is_explained().expect("it is linearizable");
    }
}

/// One process reaches the database over a line that is cut again and again, so that some answers are lost.
#[test]
fn every_history_over_a_broken_line_has_an_order_that_explains_it() {
    let first = Signpost::on_postgres().start();
    let database = first.database().clone();
    let port = database.url().rsplit_once(':').and_then(|(_, rest)| rest.split_once('/')?.0.parse().ok());
    let proxy = FaultProxy::before(([127, 0, 0, 1], port.expect("the URL has a port")).into());
    let url = format!("postgres://signpost@{}/{}", proxy.address(), database.name());
    let second = first.another().set("store.url", &url).start();
    let caller = first.caller();
    // On a slow machine nothing but an attempt to connect is there to be cut after a short pause.
    let mut pauses = [5, 15, 45, 135].into_iter().cycle().map(Duration::from_millis);
    let cut = || {
        thread::sleep(pauses.next().expect("there is no last one"));
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
                    let (history, mut link) = (&history, OverHttp::new(&caller, at, &alias));
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
fn the_checker_finds_what_is_planted() {
    for defect in [Defect::ClaimSelectsThenInserts, Defect::EditWithoutGeneration] {
        let found = (0..200).any(|_| is_explained(&Planted::new(Some(defect))).is_err());
        assert!(found, "{defect:?} goes unnoticed");
    }
    for _ in 0..50 {
        is_explained(&Planted::new(None)).expect("nothing is wrong with it");
    }
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
    /// What came of it; `None` if that is unknown.
    fn operate(&mut self, operation: &Operation) -> Option<Answered>;
}

/// What was done and answered.
#[derive(Debug, Default)]
struct History(Mutex<Record>);

#[derive(Debug, Default)]
struct Record {
    calls: Vec<Call>,
    /// How many beginnings and ends there were.
    moments: usize,
}

impl History {
    /// Does a mix of everything, and takes it down.
    fn record(&self, number: usize, link: &mut impl Operable) {
        let mut known = None;
        for step in 0..STEPS {
            // Everybody begins with a claim, and then each goes through the verbs in another order.
            let operation = match (step, (step * (number + 1) + number) % 6) {
                (0, _) | (_, 5) => Operation::Claim,
                (_, 0) => Operation::Read,
                (_, 1) => Operation::Edit { title: draw_title(), if_generation: None },
                (_, 2) => Operation::Edit { title: draw_title(), if_generation: known },
                (_, 3) => Operation::Delete,
                (_, _) => Operation::Reactivate,
            };
            let call = self.begins(operation.clone());
            let answered = link.operate(&operation);
            if let Some(Answered::Link(Shown { generation, .. })) = answered {
                known = Some(generation);
            }
            self.ends(call, answered);
        }
    }

    fn begins(&self, operation: Operation) -> usize {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let began = record.moments;
        record.moments += 1;
        record.calls.push(Call { operation, answered: None, began, ended: usize::MAX });
        record.calls.len() - 1
    }

    fn ends(&self, call: usize, answered: Option<Answered>) {
        let mut record = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ended = record.moments;
        record.moments += 1;
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
        if checker::is_explained(&record.calls) { Ok(()) } else { Err(format!("{:#?}", record.calls)) }
    }
}

/// A title that nothing else has.
fn draw_title() -> u64 {
    static TITLES: AtomicU64 = AtomicU64::new(1);
    TITLES.fetch_add(1, Ordering::Relaxed)
}

/// A link of the real service.
struct OverHttp {
    caller: Caller,
    address: SocketAddr,
    connection: Option<Connection>,
    alias: String,
}

impl OverHttp {
    fn new(caller: &Caller, address: SocketAddr, alias: &str) -> Self {
        Self { caller: caller.clone(), address, connection: None, alias: alias.to_owned() }
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
        Ok((answer.status, answer.json()))
    }
}

impl Operable for OverHttp {
    fn operate(&mut self, operation: &Operation) -> Option<Answered> {
        let request = self.request(operation);
        let (status, body) = self.send(&request).expect("it answers");
        match (status, body["code"].as_str().unwrap_or_default()) {
            (200 | 201, _) => Some(Answered::Link(shown(&body))),
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
