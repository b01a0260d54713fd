//! [`Limits`]: all quotas of the process, and how a request is charged to them.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{Arc, Weak},
    thread,
    time::{Duration, Instant},
};

use domain::{api_key::KeyId, ports::SharedLimiter};
use tokio::sync::Semaphore;

use super::{
    buckets::Room,
    client::ClientAddress,
    headers,
    limiter::{Account, Limiter, Subject, TooMany},
    policy::{Policy, Quotas},
    tally::{Charge, Charged, Tally},
};
use crate::problem::Problem;

/// All limits of the process, shared by all workers.
#[derive(Debug)]
pub(crate) struct Limits {
    /// One for each policy, in the order of [`Policy::ALL`]; empty if nothing is limited.
    policies: Vec<Limited>,
    /// Counts for all processes together; `None` if each process counts alone.
    shared_limiter: Option<Arc<dyn SharedLimiter>>,
    /// The least number of processes that share a quota.
    processes: NonZeroU32,
    /// Bounds the calls to the shared limiter that run in the background.
    recording: Arc<Semaphore>,
    /// Bounds the visitors who wait until the codes of links are known.
    pub(super) pending_visitors: Semaphore,
}

/// The limits of one policy.
#[derive(Debug)]
struct Limited {
    addresses: Arc<Limiter>,
    networks: Arc<Limiter>,
    keys: Arc<Limiter>,
}

impl Limits {
    /// The quota of an IPv6 network of 48 bits, in multiples of that of 64 bits.
    const NETWORK: u32 = 4;
    const MAX_RECORDING: usize = 1_024;
    /// Most visitors who wait until the codes of links are known. For more of them, the retries would cost more than
    /// the answers they wait for.
    const MAX_PENDING_VISITORS: usize = 256;

    /// With these quotas, for at least `processes` processes together. With `None` nothing is limited.
    pub(crate) fn new(
        quotas: Option<Quotas>,
        shared_limiter: Option<Arc<dyn SharedLimiter>>,
        processes: NonZeroU32,
    ) -> Self {
        let room = Arc::new(Room::default());
        let limited = |policy: Policy, quotas: &Quotas| {
            let quota = policy.quota(quotas);
            let limiter = |subject, quota| Arc::new(Limiter::new(policy, subject, quota, &room));
            Limited {
                addresses: limiter(Subject::Address, quota),
                networks: limiter(Subject::Network, quota.times(Self::NETWORK)),
                keys: limiter(Subject::Key, quota),
            }
        };
        let policies = quotas.iter().flat_map(|quotas| Policy::ALL.map(|policy| limited(policy, quotas))).collect();
        Self {
            policies,
            shared_limiter,
            processes,
            recording: Arc::new(Semaphore::new(Self::MAX_RECORDING)),
            pending_visitors: Semaphore::new(Self::MAX_PENDING_VISITORS),
        }
    }

    /// Charges a call to its client, here and by the shared limiter.
    pub(crate) async fn charge_client(&self, tally: &Tally, policy: Policy) -> Result<(), Problem> {
        let accounts: Vec<_> = self.of_client(policy, tally.client).collect();
        let taken = self.charge(tally, &accounts).await?;
        tally.set_charged(|charged| Charged { client: Some(taken), ..charged });
        Ok(())
    }

    /// Charges a call to its valid API key, here and by the shared limiter.
    pub(crate) async fn charge_key(&self, tally: &Tally, policy: Policy, key: &KeyId) -> Result<(), Problem> {
        let accounts: Vec<_> = self.of_key(policy, key).collect();
        let taken = self.charge(tally, &accounts).await?;
        tally.set_charged(|charged| Charged { key: Some(taken), ..charged });
        Ok(())
    }

    /// Charges all claims of a batch. The first claim was charged when the request arrived. A refused batch is charged
    /// nothing, so a client that waits for `Retry-After` can send the whole batch.
    pub(crate) async fn charge_batch(&self, tally: &Tally, key: &KeyId, size: NonZeroU32) -> Result<(), Problem> {
        let Some(others) = NonZeroU32::new(size.get() - 1) else {
            return Ok(());
        };
        let (client, key) = (self.of_client(Policy::Batch, tally.client), self.of_key(Policy::Batch, key));
        let accounts: Vec<_> = client.chain(key).collect();
        // Putting back the first claim would reach the shared limiter too late, so it is asked for the others alone.
        if let Some(shared_limiter) = self.shared_limiter_for(tally)
            && let Some(outcome) = ask(tally, shared_limiter, &accounts, others).await
        {
            if outcome.is_err() {
                self.put_back(tally, &accounts);
            }
            return outcome;
        }
        self.put_back(tally, &accounts);
        take(tally, accounts.into_iter(), size, self.all_processes())
    }

