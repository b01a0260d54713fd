//! The hosts of a PostgreSQL URL. Each host is tried separately, so a host that does not answer costs only its own
//! connect timeout.

use std::{
    cmp::max,
    net::IpAddr,
    str::FromStr,
    sync::atomic::{AtomicUsize, Ordering},
};

use domain::hosts::is_server_name;
use tokio_postgres::{
    Config,
    config::{Host, LoadBalanceHosts, TargetSessionAttrs},
};

use crate::invalid_options::InvalidOptions;

/// One configuration for each host of a URL.
pub(crate) struct Hosts {
    hosts: Vec<Config>,
    /// Start with the next host at each attempt (`load_balance_hosts=random`).
    balanced: bool,
    turn: AtomicUsize,
}

impl Hosts {
    pub(crate) fn parse(url: &str) -> Result<Self, InvalidOptions> {
        if !has_sound_escapes(url) || !has_sound_brackets(url) {
            return Err(InvalidOptions::Url);
        }
        let config = Config::from_str(&without_sslmode(url)).map_err(|_| InvalidOptions::Url)?;
        let (names, addresses, ports) = (config.get_hosts(), config.get_hostaddrs(), config.get_ports());
        let count = max(names.len(), addresses.len());
        let fits = |given: usize| given == 0 || given == count;
        if count == 0 || !fits(names.len()) || !fits(addresses.len()) || !(fits(ports.len()) || ports.len() == 1) {
            return Err(InvalidOptions::Url);
        }
        if !names.iter().all(can_be_reached) || ports.contains(&0) {
            return Err(InvalidOptions::Url);
        }
        let one = |index: usize| {
            let mut host = without_hosts(&config);
            if count > 1 {
                // A standby answers reads, possibly with old data. It must not be taken for the store.
                host.target_session_attrs(TargetSessionAttrs::ReadWrite);
            }
            match names.get(index) {
                Some(Host::Tcp(name)) => {
                    host.host(name);
                }
                Some(Host::Unix(path)) => {
                    host.host_path(path);
                }
                None => {}
            }
            if let Some(address) = addresses.get(index) {
                host.hostaddr(*address);
            }
            if let Some(port) = ports.get(index).or(ports.first()) {
                host.port(*port);
            }
            host
        };
        let balanced = config.get_load_balance_hosts() == LoadBalanceHosts::Random;
        Ok(Self { hosts: (0..count).map(one).collect(), balanced, turn: AtomicUsize::new(0) })
    }

    /// Whether every host is this machine.
    pub(crate) fn are_local(&self) -> bool {
        self.hosts.iter().all(is_local)
    }

    pub(crate) fn each(&mut self, set: impl Fn(&mut Config)) {
        self.hosts.iter_mut().for_each(set);
    }

    /// The hosts, in the order to try them.
    pub(crate) fn in_order(&self) -> Vec<Config> {
        let mut hosts = self.hosts.clone();
        if self.balanced {
            let turn = self.turn.fetch_add(1, Ordering::Relaxed) % hosts.len();
            hosts.rotate_left(turn);
        }
        hosts
    }
}

/// Whether the name or the path is valid. The driver accepts almost any name and would then fail at every lookup.
fn can_be_reached(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => is_server_name(name),
        Host::Unix(folder) => folder.is_absolute(),
    }
}

/// Whether each `%` begins a valid escape, as libpq requires; the driver accepts others literally. `%00` and control
/// characters are invalid too: no text in PostgreSQL holds a NUL.
fn has_sound_escapes(url: &str) -> bool {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit) && digits != b"00")
    };
    let is_text = |text: &str| !text.chars().any(char::is_control);
    url.split('%').skip(1).all(is_escape) && is_text(url)
}

/// Whether every host in brackets is an IPv6 address. The driver drops the brackets without checking.
fn has_sound_brackets(url: &str) -> bool {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    let place = place.split_once('@').map_or(place, |(_, place)| place);
    let hosts = place.split(['/', '?']).next().unwrap_or_default();
    hosts.split('[').skip(1).all(|rest| {
        let address = rest.split_once(']').map(|(address, _)| address);
        address.is_some_and(|address| address.contains(':') && is_server_name(&address.replace("%25", "%")))
    })
}

/// Removes `sslmode` from the URL, because `TlsPolicy` decides about TLS. The driver knows only some of libpq's values,
/// and one that it does not know must not fail the start.
fn without_sslmode(url: &str) -> String {
    let Some((place, query)) = url.split_once('?') else {
        return url.to_owned();
    };
    let rest: Vec<_> = query.split('&').filter(|pair| !pair.starts_with("sslmode=")).collect();
    format!("{place}?{}", rest.join("&"))
}

/// Host and port, for messages.
pub(crate) fn place(config: &Config) -> String {
    let name = match config.get_hosts().first() {
        Some(Host::Tcp(name)) => name.clone(),
        Some(Host::Unix(path)) => path.display().to_string(),
        None => config.get_hostaddrs().first().map_or_else(String::new, IpAddr::to_string),
    };
    let port = config.get_ports().first().copied().unwrap_or(5432);
    format!("{name}:{port}")
}

