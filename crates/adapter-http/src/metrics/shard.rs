//! The counters of one worker. Only that worker writes them, so that an addition is a load and a store.

use std::{
    array::from_fn,
    marker::PhantomData,
    rc::Rc,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use super::{
    classes::{MethodClass, RouteClass, StatusClass},
    count::Count,
    durations::Durations,
    totals::{ClaimOutcome, LimitDecision, LinkEvent, RequestTotals},
};
use crate::{
    limits::{Policy, Tally},
    problem::ProblemKind,
    request::notes::{CacheResult, Notes},
};

/// What one worker has counted. Aligned so that no two workers write one cache line.
#[derive(Debug)]
#[repr(align(128))]
struct Shard {
    active: Count,
    requests: [[[Count; StatusClass::ALL.len()]; MethodClass::ALL.len()]; RouteClass::ALL.len()],
    durations: [Durations; RouteClass::ALL.len()],
    redirects: [Count; CacheResult::ALL.len()],
    claims: [Count; ClaimOutcome::ALL.len()],
    events: [Count; LinkEvent::ALL.len()],
    problems: [Count; ProblemKind::ALL.len()],
    limits: [[Count; LimitDecision::ALL.len()]; Policy::ALL.len()],
    code_collisions: Count,
}

impl Shard {
    fn new() -> Self {
        Self {
            active: Count::default(),
            requests: from_fn(|_| from_fn(|_| from_fn(|_| Count::default()))),
            durations: from_fn(|_| Durations::new()),
            redirects: from_fn(|_| Count::default()),
            claims: from_fn(|_| Count::default()),
            events: from_fn(|_| Count::default()),
            problems: from_fn(|_| Count::default()),
            limits: from_fn(|_| from_fn(|_| Count::default())),
            code_collisions: Count::default(),
        }
    }

    fn add_to(&self, totals: &mut RequestTotals) {
        fn add<'a>(counts: impl IntoIterator<Item = &'a Count>, totals: impl IntoIterator<Item = &'a mut u64>) {
            for (count, total) in counts.into_iter().zip(totals) {
                *total += count.get();
            }
        }
        totals.active += self.active.get();
        add(self.requests.iter().flatten().flatten(), totals.requests.iter_mut().flatten().flatten());
        for (durations, total) in self.durations.iter().zip(&mut totals.durations) {
            durations.add_to(total);
        }
        add(&self.redirects, &mut totals.redirects);
        add(&self.claims, &mut totals.claims);
        add(&self.events, &mut totals.events);
        add(&self.problems, &mut totals.problems);
        add(self.limits.iter().flatten(), totals.limits.iter_mut().flatten());
        totals.code_collisions += self.code_collisions.get();
    }
}

/// The shards of all workers. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestCounters(Arc<Mutex<Vec<Arc<Shard>>>>);

impl RequestCounters {
    /// A counter for a new worker. What a worker that ended has counted stays counted.
    pub(crate) fn add_worker(&self) -> RequestCounter {
        let shard = Arc::new(Shard::new());
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::clone(&shard));
        RequestCounter { shard, _one_thread: PhantomData }
    }

    /// What all workers have counted.
    pub(crate) fn totals(&self) -> RequestTotals {
        let shards = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let mut totals = RequestTotals::new();
        for shard in &shards {
            shard.add_to(&mut totals);
        }
        totals
    }
}

/// Counts the requests of one worker. It is not `Send`, so that its shard has one writer.
#[derive(Debug)]
pub(crate) struct RequestCounter {
    shard: Arc<Shard>,
    _one_thread: PhantomData<Rc<()>>,
}

/// A request that has ended.
pub(crate) struct FinishedRequest<'a> {
    pub(crate) route: RouteClass,
    pub(crate) method: MethodClass,
    pub(crate) status: StatusClass,
    pub(crate) took: Duration,
    pub(crate) problem: Option<ProblemKind>,
    pub(crate) notes: &'a Notes,
    pub(crate) tally: &'a Tally,
}

impl RequestCounter {
    /// A request begins.
    pub(crate) fn begun(&self) {
        self.shard.active.add(1);
    }

    /// A request that began ends, and another one takes its place.
    pub(crate) fn replaced(&self) {
        self.shard.active.subtract(1);
    }

