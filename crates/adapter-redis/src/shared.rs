//! The state of the shared cache: the current connection, and whether entries can be trusted.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use domain::{
    address::Address,
    lifecycle::Resolution,
    link::{Generation, Link},
    ports::{Entropy, LimiterReply, LimiterRequest},
};
use slog::{Logger, info};
use tokio::{runtime::Handle, sync::Semaphore, time::Instant};

use crate::{
    endpoint::{Endpoint, InvalidUrl},
    entry::{self, Entry, Names},
    epoch::{RedisTime, Watermark},
    options::RedisOptions,
    session::{PRESENT, Session, Verb, Write},
    status::{LookupCounter, SharedMemoryStatus},
};

/// What all clones of a [`SharedMemory`](crate::SharedMemory) share.
pub(crate) struct Shared {
    pub(crate) endpoint: Endpoint,
    pub(crate) options: RedisOptions,
    pub(crate) log: Logger,
    entropy: Arc<dyn Entropy>,
    state: Mutex<State>,
    /// Limits the entries that are written in the background.
    fills: Arc<Semaphore>,
    /// Runs these background writes.
    runtime: Handle,
    /// Name of this process, unique among all processes.
    pub(crate) name: String,
    /// Whether there is a connection that is not lost. Read without the lock on the state.
    pub(crate) is_connected: Arc<AtomicBool>,
    /// The highest number of processes seen lately.
    pub(crate) processes: AtomicU32,
    /// When that number was last seen.
    peak: Mutex<Option<Instant>>,
    /// Why Redis was last not used.
    pub(crate) away: Mutex<String>,
    pub(crate) lookups: LookupCounter,
}

#[derive(Default)]
struct State {
    connection: Option<Arc<Connection>>,
    epoch: Option<Epoch>,
    watermark: Option<Watermark>,
    /// The same moment on both clocks.
    clock: Option<(Instant, RedisTime)>,
}

/// A connection, and the names to use on it.
pub(crate) struct Connection {
    pub(crate) session: Session,
    pub(crate) names: Names,
}

#[derive(Clone)]
struct Epoch {
    name: Arc<str>,
    trusted: bool,
}

/// Where to read and write entries: a connection and an epoch.
#[derive(Clone)]
pub(crate) struct EpochHandle {
    connection: Arc<Connection>,
    epoch: Arc<str>,
    /// Up to when all changes are in the epoch.
    pub(crate) up_to_date: Instant,
    /// The same moment here and on Redis' clock.
    clock: Option<(Instant, RedisTime)>,
}

impl Shared {
    pub(crate) fn new(
        options: RedisOptions,
        entropy: Arc<dyn Entropy>,
        runtime: Handle,
        log: Logger,
    ) -> Result<Self, InvalidUrl> {
        Ok(Self {
            endpoint: Endpoint::of(&options)?,
            options,
            log,
            name: draw_name(entropy.as_ref()),
            entropy,
            state: Mutex::default(),
            fills: Arc::new(Semaphore::new(Self::MAX_FILLS)),
            runtime,
            is_connected: Arc::default(),
            processes: AtomicU32::new(1),
            peak: Mutex::default(),
            away: Mutex::new("it is not connected yet".to_owned()),
            lookups: LookupCounter::default(),
        })
    }

    /// Maximum background writes at a time. More could not be written in time.
    const MAX_FILLS: usize = 256;
    /// Maximum age of an answer of the store that may still be written: a newer entry could have been evicted since.
    const MAX_FILL_AGE: Duration = Duration::from_secs(2);

    /// What the shared cache is doing.
    pub(crate) fn status(&self) -> SharedMemoryStatus {
        let [hits, misses, skips] = self.lookups.get();
        let heartbeat_age = self.state().clock.map(|(moment, _)| moment.elapsed());
        SharedMemoryStatus {
            is_connected: self.is_connected.load(Ordering::Acquire),
            is_trusted: self.trusted_handle().is_some(),
            processes: self.processes.load(Ordering::Acquire),
            heartbeat_age,
            hits,
            misses,
            skips,
        }
    }

    /// A name that no epoch ever had.
    pub(crate) fn draw_name(&self) -> String {
        draw_name(self.entropy.as_ref())
    }

    pub(crate) async fn charge(&self, verb: Verb, requests: &[LimiterRequest]) -> Option<LimiterReply> {
        let connection = self.connection()?;
        let requests: Vec<_> = requests.iter().map(|draw| (connection.names.quota(&draw.account), draw)).collect();
        connection.session.charge(verb, &requests).await
    }

