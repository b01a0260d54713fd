//! What every handler may use: the services, the settings, and the phase of the process.

use std::{
    collections::BTreeMap,
    num::NonZeroU32,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicBool, AtomicU8, Ordering},
    },
    time::Duration,
};

use domain::{
    block::InForce,
    click::{DailySalts, OrphanCounters},
    ports::{ClickRecorders, Entropy, Ping, SharedLimiter},
    service::{BlockService, DomainService, KeyService, LinkService, ResolveService, StatisticsService},
    target::TargetPolicy,
    time::Timestamp,
};
use ipnet::IpNet;
use slog::Logger;
use tokio::sync::Notify;

use super::{
    body_room::Bodies, cors::Origins, domain_reads::DomainReads, inherited_codes::InheritedCodes,
    public_url::PublicUrl, store_outcomes::StoreOutcomes,
};
use crate::{
    limits::{Limits, Quotas, TrustedProxies, concurrency::CallLimits, memory::MemoryBudget},
    problem::{Problem, ProblemKind},
    qr::Logo,
};

/// The services behind the routes.
#[derive(Clone)]
pub struct Services {
    /// Links.
    pub links: LinkService,
    /// API keys.
    pub keys: KeyService,
    /// Takedowns.
    pub blocks: BlockService,
    /// Short domains.
    pub domains: DomainService,
    /// Redirects.
    pub resolver: ResolveService,
    /// The store's liveness, for `/health`.
    pub store: Arc<dyn Ping>,
    /// The liveness of Redis, for `/health`; `None` without Redis.
    pub shared: Option<Arc<dyn Ping>>,
    /// Counts what all processes admit together; `None` if each process counts alone.
    pub shared_limiter: Option<Arc<dyn SharedLimiter>>,
    /// Clicks, and the statistics of them.
    pub clicks: ClickServices,
    /// Randomness for the ids of requests and traces.
    pub entropy: Arc<dyn Entropy>,
}

/// What redirects need to record clicks, and the API to read their statistics.
#[derive(Clone)]
pub struct ClickServices {
    /// Records clicks, one recorder for each worker.
    pub recorders: Arc<dyn ClickRecorders>,
    /// The salts of visitors.
    pub salts: DailySalts,
    /// Visits that led nowhere.
    pub orphans: OrphanCounters,
    /// Statistics.
    pub statistics: StatisticsService,
}

impl std::fmt::Debug for Services {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Services").finish_non_exhaustive()
    }
}

impl std::fmt::Debug for ClickServices {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickServices").finish_non_exhaustive()
    }
}

/// How the routes behave.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Base of every `short_url`, without a slash at the end.
    pub public_url: String,
    /// Where `/` redirects, instead of showing a page.
    pub landing_url: Option<String>,
    /// How requests for a host that is no short domain are answered.
    pub unknown_host: UnknownHost,
    /// Which targets are allowed.
    pub targets: CurrentPolicy,
    /// The origins whose scripts may call the API from a browser.
    pub cors_origins: Origins,
    /// Whether crawlers may follow links, so that shared links get a preview (unfurl).
    pub crawlable: bool,
    /// Files of the operator's own, by the paths they are served at.
    pub well_known: BTreeMap<String, Vec<u8>>,
    /// The operator's own pages, to which browsers are redirected if a link is unknown, gone or blocked.
    pub pages: Arc<OwnPages>,
    /// The operator's logo, for the middle of QR codes.
    pub qr_logo: Option<Arc<Logo>>,
    /// Whether callers without a key may claim.
    pub anonymous_may_claim: bool,
    /// The proxies whose forwarding header fields are trusted.
    pub proxies: TrustedProxies,
    /// How often one client, and one key, may ask. With `None` nothing is limited.
    pub quotas: Option<Quotas>,
    /// The least number of processes. Without a shared limiter each of them allows its share of a quota.
    pub processes: NonZeroU32,
    /// How many calls of the API the store serves at a time: its connections. So many are never rejected.
    pub store_connections: usize,
    /// Timeout of all calls to the store that one API request makes, together.
    pub request_timeout: Duration,
    /// Timeout of the store call of a redirect.
    pub redirect_timeout: Duration,
    /// Timeout of receiving a body.
    pub body_timeout: Duration,
    /// Which clicks are recorded, and how.
    pub clicks: ClickSettings,
    /// The tasks that watch something in the background.
    pub tasks: Arc<dyn Tasks>,
    /// Codes of links that are reserved words by now.
    pub inherited: InheritedCodes,
}

/// How requests for a host that is no short domain are answered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownHost {
    /// As requests for the default short domain.
    #[default]
    Default,
    /// With 404.
    NotFound,
}

/// Which clicks are recorded, and how.
#[derive(Clone, Debug)]
pub struct ClickSettings {
    /// Whether a client that asks not to be tracked (`Sec-GPC: 1`, `DNT: 1`) counts in totals only.
    pub respect_opt_out: bool,
    /// The networks whose clicks are not recorded.
    pub ignored: Vec<IpNet>,
}

impl Default for ClickSettings {
    fn default() -> Self {
        Self { respect_opt_out: true, ignored: Vec::new() }
    }
}

/// The tasks of the process that watch something.
pub trait Tasks: std::fmt::Debug + Send + Sync {
    /// The present state of each task.
    fn states(&self) -> Vec<TaskState>;
}

