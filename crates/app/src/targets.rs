//! Which targets are allowed: the rules of the configuration, and the operator's lists of hosts, which are read again
//! when they change.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, SystemTime},
};

use adapter_http::CurrentPolicy;
use anyhow::Context;
use domain::{hosts::HostList, target::TargetPolicy};
use slog::{Logger, info, o, warn};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinHandle,
    time::{Instant, MissedTickBehavior, interval, timeout},
};
use url::Url;

use crate::{
    config::{Config, TargetsConfig},
    supervisor::{Failure, Report},
};

/// How often the files are checked, and how long a changed file must stay as it is before it is read.
const PAUSE: Duration = Duration::from_secs(2);
/// How long a list that named hosts must stay empty before that takes effect: its writer may not be done.
const EMPTY_FOR: Duration = Duration::from_secs(30);

/// The policy, and the files that its lists are read from.
pub(crate) struct Targets {
    policy: CurrentPolicy,
    /// The policy without the lists.
    rules: TargetPolicy,
    files: Files,
    read: State,
    /// How many hosts the lists in effect refuse.
    refused: usize,
    /// Whether the lists have refused a host at any time since the start.
    refused_before: bool,
    /// The state of the files at the last check, and since when they have had it.
    seen: (State, Instant),
    /// The state of the files that could not be used, so that it is logged once.
    unreadable: Option<State>,
    /// A check of the files that is still running.
    looking: Option<JoinHandle<State>>,
    hangup: Signal,
    listed: ListedHosts,
    log: Logger,
}

/// How many hosts the lists in effect refuse and except. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ListedHosts(Arc<[AtomicUsize; 2]>);

impl ListedHosts {
    /// Refused hosts and exceptions.
    pub(crate) fn get(&self) -> [usize; 2] {
        [0, 1].map(|list: usize| self.0[list].load(Ordering::Relaxed))
    }

    fn set(&self, lists: &Lists) {
        self.0[0].store(lists.refused, Ordering::Relaxed);
        self.0[1].store(lists.excepted, Ordering::Relaxed);
    }
}

#[derive(Clone)]
struct Files {
    deny: Option<PathBuf>,
    allow: Option<PathBuf>,
}

/// Time of modification and size of each file: they tell whether it has changed.
type State = [Option<(SystemTime, u64)>; 2];

impl Targets {
    /// Reads the lists once. Fails if one cannot be read.
    pub(crate) fn load(config: &Config, log: &Logger) -> anyhow::Result<Self> {
        let mut own_hosts = config.targets.own_hosts.clone();
        own_hosts.push(own_host(&config.public_url)?);
        let rules =
            TargetPolicy::new(config.targets.allow_private, &own_hosts).with_max_length(config.targets.max_length);
        let files = Files { deny: config.targets.deny_file.clone(), allow: config.targets.allow_file.clone() };
        let hangup = signal(SignalKind::hangup())?;
        let read = files.state();
        let lists = files.read(&rules)?;
        lists.tell(&files, log);
        let listed = ListedHosts::default();
        listed.set(&lists);
        let (refused, policy) = (lists.refused, CurrentPolicy::new(lists.policy));
        let seen = (read, Instant::now());
        Ok(Self {
            policy,
            rules,
            files,
            read,
            refused,
            refused_before: refused > 0,
            seen,
            unreadable: None,
            looking: None,
            hangup,
            listed,
            log: log.new(o!()),
        })
    }

    pub(crate) fn policy(&self) -> CurrentPolicy {
        self.policy.clone()
    }

    /// How many hosts the lists in effect name.
    pub(crate) fn listed(&self) -> ListedHosts {
        self.listed.clone()
    }

