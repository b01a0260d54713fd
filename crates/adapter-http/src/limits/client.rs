//! The client's address, as reported by the proxies that the operator trusts.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use actix_web::http::header::{self, HeaderMap, HeaderName};
use domain::click::ClientNetwork;
use ipnet::{IpNet, Ipv4Net};

static X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
static X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");

/// The address of the client. Limits count by the whole address; logs get only its [network](Self::network).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ClientAddress(IpAddr);

impl ClientAddress {
    pub(crate) fn ip(self) -> IpAddr {
        self.0
    }

    /// Identifies a client without a key, as the limits do: its IPv4 address, or the 64 bits of its IPv6 network.
    pub(crate) fn stranger(self) -> Vec<u8> {
        match self.0 {
            IpAddr::V4(address) => address.octets().to_vec(),
            IpAddr::V6(address) => address.octets()[..8].to_vec(),
        }
    }

    /// The network of the client: /24 for IPv4, /48 for IPv6. Whole addresses are never logged.
    pub(crate) fn network(self) -> ClientNetwork {
        ClientNetwork::of(self.0)
    }
}

#[cfg(test)]
impl From<IpAddr> for ClientAddress {
    fn from(address: IpAddr) -> Self {
        Self(address)
    }
}

/// A network as text. IPv4 is written without `fmt` for speed: every line of the access log has one.
pub(crate) fn network_text(network: ClientNetwork) -> String {
    let ClientNetwork::V4(octets) = network else {
        return network.to_string();
    };
    let mut text = String::with_capacity("255.255.255.0".len());
    for octet in octets {
        text.push_str(itoa::Buffer::new().format(octet));
        text.push('.');
    }
    text.push('0');
    text
}

/// The proxies whose forwarding header fields are trusted.
#[derive(Clone, Debug, Default)]
pub struct TrustedProxies {
    networks: Vec<IpNet>,
    field: ForwardingField,
}

/// The header field in which proxies name their client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ForwardingField {
    /// Either one. If both are present and differ, one of them was not written by a proxy, and both are ignored.
    #[default]
    Either,
    /// `X-Forwarded-For` alone.
    XForwardedFor,
    /// `Forwarded` (RFC 7239) alone.
    Forwarded,
}

impl TrustedProxies {
    /// Trusts these networks. IPv4-mapped IPv6 networks count as IPv4 networks.
    pub fn new(networks: Vec<IpNet>, field: ForwardingField) -> Self {
        let plain = |network: IpNet| match (network.addr().to_canonical(), network.prefix_len().checked_sub(96)) {
            (IpAddr::V4(address), Some(prefix)) if matches!(network, IpNet::V6(_)) => {
                Ipv4Net::new(address, prefix).map_or(network, IpNet::V4)
            }
            _ => network,
        };
        Self { networks: networks.into_iter().map(plain).collect(), field }
    }

    fn trust(&self, address: IpAddr) -> bool {
        self.networks.iter().any(|network| network.contains(&address))
    }

    /// The forwarding field of a request whose peer is no trusted proxy, and the network of that peer. Either the proxy
    /// is missing in the settings, or the client made the field up.
    pub(crate) fn untrusted(
        &self,
        peer: Option<SocketAddr>,
        headers: &HeaderMap,
    ) -> Option<(&'static str, ClientNetwork)> {
        let peer = peer?.ip().to_canonical();
        let field = if headers.contains_key(&X_FORWARDED_FOR) {
            "X-Forwarded-For"
        } else if headers.contains_key(&header::FORWARDED) {
            "Forwarded"
        } else {
            return None;
        };
        (!self.trust(peer)).then(|| (field, ClientAddress(peer).network()))
    }

