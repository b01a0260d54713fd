//! The shared memory: what there is of Redis just now, and whether it may be trusted.

use std::{
    convert::Infallible,
    fmt,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use async_trait::async_trait;
use domain::{
    code::Code,
    lifecycle::Resolution,
    link::{Generation, Link},
    ports::{
        ChangeSubscriber, Draw, Drawn, Entropy, FailureReason, Identify, Meter, Ping, RepositoryError,
        RepositoryErrorKind,
    },
};
use slog::{Logger, info};
use tokio::{runtime::Handle, sync::Semaphore, time::Instant};

use crate::{
    RedisOptions,
    address::{Address, InvalidUrl},
    entry::{self, Entry, Names},
    era::{Heard, RedisTime},
    keeper,
    session::{PRESENT, Session, Verb, Write},
};

/// The shared memory of all processes on one store. Its clones are one.
#[derive(Clone)]
pub struct SharedMemory(pub(crate) Arc<Shared>);

pub(crate) struct Shared {
    pub(crate) address: Address,
    pub(crate) options: RedisOptions,
    pub(crate) log: Logger,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
    /// Entries that are written while nobody waits for it.
    fills: Arc<Semaphore>,
    /// Where they are written.
    runtime: Handle,
    /// What this process is called among all.
    pub(crate) name: String,
    /// Whether there is a line that is not lost, for whoever cannot wait for the state.
    pub(crate) is_there: Arc<AtomicBool>,
    /// How many processes there were lately at most.
    pub(crate) processes: AtomicU32,
    /// When there were so many.
    most_seen: Mutex<Option<Instant>>,
    /// Why it was not used last.
    pub(crate) away: Mutex<String>,
}

#[derive(Default)]
struct State {
    line: Option<Arc<Line>>,
    era: Option<Era>,
    heard: Option<Heard>,
    /// The same moment on both clocks.
    clock: Option<(Instant, RedisTime)>,
}

/// A connection, and how things are called on it.
pub(crate) struct Line {
    pub(crate) session: Session,
    pub(crate) names: Names,
}

#[derive(Clone)]
struct Era {
    name: Arc<str>,
    trusted: bool,
}

/// Where entries are: on a connection, in an era.
#[derive(Clone)]
pub(crate) struct Place {
    line: Arc<Line>,
    era: Arc<str>,
    /// Until when everything is in it.
    pub(crate) up_to_date: Instant,
    /// The same moment here and on Redis' clock.
    clock: Option<(Instant, RedisTime)>,
}

impl fmt::Debug for SharedMemory {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedMemory").finish_non_exhaustive()
    }
}

impl SharedMemory {
    /// A memory in the Redis of `options`; nothing is connected before it is [kept](Self::keep).
    pub fn new(
        options: RedisOptions,
        entropy: Arc<dyn Entropy>,
        runtime: Handle,
        log: Logger,
    ) -> Result<Self, InvalidUrl> {
        let address = Address::of(&options)?;
        let fills = Arc::new(Semaphore::new(Shared::MOST_FILLS));
        Ok(Self(Arc::new(Shared {
            address,
            options,
            log,
            name: draw_name(entropy.as_ref()),
            entropy,
            state: Mutex::default(),
            fills,
            runtime,
            is_there: Arc::default(),
            processes: AtomicU32::new(1),
            most_seen: Mutex::default(),
            away: Mutex::new("it is not connected yet".to_owned()),
        })))
    }

    /// Keeps it connected and in an era of `store`, for ever; `subscriber` is told what other processes say on it.
    pub async fn keep(&self, store: &dyn Identify, subscriber: Arc<dyn ChangeSubscriber>) -> Infallible {
        keeper::keep(&self.0, store, subscriber).await
    }
}

#[async_trait]
impl Ping for SharedMemory {
    async fn ping(&self) -> Result<(), RepositoryError> {
        let failed = |why: String| {
            let error = RepositoryError::new(RepositoryErrorKind::Unavailable, "pinging Redis");
            error.because(reason_of(&why)).caused_by(why)
        };
        let away = || self.0.away.lock().expect("nothing panics while it is held").clone();
        let line = self.0.line().ok_or_else(|| failed(away()))?;
        line.session.ping().await.map_err(failed)
    }
}

/// Why Redis is not used, for the operator, from what it or the network said.
fn reason_of(why: &str) -> FailureReason {
    let why = why.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| why.contains(word));
    if has(&["in time", "silent", "timed out"]) {
        FailureReason::TimedOut
    } else if has(&["refused"]) {
        FailureReason::ConnectionRefused
    } else if has(&["noauth", "wrongpass", "noperm", "authentic"]) {
        FailureReason::AuthenticationFailed
    } else if has(&["readonly"]) {
        FailureReason::ReadOnly
    } else if has(&["lookup", "no primary", "unreachable"]) {
        FailureReason::Unreachable
    } else {
        FailureReason::ConnectionLost
    }
}

