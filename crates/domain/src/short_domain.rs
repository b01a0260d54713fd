//! Short domains: the host names that short addresses begin with.

use std::{collections::HashMap, fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use crate::{
    address::DomainId, behaviour::RedirectStatus, hosts::comparable_name, link::Generation, target::Target,
    time::Timestamp,
};

/// A host name that short addresses begin with, and how addresses on it behave. A code is unique within it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShortDomain {
    /// Its number.
    pub id: DomainId,
    /// Its host name; `None` for the default short domain, which the operator names in the configuration.
    pub host: Option<DomainHost>,
    /// How addresses on it behave.
    pub settings: DomainSettings,
    /// Its version, counting from 1: each change adds one.
    pub generation: Generation,
    /// When it was added.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl ShortDomain {
    /// What stands for a short domain whose row cannot be read, so that its visitors do not meet the links of another
    /// one. It has the default settings and takes no new links. `None` for the default short domain, and if its number
    /// or host cannot be read either.
    pub fn in_place_of_unreadable(id: i16, host: Option<&str>) -> Option<Self> {
        let (id, host) = (DomainId::try_from(id).ok()?, host?.parse().ok()?);
        let default = ShortDomains::default().default_domain().clone();
        let settings = DomainSettings { accepts_links: false, ..DomainSettings::default() };
        Some(Self { id, host: Some(host), settings, ..default }).filter(|domain| !domain.id.is_default())
    }
}

/// How the addresses on a short domain behave. By default, all is as the configuration of the process says.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DomainSettings {
    /// Where the bare short domain redirects.
    pub landing_url: Option<Target>,
    /// The page for browsers at codes that no link has.
    pub not_found_url: Option<Target>,
    /// The page for browsers at links that are deleted or expired.
    pub gone_url: Option<Target>,
    /// The page for browsers at links that were taken down.
    pub blocked_url: Option<Target>,
    /// The redirect of links that are claimed without one.
    pub redirect: Option<RedirectStatus>,
    /// What crawlers are told.
    pub robots: RobotsRule,
    /// Whether links can be claimed on it. Existing links work either way.
    pub accepts_links: bool,
}

impl DomainSettings {
    /// The pages that are set, with the names of their settings.
    pub fn pages(&self) -> impl Iterator<Item = (&'static str, &Target)> {
        let pages = [
            ("landing_url", &self.landing_url),
            ("not_found_url", &self.not_found_url),
            ("gone_url", &self.gone_url),
            ("blocked_url", &self.blocked_url),
        ];
        pages.into_iter().filter_map(|(name, page)| Some((name, page.as_ref()?)))
    }
}

impl Default for DomainSettings {
    fn default() -> Self {
        Self {
            landing_url: None,
            not_found_url: None,
            gone_url: None,
            blocked_url: None,
            redirect: None,
            robots: RobotsRule::default(),
            accepts_links: true,
        }
    }
}

/// What crawlers are told about the addresses on a short domain.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum RobotsRule {
    /// They may follow links, for example to show a preview, but not list them (`X-Robots-Tag: noindex`).
    #[default]
    NoIndex,
    /// They may follow and list links.
    Index,
    /// They may not even follow links: `robots.txt` disallows everything (RFC 9309).
    Disallow,
}

impl RobotsRule {
    /// All rules.
    pub const ALL: [Self; 3] = [Self::NoIndex, Self::Index, Self::Disallow];

    /// The name that stores and callers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::NoIndex => "noindex",
            Self::Index => "index",
            Self::Disallow => "disallow",
        }
    }
}

impl FromStr for RobotsRule {
    type Err = InvalidRobotsRule;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|rule| rule.name() == text).ok_or(InvalidRobotsRule)
    }
}

/// The text names no rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be noindex, index or disallow")]
pub struct InvalidRobotsRule;

/// The host name of a short domain: lower case, no trailing dot, punycode, 253 bytes at most. It is no IP address.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct DomainHost(Box<str>);

impl DomainHost {
    /// Maximum length in bytes of a host name (RFC 1035 §2.3.4).
    pub const MAX_LENGTH: usize = 253;

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Reads a host name in any spelling: `Go.Example.`, `bücher.example`.
impl FromStr for DomainHost {
    type Err = InvalidDomainHost;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_name = !text.is_empty() && !text.contains([':', '/', '?', '#', '@', '*', '[', ']', ' ']);
        let name = is_name.then(|| comparable_name(text)).flatten();
        let name = name.filter(|name| (1..=Self::MAX_LENGTH).contains(&name.len()) && !ends_in_a_number(name));
        name.map(|name| Self(name.into())).ok_or(InvalidDomainHost)
    }
}

/// As an IPv4 address does, in any of its spellings (WHATWG URL, "ends in a number").
fn ends_in_a_number(name: &str) -> bool {
    let last = name.rsplit('.').next().unwrap_or(name);
    !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit())
}

impl fmt::Display for DomainHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<DomainHost> for String {
    fn from(host: DomainHost) -> Self {
        host.0.into()
    }
}

