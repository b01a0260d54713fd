//! Short domains: the one whose address a visitor follows, the one that a caller names, and where addresses begin.

use std::{borrow::Cow, sync::Arc};

use actix_web::{dev::RequestHead, http::header};
use domain::{
    address::{Address, DomainId},
    code::Code,
    link::Link,
    ports::RepositoryError,
    short_domain::{DomainHost, RobotsRule, ShortDomain, ShortDomains},
    target::Target,
};
use slog::warn;

use super::{
    json::Fault,
    public_url::PublicUrl,
    state::{State, UnknownHost},
};
use crate::problem::{Problem, ProblemKind};

/// The short domain of a visit. `None`: the default one, with the default settings.
#[derive(Clone, Debug)]
pub(crate) struct VisitedDomain(Option<Arc<ShortDomain>>);

impl VisitedDomain {
    /// The short domain that the request is for. Several ways lead to the host of a request, and only this function
    /// knows them: the forwarding field of a trusted proxy, the target in absolute form (RFC 9112 §3.2.2), `Host`. A
    /// request without any, as HTTP/1.0 allows, is for the default short domain. Ports, upper case and a trailing dot
    /// make no difference.
    pub(crate) fn of(head: &RequestHead, state: &State) -> Result<Self, Problem> {
        if state.services.domains.known().is_unread() {
            return Err(Problem::new(ProblemKind::Unavailable).detail("The short domains are not read yet."));
        }
        let known = state.services.domains.known().unless_plain();
        if known.is_none() && state.settings.unknown_host == UnknownHost::Default {
            return Ok(Self(None));
        }
        let domains = known.unwrap_or_else(|| state.services.domains.known().all());
        let default = |domains: &ShortDomains| domains.get(DomainId::DEFAULT).cloned();
        let Some(host) = host_of(head, state) else {
            return Ok(Self(default(&domains)));
        };
        let host = comparable(&host);
        // First, so that no short domain that is added with the same host takes the links of the default one away.
        if *host == *state.public_url.host {
            return Ok(Self(default(&domains)));
        }
        if let Some(domain) = domains.at(&host) {
            return Ok(Self(Some(Arc::clone(domain))));
        }
        match state.settings.unknown_host {
            UnknownHost::NotFound => Err(Problem::new(ProblemKind::NotFound).detail("No short domain has this host.")),
            UnknownHost::Default => {
                warn_of_unknown_host(&host, state);
                Ok(Self(default(&domains)))
            }
        }
    }

    /// Its number.
    pub(crate) fn id(&self) -> DomainId {
        self.0.as_ref().map_or(DomainId::DEFAULT, |domain| domain.id)
    }

    /// The address of `code` on it.
    pub(crate) fn address(&self, code: Code) -> Address {
        Address::new(self.id(), code)
    }

    /// What crawlers are told about it.
    pub(crate) fn robots(&self) -> RobotsRule {
        self.0.as_ref().map_or(RobotsRule::default(), |domain| domain.settings.robots)
    }

    /// Where the bare short domain redirects, if it has a landing page of its own.
    pub(crate) fn landing_url(&self) -> Option<&str> {
        self.0.as_ref()?.settings.landing_url.as_ref().map(Target::as_str)
    }

    /// Its own page for a problem of that kind.
    pub(crate) fn page(&self, kind: ProblemKind) -> Option<&str> {
        let settings = &self.0.as_ref()?.settings;
        let page = match kind {
            ProblemKind::NotFound => &settings.not_found_url,
            ProblemKind::Gone => &settings.gone_url,
            ProblemKind::Blocked => &settings.blocked_url,
            _ => &None,
        };
        page.as_ref().map(Target::as_str)
    }
}

/// The host that the client asked for.
fn host_of<'a>(head: &'a RequestHead, state: &State) -> Option<Cow<'a, str>> {
    if let Some(forwarded) = state.settings.proxies.host(head.peer_addr, head.headers()) {
        return Some(Cow::Owned(forwarded));
    }
    if let Some(host) = head.uri.host() {
        return Some(Cow::Borrowed(host));
    }
    let host = head.headers().get(header::HOST)?.as_bytes();
    str::from_utf8(host).ok().filter(|host| !host.is_empty()).map(Cow::Borrowed)
}

/// The host in the form of [`DomainHost`].
fn comparable(host: &str) -> Cow<'_, str> {
    // The colons of an IPv6 address do not begin a port.
    let name = match host.find(']') {
        Some(end) if host.starts_with('[') => &host[..=end],
        _ => host.split(':').next().unwrap_or(host),
    };
    let name = name.strip_suffix('.').unwrap_or(name);
    if !name.is_ascii() {
        return name.parse::<DomainHost>().map_or(Cow::Borrowed(name), |host| Cow::Owned(host.into()));
    }
    if name.bytes().any(|byte| byte.is_ascii_uppercase()) {
        Cow::Owned(name.to_ascii_lowercase())
    } else {
        Cow::Borrowed(name)
    }
}

/// Warns once that requests name a host that is no short domain.
fn warn_of_unknown_host(host: &str, state: &State) {
    if !state.warned_of_host.swap(true, std::sync::atomic::Ordering::Relaxed) {
        let host: String = host.chars().take(DomainHost::MAX_LENGTH).collect();
        warn!(state.log, "a request names the host {host}, which is no short domain, and is answered as for the default one: \
            add it with `signpost domains add`, or set domains.unknown_host = \"not-found\"";
            "event.name" => "domains.unknown_host", "server.address" => &host);
    }
}