/// Copies the configuration without hosts, addresses and ports. Timeouts and the application name are not copied: this
/// crate sets them.
fn without_hosts(given: &Config) -> Config {
    let mut config = Config::new();
    if let Some(user) = given.get_user() {
        config.user(user);
    }
    if let Some(password) = given.get_password() {
        config.password(password);
    }
    if let Some(database) = given.get_dbname() {
        config.dbname(database);
    }
    if let Some(options) = given.get_options() {
        config.options(options);
    }
    config
        .ssl_negotiation(given.get_ssl_negotiation())
        .target_session_attrs(given.get_target_session_attrs())
        .channel_binding(given.get_channel_binding())
        .load_balance_hosts(given.get_load_balance_hosts());
    config
}

/// Whether the host is this machine. If both a name and an address are given, the driver connects to the address, so
/// the address decides.
fn is_local(config: &Config) -> bool {
    let named_here = |host: &Host| match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    };
    match config.get_hostaddrs() {
        [] => config.get_hosts().iter().all(named_here),
        addresses => addresses.iter().all(IpAddr::is_loopback),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(url: &str) -> Hosts {
        Hosts::parse(url).expect("valid")
    }

    #[test]
    fn only_loopback_and_sockets_are_this_host() {
        for url in [
            "postgres://localhost/x",
            "postgres://127.0.0.1/x",
            "postgres://[::1]/x",
            "postgres://localhost,[::1]/x",
            "host=/run/postgresql",
            "postgres://db.example.com/x?hostaddr=127.0.0.1",
        ] {
            assert!(hosts(url).are_local(), "{url}");
        }
        for url in [
            "postgres://db.example.com/x",
            "postgres://10.0.0.1/x",
            "postgres://localhost,db/x",
            "postgres://localhost/x?hostaddr=203.0.113.5",
        ] {
            assert!(!hosts(url).are_local(), "{url}");
        }
    }

    #[test]
    fn each_host_keeps_user_database_and_session() {
        let url = "postgres://u:p@one:1,two:2/db?options=-c%20x%3D1&target_session_attrs=read-write\
                   &channel_binding=require";
        let given = Config::from_str(url).expect("valid");
        let hosts = hosts(url).in_order();
        let places: Vec<_> = hosts.iter().map(|host| (host.get_hosts().to_vec(), host.get_ports().to_vec())).collect();
        let place = |name: &str, port| (vec![Host::Tcp(name.to_owned())], vec![port]);
        assert_eq!(places, [place("one", 1), place("two", 2)]);
        for host in hosts {
            assert_eq!(host.get_user(), given.get_user());
            assert_eq!(host.get_password(), given.get_password());
            assert_eq!(host.get_dbname(), given.get_dbname());
            assert_eq!(host.get_options(), given.get_options());
            assert_eq!(host.get_target_session_attrs(), given.get_target_session_attrs());
            assert_eq!(host.get_channel_binding(), given.get_channel_binding());
        }
    }

    #[test]
    fn balanced_hosts_are_tried_in_rotating_order() {
        let fixed = hosts("postgres://one,two/x");
        assert_eq!(fixed.in_order(), fixed.in_order());
        let balanced = hosts("postgres://one,two/x?load_balance_hosts=random");
        let (first, second) = (balanced.in_order(), balanced.in_order());
        assert_ne!(first, second);
        assert_eq!(balanced.in_order(), first);
    }

    #[test]
    fn urls_that_could_never_connect_are_rejected() {
        for place in [
            "ho st",
            "<h>",
            "h:0",
            "h:99999",
            "a,,b",
            ",a",
            "a,",
            "[::zz]",
            "[name]",
            "[1.2.3.4]",
            "[::1",
            "[::1]x",
            "256.1.1.1",
            "a..b",
            "h%",
            "h%2",
            "h%zz",
            "h%00",
            "a\tb",
            "b@c",
            "bücher.example",
        ] {
            let url = format!("postgres://app:pw@{place}/x");
            assert!(Hosts::parse(&url).is_err(), "{url}");
        }
        for query in
            ["host=", "host=ho%20st", "port=0", "hostaddr=junk", "connect_timeout=x", "port=x", "junk", "%zz=1"]
        {
            let url = format!("postgres://h/x?{query}");
            assert!(Hosts::parse(&url).is_err(), "{url}");
        }
        assert!(Hosts::parse("postgres://app:50%off@h/x").is_err());
        for good in ["h", "h:6543", "[::1]:1,10.0.0.7", "db_1.internal.", "%2Frun%2Fpostgresql"] {
            assert!(Hosts::parse(&format!("postgres://app:p%25w@{good}/x")).is_ok(), "{good}");
        }
    }

    #[test]
    fn hosts_addresses_and_ports_have_to_match() {
        for url in [
            "postgres:///x",
            "postgres://one,two/x?hostaddr=127.0.0.1",
            "host=one,two,three port=1,2",
            "postgres://one/x?no_such_option=1",
        ] {
            assert!(Hosts::parse(url).is_err(), "{url}");
        }
        assert!(Hosts::parse("host=one,two port=1").is_ok());
        for url in ["postgres://one/x?sslmode=verify-full", "postgres://one/x?sslmode=allow&target_session_attrs=any"] {
            assert!(Hosts::parse(url).is_ok(), "{url}");
        }
    }
}