    /// The client of a request that came from `peer`.
    ///
    /// A peer that is no trusted proxy is the client itself, whatever its header fields say. Otherwise
    /// `X-Forwarded-For` or `Forwarded` (RFC 7239) is read from the right. Each entry was written by the proxy to its
    /// right, so reading stops at the first entry that is no trusted proxy.
    pub(crate) fn client(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> ClientAddress {
        // `None` only if the connection is already closed.
        let peer = peer.map_or(Ipv6Addr::UNSPECIFIED.into(), |peer| peer.ip().to_canonical());
        if !self.trust(peer) {
            return ClientAddress(peer);
        }
        let of = |field, name| lines(headers, name).filter(|_| [ForwardingField::Either, field].contains(&self.field));
        let forwarded_for = of(ForwardingField::XForwardedFor, &X_FORWARDED_FOR);
        let forwarded = of(ForwardingField::Forwarded, &header::FORWARDED);
        let client = match (forwarded_for, forwarded) {
            (None, None) => peer,
            (Some(plain), None) => self.walk(peer, plain_entries(&plain)),
            (None, Some(rich)) => self.walk(peer, rich_entries(&rich)),
            (Some(plain), Some(rich)) => {
                let told = self.walk(peer, plain_entries(&plain));
                if told == self.walk(peer, rich_entries(&rich)) { told } else { peer }
            }
        };
        ClientAddress(client)
    }

    /// The host that a trusted proxy says the client asked for: the rightmost entry of `X-Forwarded-Host`, or of the
    /// `host` parameters of `Forwarded` (RFC 7239 §5.3). `None` if the peer is no trusted proxy or names no host, or if
    /// the two fields disagree: a proxy writes one of them, and then the client wrote the other.
    pub(crate) fn host(&self, peer: Option<SocketAddr>, headers: &HeaderMap) -> Option<String> {
        if self.networks.is_empty() || !peer.is_some_and(|peer| self.trust(peer.ip().to_canonical())) {
            return None;
        }
        let of = |field, name| lines(headers, name).filter(|_| [ForwardingField::Either, field].contains(&self.field));
        let rich = of(ForwardingField::Forwarded, &header::FORWARDED).and_then(|text| forwarded_host(&text));
        let plain = of(ForwardingField::XForwardedFor, &X_FORWARDED_HOST);
        let plain = plain.and_then(|text| elements(&text, ',').last().map(|host| (*host).to_owned()));
        match (rich, plain) {
            (Some(rich), Some(plain)) => rich.eq_ignore_ascii_case(&plain).then_some(rich),
            (rich, plain) => rich.or(plain),
        }
    }

    /// The first entry, from the right, that is no trusted proxy. An entry that is no address ends the walk: the last
    /// address before it is the client.
    fn walk(&self, peer: IpAddr, entries: Vec<Option<IpAddr>>) -> IpAddr {
        let mut client = peer;
        for entry in entries.into_iter().rev() {
            let Some(address) = entry else {
                return client;
            };
            client = address;
            if !self.trust(address) {
                return client;
            }
        }
        client
    }
}

/// All lines of a field as one (RFC 9110 §5.3). A line that is not ASCII becomes `?`, which is no address.
fn lines(headers: &HeaderMap, name: &HeaderName) -> Option<String> {
    let lines: Vec<_> = headers.get_all(name).map(|line| line.to_str().unwrap_or("?")).collect();
    (!lines.is_empty()).then(|| lines.join(","))
}

/// The addresses of `X-Forwarded-For`, in their order; `None` for an entry that is no address.
fn plain_entries(text: &str) -> Vec<Option<IpAddr>> {
    elements(text, ',').into_iter().map(address).collect()
}

/// The same for the `for` parameters of `Forwarded`. An element without exactly one is `None`.
fn rich_entries(text: &str) -> Vec<Option<IpAddr>> {
    let sender = |element: &str| {
        let mut senders = elements(element, ';').into_iter().filter_map(|pair| {
            let (name, value) = pair.split_once('=')?;
            name.trim().eq_ignore_ascii_case("for").then(|| value.trim().to_owned())
        });
        let sender = senders.next().filter(|_| senders.next().is_none())?;
        match sender.strip_prefix('"') {
            // An address needs no escapes, so a string with escapes is no address.
            Some(quoted) => address(quoted.strip_suffix('"')?),
            None => address(&sender),
        }
    };
    elements(text, ',').into_iter().map(sender).collect()
}

/// The `host` parameter of the last element of `Forwarded`.
fn forwarded_host(text: &str) -> Option<String> {
    let last = elements(text, ',').pop()?;
    elements(last, ';').into_iter().find_map(|pair| {
        let (name, value) = pair.split_once('=')?;
        name.trim().eq_ignore_ascii_case("host").then(|| value.trim().trim_matches('"').to_owned())
    })
}

/// The parts between separators outside of quotes, without empty ones.
fn elements(text: &str, separator: char) -> Vec<&str> {
    let (mut quoted, mut escaped) = (false, false);
    let parts = text.split(|c| {
        let splits = c == separator && !quoted;
        if !escaped && c == '"' {
            quoted = !quoted;
        }
        escaped = quoted && !escaped && c == '\\';
        splits
    });
    parts.map(str::trim).filter(|part| !part.is_empty()).collect()
}

/// An address with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let plain = || text.parse::<IpAddr>().ok();
    let with_port = || text.parse::<SocketAddr>().ok().map(|address| address.ip());
    let in_brackets = || text.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    plain().or_else(with_port).or_else(in_brackets).map(|address| address.to_canonical())
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    const PROXY: &str = "10.0.0.1";

