//! Lists of hosts, in the formats of operators and public lists, with up to millions of names.

use std::{
    fmt,
    hash::{DefaultHasher, Hash, Hasher},
    net::IpAddr,
};

use url::Host;

/// Hosts by name or address. A name covers all names below it.
///
/// Each name takes eight bytes: only its hash is kept. With ten million names, about one lookup in 10^12 finds a name
/// that is not in the list.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HostList(Box<[u64]>);

/// Shows the count only, because there may be millions of names.
impl fmt::Debug for HostList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HostList({} hosts)", self.0.len())
    }
}

impl HostList {
    /// Reads the lines of a list. The second value counts the lines in none of these forms, comments excluded:
    ///
    /// | line                          | names                                             |
    /// |-------------------------------|---------------------------------------------------|
    /// | `example.com`, `*.example.com` | that name and all names below it                 |
    /// | `203.0.113.7`, `2001:db8::7`  | that address                                      |
    /// | `0.0.0.0 one.example two.example` | the names of a hosts file                         |
    /// | `\|\|example.com^`              | the form of filter lists, without options but `$important` and `$all` |
    /// | `address=/example.com/0.0.0.0` | the form of dnsmasq, also `server=` and `local=`  |
    /// | `example.com CNAME .`         | the form of a response policy zone                |
    ///
    /// Comments begin with `#`, `!` or `;`. Names may be in any script and spelling.
    pub fn read<'a>(lines: impl IntoIterator<Item = &'a str>) -> (Self, usize) {
        let (mut hashes, mut unread) = (Vec::new(), 0);
        for line in lines {
            let line = line.split('#').next().unwrap_or_default().trim();
            if line.is_empty() || line.starts_with(['!', ';', '[']) {
                continue;
            }
            match names(line) {
                Some(names) => hashes.extend(names.iter().map(|name| hash(name))),
                None => unread += 1,
            }
        }
        hashes.sort_unstable();
        hashes.dedup();
        (Self(hashes.into()), unread)
    }

    /// How many hosts it names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it names none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether it names `host`, or a name above it. `host` is in the form in which targets are compared: lower case, no
    /// trailing dot, an address in its canonical form.
    pub fn covers(&self, host: &str) -> bool {
        !self.is_empty() && covering_names(host).any(|name| self.0.binary_search(&hash(name)).is_ok())
    }
}

/// The host, then each name above it. An IP address has no names above it.
pub(crate) fn covering_names(host: &str) -> impl Iterator<Item = &str> {
    let is_address = host.parse::<IpAddr>().is_ok();
    std::iter::successors(Some(host), move |name| name.split_once('.').map(|(_, above)| above).filter(|_| !is_address))
}

