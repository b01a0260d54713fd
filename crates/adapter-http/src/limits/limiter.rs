//! One limit: a quota, and the accounts that are charged to it.

use std::{
    num::NonZeroU32,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_governor::governor::{
    RateLimiter,
    clock::{Clock, DefaultClock, Reference},
    middleware::StateInformationMiddleware,
};
use domain::ports::LimiterRequest;

use super::{
    Policy, Quota, Standing,
    buckets::{Buckets, Room},
};

/// What a limit counts by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Subject {
    /// IPv4 addresses, and IPv6 networks of 64 bits.
    Address,
    /// IPv6 networks of 48 bits: one customer may own a whole one.
    Network,
    Key,
}

#[derive(Debug)]
pub(super) struct Limiter {
    pub(super) policy: Policy,
    pub(super) subject: Subject,
    pub(super) quota: Quota,
    buckets: Buckets,
    engine: RateLimiter<u64, Buckets, DefaultClock, StateInformationMiddleware>,
    /// When the engine began, approximately.
    begun: <DefaultClock as Clock>::Instant,
}

/// One bucket of a limit, to which a client or a key is charged.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account<'a> {
    pub(super) limiter: &'a Arc<Limiter>,
    pub(super) bucket: u64,
}

/// A charge that was refused.
#[derive(Debug)]
pub(super) struct TooMany {
    pub(super) standing: Standing,
    /// Time until it would be admitted.
    pub(super) wait: Duration,
}

impl Subject {
    /// Its name for operators.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Address => "address",
            Self::Network => "network",
            Self::Key => "key",
        }
    }
}

impl Limiter {
    pub(super) fn new(policy: Policy, subject: Subject, quota: Quota, room: &Arc<Room>) -> Self {
        let (buckets, clock) = (Buckets::new(Arc::clone(room)), DefaultClock::default());
        let begun = clock.now();
        let engine = RateLimiter::new(quota.of_the_engine(), buckets.clone(), clock);
        Self { policy, subject, quota, buckets, engine, begun }
    }

    /// Removes the buckets of all accounts whose quota is whole again.
    pub(super) fn sweep(&self) {
        self.engine.retain_recent();
        self.engine.shrink_to_fit();
    }

    fn now(&self) -> Duration {
        self.engine.clock().now().duration_since(self.begun).into()
    }
}

impl Account<'_> {
    /// Takes `weight` of the quota. This process has one of `share` parts of it, so a charge weighs `share` times more.
    pub(super) fn take(&self, weight: NonZeroU32, share: NonZeroU32) -> Result<Standing, TooMany> {
        let Limiter { engine, quota, .. } = &**self.limiter;
        let all = weight.saturating_mul(share);
        // A charge above the whole quota is admitted once the quota is whole. The rest is owed, which makes the next
        // wait longer.
        let at_once = all.min(quota.burst);
        let standing = |whole_in| Standing::new(self.limiter.policy, *quota, share, whole_in);
        match engine.check_key_n(&self.bucket, at_once) {
            Ok(Ok(snapshot)) => {
                let rest = quota.time_of(all.get() - at_once.get());
                if !rest.is_zero() {
                    self.limiter.buckets.take_more(self.bucket, rest);
                }
                Ok(standing(quota.time_of(quota.burst.get() - snapshot.remaining_burst_capacity()) + rest))
            }
            Ok(Err(too_early)) => {
                let wait = too_early.wait_time_from(engine.clock().now());
                let whole_in = (wait + quota.refill()).saturating_sub(quota.time_of(at_once.get()));
                Err(TooMany { standing: standing(whole_in).refused(wait), wait })
            }
            Err(_never) => Ok(standing(Duration::ZERO)),
        }
    }

    /// Puts back a charge.
    pub(super) fn give_back(&self, weight: NonZeroU32) {
        self.limiter.buckets.give_back(self.bucket, self.limiter.quota.time_of(weight.get()));
    }

    /// Takes over what other processes charged: the quota is whole no earlier than `whole_in` after `asked`.
    pub(super) fn learn(&self, whole_in: Duration, asked: Instant) {
        self.limiter.buckets.learn(self.bucket, self.limiter.now() + whole_in.saturating_sub(asked.elapsed()));
    }

    /// Adds a charge for the shared limiter. Returns the number of pending charges when there are enough to send: a
    /// hundredth of the quota, which makes no difference to the limit.
    pub(super) fn add_pending(&self) -> Option<u32> {
        self.limiter.buckets.add_pending(self.bucket, (self.limiter.quota.burst.get() / 100).max(1))
    }

    /// Adds charges that could not be sent to the shared limiter.
    pub(super) fn add_pending_many(&self, amount: i64) {
        self.limiter.buckets.add_pending_many(self.bucket, u32::try_from(amount).unwrap_or(0));
    }

    /// The request to the shared limiter.
    pub(super) fn request(&self, amount: i64) -> LimiterRequest {
        let Limiter { policy, subject, quota, .. } = &**self.limiter;
        LimiterRequest {
            // The quota is part of the name, so another quota starts new accounts. A client that was refused by a quota
            // that was too narrow is admitted then.
            account: format!("{}/{}/{:016x}/{quota:?}", policy.name(), subject.name(), self.bucket),
            interval: quota.emission_interval(),
            burst: quota.burst,
            amount,
        }
    }

    /// How the account stands in all processes together. A shared limiter replies in whole microseconds, rounded up,
    /// which must not look like one more request.
    pub(super) fn standing(&self, whole_in: Duration) -> Standing {
        const ROUNDED: Duration = Duration::from_micros(2);
        let whole_in = whole_in.saturating_sub(ROUNDED);
        Standing::new(self.limiter.policy, self.limiter.quota, NonZeroU32::MIN, whole_in)
    }

    /// The refusal of `weight`, which is more than all processes together have left.
    pub(super) fn too_many(&self, weight: NonZeroU32, whole_in: Duration) -> TooMany {
        let Limiter { quota, .. } = &**self.limiter;
        let wait = (whole_in + quota.time_of(weight.get())).saturating_sub(quota.refill());
        TooMany { standing: self.standing(whole_in).refused(wait), wait }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Otherwise a client that was refused by a quota that was too narrow would still owe under a wider one.
    #[test]
    fn each_policy_subject_quota_and_bucket_has_its_own_account() {
        let account = |policy, subject, per_second, bucket| {
            let quota = Quota::new(per_second, NonZeroU32::MIN).expect("sensible");
            let limiter = Arc::new(Limiter::new(policy, subject, quota, &Arc::default()));
            Account { limiter: &limiter, bucket }.request(1).account
        };
        let usual = account(Policy::Read, Subject::Address, 1.0, 7);
        assert_eq!(account(Policy::Read, Subject::Address, 1.0, 7), usual);
        for other in [
            account(Policy::Claim, Subject::Address, 1.0, 7),
            account(Policy::Read, Subject::Network, 1.0, 7),
            account(Policy::Read, Subject::Address, 2.0, 7),
            account(Policy::Read, Subject::Address, 1.0, 8),
        ] {
            assert_ne!(other, usual);
        }
    }
}