    /// Puts back what was charged when the request arrived.
    fn put_back(&self, tally: &Tally, accounts: &[Account<'_>]) {
        let Charged { client, key, .. } = tally.charged();
        for account in accounts {
            let taken = if account.limiter.subject == Subject::Key { key } else { client };
            let Some(Charge { weight, is_shared }) = taken else {
                continue;
            };
            account.give_back(weight);
            if is_shared {
                self.record_later([(*account, -1)].into_iter());
            }
        }
    }

    /// Charges a redirect or page, and records the charge with the shared limiter.
    pub(crate) fn charge_visitor(&self, tally: &Tally) -> Result<(), Problem> {
        self.take(tally, Policy::Redirect)?;
        self.record(Policy::Redirect, tally.client);
        Ok(())
    }

    /// Takes one from a client's quota, in this process alone, and returns its weight. Once it is known whether it
    /// counts, the caller [records](Self::record) it or [gives it back](Self::give_back).
    pub(crate) fn take(&self, tally: &Tally, policy: Policy) -> Result<NonZeroU32, Problem> {
        let share = self.share();
        take(tally, self.of_client(policy, tally.client), NonZeroU32::MIN, share).map(|()| share)
    }

    /// What was taken counts: it is sent to the shared limiter in the background.
    pub(crate) fn record(&self, policy: Policy, client: ClientAddress) {
        if self.shared_limiter().is_some() {
            self.record_later(
                self.of_client(policy, client)
                    .filter_map(|account| account.add_pending().map(move |pending| (account, pending.into()))),
            );
        }
    }

    /// What was taken does not count.
    pub(crate) fn give_back(&self, policy: Policy, client: ClientAddress, taken: NonZeroU32) {
        for account in self.of_client(policy, client) {
            account.give_back(taken);
        }
    }

    /// The accounts of a client: one for IPv4, two for IPv6. Allocates nothing, because every redirect calls it.
    fn of_client(&self, policy: Policy, client: ClientAddress) -> impl Iterator<Item = Account<'_>> + Clone {
        let (address, network) = buckets_of(client);
        self.policies.get(policy as usize).into_iter().flat_map(move |limited| {
            let network = network.map(|bucket| Account { limiter: &limited.networks, bucket });
            [Account { limiter: &limited.addresses, bucket: address }].into_iter().chain(network)
        })
    }

    fn of_key(&self, policy: Policy, key: &KeyId) -> impl Iterator<Item = Account<'_>> + Clone {
        let bucket = bucket_of(key);
        self.policies.get(policy as usize).into_iter().map(move |limited| Account { limiter: &limited.keys, bucket })
    }

    /// The shared limiter, while it is available.
    fn shared_limiter(&self) -> Option<&Arc<dyn SharedLimiter>> {
        self.shared_limiter.as_ref().filter(|shared_limiter| shared_limiter.is_available())
    }

    /// The number of parts a quota is divided into at present: 1 while the shared limiter is available.
    fn share(&self) -> NonZeroU32 {
        if self.shared_limiter().is_some() { NonZeroU32::MIN } else { self.all_processes() }
    }

    fn all_processes(&self) -> NonZeroU32 {
        self.shared_limiter
            .as_ref()
            .map_or(self.processes, |shared_limiter| shared_limiter.processes().max(self.processes))
    }

    /// The shared limiter, unless it already failed to reply to this request: one timeout is enough.
    fn shared_limiter_for(&self, tally: &Tally) -> Option<&Arc<dyn SharedLimiter>> {
        self.shared_limiter().filter(|_| !tally.charged().unanswered)
    }

    /// Charges one, here and by the shared limiter.
    async fn charge(&self, tally: &Tally, accounts: &[Account<'_>]) -> Result<Charge, Problem> {
        if let Some(shared_limiter) = self.shared_limiter_for(tally)
            && let Some(outcome) = ask(tally, shared_limiter, accounts, NonZeroU32::MIN).await
        {
            return outcome.map(|()| Charge { weight: NonZeroU32::MIN, is_shared: true });
        }
        let share = self.all_processes();
        take(tally, accounts.iter().copied(), NonZeroU32::MIN, share)?;
        Ok(Charge { weight: share, is_shared: false })
    }

    /// Sends charges that were admitted already, or put back, to the shared limiter in the background.
    fn record_later<'a>(&self, charges: impl Iterator<Item = (Account<'a>, i64)>) {
        let charges: Vec<_> =
            charges.map(|(account, amount)| (Arc::clone(account.limiter), account.bucket, amount)).collect();
        let (false, Some(shared_limiter)) = (charges.is_empty(), self.shared_limiter()) else {
            return;
        };
        let Ok(permit) = Arc::clone(&self.recording).try_acquire_owned() else {
            // They are sent with the next ones.
            for (limiter, bucket, amount) in &charges {
                Account { limiter, bucket: *bucket }.add_pending_many(*amount);
            }
            return;
        };
        let shared_limiter = Arc::clone(shared_limiter);
        actix_web::rt::spawn(async move {
            let accounts = || charges.iter().map(|(limiter, bucket, _)| Account { limiter, bucket: *bucket });
            let amounts = charges.iter().map(|(_, _, amount)| *amount);
            let requests: Vec<_> = accounts().zip(amounts).map(|(account, amount)| account.request(amount)).collect();
            let asked = Instant::now();
            if let Some(reply) = shared_limiter.record(&requests).await {
                accounts().zip(reply.whole_in).for_each(|(account, whole_in)| account.learn(whole_in, asked));
            }
            drop(permit);
        });
    }

    /// Starts a thread that sweeps the buckets until the limits are dropped.
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
                        for limiter in [&limited.addresses, &limited.networks, &limited.keys] {
                            limiter.sweep();
                        }
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

