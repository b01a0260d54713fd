//! The guarantee of the cache, in every order of up to five events on one link: a write by this process that is
//! reported late, a change by another process, a lookup, its answer, a report of the change feed, a gap, a sync, a
//! write with an unknown outcome. Nothing older than a reported generation stays cached, and nothing that may be old is
//! confirmed.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::Duration,
};

use adapter_cache::{CachedResolver, WriteThroughLinks};
use async_trait::async_trait;
use domain::{
    address::Address,
    history::{EventKind, LinkEvent, Provenance},
    idempotency::IdempotentRequest,
    lifecycle::{Candidate, Change},
    link::{Generation, Link, LinkState},
    ports::{
        Applied, ChangeSubscriber, Claims, LinkRepository, LinkResolver, ListQuery, RepositoryError,
        RepositoryErrorKind, Resolved,
    },
};
use tokio::{
    sync::oneshot,
    task::{JoinHandle, yield_now},
    time::advance,
};
use uuid::Uuid;

use crate::{
    OPTIONS, cached,
    store::{AskedStore, a_caller, code, deleted, link, reactivated},
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Event {
    /// A visitor's lookup starts. The store reads at once, and its answer is in flight.
    Ask,
    /// The oldest answer in flight arrives.
    Answer,
    /// This process changes the link. The reply of the store is in flight.
    Write,
    /// The reply to the oldest write of this process arrives.
    Written,
    /// The caller of the oldest write of this process leaves. The reply of the store is still in flight.
    Leave,
    /// This process changes the link, and the store gives no answer.
    Lose,
    /// Another process changes the link.
    Change,
    /// The change feed reports every change twice, the latest first.
    Tell,
    /// The change feed reports every change, and that it is in sync.
    Sync,
    /// The change feed loses its position: unreported changes are never reported.
    Gap,
}

const EVENTS: [Event; 10] = [
    Event::Ask,
    Event::Answer,
    Event::Write,
    Event::Written,
    Event::Leave,
    Event::Lose,
    Event::Change,
    Event::Tell,
    Event::Sync,
    Event::Gap,
];

/// Writes that are committed at once and answered later.
#[derive(Default)]
struct LateLinks(Mutex<VecDeque<(Told, oneshot::Receiver<()>)>>);

#[derive(Clone, Copy)]
enum Told {
    Done,
    Lost,
}

#[async_trait]
impl LinkRepository for LateLinks {
    async fn claim(&self, _: &[Candidate], _: Option<&IdempotentRequest>) -> Result<Claims, RepositoryError> {
        unreachable!("nothing is claimed")
    }

    async fn find(&self, _: &Address) -> Result<Option<Link>, RepositoryError> {
        unreachable!("nothing is found")
    }

    async fn apply(
        &self,
        _: &Change,
        _: &Provenance,
        _: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        let (told, late) = self.0.lock().expect("no panic").pop_back().expect("it was prepared");
        match (late.await, told) {
            (Ok(()), Told::Done) => Ok(Applied::Done),
            // Or the test ended before the reply.
            (Ok(()), Told::Lost) | (Err(_), _) => {
                Err(RepositoryError::new(RepositoryErrorKind::Indeterminate, "changing a link"))
            }
        }
    }

    async fn list(&self, _: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        unreachable!("nothing is listed")
    }

    async fn with_ids(&self, _: &[Uuid]) -> Result<Vec<Link>, RepositoryError> {
        unreachable!("no ids are looked up")
    }

    async fn history(&self, _: &Address, _: Option<Generation>, _: u32) -> Result<Vec<LinkEvent>, RepositoryError> {
        unreachable!("no history is read")
    }
}

/// One process with one link, and everything that is in flight.
struct World {
    resolver: CachedResolver,
    store: Arc<AskedStore>,
    late: Arc<LateLinks>,
    links: Arc<WriteThroughLinks>,
    truth: Link,
    /// The generation up to which the change feed reported.
    told: i64,
    /// The generation below which nothing may be cached.
    floor: i64,
    writes: VecDeque<PendingWrite>,
    asks: Vec<(i64, JoinHandle<Result<Resolved, RepositoryError>>)>,
}

struct PendingWrite {
    link: Link,
    caller: Option<JoinHandle<()>>,
    release: oneshot::Sender<()>,
}

impl World {
    /// The link is cached, and confirmed as of now.
    async fn new() -> Self {
        let (store, _questions) = AskedStore::new();
        let truth = link("known");
        store.put(&truth);
        let resolver = cached(store.clone(), OPTIONS);
        let late = Arc::new(LateLinks::default());
        let links = Arc::new(WriteThroughLinks::new(late.clone(), resolver.clone()));
        resolver.gap();
        resolver.resolve(&truth.address()).await.expect("the store answers");
        resolver.synced_until(Duration::ZERO);
        store.hold();
        let (writes, asks) = (VecDeque::new(), Vec::new());
        Self { resolver, store, late, links, truth, told: 1, floor: 1, writes, asks }
    }

    /// Commits the next generation.
    fn commit(&mut self) -> Change {
        let from = self.truth.generation;
        let (after, kind) = match self.truth.state {
            LinkState::Active => (deleted(&self.truth), EventKind::Deleted),
            LinkState::Deleted { .. } => (reactivated(&self.truth), EventKind::Reactivated),
        };
        self.store.put(&after);
        self.truth = after.clone();
        Change { from, after, kind }
    }

    fn begin(&mut self, told: Told) -> (Link, JoinHandle<()>, oneshot::Sender<()>) {
        let change = self.commit();
        let (release, late) = oneshot::channel();
        self.late.0.lock().expect("no panic").push_back((told, late));
        let (links, link) = (self.links.clone(), change.after.clone());
        let caller = tokio::spawn(async move {
            // The cache receives the outcome; the test does not need it.
            let _outcome = links.apply(&change, &a_caller(), None).await;
        });
        (link, caller, release)
    }

    fn tell(&mut self) {
        let (from, to) = (self.told, self.truth.generation.get());
        for generation in (from + 1..=to).rev().chain(from + 1..=to) {
            self.resolver.changed(&code("known"), Generation::new(generation).expect("positive"));
        }
        self.told = to;
        self.floor = self.floor.max(to);
    }

    /// Runs an event. Returns whether it could happen.
    async fn happen(&mut self, event: Event) -> bool {
        match event {
            // A cached link needs no lookup.
            Event::Ask if self.remembered().is_some() => return false,
            Event::Ask => {
                let resolver = self.resolver.clone();
                self.asks.push((self.floor, tokio::spawn(async move { resolver.resolve(&code("known")).await })));
            }
            Event::Answer if self.asks.iter().all(|(_, ask)| ask.is_finished()) => return false,
            Event::Answer => self.store.release(1),
            Event::Write => {
                let (link, caller, release) = self.begin(Told::Done);
                self.writes.push_back(PendingWrite { link, caller: Some(caller), release });
            }
            Event::Written => {
                let Some(write) = self.writes.pop_front() else { return false };
                write.release.send(()).expect("it waits");
                self.floor = self.floor.max(write.link.generation.get());
                if let Some(caller) = write.caller {
                    caller.await.expect("no panic");
                }
            }
            Event::Leave => {
                let Some(caller) = self.writes.front_mut().and_then(|write| write.caller.take()) else { return false };
                caller.abort();
            }
            Event::Lose => {
                let (link, caller, release) = self.begin(Told::Lost);
                yield_now().await;
                release.send(()).expect("it waits");
                caller.await.expect("no panic");
                // The link is doubted: only lookups from now on count.
                self.floor = self.floor.max(link.generation.get());
            }
            Event::Change => drop(self.commit()),
            Event::Tell if self.told == self.truth.generation.get() => return false,
            Event::Tell => self.tell(),
            Event::Sync => {
                self.tell();
                self.resolver.synced_until(Duration::ZERO);
            }
            Event::Gap => {
                self.told = self.truth.generation.get();
                self.resolver.gap();
            }
        }
        settle().await;
        true
    }

    /// The generation that a redirect gets without asking the store.
    fn remembered(&self) -> Option<i64> {
        let known = self.resolver.resolve_at_once(&code("known"))?;
        Some(known.resolution.expect("the link exists").generation.get())
    }

    fn check(&self, events: &[Event]) {
        if let Some(generation) = self.remembered() {
            assert!(generation >= self.floor, "{events:?}: {generation} is remembered, below {}", self.floor);
        }
    }

    /// Everything in flight arrives. Then the change feed is alive, or it is not.
    async fn end(mut self, events: &[Event], history_lives: bool) {
        self.store.release(1_000);
        for (floor, ask) in std::mem::take(&mut self.asks) {
            if let Ok(answer) = ask.await.expect("no panic") {
                let generation = answer.resolution.expect("the link exists").generation.get();
                assert!(generation >= floor, "{events:?}: an answer of {generation}, asked for above {floor}");
            }
        }
        while self.happen(Event::Written).await {}
        self.check(events);
        if history_lives {
            for _ in 0..4 {
                self.happen(Event::Sync).await;
                advance(OPTIONS.ttl / 2).await;
            }
        } else {
            advance(OPTIONS.ttl).await;
        }
        if let Some(generation) = self.remembered() {
            let truth = self.truth.generation.get();
            assert_eq!(generation, truth, "{events:?}, with the history alive: {history_lives}");
        }
    }
}

/// Lets spawned tasks run until they wait.
async fn settle() {
    for _ in 0..8 {
        yield_now().await;
    }
}

/// Runs the events in order. Returns whether all of them could happen.
async fn try_out(events: &[Event]) -> bool {
    for history_lives in [true, false] {
        let mut world = World::new().await;
        for event in events {
            if !world.happen(*event).await {
                return false;
            }
            world.check(events);
        }
        world.end(events, history_lives).await;
    }
    true
}

#[tokio::test(start_paused = true)]
async fn no_order_of_five_events_leaves_an_outdated_link() {
    let mut tried = 0;
    let mut orders = vec![Vec::new()];
    while let Some(order) = orders.pop() {
        if try_out(&order).await {
            tried += 1;
            if order.len() < 5 {
                orders.extend(EVENTS.map(|next| [order.as_slice(), &[next]].concat()));
            }
        }
    }
    assert!(tried > 10_000, "{tried} orders were tried");
}
