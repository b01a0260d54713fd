//! The port, and the memos by user agent, network and referrer.

use std::{collections::HashMap, fmt, path::PathBuf, sync::Arc};

use domain::{
    click::{Click, ClickKind, ClientNetwork, Traits},
    ports::ClickDescriber,
};
use quick_cache::unsync::Cache;

use super::{
    agents::{Agent, Agents},
    countries::{Countries, CountryCode},
    device::Device,
    language::Languages,
    lists::{ListError, Lists},
    own_bots::OwnBots,
    referrer::{OwnHosts, Referrer},
    value::{CommonValues, value},
};

/// Entries of each memo: some 2 MB if each user agent has full length.
const REMEMBERED: usize = 4_096;

/// Where a describer finds what it looks up.
#[derive(Clone, Debug, Default)]
pub struct DescriberOptions {
    /// `clicks.bots_file`: the operator's own list of bots. A line is plain text that user agents contain in upper or
    /// lower case, or a regular expression between slashes; `#` begins a comment line.
    pub bots_file: Option<PathBuf>,
    /// `geo.database`: a MMDB database of countries. Without it no country is known.
    pub geo_database: Option<PathBuf>,
    /// Hosts of this installation, such as its short domains: no referrers.
    pub own_hosts: Vec<String>,
}

/// Looks up what clicks tell.
///
/// - **Kind**: a bot if the user agent is on the list of bots, has marks of bots, is empty or says nothing, or is on the
///   operator's list; or if it is a prefetch.
/// - **Browser, system, device**: of a bot, only its name. A prefetch tells those of its browser.
/// - **Country**: that of the network's first address.
/// - **Referrer**: `(direct)` if there is none or it is one of the own hosts.
/// - **Language**: one of ISO 639.
///
/// Of clients that ask not to be tracked only the kind is told. Values are at most 100 characters, without control
/// characters. What is not known is [`UNKNOWN`](domain::click::UNKNOWN).
pub struct Describer {
    lists: Lists,
    /// [`Lists::changes`] when the memos were last emptied.
    changes: u64,
    own_hosts: OwnHosts,
    common: CommonValues,
    devices: [(Device, Arc<str>); Device::ALL.len()],
    loaded: Option<Loaded>,
}

/// What the first click loads.
struct Loaded {
    agents: &'static Agents,
    own_bots: Option<Arc<OwnBots>>,
    countries: Option<Arc<Countries>>,
    known_agents: Cache<Box<str>, Described>,
    known_networks: Cache<ClientNetwork, Arc<str>>,
    known_referrers: Cache<Box<str>, Arc<str>>,
    codes: HashMap<CountryCode, Arc<str>>,
    languages: Languages,
}

/// What a user agent tells, as values.
#[derive(Clone)]
struct Described {
    kind: ClickKind,
    browser: Arc<str>,
    os: Arc<str>,
    device: Arc<str>,
}

impl Describer {
    /// A describer. Fails if a file of the operator cannot be used. The lists are loaded at the first click.
    pub fn new(options: DescriberOptions) -> Result<Self, ListError> {
        let DescriberOptions { bots_file, geo_database, own_hosts } = options;
        Ok(Self {
            lists: Lists::open(bots_file, geo_database)?,
            changes: 0,
            own_hosts: OwnHosts::new(&own_hosts),
            common: CommonValues::new(),
            devices: Device::ALL.map(|device| (device, device.name().into())),
            loaded: None,
        })
    }

    /// The operator's files, for the task that reads them again when they change.
    pub fn lists(&self) -> Lists {
        self.lists.clone()
    }

    /// Loads what is not loaded yet, and forgets what older files told.
    fn load(&mut self) {
        let changes = self.lists.changes();
        if self.loaded.is_some() && changes == self.changes {
            return;
        }
        self.changes = changes;
        self.loaded = Some(Loaded {
            agents: Agents::loaded(),
            own_bots: self.lists.bots.as_ref().and_then(|file| file.get()),
            countries: self.lists.countries.as_ref().and_then(|file| file.get()),
            known_agents: Cache::new(REMEMBERED),
            known_networks: Cache::new(REMEMBERED),
            known_referrers: Cache::new(REMEMBERED),
            codes: HashMap::new(),
            languages: Languages::default(),
        });
    }
}

impl ClickDescriber for Describer {
    fn describe(&mut self, click: &Click<'_>) -> Traits {
        self.load();
        let Self { own_hosts, common, devices, loaded, .. } = self;
        let loaded = loaded.as_mut().expect("it was just loaded");
        let agent = loaded.agent(click.user_agent, common, devices);
        let kind = if click.is_prefetch { ClickKind::Bot } else { agent.kind };
        if click.opted_out {
            return without_dimensions(kind, &common.not_recorded);
        }
        Traits {
            kind,
            browser: agent.browser,
            os: agent.os,
            device: agent.device,
            referrer: loaded.referrer(click.referrer, own_hosts, common),
            country: click
                .network
                .and_then(|network| loaded.country(network, common))
                .unwrap_or_else(|| common.unknown.clone()),
            language: loaded.languages.language(click.language).unwrap_or_else(|| common.unknown.clone()),
        }
    }
}

fn without_dimensions(kind: ClickKind, not_recorded: &Arc<str>) -> Traits {
    let value = || not_recorded.clone();
    Traits {
        kind,
        referrer: value(),
        country: value(),
        browser: value(),
        os: value(),
        device: value(),
        language: value(),
    }
}

impl Loaded {
    fn agent(&mut self, user_agent: &str, common: &CommonValues, devices: &[(Device, Arc<str>)]) -> Described {
        if let Some(known) = self.known_agents.get(user_agent) {
            return known.clone();
        }
        let Agent { is_bot, browser, os, device } = self.agents.agent(user_agent, self.own_bots.as_deref());
        let device = device.and_then(|device| devices.iter().find(|(known, _)| *known == device));
        let described = Described {
            kind: if is_bot { ClickKind::Bot } else { ClickKind::Human },
            browser: browser.unwrap_or_else(|| common.unknown.clone()),
            os: os.unwrap_or_else(|| common.unknown.clone()),
            device: device.map_or_else(|| common.unknown.clone(), |(_, name)| name.clone()),
        };
        self.known_agents.insert(user_agent.into(), described.clone());
        described
    }

    fn country(&mut self, network: ClientNetwork, common: &CommonValues) -> Option<Arc<str>> {
        let countries = self.countries.as_ref()?;
        if let Some(known) = self.known_networks.get(&network) {
            return Some(known.clone());
        }
        let country = match countries.country(network.first_address()) {
            Some(code) => {
                self.codes.entry(code).or_insert_with(|| String::from_utf8_lossy(&code).into_owned().into()).clone()
            }
            None => common.unknown.clone(),
        };
        self.known_networks.insert(network, country.clone());
        Some(country)
    }

    fn referrer(&mut self, recorded: &str, own_hosts: &OwnHosts, common: &CommonValues) -> Arc<str> {
        if let Some(known) = self.known_referrers.get(recorded) {
            return known.clone();
        }
        let referrer = match own_hosts.referrer(recorded) {
            Referrer::Direct => common.direct.clone(),
            Referrer::Host(host) => value(&host).unwrap_or_else(|| common.unknown.clone()),
            Referrer::Unknown => common.unknown.clone(),
        };
        self.known_referrers.insert(recorded.into(), referrer.clone());
        referrer
    }
}

/// Shows where it looks, not what it knows.
impl fmt::Debug for Describer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Describer")
            .field("lists", &self.lists)
            .field("is_loaded", &self.loaded.is_some())
            .finish_non_exhaustive()
    }
}
