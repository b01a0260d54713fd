//! Which hosts links may lead to, and how long a target may be.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use url::{Host, Url};

use super::invalid::{self, InvalidTarget};
use crate::hosts::HostList;

/// Which hosts links may lead to, and how long a target may be.
#[derive(Clone, Debug)]
pub struct TargetPolicy {
    max_length: usize,
    allow_private: bool,
    own_hosts: Vec<OwnHost>,
    refused: HostList,
    excepted: HostList,
}

/// One of this service's own names: on one port, or on any.
#[derive(Clone, Debug, PartialEq, Eq)]
struct OwnHost {
    name: String,
    port: Option<u16>,
}

/// Any public host, and 8,192 bytes.
impl Default for TargetPolicy {
    fn default() -> Self {
        Self {
            max_length: 8_192,
            allow_private: false,
            own_hosts: Vec::new(),
            refused: HostList::default(),
            excepted: HostList::default(),
        }
    }
}

impl TargetPolicy {
    /// `own_hosts` are this service's own names in any spelling, with a port (`host:port`) or for every port. Unless
    /// `allow_private` is set, private addresses and internal names are rejected too.
    pub fn new(allow_private: bool, own_hosts: &[String]) -> Self {
        let own_hosts = own_hosts.iter().map(|host| OwnHost::parse(host)).collect();
        Self { allow_private, own_hosts, ..Self::default() }
    }

    /// The same, for targets of up to `bytes` bytes, [`Target::MAX_LENGTH`](super::Target::MAX_LENGTH) at most.
    #[must_use]
    pub fn with_max_length(self, bytes: usize) -> Self {
        Self { max_length: bytes.min(invalid::MAX_LENGTH), ..self }
    }

    /// Most bytes of a target, once it is encoded.
    pub fn max_length(&self) -> usize {
        self.max_length
    }

    /// The same, with these lists. Hosts in `refused` are rejected unless they are in `excepted`.
    #[must_use]
    pub fn with_lists(&self, refused: HostList, excepted: HostList) -> Self {
        Self { refused, excepted, ..self.clone() }
    }

    pub(super) fn check(&self, url: &Url) -> Result<(), InvalidTarget> {
        let host = url.host().ok_or(InvalidTarget::NotAUrl)?;
        let (name, port) = (comparable(&host), url.port_or_known_default());
        if self.own_hosts.iter().any(|own| own.is(&name, port)) {
            return Err(InvalidTarget::OwnHost);
        }
        if self.refused.covers(&name) && !self.excepted.covers(&name) {
            return Err(InvalidTarget::RefusedHost);
        }
        if self.allow_private {
            return Ok(());
        }
        match host {
            Host::Ipv4(address) if is_special_v4(address) => Err(InvalidTarget::PrivateAddress),
            Host::Ipv6(address) if is_special_v6(address) => Err(InvalidTarget::PrivateAddress),
            Host::Domain(name) if is_internal_name(name) => Err(InvalidTarget::InternalName),
            Host::Ipv4(_) | Host::Ipv6(_) | Host::Domain(_) => Ok(()),
        }
    }
}

impl OwnHost {
    /// Converts an operator's spelling into the form in which targets are compared.
    fn parse(text: &str) -> Self {
        let with_port = text.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = match with_port {
            // The colons of a bare IPv6 address do not separate a port.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            Some(_) | None => (text, None),
        };
        let name = Host::parse(host).map_or_else(|_| host.to_ascii_lowercase(), |parsed| comparable(&parsed));
        Self { name, port }
    }

    /// Whether a host and port lead to this service.
    fn is(&self, name: &str, port: Option<u16>) -> bool {
        let same_host = self.name == name || (is_this_machine(&self.name) && is_this_machine(name));
        same_host && (self.port.is_none() || self.port == port)
    }
}

/// Loopback and unspecified addresses, and the names for them: all lead to the same listener.
fn is_this_machine(name: &str) -> bool {
    let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
    name == "localhost"
        || name.ends_with(".localhost")
        || address.is_ok_and(|address| address.is_loopback() || address.is_unspecified())
}