/// Where short addresses begin, and the hosts of short domains.
pub(crate) struct Bases<'a> {
    public: &'a PublicUrl,
    domains: Arc<ShortDomains>,
}

impl<'a> Bases<'a> {
    /// The code of the fault that this process knows no such short domain.
    pub(crate) const UNKNOWN: &'static str = "unknown-domain";

    /// Those of these short domains.
    pub(crate) fn new(public: &'a PublicUrl, domains: Arc<ShortDomains>) -> Self {
        Self { public, domains }
    }

    /// Those of the short domains with these numbers.
    pub(crate) async fn of(
        state: &'a State,
        ids: impl IntoIterator<Item = DomainId>,
    ) -> Result<Bases<'a>, RepositoryError> {
        let domains = state.services.domains.know(ids).await?;
        Ok(Self::new(&state.public_url, domains))
    }

    /// Those of the short domains that this process knows.
    pub(crate) fn known(state: &'a State) -> Self {
        Self::new(&state.public_url, state.services.domains.known().all())
    }

    /// The host of a short domain, as callers write and read it. If the store cannot read that short domain, its host
    /// is in `.invalid` (RFC 6761 §6.4).
    pub(crate) fn host(&self, id: DomainId) -> Cow<'_, str> {
        if id.is_default() {
            return Cow::Borrowed(&self.public.host);
        }
        match self.domains.get(id).and_then(|domain| domain.host.as_ref()) {
            Some(host) => Cow::Borrowed(host.as_str()),
            None => Cow::Owned(format!("domain-{id}.invalid")),
        }
    }

    /// The short address of a link.
    pub(crate) fn short_url(&self, link: &Link) -> String {
        self.url(link.domain, &link.code)
    }

    /// The same for an address.
    pub(crate) fn url(&self, domain: DomainId, code: &Code) -> String {
        if domain.is_default() {
            return format!("{}/{code}", self.public.url);
        }
        let PublicUrl { scheme, port, .. } = self.public;
        format!("{scheme}://{}{port}/{code}", self.host(domain))
    }

    /// The query that the API path of a link needs beside its code.
    pub(crate) fn query(&self, domain: DomainId) -> String {
        if domain.is_default() { String::new() } else { format!("?domain={}", self.host(domain)) }
    }

    /// The short domain that a caller names, as far as this process knows it.
    pub(crate) fn named(&self, text: &str) -> Result<&ShortDomain, Fault> {
        let host: Result<DomainHost, _> = text.parse();
        let is_public = host.as_ref().map_or(text, |host| host.as_str()) == self.public.host;
        if is_public {
            return Ok(self.domains.default_domain());
        }
        let host = host.map_err(|error| Fault::new("not-a-host", error))?;
        let domain = self.domains.at(host.as_str());
        domain.map(|domain| &**domain).ok_or_else(|| Fault::new(Self::UNKNOWN, "no short domain has this host"))
    }

    /// The host of a short domain that is known.
    pub(crate) fn host_of<'b>(&'b self, domain: &'b ShortDomain) -> &'b str {
        domain.host.as_ref().map_or(&self.public.host, |host| host.as_str())
    }

    /// Whether it is the host of the public URL. `host` is in the form of [`DomainHost`].
    pub(crate) fn is_public(&self, host: &str) -> bool {
        host == self.public.host
    }

    /// The default short domain.
    pub(crate) fn default_domain(&self) -> &ShortDomain {
        self.domains.default_domain()
    }

    /// Whether a host is one of a short domain. `host` is in the form in which targets are compared.
    pub(crate) fn is_own(&self, host: &str) -> bool {
        self.domains.at(host).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_a_host_make_no_difference() {
        for text in ["go.example", "GO.Example", "go.example.", "go.example:8080", "Go.Example.:80"] {
            assert_eq!(comparable(text), "go.example", "{text}");
        }
        for (text, host) in [
            ("bücher.example", "xn--bcher-kva.example"),
            ("[::1]:80", "[::1]"),
            ("[::1", "["),
            ("[::1]", "[::1]"),
            ("", ""),
        ] {
            assert_eq!(comparable(text), host);
        }
    }

    #[test]
    fn addresses_on_other_short_domains_have_scheme_and_port_of_the_public_url() {
        let default = ShortDomains::default().default_domain().clone();
        let id = DomainId::new(7).expect("in range");
        let go = ShortDomain { id, host: Some("go.example".parse().expect("a host")), ..default };
        let public = PublicUrl::of("https://sho.rt:8443/s");
        let bases = Bases::new(&public, Arc::new(ShortDomains::new([go])));
        let code = "promo".parse().expect("a code");
        assert_eq!(bases.url(DomainId::DEFAULT, &code), "https://sho.rt:8443/s/promo");
        assert_eq!(bases.url(id, &code), "https://go.example:8443/promo");
        assert_eq!((bases.query(DomainId::DEFAULT), bases.query(id)), (String::new(), "?domain=go.example".to_owned()));
        assert_eq!(bases.named("SHO.RT").map(|domain| domain.id).ok(), Some(DomainId::DEFAULT));
        assert_eq!(bases.named("Go.Example.").map(|domain| domain.id).ok(), Some(id));
        assert_eq!(bases.named("other.example").err().map(|fault| fault.code), Some("unknown-domain"));
        assert_eq!(bases.named("https://go.example").err().map(|fault| fault.code), Some("not-a-host"));
        let unreadable = DomainId::new(8).expect("in range");
        assert_eq!(bases.url(unreadable, &code), "https://domain-8.invalid:8443/promo");
    }
}