    /// Reads the files again when they change, and at SIGHUP. While one cannot be read, or is empty for less than
    /// `EMPTY_FOR`, the lists that were read last stay in effect.
    pub(crate) async fn keep_up_to_date(&mut self, report: &Report) -> Infallible {
        let mut every = interval(PAUSE);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_told = tokio::select! {
                _ = every.tick() => false,
                _ = self.hangup.recv() => true,
            };
            let Some(state) = self.look(report).await else {
                continue;
            };
            if self.seen.0 != state {
                self.seen = (state, Instant::now());
            } else if !is_told && state == self.read {
                if self.unreadable.take().is_some() {
                    info!(self.log, "the lists of hosts are as last loaded"; "event.name" => "targets.loaded",
                        "hosts.refused" => self.refused);
                }
                self.is_as_it_should(report);
                continue;
            }
            // The writer of a changed file may not be done. A process that sends SIGHUP is done.
            if is_told || self.seen.1.elapsed() >= PAUSE {
                self.read_anew(state, report).await;
            }
        }
    }

    async fn read_anew(&mut self, state: State, report: &Report) {
        let read = self.read_beside(report).await;
        let is_as_it_was = self.look(report).await == Some(state);
        match read {
            // The files changed while they were read. The next check reads them again.
            Ok(_) if !is_as_it_was => {}
            Ok(lists) if lists.refused == 0 && self.refused > 0 && self.seen.1.elapsed() < EMPTY_FOR => {
                self.does_not_count(state, report, "a list of hosts is empty", "it names no host any more".to_owned());
            }
            Ok(lists) => {
                self.refused = lists.refused;
                self.refused_before |= lists.refused > 0;
                lists.tell(&self.files, &self.log);
                self.listed.set(&lists);
                self.policy.replace(lists.policy);
                (self.read, self.unreadable) = (state, None);
                self.is_as_it_should(report);
            }
            Err(error) => {
                self.does_not_count(state, report, "a list of hosts cannot be read", format!("{error:#}"));
            }
        }
    }

    /// Reports a success. A list that lost all its hosts may be intended, but `/health` shows it if this process has
    /// seen hosts in it.
    fn is_as_it_should(&self, report: &Report) {
        if self.refused == 0 && self.refused_before {
            report.succeeded_but("the list of refused hosts is empty, and was not before");
        } else {
            report.succeeded();
        }
    }

    /// Checks the files on a thread of its own: a file system that hangs must not block the runtime.
    async fn look(&mut self, report: &Report) -> Option<State> {
        let files = self.files.clone();
        let looking = self.looking.get_or_insert_with(|| tokio::task::spawn_blocking(move || files.state()));
        let details = match timeout(PAUSE, &mut *looking).await {
            // The next call waits for the same check: a new one would block another thread.
            Err(_still_looking) => "the file system does not answer".to_owned(),
            Ok(looked) => {
                self.looking = None;
                match looked {
                    Ok(state) => return Some(state),
                    Err(panicked) => panicked.to_string(),
                }
            }
        };
        report.failed(Failure::new("the lists of hosts cannot be looked at", details));
        None
    }

    /// Reports a failure, and logs it once for each state of the files.
    fn does_not_count(&mut self, state: State, report: &Report, words: &'static str, details: String) {
        if self.unreadable != Some(state) {
            self.unreadable = Some(state);
            warn!(self.log, "{}: keeping the hosts last loaded", words;
                "event.name" => "targets.refresh_failed", "error.message" => &details);
        }
        report.failed(Failure::new(words, details));
    }

    /// Reads the lists on a thread of its own, with heartbeats: millions of lines take a while.
    async fn read_beside(&self, report: &Report) -> anyhow::Result<Lists> {
        let (files, rules) = (self.files.clone(), self.rules.clone());
        let mut reading = tokio::task::spawn_blocking(move || files.read(&rules));
        loop {
            match timeout(PAUSE, &mut reading).await {
                Ok(read) => return read.context("reading the lists of hosts panicked").flatten(),
                Err(_still_reading) => report.is_busy(),
            }
        }
    }
}

/// Fails if a list cannot be read. Only for commands that need the lists: takedowns must work without them.
pub(crate) fn must_be_readable(config: &TargetsConfig) -> anyhow::Result<()> {
    for (key, file) in [("targets.deny_file", &config.deny_file), ("targets.allow_file", &config.allow_file)] {
        if let Some(file) = file {
            let readable = fs::File::open(file).and_then(|opened| opened.metadata()).map(|about| about.is_file());
            let expected = || format!("{key}: expected a readable file, not {}", file.display());
            anyhow::ensure!(readable.with_context(expected)?, expected());
        }
    }
    Ok(())
}

/// The content of the files.
struct Lists {
    policy: TargetPolicy,
    refused: usize,
    excepted: usize,
    unread: usize,
}

impl Lists {
    fn tell(&self, files: &Files, log: &Logger) {
        if files.deny.is_some() && self.refused == 0 {
            warn!(log, "a list is set, but no host is refused";
                "event.name" => "targets.loaded", "hosts.refused" => 0, "hosts.excepted" => self.excepted,
                "lines.unread" => self.unread);
        } else if files.deny.is_some() || files.allow.is_some() {
            info!(log, "{} hosts are refused, {} excepted", self.refused, self.excepted;
                "event.name" => "targets.loaded", "hosts.refused" => self.refused, "hosts.excepted" => self.excepted,
                "lines.unread" => self.unread);
        }
    }
}

impl Files {
    fn state(&self) -> State {
        [&self.deny, &self.allow].map(|file| {
            let told = fs::metadata(file.as_ref()?).ok()?;
            Some((told.modified().ok()?, told.len()))
        })
    }

    fn read(&self, rules: &TargetPolicy) -> anyhow::Result<Lists> {
        let (refused, bad) = read_list(self.deny.as_deref()).context("targets.deny_file")?;
        let (excepted, worse) = read_list(self.allow.as_deref()).context("targets.allow_file")?;
        let (count, exceptions) = (refused.len(), excepted.len());
        let policy = rules.with_lists(refused, excepted);
        Ok(Lists { policy, refused: count, excepted: exceptions, unread: bad + worse })
    }
}

fn read_list(file: Option<&Path>) -> anyhow::Result<(HostList, usize)> {
    let Some(file) = file else {
        return Ok((HostList::default(), 0));
    };
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(HostList::read(String::from_utf8_lossy(&bytes).lines()))
}

/// The service's own host: a name, on every port; an address or `localhost`, which other services share, on its own
/// port.
fn own_host(public_url: &str) -> anyhow::Result<String> {
    let url = Url::parse(public_url).context("public_url")?;
    let host = url.host_str().context("public_url has no host")?;
    Ok(match (url.domain(), url.port_or_known_default()) {
        (None | Some("localhost"), Some(port)) => format!("{host}:{port}"),
        (Some(_), _) | (None, None) => host.to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_the_own_host_on_its_port_and_a_name_on_all() {
        for (url, host) in [
            ("http://127.0.0.1:8080", "127.0.0.1:8080"),
            ("https://[2001:db8::1]", "[2001:db8::1]:443"),
            ("https://sho.rt:8443", "sho.rt"),
            ("http://localhost:81", "localhost:81"),
        ] {
            assert_eq!(own_host(url).ok().as_deref(), Some(host));
        }
    }
}
