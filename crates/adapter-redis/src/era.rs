//! Eras: unbroken times in which everything that changed in the store was taken to Redis. What was written down in
//! the present one can be trusted.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How long an era outlives the last process that held it, in milliseconds.
pub(crate) const LEASE_MS: u64 = 10_000;

/// A moment on Redis' own clock, in milliseconds since 1970.
pub(crate) type RedisTime = u64;

/// What this process knows of changes in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Heard {
    /// From when on it hears of every change.
    pub(crate) since: Instant,
    /// Until when all of them are in Redis.
    pub(crate) until: Instant,
}

impl Heard {
    /// Who has heard nothing for so long does not know whether it hears.
    pub(crate) fn is_recent(&self) -> bool {
        self.until.elapsed() < Duration::from_millis(LEASE_MS)
    }
}

/// What is asked of Redis next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Which era it is.
    Look,
    /// Begin this era, unless there is one.
    Begin(String),
    /// Go on with this era, in which everything until then is in Redis.
    Hold(String, RedisTime),
}

/// The era there is, as Redis tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Told {
    /// Its name, and until when everything in it was taken to Redis.
    pub(crate) era: Option<(String, RedisTime)>,
    /// What time it is there.
    pub(crate) now: RedisTime,
}

/// How this process stands to an era. Made anew with every connection.
#[derive(Debug)]
pub(crate) struct Membership {
    standing: Standing,
    /// The same moments on both clocks, the latest at the end: a moment here is never before the one there.
    moments: VecDeque<(Instant, RedisTime)>,
}

#[derive(Debug)]
enum Standing {
    /// Nothing that is heard is taken to Redis.
    Outside,
    /// All that is heard is taken to this era, if there is one, but what happened before may be missing in it.
    Waiting {
        /// Since when it hears of every change.
        since: Instant,
        era: Option<String>,
        /// From when on surely all is taken there.
        from: Option<RedisTime>,
    },
    /// Everything is in this era.
    Inside {
        /// Since when it hears of every change.
        since: Instant,
        era: String,
    },
}

impl Membership {
    /// More than are looked at in one lease.
    const MOMENTS: usize = 32;

    pub(crate) fn new() -> Self {
        Self { standing: Standing::Outside, moments: VecDeque::new() }
    }

    /// The era to which changes have to be taken, and whether its entries can be trusted.
    pub(crate) fn era(&self) -> Option<(&str, bool)> {
        match &self.standing {
            Standing::Outside | Standing::Waiting { era: None, .. } => None,
            Standing::Waiting { era: Some(era), .. } => Some((era, false)),
            Standing::Inside { era, .. } => Some((era, true)),
        }
    }

    /// Whether there is no era, and nothing speaks against beginning one.
    pub(crate) fn may_begin(&self) -> bool {
        matches!(self.standing, Standing::Waiting { era: None, .. })
    }

    /// What to ask, with `fresh` as the name of an era if one has to be begun.
    pub(crate) fn order(&self, heard: Option<Heard>, fresh: &str) -> Order {
        match (&self.standing, heard) {
            (Standing::Inside { since, era }, Some(heard)) if *since == heard.since => {
                let surely = |(moment, _): &&(Instant, RedisTime)| *moment <= heard.until;
                let until = self.moments.iter().rev().find(surely).map_or(0, |(_, time)| *time);
                Order::Hold(era.clone(), until)
            }
            (Standing::Waiting { since, era: None, .. }, Some(heard)) if *since == heard.since => {
                Order::Begin(fresh.to_owned())
            }
            (Standing::Outside | Standing::Waiting { .. } | Standing::Inside { .. }, _) => Order::Look,
        }
    }

