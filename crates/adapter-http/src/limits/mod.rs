//! Limits: how often one client, and one API key, may ask.
//!
//! The engine is the generic cell rate algorithm of `governor`, which `actix-governor` brings along. Its middleware is
//! not used: it cannot charge after the answer is known, nor by weight, and truncates `Retry-After` to zero.
//!
//! | file      | holds                                                            |
//! |-----------|------------------------------------------------------------------|
//! | `policy`  | which requests are counted together, and how many there may be   |
//! | `buckets` | one state for each client, bounded and swept                     |
//! | `fields`  | what callers are told of it in header fields                     |

mod buckets;
mod fields;
mod policy;

use std::{
    hash::{BuildHasher, RandomState},
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use actix_governor::governor::{
    RateLimiter,
    clock::{Clock, DefaultClock},
    middleware::{StateInformationMiddleware, StateSnapshot},
};
use domain::api_key::KeyId;

pub(crate) use self::policy::Policy;
pub use self::policy::{Quota, Quotas};
use self::{
    buckets::{Buckets, Room},
    fields::whole_seconds,
};
use crate::{client::ClientAddress, context::Context, problem::Problem};

/// All limits of the process; every worker counts here.
#[derive(Debug)]
pub(crate) struct Limits {
    /// One for each policy, in their order; none if nothing is limited.
    policies: Vec<Limited>,
    clock: DefaultClock,
    /// Keys are counted by it: they are validated first, so nobody can choose what collides.
    names: RandomState,
}

/// The limits of one policy.
#[derive(Debug)]
struct Limited {
    /// By IPv4 address, and by IPv6 network of 64 bits.
    addresses: Limiter,
    /// By IPv6 network of 48 bits, which one customer may have whole.
    networks: Limiter,
    keys: Limiter,
}

#[derive(Debug)]
struct Limiter {
    policy: Policy,
    quota: Quota,
    buckets: Buckets,
    engine: RateLimiter<u64, Buckets, DefaultClock, StateInformationMiddleware>,
}

/// How somebody stands to a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Standing {
    policy: Policy,
    quota: Quota,
    remaining: u32,
    /// Until everything is there again.
    reset: Duration,
}

impl Limits {
    /// How many times as much an IPv6 network of 48 bits may ask as one of 64.
    const NETWORK: u32 = 4;

    /// These quotas; with `None`, no limits at all.
    pub(crate) fn new(quotas: Option<Quotas>) -> Self {
        let (clock, room) = (DefaultClock::default(), Arc::new(Room::default()));
        let limited = |policy: Policy, quotas: &Quotas| {
            let quota = policy.quota(quotas);
            let limiter = |quota| Limiter::new(policy, quota, &room, &clock);
            Limited { addresses: limiter(quota), networks: limiter(quota.times(Self::NETWORK)), keys: limiter(quota) }
        };
        let policies = quotas.iter().flat_map(|quotas| Policy::ALL.map(|policy| limited(policy, quotas))).collect();
        Self { policies, clock, names: RandomState::new() }
    }

    /// Counts a request of `client`.
    pub(crate) fn charge_client(
        &self,
        context: &Context,
        policy: Policy,
        client: ClientAddress,
    ) -> Result<(), Problem> {
        // Nearly all clients are counted in one place: no list is made for them, on the way of every redirect.
        let (address, network) = buckets_of(client);
        match self.policies.get(policy as usize) {
            Some(limited) if network.is_none() => self.charge(context, &limited.addresses, address, NonZeroU32::MIN),
            _ => self.charge_all(context, &self.of_client(policy, client), NonZeroU32::MIN),
        }
    }

    /// Counts a request with a valid key.
    pub(crate) fn charge_key(&self, context: &Context, policy: Policy, key: &KeyId) -> Result<(), Problem> {
        self.charge_all(context, &self.of_key(policy, key), NonZeroU32::MIN)
    }

    /// Counts what else is in a batch, whose first claim was counted when it came. A batch that is refused counts nothing:
    /// whoever waits as long as they are told can send it whole.
    pub(crate) fn charge_batch(&self, context: &Context, key: &KeyId, others: NonZeroU32) -> Result<(), Problem> {
        let mut all = self.of_client(Policy::Batch, context.client);
        all.extend(self.of_key(Policy::Batch, key));
        let charged = self.charge_all(context, &all, others);
        if charged.is_err() {
            give_back(&all, NonZeroU32::MIN);
        }
        charged
    }

    /// Takes back that `client` was counted once.
    pub(crate) fn give_back(&self, policy: Policy, client: ClientAddress) {
        give_back(&self.of_client(policy, client), NonZeroU32::MIN);
    }

    /// Where a client is counted: an IPv6 one twice.
    fn of_client(&self, policy: Policy, client: ClientAddress) -> Vec<(&Limiter, u64)> {
        let Some(limited) = self.policies.get(policy as usize) else {
            return Vec::new();
        };
        let (address, network) = buckets_of(client);
        let network = network.map(|network| (&limited.networks, network));
        [(&limited.addresses, address)].into_iter().chain(network).collect()
    }

    fn of_key(&self, policy: Policy, key: &KeyId) -> Vec<(&Limiter, u64)> {
        let limited = self.policies.get(policy as usize);
        limited.map(|limited| (&limited.keys, self.names.hash_one(key.as_str()))).into_iter().collect()
    }