impl Shared {
    /// More would not be written in time.
    const MOST_FILLS: usize = 256;
    /// What the store said so long ago is not written down: a newer entry could have been evicted since.
    const LATE: Duration = Duration::from_secs(2);

    /// A name that no era ever had.
    pub(crate) fn draw_name(&self) -> String {
        draw_name(self.entropy.as_ref())
    }

    async fn meter(&self, verb: Verb, draws: &[Draw]) -> Option<Drawn> {
        let line = self.line()?;
        let draws: Vec<_> = draws.iter().map(|draw| (line.names.quota(&draw.account), draw)).collect();
        line.session.meter(verb, &draws).await
    }

    /// The connection, if there is one.
    pub(crate) fn line(&self) -> Option<Arc<Line>> {
        self.state().line.clone().filter(|line| !line.session.is_lost())
    }

    /// Where changes have to be taken. Entries there may be outdated.
    fn place_for_changes(&self) -> Option<Place> {
        self.place(|_, _| true)
    }

    /// Where entries can be trusted.
    pub(crate) fn trusted_place(&self) -> Option<Place> {
        self.place(|era, heard| era.trusted && heard.is_recent())
    }

    fn place(&self, fits: impl Fn(&Era, Heard) -> bool) -> Option<Place> {
        let state = self.state();
        let (line, era, heard) = (state.line.as_ref()?, state.era.as_ref()?, state.heard?);
        let there = !line.session.is_lost() && fits(era, heard);
        there.then(|| Place {
            line: Arc::clone(line),
            era: Arc::clone(&era.name),
            up_to_date: heard.until,
            clock: state.clock,
        })
    }

    /// Tells all other processes of links that this one changed, before anybody is told that it is done.
    pub(crate) async fn changed(&self, links: &[&Link]) {
        let Some(line) = self.line() else {
            return;
        };
        let messages: Vec<_> = links.iter().map(|link| entry::write_change(&link.code, link.generation)).collect();
        let place = self.place_for_changes();
        let writes: Vec<_> = place.iter().flat_map(|place| links.iter().map(|link| place.whole(link))).collect();
        let line = place.as_ref().map_or(&line, |place| &place.line);
        let done = line.session.write(&writes, self.options.ttl, &line.names.channel(), &messages).await;
        if !done && place.is_some() {
            line.session.lose("a change was not confirmed");
        }
    }

    /// Makes sure that nothing older is read of links that somebody changed.
    pub(crate) async fn outdate(&self, changes: &[(Code, Generation)]) {
        let Some(place) = self.place_for_changes() else {
            return;
        };
        let writes: Vec<_> = changes.iter().map(|(code, generation)| place.outdated(code, *generation)).collect();
        if !place.line.session.write(&writes, self.options.ttl, "", &[]).await {
            place.line.session.lose("a change was not confirmed");
        }
    }

    /// Writes down what the store said when it was asked, while nobody waits. Nothing is wrong if it is not written:
    /// somebody will ask the store again.
    pub(crate) fn fill(&self, place: Place, code: &Code, resolution: &Resolution, asked: Instant) {
        let Ok(permit) = Arc::clone(&self.fills).try_acquire_owned() else {
            return;
        };
        let Some((moment, time)) = place.clock else {
            return;
        };
        let not_after = time + u64::try_from((asked + Self::LATE - moment).as_millis()).unwrap_or(0);
        let (key, ttl) = (place.key(code), self.options.ttl);
        let write = Write { key, generation: resolution.generation.get(), entry: entry::write(resolution) };
        self.runtime.spawn(async move {
            place.line.session.write_if_in_time(&write, ttl, not_after).await;
            drop(permit);
        });
    }

    /// From now on every change is heard of.
    pub(crate) fn hears(&self) {
        let now = Instant::now();
        let mut state = self.state();
        state.era = None;
        state.heard = Some(Heard { since: now, until: now });
    }

    /// From now on changes may be missed.
    pub(crate) fn hears_no_more(&self) {
        let mut state = self.state();
        state.era = None;
        state.heard = None;
    }

    /// Everything that was changed until `moment` was heard of, and taken where it belongs.
    pub(crate) fn heard_until(&self, moment: Instant) {
        let mut state = self.state();
        if let Some(heard) = &mut state.heard {
            let slept = !heard.is_recent();
            heard.until = heard.until.max(moment);
            if slept {
                // Nobody held the era for us meanwhile.
                heard.since = Instant::now();
                state.era = None;
            }
        }
    }

    pub(crate) fn heard(&self) -> Option<Heard> {
        self.state().heard.filter(Heard::is_recent)
    }

    /// What time it was there just now.
    pub(crate) fn clock(&self, moment: Instant, time: RedisTime) {
        self.state().clock = Some((moment, time));
    }

    pub(crate) fn connected(&self, line: Arc<Line>) {
        self.is_there.store(true, Ordering::Release);
        if line.session.is_lost() {
            self.is_there.store(false, Ordering::Release);
        }
        self.state().line = Some(line);
    }

