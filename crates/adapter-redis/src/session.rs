//! Sessions: one connection to Redis. Every command has a timeout. After too many timeouts the session is lost, and
//! with it everything that relies on it.

use std::{
    collections::VecDeque,
    fmt::Display,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use domain::ports::{LimiterReply, LimiterRequest};
use redis::{AsyncConnectionConfig, Client, Cmd, FromRedisValue, Pipeline, RedisError, aio::MultiplexedConnection};
use tokio::{
    sync::watch,
    time::{Instant, timeout},
};

use crate::{
    epoch::{EpochCommand, EpochReply, LEASE_MS, RedisTime},
    scripts,
};

/// Number of timeouts within [`WINDOW`] that lose the session.
const TIMEOUTS: usize = 5;
const WINDOW: Duration = Duration::from_secs(10);
/// How long a process counts as live after it last said so.
pub(crate) const PRESENT: Duration = Duration::from_secs(30);
pub(crate) const NO_ANSWER: &str = "no answer in time";

/// A connection, with the scripts loaded.
pub(crate) struct Session {
    connection: MultiplexedConnection,
    write_script: String,
    epoch_script: String,
    charge_script: String,
    presence_script: String,
    command_timeout: Duration,
    timeouts: Mutex<VecDeque<Instant>>,
    lost: watch::Sender<Option<String>>,
    /// False as soon as the session is lost. Read without waiting.
    alive: Arc<AtomicBool>,
}

/// What a charge does if a quota has too little left.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Verb {
    /// Charges all amounts, or none if one quota has too little left.
    Acquire,
    /// Charges all amounts, whatever is left.
    Record,
}

/// An entry to be written.
pub(crate) struct Write {
    pub(crate) key: String,
    pub(crate) generation: i64,
    pub(crate) entry: String,
}

impl Session {
    /// Connects and loads the scripts, each within `command_timeout`. Sets `alive` to false when the session is lost.
    pub(crate) async fn open(
        client: &Client,
        command_timeout: Duration,
        alive: Arc<AtomicBool>,
    ) -> Result<Self, String> {
        // The client gets no timeouts: this module sets one timeout for everything.
        let config = AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connecting = client.get_multiplexed_async_connection_with_config(&config);
        let connection = in_time(command_timeout, connecting).await?;
        let load = |script| {
            let mut connection = connection.clone();
            async move {
                let command = redis::cmd("SCRIPT").arg("LOAD").arg(script).to_owned();
                in_time(command_timeout, command.query_async(&mut connection)).await
            }
        };
        Ok(Self {
            write_script: load(scripts::WRITE).await?,
            epoch_script: load(scripts::EPOCH).await?,
            charge_script: load(scripts::CHARGE).await?,
            presence_script: load(scripts::PRESENCE).await?,
            connection,
            command_timeout,
            timeouts: Mutex::default(),
            lost: watch::Sender::new(None),
            alive,
        })
    }

    /// The text under a key; `None` if there is none, if it is no text, or after a timeout.
    pub(crate) async fn read(&self, key: &str) -> Option<String> {
        let answer: Result<Option<Vec<u8>>, _> = self.ask(redis::cmd("GET").arg(key)).await;
        match answer {
            Ok(bytes) => String::from_utf8(bytes?).ok(),
            // Another client stored another type under this key.
            Err(Some(error)) if error.code() == Some("WRONGTYPE") => None,
            Err(Some(error)) => {
                self.lose(error);
                None
            }
            Err(None) => None,
        }
    }

    /// Writes entries, then publishes messages. Returns whether Redis confirmed that.
    pub(crate) async fn write(&self, writes: &[Write], ttl: Duration, channel: &str, messages: &[String]) -> bool {
        let mut commands = redis::pipe();
        let ttl = ttl.as_millis().to_string();
        for Write { key, generation, entry } in writes {
            let command = commands.cmd("EVALSHA").arg(&self.write_script).arg(1).arg(key);
            command.arg(generation).arg(entry).arg(&ttl).arg(0).ignore();
        }
        for message in messages {
            commands.cmd("PUBLISH").arg(channel).arg(message).ignore();
        }
        match self.ask_all(&commands).await {
            Ok(()) => true,
            Err(Some(error)) => {
                self.lose(error);
                false
            }
            Err(None) => false,
        }
    }