fn hash(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// The hosts that a line names, in the form in which they are compared.
fn names(line: &str) -> Option<Vec<String>> {
    if let Some(rule) = line.strip_prefix("||") {
        let (name, options) = rule.split_once('^')?;
        return matches!(options, "" | "$important" | "$all").then(|| Some(vec![name_below(name)?])).flatten();
    }
    if let Some(setting) = ["address=/", "server=/", "local=/"].iter().find_map(|form| line.strip_prefix(form)) {
        let (names, _) = setting.rsplit_once('/')?;
        return names.split('/').map(name_below).collect();
    }
    let mut words = line.split_whitespace();
    let first = words.next()?;
    let others: Vec<_> = words.collect();
    match (first.parse::<IpAddr>(), others.as_slice()) {
        (Ok(address), []) => Some(vec![address.to_canonical().to_string()]),
        // Hosts files begin with names of the machine itself, such as `localhost`. They have no dot and are skipped.
        (Ok(_), names) => names.iter().filter(|name| name.contains('.')).map(|name| comparable_name(name)).collect(),
        (Err(_), []) => first.contains('.').then(|| Some(vec![name_below(first)?])).flatten(),
        // Only these policies of a zone block a name. The others are exceptions or point elsewhere.
        (Err(_), [class @ .., kind, "." | "*." | "rpz-drop."])
            if kind.eq_ignore_ascii_case("CNAME") && class.len() <= 2 =>
        {
            Some(vec![name_below(first)?])
        }
        (Err(_), _) => None,
    }
}

fn name_below(name: &str) -> Option<String> {
    comparable_name(name.strip_prefix("*.").or_else(|| name.strip_prefix('.')).unwrap_or(name))
}

/// Whether a client could connect to `name`: an IP address without brackets, or labels of letters, digits, `-` and `_`.
/// The last label must not be a number, because that is an invalid IP address.
pub fn is_server_name(name: &str) -> bool {
    // An IPv6 address may name its interface after `%`.
    let address = name.split_once('%').map_or(name, |(address, _interface)| address);
    if address.parse::<IpAddr>().is_ok_and(|address| address.is_ipv6()) {
        return true;
    }
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
    let is_label = |label: &str| (1..=63).contains(&label.len()) && label.bytes().all(is_plain);
    let is_number = |label: &str| label.bytes().all(|byte| byte.is_ascii_digit());
    let is_name = name.len() <= 253 && name.split('.').all(is_label) && !name.rsplit('.').next().is_some_and(is_number);
    is_name || name.parse::<IpAddr>().is_ok()
}

/// A name in the form in which targets are compared; `None` if it is not a valid host.
pub(crate) fn comparable_name(name: &str) -> Option<String> {
    let name = name.strip_suffix('.').unwrap_or(name);
    if name.split('.').any(str::is_empty) {
        return None;
    }
    let last_is_a_word =
        name.rsplit('.').next().is_some_and(|label| label.bytes().all(|byte| byte.is_ascii_lowercase()));
    let plain = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_');
    // The fast path for nearly all of the millions of names. A number as the last label would make it an address.
    if last_is_a_word && name.bytes().all(plain) && !name.contains("xn--") {
        return Some(name.to_owned());
    }
    match Host::parse(name).ok()? {
        Host::Domain(name) => Some(name.to_ascii_lowercase()),
        Host::Ipv4(address) => Some(address.to_string()),
        Host::Ipv6(address) => Some(IpAddr::V6(address).to_canonical().to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_names_are_ip_addresses_or_dns_names() {
        for good in
            ["db", "db.example.com", "db_1.internal.", "10.0.0.7", "::1", "fe80::1%eth0", "xn--bcher-kva.example"]
        {
            assert!(is_server_name(good), "{good}");
        }
        let long = "a".repeat(64);
        for bad in
            ["", ".", "ho st", "<h>", "a..b", "[::1]", "256.1.1.1", "1.2.3", "a/b", "a@b", "a%20b", "bücher", &long]
        {
            assert!(!is_server_name(bad), "{bad}");
        }
    }

    #[test]
    fn host_lists_are_read_in_every_supported_form() {
        for (line, covered) in [
            ("example.com", &["example.com", "a.b.example.com"][..]),
            ("EXAMPLE.com.", &["example.com"]),
            ("*.example.com # since 2026", &["example.com", "a.example.com"]),
            ("bücher.example", &["xn--bcher-kva.example"]),
            ("xn--BCHER-kva.example", &["xn--bcher-kva.example"]),
            ("203.0.113.7", &["203.0.113.7"]),
            ("2001:DB8:0::7", &["2001:db8::7"]),
            ("::ffff:203.0.113.7", &["203.0.113.7"]),
            ("0.0.0.0 one.example two.example", &["one.example", "two.example", "www.two.example"]),
            ("127.0.0.1\tone.example", &["one.example"]),
            ("||example.com^", &["example.com", "a.example.com"]),
            ("||zip^$important", &["example.zip"]),
            ("address=/example.com/0.0.0.0", &["example.com"]),
            ("local=/example.com/", &["example.com"]),
            ("address=/one.example/two.example/0.0.0.0", &["one.example", "two.example"]),
            (".example.com", &["example.com", "a.example.com"]),
            ("127.0.0.0xa", &["127.0.0.10"]),
            ("example.com IN CNAME rpz-drop.", &["example.com"]),
            ("example.com CNAME .", &["example.com"]),
            ("*.example.com 300 IN CNAME .", &["a.example.com"]),
        ] {
            let (list, unread) = HostList::read([line]);
            assert_eq!(unread, 0, "{line}");
            assert!(covered.iter().all(|host| list.covers(host)), "{line}");
            assert!(!list.covers("other.example") && !list.covers("notexample.com"), "{line}");
        }
    }

    #[test]
    fn a_host_list_shows_its_length_and_no_names() {
        let (list, unread) = HostList::read(["one.example", "two.example", "ONE.example."]);
        assert_eq!((list.len(), list.is_empty(), unread), (2, false, 0));
        assert_eq!(format!("{list:?}"), "HostList(2 hosts)");
        assert!(HostList::default().is_empty());
    }

    #[test]
    fn lines_that_name_no_host_are_counted_and_comments_are_not() {
        let lines =
            ["", "# comment", "! comment", "; comment", "[Adblock Plus]", "127.0.0.1 localhost", "::1 ip6-loopback"];
        assert_eq!(HostList::read(lines), (HostList::default(), 0));
        let wrong = [
            "localhost",
            "https://example.com/page",
            "||ads^$third-party",
            "@@||example.com^",
            "a b c",
            "ex%ample.com",
            "https://e.example/?a=/app/b",
            "good.example CNAME rpz-passthru.",
            "a..example",
        ];
        let (list, unread) = HostList::read(wrong);
        assert_eq!((list.len(), unread), (0, wrong.len()));
        assert!(list.is_empty());
    }

    #[test]
    fn an_address_has_no_names_above_it() {
        let (list, _) = HostList::read(["||0.113.7^", "0.113.7"]);
        assert!(!list.covers("203.0.113.7"));
        assert!(!HostList::default().covers("203.0.113.7"));
    }

    #[test]
    fn a_policy_zone_record_names_the_host_before_cname() {
        let read = |line: &str| names(line).unwrap_or_default();
        for line in
            ["a.example CNAME .", "a.example IN CNAME .", "a.example 300 IN cname *.", "*.a.example CNAME rpz-drop."]
        {
            assert_eq!(read(line), ["a.example"], "{line}");
        }
        for line in ["a.example IN TXT .", "a.example 300 IN x CNAME .", "a.example CNAME b.example.", "a.example IN ."]
        {
            assert_eq!(read(line), [""; 0], "{line}");
        }
    }

    #[test]
    fn a_name_with_invalid_punycode_is_rejected() {
        assert_eq!(comparable_name("xn--bcher-kva.example").as_deref(), Some("xn--bcher-kva.example"));
        assert_eq!(comparable_name("xn--a\u{fffd}.example"), None);
        assert_eq!(comparable_name("xn--0.example"), None);
    }
}
