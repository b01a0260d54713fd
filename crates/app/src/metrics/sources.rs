//! Where the numbers come from, and all of them at one moment.

use std::sync::Arc;

use adapter_cache::{CacheStatus, CachedResolver};
use adapter_http::{
    ConcurrencyStatus, ConnectionStatus, FailedShares, ServerStatus, TaskState, Tasks, metrics::RequestTotals,
};
use adapter_redis::SharedMemoryStatus;
use adapter_spool::Accounting;
use domain::{
    ports::{ClickProgress, Clock},
    service::Blocked,
    time::Timestamp,
};

use super::process::ProcessStatus;
use crate::{
    clicks::{Clicks, ShippedTotals},
    effects::SystemClock,
    log::{LogCounts, LogStats},
    store_status::StoreStatus,
    stores::Store,
    supervisor::Supervisor,
    targets::ListedHosts,
    tasks::Following,
};

/// Where the numbers come from.
pub(crate) struct Sources {
    pub(crate) server: ServerStatus,
    pub(crate) store: Arc<Store>,
    pub(crate) cache: CachedResolver,
    pub(crate) blocked: Blocked,
    pub(crate) hosts: ListedHosts,
    pub(crate) clicks: Clicks,
    pub(crate) following: Following,
    pub(crate) supervisor: Supervisor,
    pub(crate) log: LogStats,
    /// When the process started.
    pub(crate) started: Timestamp,
}

/// All numbers at one moment.
pub(super) struct Snapshot {
    pub(super) requests: RequestTotals,
    pub(super) concurrency: ConcurrencyStatus,
    pub(super) connections: ConnectionStatus,
    pub(super) untaken_bytes: usize,
    pub(super) failed: FailedShares,
    pub(super) phase: &'static str,
    pub(super) store: StoreStatus,
    pub(super) cache: CacheStatus,
    pub(super) shared: Option<SharedMemoryStatus>,
    /// Since when changes may have been missed, in seconds; `None` before the change feed began.
    pub(super) feed_age: Option<f64>,
    /// Blocked subjects by kind.
    pub(super) blocks: Option<[(&'static str, usize); 4]>,
    pub(super) unreadable_blocks: usize,
    pub(super) hosts: [usize; 2],
    /// `None` if clicks are not recorded.
    pub(super) clicks: Option<ClickNumbers>,
    pub(super) tasks: Vec<TaskState>,
    pub(super) log: LogCounts,
    pub(super) started: f64,
    pub(super) process: Option<ProcessStatus>,
}

/// What became of clicks.
pub(super) struct ClickNumbers {
    pub(super) accounting: Accounting,
    pub(super) shipped: ShippedTotals,
    /// How long ago everything was stored, in seconds.
    pub(super) lag: f64,
}

impl Sources {
    pub(super) fn snapshot(&self) -> Snapshot {
        let blocked = self.blocked.in_force();
        Snapshot {
            requests: self.server.requests(),
            concurrency: self.server.concurrency(),
            connections: self.server.connections(),
            untaken_bytes: self.server.untaken_bytes(),
            failed: self.server.failed_shares(),
            phase: self.server.phase(),
            store: self.store.status(),
            cache: self.cache.status(),
            shared: self.store.shared.as_ref().map(|(shared, _)| shared.status()),
            feed_age: self.following.synced_until().map(|moment| moment.elapsed().as_secs_f64()),
            blocks: blocked.map(|blocked| blocked.counts()),
            unreadable_blocks: self.blocked.left_out(),
            hosts: self.hosts.get(),
            clicks: self.click_numbers(),
            tasks: self.supervisor.states(),
            log: self.log.counts(),
            started: seconds(self.started.unix_micros()),
            process: ProcessStatus::read(),
        }
    }

    fn click_numbers(&self) -> Option<ClickNumbers> {
        let accounting = self.clicks.spool.as_ref()?.accounting();
        // Before the first shipment, everything since the start may wait.
        let until = self.clicks.progress.counted_until().unix_micros().max(self.started.unix_micros());
        let lag = seconds(SystemClock.now().unix_micros().saturating_sub(until)).max(0.0);
        Some(ClickNumbers { accounting, shipped: self.clicks.shipped.get(), lag })
    }
}

#[expect(clippy::cast_precision_loss, reason = "a fraction of a microsecond in the year 2100")]
pub(super) fn seconds(micros: i64) -> f64 {
    micros as f64 / 1e6
}