    /// Writes an entry unless the time in Redis is past `not_after`.
    pub(crate) async fn write_if_in_time(&self, write: &Write, ttl: Duration, not_after: RedisTime) {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.write_script).arg(1).arg(&write.key).arg(write.generation).arg(&write.entry);
        let answer: Result<u32, _> = self.ask(command.arg(ttl.as_millis().to_string()).arg(not_after)).await;
        // A server that is out of memory can still be read.
        if let Err(Some(error)) = answer
            && error.is_unrecoverable_error()
        {
            self.lose(error);
        }
    }

    /// Runs the script of the epoch; `None` if there was no reply in time, or an error.
    pub(crate) async fn epoch(&self, key: &str, command: &EpochCommand) -> Option<EpochReply> {
        let (verb, epoch, until) = match command {
            EpochCommand::Look => ("look", "", 0),
            EpochCommand::Begin(epoch) => ("begin", epoch.as_str(), 0),
            EpochCommand::Hold(epoch, until) => ("hold", epoch.as_str(), *until),
        };
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.epoch_script).arg(1).arg(key).arg(verb).arg(epoch).arg(until).arg(LEASE_MS);
        let (epoch, held_until, now): (String, u64, u64) = self.ask_or_lose(&command).await?;
        Some(EpochReply { epoch: (!epoch.is_empty()).then_some((epoch, held_until)), now })
    }

    /// Charges quotas, each with its key; `None` if there was no valid reply in time.
    pub(crate) async fn charge(&self, verb: Verb, requests: &[(String, &LimiterRequest)]) -> Option<LimiterReply> {
        let mut command = redis::cmd("EVALSHA");
        command.arg(&self.charge_script).arg(requests.len());
        for (key, _) in requests {
            command.arg(key);
        }
        command.arg(match verb {
            Verb::Acquire => "draw",
            Verb::Record => "settle",
        });
        for (_, LimiterRequest { interval, burst, amount, account: _ }) in requests {
            let interval = interval.as_secs_f64() * 1e6;
            command.arg(interval).arg(interval * f64::from(burst.get())).arg(amount);
        }
        let told: Vec<u64> = match verb {
            // No caller waits for it, and there may be a thousand: late replies do not lose the session.
            Verb::Record => {
                let mut connection = self.connection.clone();
                timeout(self.command_timeout, command.query_async(&mut connection)).await.ok()?.ok()?
            }
            Verb::Acquire => self.ask_or_lose(&command).await?,
        };
        let (refused, whole_in) = told.split_first().filter(|(_, whole_in)| whole_in.len() == requests.len())?;
        let refused = usize::try_from(*refused).ok()?.checked_sub(1);
        if refused.is_some_and(|number| number >= requests.len()) {
            return None;
        }
        Some(LimiterReply { refused, whole_in: whole_in.iter().copied().map(Duration::from_micros).collect() })
    }

    /// Notes that the process `name` is live, and returns how many are.
    pub(crate) async fn presence(&self, key: &str, name: &str) -> Option<u32> {
        let mut command = redis::cmd("EVALSHA");
        let lasts = PRESENT.as_millis().to_string();
        self.ask_or_lose(command.arg(&self.presence_script).arg(1).arg(key).arg(name).arg(lasts)).await
    }

    /// Pings Redis.
    pub(crate) async fn ping(&self) -> Result<(), String> {
        let answer: Result<(), _> = self.ask(&redis::cmd("PING")).await;
        answer.map_err(|error| error.map_or_else(|| NO_ANSWER.to_owned(), |error| error.to_string()))
    }

    /// Marks the session as lost, for a reason. The first reason stays.
    pub(crate) fn lose(&self, reason: impl Display) {
        self.lost.send_if_modified(|lost| {
            let first = lost.is_none();
            // Only once, because the next session may be alive by then.
            if first {
                self.alive.store(false, Ordering::Release);
            }
            lost.get_or_insert_with(|| reason.to_string());
            first
        });
    }

    pub(crate) fn is_lost(&self) -> bool {
        self.lost.borrow().is_some()
    }

    /// Waits until the session is lost, and returns the reason.
    pub(crate) async fn lost(&self) -> String {
        let mut lost = self.lost.subscribe();
        let reason = lost.wait_for(Option::is_some).await;
        reason.ok().and_then(|reason| reason.clone()).unwrap_or_default()
    }

    /// Runs a command. An error loses the session, because Redis cannot be relied on then.
    async fn ask_or_lose<T: FromRedisValue>(&self, command: &Cmd) -> Option<T> {
        match self.ask(command).await {
            Ok(answer) => Some(answer),
            Err(error) => {
                if let Some(error) = error {
                    self.lose(error);
                }
                None
            }
        }
    }

    async fn ask<T: FromRedisValue>(&self, command: &Cmd) -> Result<T, Option<RedisError>> {
        let mut connection = self.connection.clone();
        self.bounded(command.query_async(&mut connection)).await
    }

    async fn ask_all(&self, commands: &Pipeline) -> Result<(), Option<RedisError>> {
        let mut connection = self.connection.clone();
        self.bounded(commands.query_async(&mut connection)).await
    }

    /// `Err(None)` is a timeout.
    async fn bounded<T>(&self, asking: impl Future<Output = Result<T, RedisError>>) -> Result<T, Option<RedisError>> {
        let Ok(answer) = timeout(self.command_timeout, asking).await else {
            self.note_timeout();
            return Err(None);
        };
        answer.map_err(Some)
    }

    fn note_timeout(&self) {
        let now = Instant::now();
        let mut timeouts = self.timeouts.lock().expect("no thread panics while it holds this lock");
        timeouts.retain(|timeout| now.duration_since(*timeout) < WINDOW);
        timeouts.push_back(now);
        if timeouts.len() >= TIMEOUTS {
            self.lose(format_args!("{TIMEOUTS} commands were not answered in time"));
        }
    }
}

async fn in_time<T>(
    command_timeout: Duration,
    asking: impl Future<Output = Result<T, RedisError>>,
) -> Result<T, String> {
    match timeout(command_timeout, asking).await {
        Ok(answer) => answer.map_err(|error| error.to_string()),
        Err(_) => Err(NO_ANSWER.to_owned()),
    }
}