    /// In all of them or, if one has too little left, in none.
    fn charge_all(&self, context: &Context, all: &[(&Limiter, u64)], weight: NonZeroU32) -> Result<(), Problem> {
        for (number, (limiter, bucket)) in all.iter().enumerate() {
            if let Err(problem) = self.charge(context, limiter, *bucket, weight) {
                give_back(&all[..number], weight);
                return Err(problem);
            }
        }
        Ok(())
    }

    fn charge(&self, context: &Context, limiter: &Limiter, bucket: u64, weight: NonZeroU32) -> Result<(), Problem> {
        let quota = limiter.quota;
        let standing = |remaining, reset| Standing { policy: limiter.policy, quota, remaining, reset };
        // Who asks for more at once than there ever is gets as much as there is: the edge admits no such weight.
        let weight = weight.min(quota.burst);
        match limiter.engine.check_key_n(&bucket, weight) {
            Ok(Ok(snapshot)) => {
                context.stand(standing(snapshot.remaining_burst_capacity(), refilled_in(quota, &snapshot)));
                Ok(())
            }
            Ok(Err(too_early)) => {
                let wait = too_early.wait_time_from(self.clock.now());
                let missing = quota.emission_interval() * weight.get();
                let reset = wait + quota.refill().saturating_sub(missing);
                let remaining = remaining_at(quota, reset);
                context.stand(standing(remaining, reset));
                Err(fields::quota_exceeded(limiter.policy, whole_seconds(wait)))
            }
            Err(_never) => Ok(()),
        }
    }

    /// Sweeps on a thread of its own, until nobody uses the limits any more.
    pub(crate) fn keep_swept(self: &Arc<Self>) {
        const PAUSE: Duration = Duration::from_secs(1);
        let limits: Weak<Self> = Arc::downgrade(self);
        let mut swept = vec![Instant::now(); self.policies.len()];
        if swept.is_empty() {
            return;
        }
        let sweeping = move || {
            while let Some(limits) = limits.upgrade() {
                for (limited, swept) in limits.policies.iter().zip(&mut swept) {
                    let due = limited.addresses.quota.refill().max(PAUSE);
                    if swept.elapsed() >= due {
                        *swept = Instant::now();
                        limited.sweep();
                    }
                }
                drop(limits);
                thread::park_timeout(PAUSE);
            }
        };
        let spawned = thread::Builder::new().name("limits".to_owned()).spawn(sweeping);
        spawned.expect("the process may start threads");
    }
}

impl Limited {
    /// Forgets everybody whose quota is whole again.
    fn sweep(&self) {
        for limiter in [&self.addresses, &self.networks, &self.keys] {
            limiter.engine.retain_recent();
            limiter.engine.shrink_to_fit();
        }
    }
}

impl Limiter {
    fn new(policy: Policy, quota: Quota, room: &Arc<Room>, clock: &DefaultClock) -> Self {
        let buckets = Buckets::new(Arc::clone(room));
        let engine = RateLimiter::new(quota.of_the_engine(), buckets.clone(), clock.clone());
        Self { policy, quota, buckets, engine }
    }
}

fn give_back(charged: &[(&Limiter, u64)], weight: NonZeroU32) {
    for (limiter, bucket) in charged {
        limiter.buckets.give_back(*bucket, limiter.quota.emission_interval() * weight.get());
    }
}

/// Where a client is counted: by its IPv4 address or IPv6 network of 64 bits, and by that of 48 bits. The ranges do not
/// meet: nobody comes from IPv6 networks that begin with 32 zeroes.
fn buckets_of(client: ClientAddress) -> (u64, Option<u64>) {
    match client.ip() {
        IpAddr::V4(address) => (address.to_bits().into(), None),
        IpAddr::V6(address) => {
            let half = u64::try_from(address.to_bits() >> 64).expect("64 bits are left");
            (half, Some(half >> 16))
        }
    }
}

/// Until all of a quota is there again.
fn refilled_in(quota: Quota, snapshot: &StateSnapshot) -> Duration {
    quota.emission_interval() * (quota.burst.get() - snapshot.remaining_burst_capacity())
}

/// How much of a quota is there, so long before it is whole.
fn remaining_at(quota: Quota, reset: Duration) -> u32 {
    let missing = reset.as_nanos().div_ceil(quota.emission_interval().as_nanos().max(1));
    quota.burst.get().saturating_sub(u32::try_from(missing).unwrap_or(u32::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ipv6_clients_are_counted_by_their_networks() {
        let buckets = |address: &str| buckets_of(ClientAddress::from(address.parse::<IpAddr>().expect("valid")));
        assert_eq!(buckets("2001:db8:1:2::1"), buckets("2001:db8:1:2:ffff::9"));
        assert_ne!(buckets("2001:db8:1:2::1").0, buckets("2001:db8:1:3::1").0);
        assert_eq!(buckets("2001:db8:1:2::1").1, buckets("2001:db8:1:3::1").1);
        assert_ne!(buckets("2001:db8:1:2::1").1, buckets("2001:db8:2:2::1").1);
        assert_ne!(buckets("203.0.113.7"), buckets("203.0.113.8"));
        assert_eq!(buckets("203.0.113.7").1, None);
    }
}