/// The host in comparable form: a name without its trailing dot, an IPv4-mapped IPv6 address as its IPv4 address.
fn comparable<S: AsRef<str>>(host: &Host<S>) -> String {
    match host {
        Host::Domain(name) => name.as_ref().trim_end_matches('.').to_ascii_lowercase(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => IpAddr::V6(*address).to_canonical().to_string(),
    }
}

/// RFC 6761 and RFC 9476 names, common internal suffixes, names of a single label, and names with an empty label. None
/// of them is in the public DNS.
fn is_internal_name(name: &str) -> bool {
    const SUFFIXES: &[&str] = &[
        "localhost",
        "local",
        "localdomain",
        "internal",
        "intranet",
        "private",
        "corp",
        "home",
        "lan",
        "home.arpa",
        "alt",
        "invalid",
        "test",
        "onion",
    ];
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    let internal =
        |suffix: &&str| name.strip_suffix(*suffix).is_some_and(|rest| rest.is_empty() || rest.ends_with('.'));
    !name.contains('.') || name.split('.').any(str::is_empty) || SUFFIXES.iter().any(internal)
}

/// The IANA IPv4 special-purpose registry without the globally reachable addresses, plus multicast.
fn is_special_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    matches!(
        (a, b, c),
        (0 | 10 | 127 | 224.., _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18 | 19, _)
            | (198, 51, 100)
            | (203, 0, 113)
    )
}

/// Only `2000::/3` is global unicast, and it contains special-purpose blocks. The well-known forms that embed an IPv4
/// address (mapped, compatible, NAT64, 6to4, Teredo) are rejected too: a link can use the IPv4 address directly.
fn is_special_v6(address: Ipv6Addr) -> bool {
    match address.segments() {
        [0x2001, 0x0db8 | 0x0000..=0x01ff, ..] | [0x2002, ..] | [0x3fff, 0x0000..=0x0fff, ..] => true,
        [first, ..] => !(0x2000..=0x3fff).contains(&first),
    }
}

#[cfg(test)]
mod tests {
    use super::{super::Target, *};

    fn policy() -> TargetPolicy {
        TargetPolicy::new(false, &["Sho.rt".to_owned(), "203.0.112.9".to_owned()])
    }

    fn parse(input: &str) -> Result<String, InvalidTarget> {
        Target::parse(input, &policy()).map(String::from)
    }

    #[test]
    fn hosts_on_the_list_are_refused_in_any_spelling_unless_they_are_excepted() {
        let (refused, _) = HostList::read(["evil.example.com", "bücher.com", "8.8.8.8", "2606:4700::1111"]);
        let (excepted, _) = HostList::read(["good.evil.example.com"]);
        let policy = policy().with_lists(refused, excepted);
        for url in [
            "https://evil.example.com/",
            "https://EVIL.example.com./a",
            "http://www.evil.example.com:8080/",
            "https://xn--bcher-kva.com/",
            "https://bücher.com/",
            "http://8.8.8.8/",
            "http://0x08080808/",
            "http://[::ffff:8.8.8.8]/",
            "http://[2606:4700:0::1111]/",
        ] {
            assert_eq!(Target::parse(url, &policy), Err(InvalidTarget::RefusedHost), "{url}");
        }
        for url in ["https://example.com/", "https://good.evil.example.com/", "https://notevil.example.com/"] {
            assert!(Target::parse(url, &policy).is_ok(), "{url}");
        }
    }

    #[test]
    fn own_hosts_are_refused_in_every_spelling() {
        for input in [
            "https://sho.rt/x",
            "https://SHO.RT:8443/x",
            "http://sho.rt./",
            "https://%73ho.rt/",
            "https://ｓｈｏ．ｒｔ/",
            "http://203.0.112.9/",
            "http://0xcb007009/",
            "http://[::ffff:203.0.112.9]/",
        ] {
            assert_eq!(parse(input), Err(InvalidTarget::OwnHost), "{input}");
        }
        assert!(parse("https://not-sho.rt/").is_ok());
    }