/// Charges all accounts, here and by the shared limiter, or none. `None` if the shared limiter does not reply; what was
/// taken here is given back then.
async fn ask(
    tally: &Tally,
    shared_limiter: &Arc<dyn SharedLimiter>,
    accounts: &[Account<'_>],
    weight: NonZeroU32,
) -> Option<Result<(), Problem>> {
    // If too little is left here, the shared limiter is not asked: it normally has no more left. It may have more after
    // charges that weighed more while it was unavailable, and after charges that other processes put back. Only time
    // corrects the count here.
    if let Err(too_many) = take(tally, accounts.iter().copied(), weight, NonZeroU32::MIN) {
        return Some(Err(too_many));
    }
    if accounts.is_empty() {
        return Some(Ok(()));
    }
    let (asked, amount) = (Instant::now(), weight.get().into());
    let requests: Vec<_> = accounts.iter().map(|account| account.request(amount)).collect();
    let reply = shared_limiter.acquire(&requests).await;
    if reply.as_ref().is_none_or(|reply| reply.refused.is_some()) {
        give_back(accounts, weight);
    }
    let Some(reply) = reply else {
        tally.set_charged(|charged| Charged { unanswered: true, ..charged });
        return None;
    };
    for (account, whole_in) in accounts.iter().zip(&reply.whole_in) {
        account.learn(*whole_in, asked);
        tally.add_standing(account.standing(*whole_in));
    }
    let refused_at = reply.refused.and_then(|number| Some((accounts.get(number)?, *reply.whole_in.get(number)?)));
    Some(match refused_at {
        Some((account, whole_in)) => Err(refused(tally, *account, account.too_many(weight, whole_in))),
        None => Ok(()),
    })
}

/// Charges all accounts or, if one has too little left, none.
fn take<'a>(
    tally: &Tally,
    accounts: impl Iterator<Item = Account<'a>> + Clone,
    weight: NonZeroU32,
    share: NonZeroU32,
) -> Result<(), Problem> {
    for (number, account) in accounts.clone().enumerate() {
        match account.take(weight, share) {
            Ok(standing) => tally.add_standing(standing),
            Err(too_many) => {
                let all = weight.saturating_mul(share);
                accounts.take(number).for_each(|account| account.give_back(all));
                tally.add_standing(too_many.standing);
                return Err(refused(tally, account, too_many));
            }
        }
    }
    Ok(())
}

fn give_back(accounts: &[Account<'_>], weight: NonZeroU32) {
    for account in accounts {
        account.give_back(weight);
    }
}

fn refused(tally: &Tally, account: Account<'_>, too_many: TooMany) -> Problem {
    let (policy, subject) = (account.limiter.policy, account.limiter.subject);
    tally.refuse((policy.name(), subject.name()));
    headers::quota_exceeded(policy, too_many.wait)
}

/// The buckets of a client: its IPv4 address, or its IPv6 networks of 64 and of 48 bits. IPv4 and IPv6 do not collide:
/// no client comes from an IPv6 network that begins with 32 zero bits.
fn buckets_of(client: ClientAddress) -> (u64, Option<u64>) {
    match client.ip() {
        IpAddr::V4(address) => (address.to_bits().into(), None),
        IpAddr::V6(address) => {
            let half = u64::try_from(address.to_bits() >> 64).expect("64 bits are left");
            (half, Some(half >> 16))
        }
    }
}

/// The bucket of a key, the same in every process (FNV-1a). Signpost draws the ids, so callers cannot choose
/// collisions.
fn bucket_of(key: &KeyId) -> u64 {
    key.as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
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