    fn client(peer: &str, fields: &[(&'static str, &str)]) -> String {
        client_by(ForwardingField::Either, peer, fields)
    }

    fn client_by(field: ForwardingField, peer: &str, fields: &[(&'static str, &str)]) -> String {
        let networks = ["10.0.0.0/8", "2001:db8:ff::/48"].map(|network| network.parse().expect("valid"));
        let mut headers = HeaderMap::new();
        for (name, value) in fields {
            headers.append(HeaderName::from_static(name), HeaderValue::from_bytes(value.as_bytes()).expect("valid"));
        }
        let peer = SocketAddr::new(peer.parse().expect("an address"), 1234);
        TrustedProxies::new(networks.to_vec(), field).client(Some(peer), &headers).ip().to_string()
    }

    #[test]
    fn a_peer_that_is_no_trusted_proxy_is_the_client() {
        for field in ["x-forwarded-for", "forwarded"] {
            let text = if field == "forwarded" { "for=203.0.113.7" } else { "203.0.113.7" };
            assert_eq!(client("198.51.100.1", &[(field, text)]), "198.51.100.1");
        }
        assert_eq!(client("::ffff:198.51.100.1", &[]), "198.51.100.1");
    }

    #[test]
    fn a_forwarding_field_from_an_untrusted_peer_is_reported() {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("valid")], ForwardingField::Either);
        let unheard = |peer: &str, name: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_static("203.0.113.7"));
            let told = proxies.untrusted(Some(SocketAddr::new(peer.parse().expect("an address"), 1)), &headers);
            told.map(|(field, network)| format!("{field} {network}"))
        };
        assert_eq!(unheard("198.51.100.9", "x-forwarded-for").as_deref(), Some("X-Forwarded-For 198.51.100.0"));
        assert_eq!(unheard("2001:db8:1:2::3", "forwarded").as_deref(), Some("Forwarded 2001:db8:1::"));
        assert_eq!(unheard("10.1.2.3", "x-forwarded-for"), None);
        assert_eq!(unheard("::ffff:10.1.2.3", "forwarded"), None);
        assert_eq!(unheard("198.51.100.9", "via"), None);
    }

    #[test]
    fn a_list_is_read_from_the_right_over_all_lines() {
        for (lines, expected) in [
            (&["203.0.113.7"][..], "203.0.113.7"),
            (&["1.1.1.1, 203.0.113.7"], "203.0.113.7"),
            (&["1.1.1.1, 203.0.113.7, 10.9.9.9"], "203.0.113.7"),
            (&["1.1.1.1", "203.0.113.7", "10.9.9.9,10.8.8.8"], "203.0.113.7"),
            (&["203.0.113.7:8080"], "203.0.113.7"),
            (&["::ffff:203.0.113.7"], "203.0.113.7"),
            (&["2001:db8::1"], "2001:db8::1"),
            (&["[2001:db8::1]"], "2001:db8::1"),
            (&["[2001:db8::1]:443"], "2001:db8::1"),
            (&["203.0.113.7, 2001:db8:ff::9"], "203.0.113.7"),
            (&["203.0.113.7, ,"], "203.0.113.7"),
            // If all entries are trusted proxies, the leftmost one is the client.
            (&["10.3.3.3, 10.2.2.2"], "10.3.3.3"),
            // An entry that is no address ends the walk.
            (&["203.0.113.7, unknown"], PROXY),
            (&["203.0.113.7, junk, 10.2.2.2"], "10.2.2.2"),
            (&["203.0.113.7, 256.1.1.1"], PROXY),
            (&["203.0.113.7, 1.2.3.4.5"], PROXY),
            (&["203.0.113.7, 010.1.1.1"], PROXY),
            (&["203.0.113.7, fe80::1%eth0"], PROXY),
            (&["203.0.113.7 198.51.100.2"], PROXY),
            (&["203.0.113.7, \"198.51.100.2\""], PROXY),
            (&["203.0.113.7, é"], PROXY),
            (&[""], PROXY),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            assert_eq!(client(PROXY, &fields), expected, "{lines:?}");
        }
    }

