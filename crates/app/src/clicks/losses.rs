//! What is logged of clicks that are not counted.

use std::sync::{Arc, Mutex, PoisonError};

use adapter_spool::Spool;
use slog::{Logger, info, o, warn};

use super::{parts::Clicks, shipped::ShippedTotals};

/// What was logged of clicks that are not counted. It outlives a restart of the task.
#[derive(Clone)]
pub(super) struct Losses {
    told: Arc<Mutex<Lost>>,
    /// What could not be read, as it was logged last.
    unreadable: Arc<Mutex<Option<String>>>,
    log: Logger,
}

/// Clicks that are not counted, since the start of the process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Lost {
    no_space: u64,
    over_limit: u64,
    damaged: u64,
    unknown: u64,
    of_missing_links: u64,
}

impl Losses {
    pub(super) fn new(log: &Logger) -> Self {
        Self { told: Arc::default(), unreadable: Arc::default(), log: log.new(o!()) }
    }

    /// Logs what cannot be read on the disk, once until that changes.
    pub(super) fn tell_unreadable(&self, unreadable: Option<String>) {
        let mut told = self.unreadable.lock().unwrap_or_else(PoisonError::into_inner);
        if *told == unreadable {
            return;
        }
        if let Some(details) = &unreadable {
            warn!(self.log, "a part of the click spool cannot be read; its clicks are not counted"; "event.name" => "clicks.unreadable",
                "error.message" => details);
        }
        *told = unreadable;
    }

    /// Logs what was lost since the last call.
    pub(super) fn tell(&self, clicks: &Clicks, totals: ShippedTotals) {
        let accounting = clicks.spool.as_ref().map(Spool::accounting).unwrap_or_default();
        let now = Lost {
            no_space: accounting.no_space,
            over_limit: accounting.over_limit,
            damaged: accounting.damaged,
            unknown: totals.unknown,
            of_missing_links: totals.of_missing_links,
        };
        let before = std::mem::replace(&mut *self.told.lock().unwrap_or_else(PoisonError::into_inner), now);
        for (cause, words, count) in [
            ("no-space", "no room was ready for them on the disk", now.no_space.saturating_sub(before.no_space)),
            (
                "over-limit",
                "the spool had reached clicks.spool_limit",
                now.over_limit.saturating_sub(before.over_limit),
            ),
            ("damaged", "their records are damaged", now.damaged.saturating_sub(before.damaged)),
            ("later-release", "a later release has written them", now.unknown.saturating_sub(before.unknown)),
        ] {
            if count > 0 {
                warn!(self.log, "{} clicks are lost: {}", count, words; "event.name" => "clicks.lost",
                    "cause" => cause, "count" => count);
            }
        }
        let missing = now.of_missing_links.saturating_sub(before.of_missing_links);
        if missing > 0 {
            info!(self.log, "{} clicks belong to links that the store does not have", missing;
                "event.name" => "clicks.of_missing_links", "count" => missing);
        }
    }
}
