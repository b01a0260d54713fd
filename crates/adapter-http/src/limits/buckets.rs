//! The state of the rate limits: one bucket for each client. Their number is bounded, and full buckets are swept away.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering},
    },
    time::Duration,
};

use actix_governor::governor::{
    nanos::Nanos,
    state::{StateStore, keyed::ShrinkableKeyedStateStore},
};
use dashmap::{DashMap, Entry};

/// The number of buckets, of all policies together.
#[derive(Debug, Default)]
pub(super) struct Room(AtomicUsize);

impl Room {
    /// Most buckets, at about 57 bytes each.
    const MAX: usize = 3_500_000;

    fn is_full(&self) -> bool {
        self.0.load(Ordering::Relaxed) >= Self::MAX
    }
}

/// The buckets of one limiter. Clones share them.
#[derive(Clone, Debug)]
pub(super) struct Buckets {
    of_clients: Arc<DashMap<u64, Bucket>>,
    /// Shared by all clients for whom there was no room.
    overflow: Arc<Bucket>,
    room: Arc<Room>,
}

#[derive(Debug, Default)]
struct Bucket {
    /// When it is full again, in nanoseconds since the engine began.
    full: AtomicU64,
    /// Charges that were not sent to the shared limiter yet.
    pending: AtomicU32,
}

impl Buckets {
    /// Many, because a sweep locks one shard at a time: requests wait only briefly for it.
    const SHARDS: usize = 256;

    pub(super) fn new(room: Arc<Room>) -> Self {
        let of_clients = Arc::new(DashMap::with_shard_amount(Self::SHARDS));
        Self { of_clients, overflow: Arc::default(), room }
    }

    /// Puts back a charge, given as the time in which the quota refills by it.
    pub(super) fn give_back(&self, client: u64, time: Duration) {
        let time = u64::from(Nanos::from(time));
        self.with(client, |bucket| bucket.change(|full| full.saturating_sub(time)));
    }

    /// Takes a charge, given as the time in which the quota refills by it, even if the bucket holds less.
    pub(super) fn take_more(&self, client: u64, time: Duration) {
        let time = u64::from(Nanos::from(time));
        self.with(client, |bucket| bucket.change(|full| full.saturating_add(time)));
    }

    /// Makes a client's bucket full no earlier than `moment`, which is counted from the start of the engine. Does not
    /// change the overflow bucket.
    pub(super) fn learn(&self, client: u64, moment: Duration) {
        let moment = u64::from(Nanos::from(moment));
        if let Some(bucket) = self.of_clients.get(&client) {
            bucket.full.fetch_max(moment, Ordering::AcqRel);
        }
    }

    /// Adds a pending charge. Once there are `enough`, returns their number and sets it to zero. Without a bucket of
    /// the client's own it returns 1 at once.
    pub(super) fn add_pending(&self, client: u64, enough: u32) -> Option<u32> {
        let Some(bucket) = self.of_clients.get(&client) else {
            return Some(1);
        };
        let pending = bucket.pending.fetch_add(1, Ordering::AcqRel) + 1;
        (pending >= enough).then(|| bucket.pending.swap(0, Ordering::AcqRel)).filter(|pending| *pending > 0)
    }

    /// Adds charges that could not be sent to the shared limiter.
    pub(super) fn add_pending_many(&self, client: u64, amount: u32) {
        if let Some(bucket) = self.of_clients.get(&client) {
            bucket.pending.fetch_add(amount, Ordering::AcqRel);
        }
    }

    fn with(&self, client: u64, change: impl FnOnce(&Bucket)) {
        match self.of_clients.get(&client) {
            Some(bucket) => change(&bucket),
            None if self.room.is_full() => change(&self.overflow),
            // The bucket was full again and was swept away.
            None => {}
        }
    }
}

impl Bucket {
    fn full_at(moment: Nanos) -> Self {
        Self { full: AtomicU64::new(moment.into()), pending: AtomicU32::new(0) }
    }

    fn change(&self, full: impl Fn(u64) -> u64) {
        // It always succeeds: the closure never returns `None`.
        let _before = self.full.fetch_update(Ordering::AcqRel, Ordering::Acquire, |before| Some(full(before)));
    }