/// The state of a task.
#[derive(Clone, Debug)]
pub struct TaskState {
    /// Its name, for people.
    pub name: &'static str,
    /// When it last did its work.
    pub last_success: Option<Timestamp>,
    /// How often it was restarted.
    pub restarts: u64,
    /// How often an attempt failed since the start.
    pub failures: u64,
    /// Why it does not do its work, or what is wrong with it, in general words; `None` if all is well.
    pub amiss: Option<&'static str>,
}

/// URLs of the operator's own pages, which replace ours.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OwnPages {
    /// For codes that no link has.
    pub unknown: Option<String>,
    /// For links that are deleted or expired.
    pub gone: Option<String>,
    /// For links that were taken down.
    pub blocked: Option<String>,
}

impl OwnPages {
    /// The page for a problem of that kind.
    pub(crate) fn of(&self, kind: ProblemKind) -> Option<&str> {
        let page = match kind {
            ProblemKind::NotFound => &self.unknown,
            ProblemKind::Gone => &self.gone,
            ProblemKind::Blocked => &self.blocked,
            _ => &None,
        };
        page.as_deref()
    }
}

/// The blocks have not been read yet, so no link may be created or followed.
#[derive(Debug, thiserror::Error)]
#[error("what is blocked is not known yet")]
struct BlocksUnread;

impl State {
    /// The blocks in force; `None` if there are none. Fails as unavailable until they have been read.
    pub(crate) fn blocked(&self) -> Result<Option<Arc<InForce>>, Problem> {
        let blocked = self.services.blocks.blocked();
        if blocked.is_unread() {
            return Err(Problem::new(ProblemKind::Unavailable).caused_by(BlocksUnread));
        }
        Ok(blocked.in_force())
    }
}

/// Which targets are allowed at present. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct CurrentPolicy(Arc<RwLock<Arc<TargetPolicy>>>);

impl CurrentPolicy {
    /// Puts `policy` in force until it is replaced.
    pub fn new(policy: TargetPolicy) -> Self {
        Self(Arc::new(RwLock::new(Arc::new(policy))))
    }

    /// Puts `policy` in force from now on.
    pub fn replace(&self, policy: TargetPolicy) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    /// The policy in force.
    pub(crate) fn get(&self) -> Arc<TargetPolicy> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// The phase of the process: starting, ready or draining. Clones share it.
#[derive(Clone, Debug, Default)]
pub struct Phase(Arc<Life>);

#[derive(Debug, Default)]
struct Life {
    phase: AtomicU8,
    changed: Notify,
}

impl Phase {
    const STARTING: u8 = 0;
    const READY: u8 = 1;
    const DRAINING: u8 = 2;

    /// The store is usable, so the process may get traffic. Has no effect once draining has begun.
    pub fn become_ready(&self) {
        // Only from starting: a process that drains is never ready again.
        let _unless_draining =
            self.0.phase.compare_exchange(Self::STARTING, Self::READY, Ordering::AcqRel, Ordering::Acquire);
        self.0.changed.notify_waiters();
    }

    /// The process ends soon and must get no more traffic.
    pub fn begin_draining(&self) {
        self.0.phase.store(Self::DRAINING, Ordering::Release);
        self.0.changed.notify_waiters();
    }

    /// Whether the process may get traffic.
    pub fn is_ready(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) == Self::READY
    }

    /// Whether the process has not been ready yet.
    pub(crate) fn is_starting(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) == Self::STARTING
    }

    /// Waits until the process is not starting any more.
    pub(crate) async fn started(&self) {
        loop {
            let changed = self.0.changed.notified();
            if !self.is_starting() {
                return;
            }
            changed.await;
        }
    }

    /// Whether the process ends soon.
    pub(crate) fn is_draining(&self) -> bool {
        self.0.phase.load(Ordering::Acquire) == Self::DRAINING
    }

    /// The problem of a request for which the process is not ready.
    pub(crate) fn not_ready(&self) -> Problem {
        Problem::new(ProblemKind::Unavailable).detail(format!("The process is {}.", self.name()))
    }

    /// Its name, for people.
    pub fn name(&self) -> &'static str {
        match self.0.phase.load(Ordering::Acquire) {
            Self::STARTING => "starting",
            Self::READY => "ready",
            _ => "draining",
        }
    }
}

/// One for the whole process, shared by all workers.
pub(crate) struct State {
    pub(crate) services: Services,
    pub(crate) settings: Settings,
    pub(crate) phase: Phase,
    pub(crate) calls: CallLimits,
    pub(crate) outcomes: StoreOutcomes,
    pub(crate) limits: Arc<Limits>,
    pub(crate) log: Logger,
    /// Proves that a rejection came from our own stream guard.
    pub(crate) rejection_nonce: Arc<str>,
    /// Whether the warning about a proxy that is not trusted was logged.
    pub(crate) warned_of_proxy: AtomicBool,
    /// Whether the warning about a host that is no short domain was logged.
    pub(crate) warned_of_host: AtomicBool,
    /// Bounds how often the short domains are read for callers.
    pub(crate) domain_reads: DomainReads,
    /// The configured public URL.
    pub(crate) public_url: PublicUrl,
    /// Bounds the bytes of answers that clients have not taken yet.
    pub(crate) untaken: Arc<MemoryBudget>,
    /// Bounds the bodies that are received.
    pub(crate) bodies: Bodies,
}