    /// A request that began has ended.
    pub(crate) fn finished(&self, request: &FinishedRequest<'_>) {
        let shard = &*self.shard;
        let &FinishedRequest { route, method, status, took, problem, notes, tally } = request;
        shard.active.subtract(1);
        shard.requests[route as usize][method as usize][status as usize].add(1);
        shard.durations[route as usize].add(took);
        if let Some(result) = notes.cache_result {
            shard.redirects[result as usize].add(1);
        }
        if let Some(problem) = problem {
            shard.problems[problem as usize].add(1);
        }
        if let Some(policy) = tally.policy {
            self.count_limit(policy, tally);
        }
        match route {
            RouteClass::Claim | RouteClass::Batch => self.count_claims(request),
            RouteClass::Change if status == StatusClass::Success => self.count_event(method),
            _ => {}
        }
    }

    fn count_limit(&self, policy: Policy, tally: &Tally) {
        let (policy, decision) = match tally.refused_by() {
            // The policy that refused may be a narrower one.
            Some((name, _)) => {
                let refusing = Policy::ALL.into_iter().find(|policy| policy.name() == name);
                (refusing.unwrap_or(policy), LimitDecision::Rejected)
            }
            None => (policy, LimitDecision::Admitted),
        };
        self.shard.limits[policy as usize][decision as usize].add(1);
    }

    fn count_claims(&self, request: &FinishedRequest<'_>) {
        let count = |outcome: ClaimOutcome, count: usize| self.shard.claims[outcome as usize].add(count as u64);
        let FinishedRequest { notes, method, .. } = request;
        self.shard.code_collisions.add(notes.code_collisions.into());
        match (notes.batch, notes.outcome) {
            (Some(batch), _) => {
                count(ClaimOutcome::Created, batch.created);
                count(ClaimOutcome::Existing, batch.existing);
                count(ClaimOutcome::Reactivated, batch.reactivated);
                count(ClaimOutcome::Failed, batch.failed);
            }
            (None, Some("created")) => count(ClaimOutcome::Created, 1),
            (None, Some("existing")) => count(ClaimOutcome::Existing, 1),
            (None, Some("reactivated")) => count(ClaimOutcome::Reactivated, 1),
            (None, _) if *method == MethodClass::Post => count(ClaimOutcome::Failed, 1),
            (None, _) => {}
        }
    }

    fn count_event(&self, method: MethodClass) {
        let event = match method {
            MethodClass::Patch => LinkEvent::Edit,
            MethodClass::Delete => LinkEvent::Delete,
            MethodClass::Post => LinkEvent::Reactivate,
            _ => return,
        };
        self.shard.events[event as usize].add(1);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::*;

    fn tally() -> Tally {
        Tally::new(IpAddr::from(Ipv4Addr::LOCALHOST).into(), Some(Policy::Redirect))
    }

    fn redirect<'a>(notes: &'a Notes, tally: &'a Tally, took: Duration) -> FinishedRequest<'a> {
        let (route, method, status) = (RouteClass::Redirect, MethodClass::Get, StatusClass::Redirection);
        FinishedRequest { route, method, status, took, problem: None, notes, tally }
    }

    #[test]
    fn shards_add_up_and_those_of_ended_workers_stay() {
        let (counters, tally) = (RequestCounters::default(), tally());
        let notes = Notes { cache_result: Some(CacheResult::Hit), ..Notes::default() };
        for worker in 1..=3_u64 {
            let counter = counters.add_worker();
            for _ in 0..worker {
                counter.begun();
                counter.finished(&redirect(&notes, &tally, Duration::from_micros(250)));
            }
        }
        let waiting = counters.add_worker();
        waiting.begun();
        let totals = counters.totals();
        assert_eq!(totals.requests[0][0][StatusClass::Redirection as usize], 6);
        assert_eq!(totals.redirects().next(), Some(("hit", 6)));
        assert_eq!(totals.limits().next(), Some(("redirect", LimitDecision::Admitted, 6)));
        assert_eq!((totals.active, totals.durations[0].sum), (1, Duration::from_micros(1_500)));
    }

    #[test]
    fn each_duration_is_in_the_first_bucket_that_is_not_below_it() {
        let (counters, tally, notes) = (RequestCounters::default(), tally(), Notes::default());
        let counter = counters.add_worker();
        for micros in [0, 250, 251, 50_000, 50_001, 10_000_000, 10_000_001] {
            counter.begun();
            counter.finished(&redirect(&notes, &tally, Duration::from_micros(micros)));
        }
        let buckets: Vec<_> = counters.totals().durations[0].buckets().filter(|(_, count)| *count > 0).collect();
        assert_eq!(buckets, [(0.00025, 2), (0.0005, 1), (0.05, 1), (0.1, 1), (10.0, 1), (f64::INFINITY, 1)]);
    }
}
