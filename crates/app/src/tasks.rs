//! The background tasks of the process, each under the supervisor.

use std::{convert::Infallible, pin::pin, sync::Arc, time::Duration};

use adapter_cache::{CachedResolver, Progress};
use adapter_redis::SharedMemory;
use domain::{
    address::Address,
    idempotency::IDEMPOTENCY_WINDOW_SECONDS,
    link::Generation,
    ports::{ChangeSubscriber, Clock, IdempotencyRepository, Identify, Ping},
    service::{BlockService, DomainService},
};
use slog::{Logger, info};
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};

use crate::{
    block_file::BlockFile,
    effects::SystemClock,
    stores::Store,
    supervisor::{Failure, Report, Supervisor},
    targets::Targets,
};

/// Interval of heartbeats during long work, and pause before a retry.
const SIGN_OF_LIFE: Duration = Duration::from_secs(2);
/// How often expired idempotency records are deleted.
const HOUSEKEEPING: Duration = Duration::from_mins(1);

/// The start of the change feed.
#[derive(Clone, Default)]
pub(crate) struct Following {
    /// The store is prepared: the feed may begin.
    pub(crate) may_begin: watch::Sender<bool>,
    /// The feed is in sync: every change from now on is received.
    pub(crate) has_begun: watch::Sender<bool>,
    /// Until when all changes are received.
    synced_until: watch::Sender<Option<Instant>>,
}

impl Following {
    /// Until when all changes are received; `None` before the feed was in sync for the first time.
    pub(crate) fn synced_until(&self) -> Option<Instant> {
        *self.synced_until.borrow()
    }
}

/// The names of the tasks.
pub(crate) const NAMES: &[&str] = &[
    "change-feed",
    "known-codes",
    "short-domains",
    "blocks",
    "file-of-blocks",
    "lists-of-hosts",
    "redis",
    "retention",
];

/// Starts all background tasks.
pub(crate) fn watch_over(
    supervisor: &Supervisor,
    store: &Store,
    memory: &CachedResolver,
    following: &Following,
    (domains, blocks): (DomainService, BlockService),
    (block_file, targets): (BlockFile, Targets),
    log: &Logger,
) {
    let subscriber: Arc<dyn ChangeSubscriber> = Arc::new(memory.clone());
    let (changes, follower, following) = (store.changes.clone(), subscriber.clone(), following.clone());
    supervisor.watch("change-feed", Duration::ZERO, move |report| {
        let (subscriber, following) = (follower.clone(), following.clone());
        let reporting = Arc::new(Reporting { subscriber, following: following.clone(), report });
        let changes = changes.clone();
        async move {
            let mut may_begin = following.may_begin.subscribe();
            // Cannot fail: `following` holds the sender.
            drop(may_begin.wait_for(|may| *may).await);
            Failure::from(&changes.subscribe(reporting).await)
        }
    });
    let (memory, codes) = (memory.clone(), store.addresses.clone());
    supervisor.watch("known-codes", Duration::ZERO, move |report| {
        let (memory, codes) = (memory.clone(), codes.clone());
        never(async move {
            let tell = |progress: Progress<'_>| match progress {
                Progress::Well => report.succeeded(),
                Progress::Slow => report.is_busy(),
                Progress::Failed(error) => report.failed(Failure::from(error)),
            };
            memory.keep_codes_known(codes.as_ref(), &tell).await
        })
    });
    supervisor.watch("short-domains", Duration::ZERO, move |report| never(keep_domains(domains.clone(), report)));
    supervisor.watch("blocks", Duration::ZERO, move |report| never(keep_blocks(blocks.clone(), report)));
    let block_file = Arc::new(tokio::sync::Mutex::new(block_file));
    supervisor.watch("file-of-blocks", Duration::ZERO, move |report| {
        let block_file = Arc::clone(&block_file);
        never(async move { block_file.lock().await.keep_up_to_date(&report).await })
    });
    let targets = Arc::new(tokio::sync::Mutex::new(targets));
    supervisor.watch("lists-of-hosts", Duration::ZERO, move |report| {
        let targets = Arc::clone(&targets);
        never(async move { targets.lock().await.keep_up_to_date(&report).await })
    });
    if let Some((shared, identity)) = store.shared.clone() {
        supervisor.watch("redis", Duration::ZERO, move |report| {
            never(share(shared.clone(), identity.clone(), subscriber.clone(), report))
        });
    }
    let (idempotency, log) = (store.idempotency.clone(), log.clone());
    supervisor
        .watch("retention", HOUSEKEEPING, move |report| never(keep_house(idempotency.clone(), report, log.clone())));
}