    /// So many processes are there, this one among them. Fewer than before only count when they have been so few for a
    /// while: a Redis that has just come back empty knows of the first one alone.
    pub(crate) fn counted(&self, processes: u32) {
        let mut most_seen = self.most_seen.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = most_seen.is_some_and(|seen| seen.elapsed() < PRESENT);
        if processes < self.processes.load(Ordering::Acquire) && lately {
            return;
        }
        *most_seen = Some(Instant::now());
        if self.processes.swap(processes.max(1), Ordering::AcqRel) != processes {
            info!(self.log, "{} processes hold every limit together", processes;
                "event.name" => "redis.processes", "processes" => processes);
        }
    }

    pub(crate) fn disconnected(&self) {
        self.is_there.store(false, Ordering::Release);
        let mut state = self.state();
        state.line = None;
        state.era = None;
        state.clock = None;
    }

    /// How it stands to an era, as was found out when `heard` was known. Nothing counts if a gap came between.
    pub(crate) fn stands(&self, era: Option<(&str, bool)>, heard: Option<Heard>) {
        let mut state = self.state();
        let present = state.heard.map(|heard| heard.since) == heard.map(|heard| heard.since);
        state.era = era.filter(|_| present).map(|(name, trusted)| Era { name: name.into(), trusted });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Meter for SharedMemory {
    async fn draw(&self, draws: &[Draw]) -> Option<Drawn> {
        self.0.meter(Verb::Draw, draws).await
    }

    async fn settle(&self, draws: &[Draw]) -> Option<Drawn> {
        self.0.meter(Verb::Settle, draws).await
    }

    fn is_there(&self) -> bool {
        self.0.is_there.load(Ordering::Acquire)
    }

    fn processes(&self) -> NonZeroU32 {
        NonZeroU32::new(self.0.processes.load(Ordering::Acquire)).unwrap_or(NonZeroU32::MIN)
    }
}

impl Place {
    /// What is known of a code here.
    pub(crate) async fn read(&self, code: &Code) -> Option<Arc<Resolution>> {
        let text = self.line.session.read(&self.key(code)).await?;
        match entry::read(&text)? {
            Entry::Whole(resolution) => Some(resolution),
            Entry::Outdated => None,
        }
    }

    fn whole(&self, link: &Link) -> Write {
        let entry = entry::write(&Resolution::from(link));
        Write { key: self.key(&link.code), generation: link.generation.get(), entry }
    }

    fn outdated(&self, code: &Code, generation: Generation) -> Write {
        let generation = generation.get();
        Write { key: self.key(code), generation, entry: generation.to_string() }
    }

    fn key(&self, code: &Code) -> String {
        self.line.names.link(&self.era, code)
    }
}

fn draw_name(entropy: &dyn Entropy) -> String {
    let mut bytes = [0; 16];
    entropy.fill(&mut bytes);
    format!("{:032x}", u128::from_be_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use slog::{Discard, o};
    use tokio::time::advance;

    use super::*;

    struct Fixed;

    impl Entropy for Fixed {
        fn fill(&self, bytes: &mut [u8]) {
            bytes.fill(7);
        }
    }

    fn shared() -> SharedMemory {
        let (timeout, ttl) = (Duration::from_millis(50), Duration::from_mins(1));
        let (url, sentinel_password) = ("redis://127.0.0.1:1".to_owned(), None);
        let options = RedisOptions { url, sentinel_password, timeout, ttl };
        let log = Logger::root(Discard, o!());
        SharedMemory::new(options, Arc::new(Fixed), Handle::current(), log).expect("the URL is valid")
    }

    /// A process that was held for longer than an era lasts hears what was sent meanwhile when it goes on.
    #[tokio::test(start_paused = true)]
    async fn who_slept_for_longer_than_an_era_begins_anew() {
        let SharedMemory(shared) = shared();
        shared.hears();
        let before = shared.heard().expect("it hears");
        shared.stands(Some(("era", true)), Some(before));
        advance(Duration::from_secs(9)).await;
        shared.heard_until(Instant::now());
        assert_eq!(shared.heard().expect("it hears").since, before.since);
        assert!(shared.state().era.is_some());

        advance(Duration::from_secs(10)).await;
        assert_eq!(shared.heard(), None);
        shared.heard_until(Instant::now());
        assert_eq!(shared.heard().expect("it hears again").since, Instant::now());
        assert!(shared.state().era.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn fewer_processes_count_only_when_they_have_been_so_few_for_a_while() {
        let SharedMemory(shared) = shared();
        let processes = || shared.processes.load(Ordering::Acquire);
        shared.counted(3);
        advance(PRESENT / 2).await;
        shared.counted(1);
        assert_eq!(processes(), 3);
        shared.counted(4);
        advance(PRESENT).await;
        shared.counted(1);
        assert_eq!(processes(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_found_out_before_a_gap_does_not_count_after_it() {
        let SharedMemory(shared) = shared();
        shared.hears();
        let before = shared.heard();
        advance(Duration::from_secs(1)).await;
        shared.hears();
        shared.stands(Some(("era", true)), before);
        assert!(shared.state().era.is_none());
    }
}