    #[test]
    fn forwarded_is_read_as_rfc_7239_says() {
        for (lines, expected) in [
            (&["for=203.0.113.7"][..], "203.0.113.7"),
            (&["For=203.0.113.7;proto=http;by=203.0.113.43"], "203.0.113.7"),
            (&["proto=https ; for=\"203.0.113.7:4711\""], "203.0.113.7"),
            (&["for=\"[2001:db8::1]:4711\""], "2001:db8::1"),
            (&["for=1.1.1.1, for=203.0.113.7, for=10.2.2.2"], "203.0.113.7"),
            (&["for=1.1.1.1", "for=203.0.113.7;host=\"a,b;for=9.9.9.9\""], "203.0.113.7"),
            (&["for=203.0.113.7, for=unknown"], PROXY),
            (&["for=203.0.113.7, for=_hidden"], PROXY),
            (&["for=203.0.113.7, proto=http"], PROXY),
            (&["for=203.0.113.7, for=1.1.1.1;for=2.2.2.2"], PROXY),
            (&["for=203.0.113.7, for=\"1.1.1.1"], PROXY),
            (&["for=203.0.113.7, for=\"\\1.1.1.1\""], PROXY),
        ] {
            let fields: Vec<_> = lines.iter().map(|line| ("forwarded", *line)).collect();
            assert_eq!(client(PROXY, &fields), expected, "{lines:?}");
        }
    }

    #[test]
    fn a_trusted_proxy_names_the_host_and_no_other_peer_does() {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("valid")], ForwardingField::Either);
        let host = |peer: &str, name: &'static str, text: &str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static(name), HeaderValue::from_str(text).expect("valid"));
            proxies.host(Some(SocketAddr::new(peer.parse().expect("an address"), 1)), &headers)
        };
        for (name, text, expected) in [
            ("x-forwarded-host", "go.example", Some("go.example")),
            ("x-forwarded-host", "made-up.example, go.example:8443", Some("go.example:8443")),
            (
                "forwarded",
                "for=1.1.1.1;host=made-up.example, for=2.2.2.2;Host=\"go.example:8443\"",
                Some("go.example:8443"),
            ),
            ("forwarded", "host=made-up.example, for=2.2.2.2", None),
            ("x-forwarded-host", "", None),
        ] {
            assert_eq!(host(PROXY, name, text).as_deref(), expected, "{name}: {text}");
            assert_eq!(host("198.51.100.1", name, text), None, "{name}: {text}");
        }
    }

    #[test]
    fn hosts_that_disagree_are_no_host() {
        let proxies = TrustedProxies::new(vec!["10.0.0.0/8".parse().expect("valid")], ForwardingField::Either);
        let host = |plain: &'static str, rich: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(HeaderName::from_static("x-forwarded-host"), HeaderValue::from_static(plain));
            headers.insert(header::FORWARDED, HeaderValue::from_static(rich));
            proxies.host(Some(SocketAddr::new(PROXY.parse().expect("an address"), 1)), &headers)
        };
        assert_eq!(host("go.example", "host=made-up.example"), None);
        assert_eq!(host("go.example", "host=GO.example").as_deref(), Some("GO.example"));
        assert_eq!(host("go.example", "for=192.0.2.1").as_deref(), Some("go.example"));
    }

    #[test]
    fn mapped_networks_are_ipv4_networks() {
        let networks = vec!["::ffff:10.0.0.0/104".parse().expect("valid")];
        let proxies = TrustedProxies::new(networks, ForwardingField::Either);
        assert!(
            proxies.trust("10.1.2.3".parse().expect("valid")) && !proxies.trust("11.1.2.3".parse().expect("valid"))
        );
    }

    #[test]
    fn two_fields_that_differ_are_ignored() {
        let plain = ("x-forwarded-for", "1.1.1.1, 203.0.113.7");
        assert_eq!(client(PROXY, &[plain, ("forwarded", "for=203.0.113.7")]), "203.0.113.7");
        assert_eq!(client(PROXY, &[plain, ("forwarded", "for=1.1.1.1")]), PROXY);
    }

    #[test]
    fn only_the_field_that_the_proxies_write_is_read() {
        use ForwardingField::{Forwarded, XForwardedFor};
        let both = [("x-forwarded-for", "203.0.113.7"), ("forwarded", "for=198.51.100.9")];
        assert_eq!(client_by(XForwardedFor, PROXY, &both), "203.0.113.7");
        assert_eq!(client_by(Forwarded, PROXY, &both), "198.51.100.9");
        assert_eq!(client_by(Forwarded, PROXY, &both[..1]), PROXY);
        assert_eq!(client_by(XForwardedFor, PROXY, &both[1..]), PROXY);
    }

    #[test]
    fn addresses_are_cut_to_their_network() {
        for (address, network) in [("203.0.113.77", "203.0.113.0"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1::")] {
            let cut = ClientAddress(address.parse().expect("valid")).network();
            assert_eq!((network_text(cut), cut.to_string()), (network.to_owned(), network.to_owned()));
        }
    }
}
