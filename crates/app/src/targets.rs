//! Which targets are allowed: the rules of the configuration, and the operator's lists as their files change.

use std::{
    convert::Infallible,
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use adapter_http::CurrentPolicy;
use anyhow::Context;
use domain::{hosts::HostList, target::TargetPolicy};
use slog::{Logger, info, o, warn};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    time::{MissedTickBehavior, interval, timeout},
};
use url::Url;

use crate::{
    config::Config,
    supervisor::{Failure, Report},
};

/// How soon a changed file is noticed.
const PAUSE: Duration = Duration::from_secs(2);

/// The policy, with the files behind it.
pub(crate) struct Targets {
    policy: CurrentPolicy,
    /// Without the lists.
    rules: TargetPolicy,
    files: Files,
    read: State,
    /// What could not be read, so that it is told once.
    unreadable: Option<State>,
    hangup: Signal,
    log: Logger,
}

#[derive(Clone)]
struct Files {
    deny: Option<PathBuf>,
    allow: Option<PathBuf>,
}

/// What tells a file from what it was.
type State = [Option<(SystemTime, u64)>; 2];

impl Targets {
    /// Reads everything once; what cannot be read ends the start.
    pub(crate) fn load(config: &Config, log: &Logger) -> anyhow::Result<Self> {
        let mut own_hosts = config.targets.own_hosts.clone();
        own_hosts.push(own_host(&config.public_url)?);
        let rules = TargetPolicy::new(config.targets.allow_private, &own_hosts);
        let files = Files { deny: config.targets.deny_file.clone(), allow: config.targets.allow_file.clone() };
        let hangup = signal(SignalKind::hangup())?;
        let read = files.state();
        let policy = CurrentPolicy::new(files.read(&rules, log)?);
        Ok(Self { policy, rules, files, read, unreadable: None, hangup, log: log.new(o!()) })
    }

    pub(crate) fn policy(&self) -> CurrentPolicy {
        self.policy.clone()
    }

    /// Reads the files again when they change, and at SIGHUP. While one cannot be read, what was read last counts.
    pub(crate) async fn keep_up_to_date(&mut self, report: &Report) -> Infallible {
        let mut every = interval(PAUSE);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = every.tick() => if self.files.state() == self.read {
                    report.succeeded();
                    continue;
                },
                _ = self.hangup.recv() => {}
            }
            let state = self.files.state();
            match self.read_anew(report).await {
                Ok(policy) => {
                    self.policy.replace(policy);
                    (self.read, self.unreadable) = (state, None);
                    report.succeeded();
                }
                Err(error) => {
                    let details = format!("{error:#}");
                    if self.unreadable != Some(state) {
                        self.unreadable = Some(state);
                        warn!(self.log, "the lists of hosts cannot be read: what was read last counts";
                            "event.name" => "targets.not_read", "error.message" => &details);
                    }
                    report.failed(Failure::new("a list of hosts cannot be read", details));
                }
            }
        }
    }

    /// Millions of lines take a while.
    async fn read_anew(&self, report: &Report) -> anyhow::Result<TargetPolicy> {
        let (files, rules, log) = (self.files.clone(), self.rules.clone(), self.log.clone());
        let mut reading = tokio::task::spawn_blocking(move || files.read(&rules, &log));
        loop {
            match timeout(PAUSE, &mut reading).await {
                Ok(read) => return read.context("reading the lists of hosts panicked").flatten(),
                Err(_still_reading) => report.is_busy(),
            }
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

    fn read(&self, rules: &TargetPolicy, log: &Logger) -> anyhow::Result<TargetPolicy> {
        let (refused, excepted) = (read_list(self.deny.as_deref())?, read_list(self.allow.as_deref())?);
        if self.deny.is_some() && refused.0.is_empty() {
            warn!(log, "no host is refused although there is a list";
                "event.name" => "targets.read", "hosts.refused" => 0, "hosts.excepted" => excepted.0.len(),
                "lines.unread" => refused.1 + excepted.1);
        } else if self.deny.is_some() || self.allow.is_some() {
            info!(log, "{} hosts are refused, {} excepted", refused.0.len(), excepted.0.len();
                "event.name" => "targets.read", "hosts.refused" => refused.0.len(), "hosts.excepted" => excepted.0.len(),
                "lines.unread" => refused.1 + excepted.1);
        }
        Ok(rules.with_lists(refused.0, excepted.0))
    }
}

fn read_list(file: Option<&Path>) -> anyhow::Result<(HostList, usize)> {
    let Some(file) = file else {
        return Ok((HostList::default(), 0));
    };
    let bytes = fs::read(file).with_context(|| format!("reading {}", file.display()))?;
    Ok(HostList::read(String::from_utf8_lossy(&bytes).lines()))
}

/// The service's own host: a name on every port; an address or `localhost`, which others share, on its own port.
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
