//! Epochs: unbroken times in which every change of the store was written to Redis. Entries of the current epoch can be
//! trusted.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// How long an epoch outlives the last process that held it, in milliseconds.
pub(crate) const LEASE_MS: u64 = 10_000;

/// A moment on Redis' own clock, in milliseconds since 1970.
pub(crate) type RedisTime = u64;

/// The changes of the store that this process has received and written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Watermark {
    /// Since when this process receives every change.
    pub(crate) since: Instant,
    /// Up to when all changes are in Redis.
    pub(crate) until: Instant,
}

impl Watermark {
    /// Whether the watermark moved within [`LEASE_MS`]. A process that received nothing for longer cannot know whether
    /// its change feed works.
    pub(crate) fn is_recent(&self) -> bool {
        self.until.elapsed() < Duration::from_millis(LEASE_MS)
    }
}

/// The next command for Redis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EpochCommand {
    /// Read the current epoch.
    Look,
    /// Begin this epoch, unless there is one.
    Begin(String),
    /// Hold this epoch, in which all changes up to that time are in Redis.
    Hold(String, RedisTime),
}

/// The current epoch, as Redis reports it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct EpochReply {
    /// Its name, and the time up to which all its changes are in Redis.
    pub(crate) epoch: Option<(String, RedisTime)>,
    /// The time in Redis.
    pub(crate) now: RedisTime,
}

/// The membership of this process in an epoch. A new connection starts with a new membership.
#[derive(Debug)]
pub(crate) struct Membership {
    phase: Phase,
    /// The same moments on both clocks, the latest last. A moment here is never before the one in Redis.
    moments: VecDeque<(Instant, RedisTime)>,
}

#[derive(Debug)]
enum Phase {
    /// Changes are not written to Redis.
    Outside,
    /// Changes are written to this epoch, if there is one. Earlier changes may be missing in it.
    Waiting {
        /// Since when this process receives every change.
        since: Instant,
        epoch: Option<String>,
        /// From when on all changes are certainly written to it.
        from: Option<RedisTime>,
    },
    /// All changes are in this epoch.
    Inside {
        /// Since when this process receives every change.
        since: Instant,
        epoch: String,
    },
}

impl Membership {
    /// More than one lease needs.
    const MOMENTS: usize = 32;

    pub(crate) fn new() -> Self {
        Self { phase: Phase::Outside, moments: VecDeque::new() }
    }

    /// The epoch to which changes must be written, and whether its entries can be trusted.
    pub(crate) fn epoch(&self) -> Option<(&str, bool)> {
        match &self.phase {
            Phase::Outside | Phase::Waiting { epoch: None, .. } => None,
            Phase::Waiting { epoch: Some(epoch), .. } => Some((epoch, false)),
            Phase::Inside { epoch, .. } => Some((epoch, true)),
        }
    }

    /// Whether there is no epoch and this process may begin one.
    pub(crate) fn may_begin(&self) -> bool {
        matches!(self.phase, Phase::Waiting { epoch: None, .. })
    }

    /// The next command, with `fresh` as the name of an epoch to begin.
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

    /// Applies the reply to a command that was made when `watermark` was current.
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
            (Phase::Waiting { since, epoch: Some(epoch), from: None }, Some((replied, _)))
                if since == present && replied == epoch =>
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

    /// A model of Redis as far as epochs go. The scripts are tested on a real Redis.
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
            self.watermark.as_mut().expect("it has a watermark").until = Instant::now();
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
    async fn the_first_process_begins_an_epoch_and_holds_it() {
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
    async fn a_later_process_waits_until_the_epoch_was_held_past_its_start() {
        let (mut redis, mut one, mut two) = (Redis::default(), Process::new("one"), Process::new("two"));
        for _ in 0..3 {
            one.begin_watching();
            one.heartbeat(&mut redis);
            a_second(&mut redis).await;
        }
        two = Process { watermark: Process::new("two").watermark, ..two };
        for _ in 0..5 {
            // The first process goes on, but its watermark does not move.
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
    async fn an_epoch_that_is_not_held_ends_for_new_and_for_old_processes() {
        let (mut redis, mut one, mut two) = (Redis::default(), Process::new("one"), Process::new("two"));
        for _ in 0..3 {
            one.begin_watching();
            one.heartbeat(&mut redis);
            a_second(&mut redis).await;
        }
        let mut seconds = 0;
        while two.trusts().is_none() {
            // The first process is live, but its watermark does not move: its feed hangs.
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
    async fn a_process_that_missed_changes_leaves_the_epoch_and_waits_again() {
        let (mut redis, mut one) = (Redis::default(), Process::new("one"));
        for _ in 0..3 {
            one.begin_watching();
            one.heartbeat(&mut redis);
            a_second(&mut redis).await;
        }
        // A gap so short that no heartbeat sees it.
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
        assert_eq!(one.trusts(), Some("one again"), "its old epoch has to end first");
    }

    #[tokio::test(start_paused = true)]
    async fn an_epoch_is_held_no_further_than_the_watermark() {
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
