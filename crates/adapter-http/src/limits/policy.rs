//! Policies: which requests are counted together, and how many are admitted.

use std::{num::NonZeroU32, time::Duration};

use actix_governor::governor;
use actix_web::http::Method;

/// Requests that are counted together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Policy {
    /// Following and previewing links, and pages.
    Redirect,
    /// Reading links, lists and histories.
    Read,
    /// Claiming, editing, deleting and reactivating one link.
    Claim,
    /// Claims in batches. Each claim counts.
    Batch,
    /// Managing API keys, blocks and short domains.
    Keys,
    /// Codes that no link has.
    Unknown,
}

/// How many requests are admitted: `burst` at once, and one more after each interval.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Quota {
    /// How many are admitted at once after a pause.
    pub burst: NonZeroU32,
    interval: Duration,
}

/// The quotas of all policies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the fields are named after the policies")]
pub struct Quotas {
    pub redirect: Quota,
    pub read: Quota,
    pub claim: Quota,
    pub batch: Quota,
    pub keys: Quota,
    pub unknown: Quota,
}

impl Policy {
    /// All policies, in the order of their discriminants.
    pub(crate) const ALL: [Self; 6] = [Self::Redirect, Self::Read, Self::Claim, Self::Batch, Self::Keys, Self::Unknown];

    /// Its name for callers and operators.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Redirect => "redirect",
            Self::Read => "read",
            Self::Claim => "claim",
            Self::Batch => "batch",
            Self::Keys => "keys",
            Self::Unknown => "unknown",
        }
    }

    pub(super) fn quota(self, quotas: &Quotas) -> Quota {
        match self {
            Self::Redirect => quotas.redirect,
            Self::Read => quotas.read,
            Self::Claim => quotas.claim,
            Self::Batch => quotas.batch,
            Self::Keys => quotas.keys,
            Self::Unknown => quotas.unknown,
        }
    }

    /// The policy of a request; `None` for health checks, which are never rejected.
    pub(crate) fn of(method: &Method, path: &str) -> Option<Self> {
        const HEALTH: [&str; 3] = ["/livez", "/readyz", "/health"];
        let Some(resource) = path.strip_prefix("/api/v1/") else {
            return (!HEALTH.contains(&path)).then_some(Self::Redirect);
        };
        let administers = ["keys", "blocks", "domains"].iter().any(|name| resource.starts_with(name));
        Some(match *method {
            _ if administers => Self::Keys,
            Method::POST if resource == "links/batch" => Self::Batch,
            Method::GET | Method::HEAD | Method::OPTIONS => Self::Read,
            _ => Self::Claim,
        })
    }
}

impl Quota {
    /// `per_second` requests a second, and `burst` at once. `None` unless that is at least one a day and at most a
    /// billion a second, and the whole quota refills within a year.
    pub fn new(per_second: f64, burst: NonZeroU32) -> Option<Self> {
        const DAY: f64 = 86_400.0;
        const YEAR: Duration = Duration::from_hours(8_760);
        if !(1.0 / DAY..=1e9).contains(&per_second) {
            return None;
        }
        let interval = Duration::from_secs_f64(1.0 / per_second).max(Duration::from_nanos(1));
        let refill = interval.checked_mul(burst.get())?;
        (refill <= YEAR).then_some(Self { burst, interval })
    }

    /// Time in which one request is refilled.
    pub(super) fn emission_interval(self) -> Duration {
        self.interval
    }

    /// Time in which the whole quota is refilled.
    pub fn refill(self) -> Duration {
        self.interval * self.burst.get()
    }

    /// Time in which `amount` requests are refilled.
    pub(super) fn time_of(self, amount: u32) -> Duration {
        self.interval * amount
    }

    /// One of `parts` parts of it.
    pub(super) fn part(self, parts: NonZeroU32) -> Self {
        let burst = NonZeroU32::new(self.burst.get() / parts).unwrap_or(NonZeroU32::MIN);
        Self { burst, interval: self.interval * parts.get() }
    }

    /// `factor` times as much.
    pub(super) fn times(self, factor: u32) -> Self {
        let interval = (self.interval / factor).max(Duration::from_nanos(1));
        Self { burst: self.burst.saturating_mul(NonZeroU32::new(factor).unwrap_or(NonZeroU32::MIN)), interval }
    }

    pub(super) fn of_the_engine(self) -> governor::Quota {
        let quota = governor::Quota::with_period(self.interval).expect("the interval is not zero");
        quota.allow_burst(self.burst)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_request_belongs_to_one_policy() {
        for (method, path, policy) in [
            (Method::GET, "/abc", Some(Policy::Redirect)),
            (Method::HEAD, "/abc+", Some(Policy::Redirect)),
            (Method::GET, "/docs", Some(Policy::Redirect)),
            (Method::GET, "/api/v1/links", Some(Policy::Read)),
            (Method::GET, "/api/v1/links/abc/history", Some(Policy::Read)),
            (Method::POST, "/api/v1/links", Some(Policy::Claim)),
            (Method::DELETE, "/api/v1/links/abc", Some(Policy::Claim)),
            (Method::POST, "/api/v1/links/batch", Some(Policy::Batch)),
            (Method::GET, "/api/v1/links/batch", Some(Policy::Read)),
            (Method::GET, "/api/v1/keys", Some(Policy::Keys)),
            (Method::DELETE, "/api/v1/blocks/1", Some(Policy::Keys)),
            (Method::GET, "/livez", None),
            (Method::GET, "/readyz", None),
            (Method::GET, "/health", None),
        ] {
            assert_eq!(Policy::of(&method, path), policy, "{method} {path}");
        }
    }

    #[test]
    fn policies_are_numbered_in_their_order() {
        assert!(Policy::ALL.iter().enumerate().all(|(number, policy)| *policy as usize == number));
    }

    #[test]
    fn quotas_refill_at_their_rate_and_are_bounded() {
        let burst = NonZeroU32::new(20).expect("not zero");
        assert_eq!(Quota::new(10.0, burst).expect("sensible").refill(), Duration::from_secs(2));
        for wrong in [0.0, -1.0, 1e-6, 1e10, f64::NAN, f64::INFINITY] {
            assert_eq!(Quota::new(wrong, burst), None, "{wrong}");
        }
        assert_eq!(Quota::new(0.0001, NonZeroU32::MAX), None);
    }
}
