//! Hosts of referring pages.

use std::collections::HashSet;

use url::Host;

/// Where a visit came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Referrer {
    /// From no page, or from one of our own.
    Direct,
    /// From a page of this host.
    Host(String),
    /// From what is no host.
    Unknown,
}

/// The short domains and other hosts of this installation.
#[derive(Clone, Debug)]
pub(crate) struct OwnHosts(HashSet<String>);

impl OwnHosts {
    pub(crate) fn new(hosts: &[String]) -> Self {
        Self(hosts.iter().filter_map(|host| comparable(host)).collect())
    }

    /// What `recorded` tells, the host of a referring page.
    pub(crate) fn referrer(&self, recorded: &str) -> Referrer {
        if recorded.is_empty() {
            return Referrer::Direct;
        }
        match comparable(recorded) {
            None => Referrer::Unknown,
            Some(host) if self.0.contains(&host) => Referrer::Direct,
            Some(host) => Referrer::Host(host),
        }
    }
}

/// A host in lower case, as browsers send it, without `www.` or `m.`; `None` if it is not valid.
fn comparable(host: &str) -> Option<String> {
    let name = match Host::parse(host).ok()? {
        Host::Domain(name) => name,
        address @ (Host::Ipv4(_) | Host::Ipv6(_)) => return Some(address.to_string()),
    };
    let name = name.strip_suffix('.').unwrap_or(&name);
    // What is left must still be a name with a dot: `m.de` is a site of its own.
    let site = ["www.", "m."].iter().find_map(|prefix| name.strip_prefix(prefix)).filter(|site| site.contains('.'));
    let site = site.unwrap_or(name);
    domain::hosts::is_server_name(site).then(|| site.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_referrer_is_a_plain_host() {
        let own = OwnHosts::new(&["go.example".to_owned(), "WWW.Sign.example".to_owned()]);
        for (recorded, host) in [
            ("news.example", "news.example"),
            ("WWW.News.Example.", "news.example"),
            ("m.news.example", "news.example"),
            ("m.de", "m.de"),
            ("www.de", "www.de"),
            ("com.google.android.gm", "com.google.android.gm"),
            ("bücher.example", "xn--bcher-kva.example"),
            ("203.0.113.7", "203.0.113.7"),
            ("[2001:db8::7]", "[2001:db8::7]"),
            ("localhost", "localhost"),
        ] {
            assert_eq!(own.referrer(recorded), Referrer::Host(host.to_owned()), "{recorded}");
        }
        for recorded in ["", "go.example", "www.go.example", "m.sign.example", "sign.example"] {
            assert_eq!(own.referrer(recorded), Referrer::Direct, "{recorded}");
        }
        for recorded in ["a b", "a/b", "a..b", "<script>", "a\u{0}b", "1.2.3.4.5", "example.com:80", "%", "{x}.example"]
        {
            assert_eq!(own.referrer(recorded), Referrer::Unknown, "{recorded}");
        }
    }
}