    /// The connection, if there is one.
    pub(crate) fn connection(&self) -> Option<Arc<Connection>> {
        self.state().connection.clone().filter(|connection| !connection.session.is_lost())
    }

    /// Where changes must be written. Entries there may be outdated.
    fn handle_for_changes(&self) -> Option<EpochHandle> {
        self.handle(|_, _| true)
    }

    /// Where entries can be trusted.
    pub(crate) fn trusted_handle(&self) -> Option<EpochHandle> {
        self.handle(|epoch, watermark| epoch.trusted && watermark.is_recent())
    }

    fn handle(&self, fits: impl Fn(&Epoch, Watermark) -> bool) -> Option<EpochHandle> {
        let state = self.state();
        let (connection, epoch, watermark) = (state.connection.as_ref()?, state.epoch.as_ref()?, state.watermark?);
        let there = !connection.session.is_lost() && fits(epoch, watermark);
        there.then(|| EpochHandle {
            connection: Arc::clone(connection),
            epoch: Arc::clone(&epoch.name),
            up_to_date: watermark.until,
            clock: state.clock,
        })
    }

    /// Writes links that this process changed, and publishes the changes to all other processes. To be called before
    /// the change is acknowledged.
    pub(crate) async fn changed(&self, links: &[&Link]) {
        let Some(connection) = self.connection() else {
            return;
        };
        let messages: Vec<_> = links.iter().map(|link| entry::write_change(&link.address(), link.generation)).collect();
        let handle = self.handle_for_changes();
        let writes: Vec<_> = handle.iter().flat_map(|handle| links.iter().map(|link| handle.whole(link))).collect();
        let connection = handle.as_ref().map_or(&connection, |handle| &handle.connection);
        let done = connection.session.write(&writes, self.options.ttl, &connection.names.channel(), &messages).await;
        if !done && handle.is_some() {
            connection.session.lose("a change was not confirmed");
        }
    }

    /// Outdates every older entry of links that were changed.
    pub(crate) async fn outdate(&self, changes: &[(Address, Generation)]) {
        let Some(handle) = self.handle_for_changes() else {
            return;
        };
        let writes: Vec<_> =
            changes.iter().map(|(address, generation)| handle.outdated(address, *generation)).collect();
        if !handle.connection.session.write(&writes, self.options.ttl, "", &[]).await {
            handle.connection.session.lose("a change was not confirmed");
        }
    }

    /// Writes an answer of the store in the background; `asked` is when the store was asked. If the write is skipped,
    /// nothing is wrong: the next lookup asks the store again.
    pub(crate) fn fill(&self, handle: EpochHandle, address: &Address, resolution: &Resolution, asked: Instant) {
        let Ok(permit) = Arc::clone(&self.fills).try_acquire_owned() else {
            return;
        };
        let Some((moment, time)) = handle.clock else {
            return;
        };
        let not_after = time + u64::try_from((asked + Self::MAX_FILL_AGE - moment).as_millis()).unwrap_or(0);
        let (key, ttl) = (handle.key(address), self.options.ttl);
        let write = Write { key, generation: resolution.generation.get(), entry: entry::write(resolution) };
        self.runtime.spawn(async move {
            handle.connection.session.write_if_in_time(&write, ttl, not_after).await;
            drop(permit);
        });
    }

    /// From now on every change is received.
    pub(crate) fn begin_watching(&self) {
        let now = Instant::now();
        let mut state = self.state();
        state.epoch = None;
        state.watermark = Some(Watermark { since: now, until: now });
    }

    /// From now on changes may be missed.
    pub(crate) fn note_gap(&self) {
        let mut state = self.state();
        state.epoch = None;
        state.watermark = None;
    }

    /// All changes until `moment` were received and written to Redis.
    pub(crate) fn synced_until(&self, moment: Instant) {
        let mut state = self.state();
        if let Some(watermark) = &mut state.watermark {
            let slept = !watermark.is_recent();
            watermark.until = watermark.until.max(moment);
            if slept {
                // This process did not hold the epoch meanwhile, so it may be over.
                watermark.since = Instant::now();
                state.epoch = None;
            }
        }
    }

    pub(crate) fn watermark(&self) -> Option<Watermark> {
        self.state().watermark.filter(Watermark::is_recent)
    }

    /// Notes the time in Redis at a moment here.
    pub(crate) fn clock(&self, moment: Instant, time: RedisTime) {
        self.state().clock = Some((moment, time));
    }

