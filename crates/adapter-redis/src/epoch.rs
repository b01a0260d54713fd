//! Epochs: unbroken times in which everything that changed in the store was taken to Redis. What was written down in
//! the present one can be trusted.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How long an epoch outlives the last process that held it, in milliseconds.
pub(crate) const LEASE_MS: u64 = 10_000;

/// A moment on Redis' own clock, in milliseconds since 1970.
pub(crate) type RedisTime = u64;

/// What this process knows of changes in the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// From when on it hears of every change.
    pub(crate) since: Instant,
    /// Until when all of them are in Redis.
    pub(crate) until: Instant,
}

impl Watermark {
    /// Who has heard nothing for so long does not know whether it hears.
    pub(crate) fn is_recent(&self) -> bool {
        self.until.elapsed() < Duration::from_millis(LEASE_MS)
    }
}

/// What is asked of Redis next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EpochCommand {
    /// Which epoch it is.
    Look,
    /// Begin this epoch, unless there is one.
    Begin(String),
    /// Go on with this epoch, in which everything until then is in Redis.
    Hold(String, RedisTime),
}

/// The epoch there is, as Redis tells it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EpochReply {
    /// Its name, and until when everything in it was taken to Redis.
    pub(crate) epoch: Option<(String, RedisTime)>,
    /// What time it is there.
    pub(crate) now: RedisTime,
}

/// How this process stands to an epoch. Made anew with every connection.
#[derive(Debug)]
pub(crate) struct Membership {
    phase: Phase,
    /// The same moments on both clocks, the latest at the end: a moment here is never before the one there.
    moments: VecDeque<(Instant, RedisTime)>,
}

#[derive(Debug)]
enum Phase {
    /// Nothing that is heard is taken to Redis.
    Outside,
    /// All that is heard is taken to this epoch, if there is one, but what happened before may be missing in it.
    Waiting {
        /// Since when it hears of every change.
        since: Instant,
        epoch: Option<String>,
        /// From when on surely all is taken there.
        from: Option<RedisTime>,
    },
    /// Everything is in this epoch.
    Inside {
        /// Since when it hears of every change.
        since: Instant,
        epoch: String,
    },
}

impl Membership {
    /// More than are looked at in one lease.
    const MOMENTS: usize = 32;

    pub(crate) fn new() -> Self {
        Self { phase: Phase::Outside, moments: VecDeque::new() }
    }

    /// The epoch to which changes have to be taken, and whether its entries can be trusted.
    pub(crate) fn epoch(&self) -> Option<(&str, bool)> {
        match &self.phase {
            Phase::Outside | Phase::Waiting { epoch: None, .. } => None,
            Phase::Waiting { epoch: Some(epoch), .. } => Some((epoch, false)),
            Phase::Inside { epoch, .. } => Some((epoch, true)),
        }
    }

    /// Whether there is no epoch, and nothing speaks against beginning one.
    pub(crate) fn may_begin(&self) -> bool {
        matches!(self.phase, Phase::Waiting { epoch: None, .. })
    }

    /// What to ask, with `fresh` as the name of an epoch if one has to be begun.
    pub(crate) fn command(&self, watermark: Option<Watermark>, fresh: &str) -> EpochCommand {
        match (&self.phase, watermark) {
            (Phase::Inside { since, epoch }, Some(watermark)) if *since == watermark.since => {
                let surely = |(moment, _): &&(Instant, RedisTime)| *moment <= watermark.until;
                let until = self.moments.iter().rev().find(surely).map_or(0, |(_, time)| *time);
                EpochCommand::Hold(epoch.clone(), until)
            }
            (Phase::Waiting { since, epoch: None, .. }, Some(watermark)) if *since == watermark.since => {
                EpochCommand::Begin(fresh.to_owned())
            }
            (Phase::Outside | Phase::Waiting { .. } | Phase::Inside { .. }, _) => EpochCommand::Look,
        }
    }