/// Makes a task of a future that never ends.
async fn never(task: impl Future<Output = Infallible>) -> Failure {
    match task.await {}
}

/// Refreshes the blocklist every second. If that fails, the last blocklist stays in force.
async fn keep_blocks(blocks: BlockService, report: Report) -> Infallible {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        match blocks.refresh().await {
            Ok(()) if blocks.blocked().left_out() > 0 => {
                report.succeeded_but("some blocks cannot be read and are not in force");
            }
            Ok(()) => report.succeeded(),
            Err(error) => report.failed(Failure::from(&error)),
        }
        sleep(PAUSE).await;
    }
}

/// Refreshes the short domains every second. If that fails, the last known ones stay.
async fn keep_domains(domains: DomainService, report: Report) -> Infallible {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        match domains.refresh().await {
            Ok(()) => report.succeeded(),
            Err(error) => report.failed(Failure::from(&error)),
        }
        sleep(PAUSE).await;
    }
}

/// Passes changes on, and reports a success each time the change feed is in sync.
struct Reporting {
    subscriber: Arc<dyn ChangeSubscriber>,
    following: Following,
    report: Report,
}

impl ChangeSubscriber for Reporting {
    fn changed(&self, address: &Address, generation: Generation) {
        self.subscriber.changed(address, generation);
    }

    fn synced_until(&self, ago: Duration) {
        self.report.succeeded();
        self.subscriber.synced_until(ago);
        let now = Instant::now();
        self.following.synced_until.send_replace(Some(now.checked_sub(ago).unwrap_or(now)));
        self.following.has_begun.send_replace(true);
    }

    fn gap(&self) {
        self.subscriber.gap();
    }
}

/// Maintains what processes share in Redis, and reports every second whether Redis answers.
async fn share(
    shared: SharedMemory,
    store: Arc<dyn Identify>,
    subscriber: Arc<dyn ChangeSubscriber>,
    report: Report,
) -> Infallible {
    const PAUSE: Duration = Duration::from_secs(1);
    let looking = async {
        loop {
            match shared.ping().await {
                Ok(()) => report.succeeded(),
                Err(error) => report.failed(Failure::from(&error)),
            }
            sleep(PAUSE).await;
        }
    };
    tokio::select! {
        never = shared.keep(store.as_ref(), subscriber) => never,
        never = looking => never,
    }
}

/// Deletes expired idempotency records every `HOUSEKEEPING`. If that fails, it is retried every `SIGN_OF_LIFE`.
async fn keep_house(idempotency: Arc<dyn IdempotencyRepository>, report: Report, log: Logger) -> Infallible {
    loop {
        sleep(HOUSEKEEPING).await;
        while let Err(failure) = busily(&report, delete_old_records(idempotency.as_ref(), &log)).await {
            report.failed(failure);
            sleep(SIGN_OF_LIFE).await;
        }
        report.succeeded();
    }
}

/// Does the work, with a heartbeat every two seconds.
async fn busily<T>(report: &Report, work: impl Future<Output = T>) -> T {
    let mut work = pin!(work);
    loop {
        match timeout(SIGN_OF_LIFE, work.as_mut()).await {
            Ok(done) => return done,
            Err(_) => report.is_busy(),
        }
    }
}

async fn delete_old_records(idempotency: &dyn IdempotencyRepository, log: &Logger) -> Result<(), Failure> {
    let Some(moment) = SystemClock.now().plus_seconds(-IDEMPOTENCY_WINDOW_SECONDS) else {
        return Ok(());
    };
    let count = idempotency.forget(moment).await.map_err(|error| Failure::from(&error))?;
    if count > 0 {
        info!(log, "{} idempotency records deleted", count; "event.name" => "idempotency.records_deleted", "count" => count);
    }
    Ok(())
}