    /// What Redis said just now, to an order that was given when `heard` was known.
    pub(crate) fn told(&mut self, told: Told, heard: Option<Heard>, fresh: &str) {
        if self.moments.len() == Self::MOMENTS {
            self.moments.pop_front();
        }
        self.moments.push_back((Instant::now(), told.now));
        let standing = std::mem::replace(&mut self.standing, Standing::Outside);
        let Some(Heard { since: present, .. }) = heard else {
            return;
        };
        self.standing = match (standing, told.era) {
            (Standing::Inside { since, era }, Some((told, _))) if since == present && told == era => {
                Standing::Inside { since, era }
            }
            (Standing::Waiting { since, era: None, .. }, Some((told, _))) if since == present && told == fresh => {
                Standing::Inside { since, era: told }
            }
            (Standing::Waiting { since, era: Some(era), from: Some(from) }, Some((told, held_until)))
                if since == present && told == era =>
            {
                if held_until >= from {
                    Standing::Inside { since, era }
                } else {
                    Standing::Waiting { since, era: Some(era), from: Some(from) }
                }
            }
            (Standing::Waiting { since, era: Some(era), from: None }, Some((told_era, _)))
                if since == present && told_era == era =>
            {
                Standing::Waiting { since, era: Some(era), from: Some(told.now) }
            }
            (Standing::Outside | Standing::Waiting { .. } | Standing::Inside { .. }, era) => {
                Standing::Waiting { since: present, era: era.map(|(era, _)| era), from: None }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Redis, as far as eras go: the scripts are tried on a real one.
    #[derive(Default)]
    struct Redis {
        era: Option<(String, RedisTime)>,
        now: RedisTime,
    }

    impl Redis {
        fn obey(&mut self, order: Order) -> Told {
            let over = |(_, until): &(String, RedisTime)| self.now >= until + LEASE_MS;
            self.era = self.era.take().filter(|era| !over(era));
            match order {
                Order::Look => {}
                Order::Begin(name) => {
                    self.era.get_or_insert((name, self.now));
                }
                Order::Hold(name, time) => {
                    if let Some((era, until)) = &mut self.era
                        && *era == name
                    {
                        *until = time.max(*until);
                    }
                }
            }
            Told { era: self.era.clone(), now: self.now }
        }
    }

    struct Process {
        name: &'static str,
        membership: Membership,
        heard: Option<Heard>,
    }

    impl Process {
        fn new(name: &'static str) -> Self {
            let heard = Some(Heard { since: Instant::now(), until: Instant::now() });
            Self { name, membership: Membership::new(), heard }
        }

        fn hears(&mut self) {
            self.heard.as_mut().expect("it hears").until = Instant::now();
        }

        fn turn(&mut self, redis: &mut Redis) {
            let heard = self.heard.filter(Heard::is_recent);
            let told = redis.obey(self.membership.order(heard, self.name));
            self.membership.told(told, heard, self.name);
        }

        fn trusts(&self) -> Option<&str> {
            self.membership.era().filter(|(_, trusted)| *trusted).map(|(era, _)| era)
        }
    }

    async fn a_second(redis: &mut Redis) {
        advance(Duration::from_secs(1)).await;
        redis.now += 1_000;
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_process_begins_an_era_and_holds_it() {
        let (mut redis, mut one) = (Redis::default(), Process::new("one"));
        one.turn(&mut redis);
        assert_eq!(one.trusts(), None);
        for _ in 0..30 {
            a_second(&mut redis).await;
            one.hears();
            one.turn(&mut redis);
            assert_eq!(one.trusts(), Some("one"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_later_waits_until_the_era_was_held_past_its_coming() {
        let (mut redis, mut one, mut two) = (Redis::default(), Process::new("one"), Process::new("two"));
        for _ in 0..3 {
            one.hears();
            one.turn(&mut redis);
            a_second(&mut redis).await;
        }
        two = Process { heard: Process::new("two").heard, ..two };
        for _ in 0..5 {
            // The first one goes on, but hears nothing new.
            one.turn(&mut redis);
            two.hears();
            two.turn(&mut redis);
            assert_eq!(two.trusts(), None);
            assert_eq!(two.membership.era(), Some(("one", false)), "what it hears goes there already");
            a_second(&mut redis).await;
        }
        for _ in 0..2 {
            one.hears();
            one.turn(&mut redis);
            two.turn(&mut redis);
            a_second(&mut redis).await;
        }
        two.turn(&mut redis);
        assert_eq!(two.trusts(), Some("one"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_era_nobody_holds_is_over_for_those_who_come_and_for_those_in_it() {
        let (mut redis, mut one, mut two) = (Redis::default(), Process::new("one"), Process::new("two"));
        for _ in 0..3 {
            one.hears();
            one.turn(&mut redis);
            a_second(&mut redis).await;
        }
        let mut seconds = 0;
        while two.trusts().is_none() {
            // It is there, but knows no more: its feed hangs.
            one.turn(&mut redis);
            two.hears();
            two.turn(&mut redis);
            a_second(&mut redis).await;
            seconds += 1;
            assert!(seconds < 15);
        }
        assert_eq!(two.trusts(), Some("two"));
        one.turn(&mut redis);
        assert_eq!(one.trusts(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_missed_changes_leaves_and_begins_to_wait_again() {
        let (mut redis, mut one) = (Redis::default(), Process::new("one"));
        for _ in 0..3 {
            one.hears();
            one.turn(&mut redis);
            a_second(&mut redis).await;
        }
        // For a moment only, which no turn sees.
        one.heard = Process::new("one").heard;
        one.turn(&mut redis);
        assert_eq!(one.trusts(), None);
        one.heard = None;
        one.turn(&mut redis);
        assert_eq!(one.membership.era(), None);
        one.heard = Process::new("one").heard;
        let mut seconds = 0;
        one.name = "one again";
        while one.trusts().is_none() {
            one.hears();
            one.turn(&mut redis);
            a_second(&mut redis).await;
            seconds += 1;
            assert!(seconds < 15);
        }
        assert_eq!(one.trusts(), Some("one again"), "its old era has to end first");
    }

    #[tokio::test(start_paused = true)]
    async fn an_era_is_held_no_further_than_what_was_heard() {
        let (mut redis, mut one) = (Redis { now: 1_000_000, ..Redis::default() }, Process::new("one"));
        for _ in 0..3 {
            one.hears();
            one.turn(&mut redis);
            a_second(&mut redis).await;
        }
        let held = redis.era.clone();
        for _ in 0..5 {
            one.turn(&mut redis);
            a_second(&mut redis).await;
        }
        assert!(redis.era.expect("it lasts").1 <= held.expect("it began").1 + 1_000);
    }
}
