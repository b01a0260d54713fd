//! What all workers have counted since the start.

use super::{
    classes::{MethodClass, RouteClass, StatusClass, closed_set},
    durations::DurationTotals,
};
use crate::{limits::Policy, problem::ProblemKind, request::notes::CacheResult};

closed_set! {
    /// How a claim ended.
    ClaimOutcome {
        /// A link was made.
        Created = "created",
        /// A link with this behaviour existed.
        Existing = "existing",
        /// A deleted link was reactivated.
        Reactivated = "reactivated",
        /// The claim was refused or failed.
        Failed = "failed",
    }
}

closed_set! {
    /// A change of a link that was accepted.
    LinkEvent {
        /// An edit.
        Edit = "edit",
        /// A deletion.
        Delete = "delete",
        /// A reactivation.
        Reactivate = "reactivate",
    }
}

closed_set! {
    /// What a quota decided.
    LimitDecision {
        /// The request was within the quota.
        Admitted = "admitted",
        /// The quota was used up.
        Rejected = "rejected",
    }
}

/// What all workers have counted since the start. The tables are indexed by the numbers of the sets.
#[derive(Clone, Debug)]
pub struct RequestTotals {
    /// Requests by route, method and status.
    pub requests: Vec<[[u64; StatusClass::ALL.len()]; MethodClass::ALL.len()]>,
    /// How long they took, by route.
    pub durations: Vec<DurationTotals>,
    /// Requests that have no answer yet.
    pub active: u64,
    pub(super) redirects: [u64; CacheResult::ALL.len()],
    pub(super) claims: [u64; ClaimOutcome::ALL.len()],
    pub(super) events: [u64; LinkEvent::ALL.len()],
    pub(super) problems: [u64; ProblemKind::ALL.len()],
    pub(super) limits: [[u64; LimitDecision::ALL.len()]; Policy::ALL.len()],
    /// Codes that were drawn again because a link had them.
    pub code_collisions: u64,
}

impl RequestTotals {
    pub(super) fn new() -> Self {
        Self {
            requests: vec![Default::default(); RouteClass::ALL.len()],
            durations: vec![DurationTotals::default(); RouteClass::ALL.len()],
            active: 0,
            redirects: Default::default(),
            claims: Default::default(),
            events: Default::default(),
            problems: [0; ProblemKind::ALL.len()],
            limits: Default::default(),
            code_collisions: 0,
        }
    }

    /// Codes that were looked up for a redirect, by what the cache had.
    pub fn redirects(&self) -> impl Iterator<Item = (&'static str, u64)> {
        CacheResult::ALL.into_iter().map(CacheResult::name).zip(self.redirects)
    }

    /// Claims by their outcome.
    pub fn claims(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ClaimOutcome::ALL.iter().map(|outcome| outcome.name()).zip(self.claims)
    }

    /// Accepted changes of links.
    pub fn events(&self) -> impl Iterator<Item = (&'static str, u64)> {
        LinkEvent::ALL.iter().map(|event| event.name()).zip(self.events)
    }

    /// Problems by their code.
    pub fn problems(&self) -> impl Iterator<Item = (&'static str, u64)> {
        ProblemKind::ALL.into_iter().map(|kind| kind.entry().code).zip(self.problems)
    }

    /// Decisions of quotas, by the name of the policy.
    pub fn limits(&self) -> impl Iterator<Item = (&'static str, LimitDecision, u64)> {
        Policy::ALL.into_iter().zip(self.limits).flat_map(|(policy, counts)| {
            LimitDecision::ALL.iter().zip(counts).map(move |(decision, count)| (policy.name(), *decision, count))
        })
    }

    /// All names in [`Self::redirects`].
    pub fn cache_results() -> Vec<&'static str> {
        CacheResult::ALL.into_iter().map(CacheResult::name).collect()
    }

    /// All names in [`Self::problems`].
    pub fn problem_codes() -> Vec<&'static str> {
        ProblemKind::ALL.into_iter().map(|kind| kind.entry().code).collect()
    }

    /// All names in [`Self::limits`].
    pub fn policies() -> Vec<&'static str> {
        Policy::ALL.into_iter().map(Policy::name).collect()
    }
}
