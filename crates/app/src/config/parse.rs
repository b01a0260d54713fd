//! From text to a value: one function for each kind of setting, `None` when it is not one.

use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr},
    ops::RangeInclusive,
    path::{Path, PathBuf},
    str::FromStr,
    time::Duration,
};

use domain::target::{Target, TargetPolicy};
use ipnet::IpNet;

use super::values::{Secret, StoreLocation};

/// Anything that knows its own text: switches, socket addresses.
pub(super) fn from_text<T: FromStr>(text: &str) -> Option<T> {
    text.parse().ok()
}

pub(super) fn whole<T: FromStr + PartialOrd>(range: RangeInclusive<T>) -> impl Fn(&str) -> Option<T> {
    move |text| from_text::<T>(text).filter(|number| range.contains(number))
}

pub(super) fn choice<T: Copy>(choices: &[(&str, T)]) -> impl Fn(&str) -> Option<T> {
    move |text| choices.iter().find(|(name, _)| *name == text).map(|(_, value)| *value)
}

pub(super) fn workers(text: &str, cores: usize) -> Option<usize> {
    match text {
        "cores" => Some(cores.clamp(1, 256)),
        number => whole(1..=256)(number),
    }
}

pub(super) fn path(text: &str) -> Option<PathBuf> {
    (!text.is_empty()).then(|| PathBuf::from(text))
}

/// A file, in the folder of the data or elsewhere.
pub(super) fn file_in(text: &str, data_dir: &Path) -> Option<PathBuf> {
    match text.strip_prefix("{data_dir}/") {
        Some("") => None,
        Some(name) => Some(data_dir.join(name)),
        None => path(text),
    }
}

/// A duration above zero.
pub(super) fn timeout(text: &str) -> Option<Duration> {
    duration(text).filter(|duration| !duration.is_zero())
}

pub(super) fn duration_in(range: RangeInclusive<Duration>) -> impl Fn(&str) -> Option<Duration> {
    move |text| duration(text).filter(|duration| range.contains(duration))
}

/// A year at most: a clock can add it to any time without overflow.
pub(super) fn duration(text: &str) -> Option<Duration> {
    const YEAR: Duration = Duration::from_hours(8760);
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let milliseconds: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        "d" => 86_400_000,
        _ => return None,
    };
    let total = number.parse::<u64>().ok()?.checked_mul(milliseconds)?;
    Some(Duration::from_millis(total)).filter(|duration| *duration <= YEAR)
}

/// The rules for targets are the rules for web addresses; nothing is private to the operator.
pub(super) fn web_url(text: &str) -> Option<String> {
    let policy = TargetPolicy::new(true, &[]);
    Target::parse(text, &policy).ok().map(String::from)
}

/// `*`, or an origin as browsers write it: a scheme and a host, in lower case, and a port unless it is the usual one.
pub(super) fn origin(text: &str) -> Option<String> {
    if text == "*" {
        return Some(text.to_owned());
    }
    let url = web_url(text)?;
    (url.strip_suffix('/') == Some(text) && !text.contains('*')).then(|| text.to_owned())
}

/// The base of short URLs, without a trailing slash; by default the listener itself.
pub(super) fn public_url(text: &str, bind: SocketAddr) -> Option<String> {
    if text.is_empty() {
        return Some(local_url(bind));
    }
    let url = web_url(text)?;
    let base = url.strip_suffix('/').unwrap_or(&url);
    let (_, authority) = base.split_once("://")?;
    let bare = !authority.contains(['/', '?', '#']) && !authority.ends_with(":0");
    bare.then(|| base.to_owned())
}

fn local_url(mut bind: SocketAddr) -> String {
    if bind.ip().is_unspecified() {
        bind.set_ip(Ipv4Addr::LOCALHOST.into());
    }
    format!("http://{bind}")
}

/// Where to listen.
pub(super) fn socket_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => from_text(port).map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()),
        None => from_text(text),
    }
}

/// A name or an address without a port, IPv6 in brackets.
pub(super) fn host(text: &str) -> Option<String> {
    let ipv6 = text.starts_with('[') && text.ends_with(']');
    // A pattern or half a name would be taken for a host that nothing ever leads to.
    let is_label = |label: &str| {
        let plain =
            |character: char| character.is_ascii_alphanumeric() || "-_".contains(character) || !character.is_ascii();
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(plain)
    };
    let bare = ipv6 || text.strip_suffix('.').unwrap_or(text).split('.').all(is_label);
    let parses = web_url(&format!("http://{text}/")).is_some();
    (bare && parses).then(|| text.to_owned())
}

/// A network that is not everybody, or an address as one of its own. With bits behind the prefix it is a slip of the
/// pen: of another network, or of one address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let network = from_text(text).or_else(|| from_text::<IpAddr>(text).map(IpNet::from))?;
    // All of IPv4 has a second spelling.
    let everybody = ["0.0.0.0/0", "::/0", "::ffff:0:0/96"].iter().any(|all| from_text(all) == Some(network));
    (network == network.trunc() && !everybody).then_some(network)
}

/// A file of certificates to trust.
pub(super) fn authorities(text: &str) -> Option<PathBuf> {
    path(text).filter(|file| adapter_postgres::check_authorities(file).is_ok())
}

/// What follows `postgres:` is read by the driver, which knows several hosts and all options.
pub(super) fn store_location(text: &str, data_dir: &Path) -> Option<StoreLocation> {
    if let Some(file) = text.strip_prefix("sqlite:") {
        return sqlite_path(file, data_dir).map(StoreLocation::Sqlite);
    }
    let is_postgres = text.starts_with("postgres://") || text.starts_with("postgresql://");
    let is_read = is_postgres && adapter_postgres::check_url(text).is_ok();
    is_read.then(|| StoreLocation::Postgres(Secret::new(text)))
}

pub(super) fn redis_url(text: &str) -> Option<Secret> {
    adapter_redis::check_url(text).is_ok().then(|| Secret::new(text))
}

/// A plain path: what other programs put behind `sqlite:` besides one (`:memory:`, `//host`, `?mode=ro`) would be a
/// file of that name here, and be found one day.
fn sqlite_path(file: &str, data_dir: &Path) -> Option<PathBuf> {
    let names_a_host = file.starts_with("//") && !file.starts_with("///");
    if file.starts_with(':') || file.contains('?') || names_a_host {
        return None;
    }
    match file.strip_prefix("{data_dir}/") {
        Some(below) => path(below).map(|below| data_dir.join(below)),
        None => path(file),
    }
}