    fn update<T, E>(&self, decide: impl Fn(Option<Nanos>) -> Result<(T, Nanos), E>) -> Result<T, E> {
        let mut before = self.full.load(Ordering::Acquire);
        loop {
            let (decision, full) = decide(Some(before.into()))?;
            match self.full.compare_exchange_weak(before, full.into(), Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Ok(decision),
                Err(now) => before = now,
            }
        }
    }
}

impl StateStore for Buckets {
    type Key = u64;

    fn measure_and_replace<T, F, E>(&self, client: &u64, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        if let Some(bucket) = self.of_clients.get(client) {
            return bucket.update(decide);
        }
        if self.room.is_full() {
            return self.overflow.update(decide);
        }
        match self.of_clients.entry(*client) {
            Entry::Occupied(bucket) => bucket.get().update(decide),
            Entry::Vacant(place) => {
                let (decision, full) = decide(None)?;
                place.insert(Bucket::full_at(full));
                self.room.0.fetch_add(1, Ordering::Relaxed);
                Ok(decision)
            }
        }
    }
}

impl ShrinkableKeyedStateStore<u64> for Buckets {
    fn retain_recent(&self, full_since: Nanos) {
        let full_since = u64::from(full_since);
        self.of_clients.retain(|_, bucket| {
            let stays = *bucket.full.get_mut() > full_since;
            if !stays {
                self.room.0.fetch_sub(1, Ordering::Relaxed);
            }
            stays
        });
    }

    fn shrink_to_fit(&self) {
        self.of_clients.shrink_to_fit();
    }

    fn len(&self) -> usize {
        self.of_clients.len()
    }

    fn is_empty(&self) -> bool {
        self.of_clients.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// Takes one second of a client's quota at time zero. Returns how long until the quota is whole again.
    fn take(buckets: &Buckets, client: u64) -> Duration {
        let taken = buckets.measure_and_replace(&client, |full| {
            let full = full.unwrap_or_default() + Nanos::from(SECOND);
            Ok::<_, ()>((full, full))
        });
        taken.expect("the closure never fails").into()
    }

    #[test]
    fn each_client_has_a_bucket_as_long_as_there_is_room() {
        let buckets = Buckets::new(Arc::default());
        assert_eq!([take(&buckets, 1), take(&buckets, 1), take(&buckets, 2)], [SECOND, SECOND * 2, SECOND]);
        buckets.give_back(1, SECOND);
        buckets.take_more(2, SECOND);
        assert_eq!([take(&buckets, 1), take(&buckets, 2)], [SECOND * 2, SECOND * 3]);
    }

    #[test]
    fn clients_without_room_share_the_overflow_bucket() {
        let room = Room(AtomicUsize::new(Room::MAX - 1));
        let buckets = Buckets::new(Arc::new(room));
        assert_eq!([take(&buckets, 1), take(&buckets, 2), take(&buckets, 3)], [SECOND, SECOND, SECOND * 2]);
        buckets.give_back(3, SECOND);
        assert_eq!([take(&buckets, 1), take(&buckets, 4)], [SECOND * 2, SECOND * 2]);
        // What is learned of one client does not change the overflow bucket.
        buckets.learn(2, SECOND * 60);
        assert_eq!(take(&buckets, 5), SECOND * 3);
    }

    #[test]
    fn full_buckets_are_swept_and_make_room() {
        let room = Arc::new(Room::default());
        let buckets = Buckets::new(Arc::clone(&room));
        for client in 0..100 {
            take(&buckets, client);
        }
        buckets.learn(7, SECOND * 60);
        buckets.retain_recent(SECOND.into());
        assert_eq!((buckets.len(), room.0.load(Ordering::Relaxed)), (1, 1));
    }

    #[test]
    fn learning_never_makes_a_bucket_fuller() {
        let buckets = Buckets::new(Arc::default());
        take(&buckets, 1);
        buckets.learn(1, SECOND * 5);
        buckets.learn(1, SECOND * 3);
        assert_eq!(take(&buckets, 1), SECOND * 6);
    }

    #[test]
    fn pending_charges_are_returned_once_there_are_enough() {
        let buckets = Buckets::new(Arc::default());
        take(&buckets, 1);
        let pending: Vec<_> = (0..7).map(|_| buckets.add_pending(1, 3)).collect();
        assert_eq!(pending, [None, None, Some(3), None, None, Some(3), None]);
        assert_eq!(buckets.add_pending(2, 3), Some(1));
    }
}
