//! Parsers from text to value, one for each kind of setting. Each returns `None` if the text is not such a value.

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

/// Any type that implements `FromStr`, such as switches and socket addresses.
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

/// A path of a file. `{data_dir}/` at its beginning stands for the data directory.
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

/// A duration of one year at most, so that adding it to any time does not overflow.
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

/// A size in bytes, written with a binary unit.
pub(super) fn size(text: &str) -> Option<u64> {
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit())?);
    let bytes: u64 = match unit {
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        "TiB" => 1 << 40,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(bytes)
}

/// A number of days, such as `400d`.
pub(super) fn days(range: RangeInclusive<u32>) -> impl Fn(&str) -> Option<u32> {
    move |text| whole(range.clone())(text.strip_suffix('d')?)
}

/// A web address, by the rules for targets. It may be private, because the operator chose it.
pub(super) fn web_url(text: &str) -> Option<String> {
    let policy = TargetPolicy::new(true, &[]);
    Target::parse(text, &policy).ok().map(String::from)
}

/// `*`, or an origin as browsers write it: a scheme and a host, in lower case, and a port unless it is the scheme's
/// default.
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

/// An address to listen on. `localhost` is 127.0.0.1.
pub(super) fn socket_address(text: &str) -> Option<SocketAddr> {
    match text.strip_prefix("localhost:") {
        Some(port) => from_text(port).map(|port: u16| (Ipv4Addr::LOCALHOST, port).into()),
        None => from_text(text),
    }
}

/// A name or an address without a port, IPv6 in brackets.
pub(super) fn host(text: &str) -> Option<String> {
    let ipv6 = text.starts_with('[') && text.ends_with(']');
    // A pattern or half a name would parse as a host that no target has.
    let is_label = |label: &str| {
        let plain =
            |character: char| character.is_ascii_alphanumeric() || "-_".contains(character) || !character.is_ascii();
        !label.is_empty() && !label.starts_with('-') && !label.ends_with('-') && label.chars().all(plain)
    };
    let bare = ipv6 || text.strip_suffix('.').unwrap_or(text).split('.').all(is_label);
    let parses = web_url(&format!("http://{text}/")).is_some();
    (bare && parses).then(|| text.to_owned())
}

/// A network, or an address as a network of its own. A network of all addresses is refused. So are bits behind the
/// prefix, a typo for another network or for one address.
pub(super) fn network(text: &str) -> Option<IpNet> {
    let network = from_text(text).or_else(|| from_text::<IpAddr>(text).map(IpNet::from))?;
    // `::ffff:0:0/96` is all of IPv4 too.
    let is_all = ["0.0.0.0/0", "::/0", "::ffff:0:0/96"].iter().any(|all| from_text(all) == Some(network));
    (network == network.trunc() && !is_all).then_some(network)
}

/// A file of certificates to trust.
pub(super) fn authorities(text: &str) -> Option<PathBuf> {
    path(text).filter(|file| adapter_postgres::check_authorities(file).is_ok())
}

/// `sqlite:` and a path, or a URL that the PostgreSQL driver parses with its several hosts and options.
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

/// A plain path. The other forms that programs put behind `sqlite:` (`:memory:`, `//host`, `?mode=ro`) are refused:
/// here they would silently create a file of that name.
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