    pub(crate) fn connected(&self, connection: Arc<Connection>) {
        self.is_connected.store(true, Ordering::Release);
        if connection.session.is_lost() {
            self.is_connected.store(false, Ordering::Release);
        }
        self.state().connection = Some(connection);
    }

    /// Notes the number of live processes, this one included. A lower number counts only once it has been lower for a
    /// while: a Redis that came back empty knows only the first process.
    pub(crate) fn set_processes(&self, processes: u32) {
        let mut peak = self.peak.lock().unwrap_or_else(PoisonError::into_inner);
        let lately = peak.is_some_and(|seen| seen.elapsed() < PRESENT);
        if processes < self.processes.load(Ordering::Acquire) && lately {
            return;
        }
        *peak = Some(Instant::now());
        if self.processes.swap(processes.max(1), Ordering::AcqRel) != processes {
            info!(self.log, "{} processes share every limit", processes;
                "event.name" => "redis.processes", "processes" => processes);
        }
    }

    pub(crate) fn disconnected(&self) {
        self.is_connected.store(false, Ordering::Release);
        let mut state = self.state();
        state.connection = None;
        state.epoch = None;
        state.clock = None;
    }

    /// Sets the membership that was found out when `watermark` was current. It does not count if a gap came in between.
    pub(crate) fn set_epoch(&self, epoch: Option<(&str, bool)>, watermark: Option<Watermark>) {
        let mut state = self.state();
        let present = state.watermark.map(|watermark| watermark.since) == watermark.map(|watermark| watermark.since);
        state.epoch = epoch.filter(|_| present).map(|(name, trusted)| Epoch { name: name.into(), trusted });
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EpochHandle {
    /// The entry of an address; `None` if there is no whole one.
    pub(crate) async fn read(&self, address: &Address) -> Option<Arc<Resolution>> {
        let text = self.connection.session.read(&self.key(address)).await?;
        match entry::read(&text)? {
            Entry::Whole(resolution) => Some(resolution),
            Entry::Outdated => None,
        }
    }

    fn whole(&self, link: &Link) -> Write {
        let entry = entry::write(&Resolution::from(link));
        Write { key: self.key(&link.address()), generation: link.generation.get(), entry }
    }

    fn outdated(&self, address: &Address, generation: Generation) -> Write {
        let generation = generation.get();
        Write { key: self.key(address), generation, entry: generation.to_string() }
    }

    fn key(&self, address: &Address) -> String {
        self.connection.names.link(&self.epoch, address)
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

    fn shared() -> Shared {
        let (timeout, ttl) = (Duration::from_millis(50), Duration::from_mins(1));
        let (url, sentinel_password) = ("redis://127.0.0.1:1".to_owned(), None);
        let options = RedisOptions { url, sentinel_password, timeout, ttl };
        let log = Logger::root(Discard, o!());
        Shared::new(options, Arc::new(Fixed), Handle::current(), log).expect("the URL is valid")
    }

    /// A process that was suspended for longer than an epoch lasts receives the changes of that time when it goes on.
    #[tokio::test(start_paused = true)]
    async fn a_process_suspended_for_longer_than_an_epoch_starts_again() {
        let shared = shared();
        shared.begin_watching();
        let before = shared.watermark().expect("it has a watermark");
        shared.set_epoch(Some(("epoch", true)), Some(before));
        advance(Duration::from_secs(9)).await;
        shared.synced_until(Instant::now());
        assert_eq!(shared.watermark().expect("it has a watermark").since, before.since);
        assert!(shared.state().epoch.is_some());

        advance(Duration::from_secs(10)).await;
        assert_eq!(shared.watermark(), None);
        shared.synced_until(Instant::now());
        assert_eq!(shared.watermark().expect("it has a watermark again").since, Instant::now());
        assert!(shared.state().epoch.is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lower_number_of_processes_counts_only_after_a_while() {
        let shared = shared();
        let processes = || shared.processes.load(Ordering::Acquire);
        shared.set_processes(3);
        advance(PRESENT / 2).await;
        shared.set_processes(1);
        assert_eq!(processes(), 3);
        shared.set_processes(4);
        advance(PRESENT).await;
        shared.set_processes(1);
        assert_eq!(processes(), 1);
    }

    #[tokio::test(start_paused = true)]
    async fn a_membership_from_before_a_gap_does_not_count_after_it() {
        let shared = shared();
        shared.begin_watching();
        let before = shared.watermark();
        advance(Duration::from_secs(1)).await;
        shared.begin_watching();
        shared.set_epoch(Some(("epoch", true)), before);
        assert!(shared.state().epoch.is_none());
    }
}