    /// What Redis said just now, to an order that was given when `heard` was known.
    pub(crate) fn reply(&mut self, reply: EpochReply, watermark: Option<Watermark>, fresh: &str) {
        if self.moments.len() == Self::MOMENTS {
            self.moments.pop_front();
        }
        self.moments.push_back((Instant::now(), reply.now));
        let phase = std::mem::replace(&mut self.phase, Phase::Outside);
        let Some(Watermark { since: present, .. }) = watermark else {
            return;
        };
        self.phase = match (phase, reply.epoch) {
            (Phase::Inside { since, epoch }, Some((reply, _))) if since == present && reply == epoch => {
                Phase::Inside { since, epoch }
            }
            (Phase::Waiting { since, epoch: None, .. }, Some((reply, _))) if since == present && reply == fresh => {
                Phase::Inside { since, epoch: reply }
            }
            (Phase::Waiting { since, epoch: Some(epoch), from: Some(from) }, Some((reply, held_until)))
                if since == present && reply == epoch =>
            {
                if held_until >= from {
                    Phase::Inside { since, epoch }
                } else {
                    Phase::Waiting { since, epoch: Some(epoch), from: Some(from) }
                }
            }
            (Phase::Waiting { since, epoch: Some(epoch), from: None }, Some((told_era, _)))
                if since == present && told_era == epoch =>
            {
                Phase::Waiting { since, epoch: Some(epoch), from: Some(reply.now) }
            }
            (Phase::Outside | Phase::Waiting { .. } | Phase::Inside { .. }, epoch) => {
                Phase::Waiting { since: present, epoch: epoch.map(|(epoch, _)| epoch), from: None }
            }
        };
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    /// Redis, as far as epochs go: the scripts are tried on a real one.
    #[derive(Default)]
    struct Redis {
        epoch: Option<(String, RedisTime)>,
        now: RedisTime,
    }

    impl Redis {
        fn obey(&mut self, command: EpochCommand) -> EpochReply {
            let over = |(_, until): &(String, RedisTime)| self.now >= until + LEASE_MS;
            self.epoch = self.epoch.take().filter(|epoch| !over(epoch));
            match command {
                EpochCommand::Look => {}
                EpochCommand::Begin(name) => {
                    self.epoch.get_or_insert((name, self.now));
                }
                EpochCommand::Hold(name, time) => {
                    if let Some((epoch, until)) = &mut self.epoch
                        && *epoch == name
                    {
                        *until = time.max(*until);
                    }
                }
            }
            EpochReply { epoch: self.epoch.clone(), now: self.now }
        }
    }

    struct Process {
        name: &'static str,
        membership: Membership,
        watermark: Option<Watermark>,
    }

    impl Process {
        fn new(name: &'static str) -> Self {
            let watermark = Some(Watermark { since: Instant::now(), until: Instant::now() });
            Self { name, membership: Membership::new(), watermark }
        }

        fn begin_watching(&mut self) {
            self.watermark.as_mut().expect("it hears").until = Instant::now();
        }

        fn heartbeat(&mut self, redis: &mut Redis) {
            let watermark = self.watermark.filter(Watermark::is_recent);
            let reply = redis.obey(self.membership.command(watermark, self.name));
            self.membership.reply(reply, watermark, self.name);
        }

        fn trusts(&self) -> Option<&str> {
            self.membership.epoch().filter(|(_, trusted)| *trusted).map(|(epoch, _)| epoch)
        }
    }

    async fn a_second(redis: &mut Redis) {
        advance(Duration::from_secs(1)).await;
        redis.now += 1_000;
    }

    #[tokio::test(start_paused = true)]
    async fn the_first_process_begins_an_era_and_holds_it() {
        let (mut redis, mut one) = (Redis::default(), Process::new("one"));
        one.heartbeat(&mut redis);
        assert_eq!(one.trusts(), None);
        for _ in 0..30 {
            a_second(&mut redis).await;
            one.begin_watching();
            one.heartbeat(&mut redis);
            assert_eq!(one.trusts(), Some("one"));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_comes_later_waits_until_the_era_was_held_past_its_coming() {
        let (mut redis, mut one, mut two) = (Redis::default(), Process::new("one"), Process::new("two"));
        for _ in 0..3 {
            one.begin_watching();
            one.heartbeat(&mut redis);
            a_second(&mut redis).await;
        }
        two = Process { watermark: Process::new("two").watermark, ..two };
        for _ in 0..5 {
            // The first one goes on, but hears nothing new.
            one.heartbeat(&mut redis);
            two.begin_watching();
            two.heartbeat(&mut redis);
            assert_eq!(two.trusts(), None);
            assert_eq!(two.membership.epoch(), Some(("one", false)), "what it hears goes there already");
            a_second(&mut redis).await;
        }
        for _ in 0..2 {
            one.begin_watching();
            one.heartbeat(&mut redis);
            two.heartbeat(&mut redis);
            a_second(&mut redis).await;
        }
        two.heartbeat(&mut redis);
        assert_eq!(two.trusts(), Some("one"));
    }

    #[tokio::test(start_paused = true)]
    async fn an_era_nobody_holds_is_over_for_those_who_come_and_for_those_in_it() {
        let (mut redis, mut one, mut two) = (Redis::default(), Process::new("one"), Process::new("two"));
        for _ in 0..3 {
            one.begin_watching();
            one.heartbeat(&mut redis);
            a_second(&mut redis).await;
        }
        let mut seconds = 0;
        while two.trusts().is_none() {
            // It is there, but knows no more: its feed hangs.
            one.heartbeat(&mut redis);
            two.begin_watching();
            two.heartbeat(&mut redis);
            a_second(&mut redis).await;
            seconds += 1;
            assert!(seconds < 15);
        }
        assert_eq!(two.trusts(), Some("two"));
        one.heartbeat(&mut redis);
        assert_eq!(one.trusts(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn who_missed_changes_leaves_and_begins_to_wait_again() {
        let (mut redis, mut one) = (Redis::default(), Process::new("one"));
        for _ in 0..3 {
            one.begin_watching();
            one.heartbeat(&mut redis);
            a_second(&mut redis).await;
        }
        // For a moment only, which no turn sees.
        one.watermark = Process::new("one").watermark;
        one.heartbeat(&mut redis);
        assert_eq!(one.trusts(), None);
        one.watermark = None;
        one.heartbeat(&mut redis);
        assert_eq!(one.membership.epoch(), None);
        one.watermark = Process::new("one").watermark;
        let mut seconds = 0;
        one.name = "one again";
        while one.trusts().is_none() {
            one.begin_watching();
            one.heartbeat(&mut redis);
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
            one.begin_watching();
            one.heartbeat(&mut redis);
            a_second(&mut redis).await;
        }
        let held = redis.epoch.clone();
        for _ in 0..5 {
            one.heartbeat(&mut redis);
            a_second(&mut redis).await;
        }
        assert!(redis.epoch.expect("it lasts").1 <= held.expect("it began").1 + 1_000);
    }
}