    #[test]
    fn an_own_host_may_be_bound_to_a_port() {
        let policy = TargetPolicy::new(true, &["127.0.0.1:8080".to_owned(), "[::1]:80".to_owned()]);
        let parse = |input: &str| Target::parse(input, &policy).err();
        assert_eq!(parse("http://127.0.0.1:8080/"), Some(InvalidTarget::OwnHost));
        assert_eq!(parse("http://[::ffff:7f00:1]:8080/"), Some(InvalidTarget::OwnHost));
        assert_eq!(parse("http://[::1]/"), Some(InvalidTarget::OwnHost));
        assert_eq!(parse("http://127.0.0.1:9090/"), None);
        // All other names and addresses of this machine lead to the same listener.
        for spelling in ["http://localhost", "http://a.localhost", "http://0.0.0.0", "http://127.0.0.2", "http://[::1]"]
        {
            assert_eq!(parse(&format!("{spelling}:8080/")), Some(InvalidTarget::OwnHost), "{spelling}");
            assert_eq!(parse(&format!("{spelling}:9090/")), None, "{spelling}");
        }
    }

    #[test]
    fn private_addresses_are_refused_in_every_spelling() {
        for input in [
            "http://127.0.0.1/",
            "http://127.1/",
            "http://0x7f.0.0.1/",
            "http://0177.0.0.1/",
            "http://2130706433/",
            "http://0/",
            "http://10.1.2.3/",
            "http://100.64.0.1/",
            "http://169.254.169.254/latest/meta-data",
            "http://172.31.0.1/",
            "http://192.168.0.1/",
            "http://192.0.0.1/",
            "http://198.18.0.1/",
            "http://224.0.0.1/",
            "http://255.255.255.255/",
            "http://１２７.0.0.1/",
            "http://127.0.0.1./",
            "http://[::1]/",
            "http://[::]/",
            "http://[::ffff:127.0.0.1]/",
            "http://[::ffff:7f00:1]/",
            "http://[::127.0.0.1]/",
            "http://[64:ff9b::7f00:1]/",
            "http://[64:ff9b:1::1]/",
            "http://[2002:7f00:1::]/",
            "http://[::ffff:8.8.8.8]/",
            "http://[64:ff9b::808:808]/",
            "http://[2002:808:808::]/",
            "http://[fc00::1]/",
            "http://[fe80::1]/",
            "http://[fec0::1]/",
            "http://[ff02::1]/",
            "http://[2001:db8::1]/",
            "http://[2001::1]/",
            "http://[100::1]/",
            "http://[5f00::1]/",
        ] {
            assert_eq!(parse(input), Err(InvalidTarget::PrivateAddress), "{input}");
        }
        for input in ["http://172.32.0.1/", "http://100.128.0.1/", "http://[2003::1]/", "http://[2001:200::1]/"] {
            assert!(parse(input).is_ok(), "{input}");
        }
    }

    #[test]
    fn internal_names_are_refused_in_every_spelling() {
        for input in [
            "http://localhost/",
            "http://LOCALHOST./",
            "http://a.localhost/",
            "http://printer.local/",
            "http://intranet/",
            "http://db.internal/",
            "http://router.home.arpa/",
            "http://x.lan/",
            "http://ⓛocalhost/",
            "http://com./",
            "http://10.0.0.1../",
            "http://example..com/",
            "http://.example.com/",
            "http://./",
        ] {
            assert_eq!(parse(input), Err(InvalidTarget::InternalName), "{input}");
        }
        assert!(parse("http://localhost.example.com./").is_ok());
        assert!(parse("http://notlocal.example/").is_ok());
    }

    #[test]
    fn private_targets_can_be_allowed_but_own_hosts_never() {
        let lenient = TargetPolicy::new(true, &["localhost".to_owned()]);
        assert!(Target::parse("http://10.0.0.1/", &lenient).is_ok());
        assert!(Target::parse("http://printer.local/", &lenient).is_ok());
        assert_eq!(Target::parse("http://localhost:1/", &lenient), Err(InvalidTarget::OwnHost));
    }
}