impl TryFrom<String> for DomainHost {
    type Error = InvalidDomainHost;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

/// The text cannot be the host of a short domain.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be a host name alone, as in `go.example.com`, without scheme, port or path, and no IP address")]
pub struct InvalidDomainHost;

/// All short domains at one moment, found by number and by host.
#[derive(Clone, Debug)]
pub struct ShortDomains {
    default: Arc<ShortDomain>,
    others: HashMap<DomainId, Arc<ShortDomain>>,
    by_host: HashMap<Box<str>, DomainId>,
}

impl ShortDomains {
    /// Maximum number of short domains, the default one included.
    pub const MAX: usize = 1_000;

    /// These short domains. Without a default one among them, it has the default settings.
    pub fn new(domains: impl IntoIterator<Item = ShortDomain>) -> Self {
        let mut all = Self::default();
        for domain in domains {
            let domain = Arc::new(domain);
            match &domain.host {
                None => all.default = domain,
                Some(host) => {
                    all.by_host.insert(host.0.clone(), domain.id);
                    all.others.insert(domain.id, domain);
                }
            }
        }
        all
    }

    /// The short domain with this number.
    pub fn get(&self, id: DomainId) -> Option<&Arc<ShortDomain>> {
        if id.is_default() { Some(&self.default) } else { self.others.get(&id) }
    }

    /// The default short domain.
    pub fn default_domain(&self) -> &ShortDomain {
        &self.default
    }

    /// The short domain with this host, in the form of [`DomainHost`]. The default one is not found by a host.
    pub fn at(&self, host: &str) -> Option<&Arc<ShortDomain>> {
        self.by_host.get(host).and_then(|id| self.others.get(id))
    }

    /// All of them, ordered by number.
    pub fn iter(&self) -> impl Iterator<Item = &ShortDomain> {
        let mut others: Vec<_> = self.others.values().map(|domain| &**domain).collect();
        others.sort_unstable_by_key(|domain| domain.id);
        std::iter::once(&*self.default).chain(others)
    }

    /// Whether there is only the default short domain, with the default settings.
    pub fn are_plain(&self) -> bool {
        self.others.is_empty() && self.default.settings == DomainSettings::default()
    }
}

/// The default short domain alone.
impl Default for ShortDomains {
    fn default() -> Self {
        let epoch = Timestamp::from_unix_micros(0).expect("1970 is in range");
        let default = ShortDomain {
            id: DomainId::DEFAULT,
            host: None,
            settings: DomainSettings::default(),
            generation: Generation::FIRST,
            created_at: epoch,
            updated_at: epoch,
        };
        Self { default: Arc::new(default), others: HashMap::new(), by_host: HashMap::new() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unreadable_short_domain_keeps_its_host_and_takes_no_links() {
        let domain = ShortDomain::in_place_of_unreadable(7, Some("go.example")).expect("a short domain");
        let all = ShortDomains::new([domain]);
        let found = all.at("go.example").expect("it is known");
        assert!(found.id == DomainId::new(7).expect("in range") && !found.settings.accepts_links);
        for (id, host) in [(0, Some("go.example")), (7, None), (7, Some("not a host")), (-1, Some("go.example"))] {
            assert_eq!(ShortDomain::in_place_of_unreadable(id, host), None, "{id} {host:?}");
        }
    }

    #[test]
    fn hosts_are_read_in_any_spelling() {
        for (text, host) in [
            ("Go.Example.COM", "go.example.com"),
            ("go.example.com.", "go.example.com"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("go", "go"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(text.parse::<DomainHost>().expect(text).as_str(), host);
        }
    }

    #[test]
    fn what_is_no_host_name_is_refused() {
        let long = format!("{}.example", "a".repeat(250));
        for bad in [
            "",
            ".",
            "a b",
            "go.example:8080",
            "https://go.example",
            "go.example/x",
            "127.0.0.1",
            "[::1]",
            "1.2.3",
            "a@b",
            "*.example",
            &long,
        ] {
            assert_eq!(bad.parse::<DomainHost>(), Err(InvalidDomainHost), "{bad}");
        }
    }

    #[test]
    fn rules_for_crawlers_are_read_by_name() {
        for rule in RobotsRule::ALL {
            assert_eq!(rule.name().parse(), Ok(rule));
        }
        assert_eq!("none".parse::<RobotsRule>(), Err(InvalidRobotsRule));
    }

    #[test]
    fn a_short_domain_is_found_by_number_and_by_host() {
        let default = ShortDomains::default().default_domain().clone();
        assert!(ShortDomains::default().are_plain());
        let id = DomainId::new(7).expect("in range");
        let go = ShortDomain { id, host: Some("go.example".parse().expect("a host")), ..default.clone() };
        let all = ShortDomains::new([go.clone(), ShortDomain { generation: Generation::FIRST.next(), ..default }]);
        assert_eq!(all.get(id).map(|found| &**found), Some(&go));
        assert_eq!(all.at("go.example").map(|found| found.id), Some(id));
        assert_eq!(all.default_domain().generation, Generation::FIRST.next());
        assert!(all.at("other.example").is_none() && all.get(DomainId::new(8).expect("in range")).is_none());
        assert!(!all.are_plain());
    }
}
