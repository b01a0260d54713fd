//! The typed sections of the configuration. `keys::KEYS` holds the meaning of each field.

use std::{
    net::SocketAddr,
    num::NonZeroU32,
    path::{Path, PathBuf},
    time::Duration,
};

use adapter_http::{ForwardingField, OwnPages, Quota, Quotas};
use adapter_spool::SpoolMode;
use domain::code::CodeLength;
use ipnet::IpNet;

use super::{
    parse::{self, choice, from_text, timeout, whole},
    reader::Reader,
    values::{Secret, StoreLocation},
};

#[derive(Clone, Debug)]
pub(crate) struct HttpConfig {
    pub(crate) bind: SocketAddr,
    pub(crate) workers: usize,
    pub(crate) max_connections: usize,
    pub(crate) head_timeout: Duration,
    pub(crate) body_timeout: Duration,
    pub(crate) answer_timeout: Duration,
    pub(crate) request_timeout: Duration,
    pub(crate) redirect_timeout: Duration,
    /// `*` alone, or a list of origins.
    pub(crate) cors_origins: Vec<String>,
    pub(crate) keep_alive: Duration,
    pub(crate) drain: Duration,
    pub(crate) shutdown_timeout: Duration,
}

impl HttpConfig {
    pub(super) fn read(reader: &mut Reader<'_>, cores: usize) -> Self {
        let request_timeout = Duration::from_millis(100)..=Duration::from_mins(1);
        Self {
            bind: reader.value("http.bind", parse::socket_address),
            workers: reader.value("http.workers", |text| parse::workers(text, cores)),
            max_connections: reader.value("http.max_connections", whole(1..=1_000_000)),
            head_timeout: reader.value("http.head_timeout", timeout),
            body_timeout: reader.value("http.body_timeout", timeout),
            answer_timeout: reader.value("http.answer_timeout", timeout),
            request_timeout: reader.value("http.request_timeout", parse::duration_in(request_timeout)),
            redirect_timeout: reader.value("http.redirect_timeout", timeout),
            cors_origins: reader.list("http.cors_origins", parse::origin),
            keep_alive: reader.value("http.keep_alive", timeout),
            drain: reader.value("http.drain", parse::duration),
            shutdown_timeout: reader.value("http.shutdown_timeout", timeout),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct OpsConfig {
    pub(crate) bind: Option<SocketAddr>,
    /// Whether the operator has set it.
    pub(crate) is_set: bool,
}

impl OpsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self { bind: reader.optional("ops.bind", parse::socket_address), is_set: reader.is_set("ops.bind") }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct StoreConfig {
    pub(crate) location: StoreLocation,
    pub(crate) pool_size: usize,
    pub(crate) redirect_pool_size: usize,
    pub(crate) list_pool_size: usize,
    pub(crate) tls: TlsPolicy,
    pub(crate) tls_ca_file: Option<PathBuf>,
    pub(crate) connect_timeout: Duration,
    pub(crate) pool_timeout: Duration,
    pub(crate) statement_timeout: Duration,
    pub(crate) migrate: bool,
}

impl StoreConfig {
    pub(super) fn read(reader: &mut Reader<'_>, data_dir: &Path) -> Self {
        Self {
            location: reader.value("store.url", |text| parse::store_location(text, data_dir)),
            pool_size: reader.value("store.pool_size", whole(1..=1_000)),
            redirect_pool_size: reader.value("store.redirect_pool_size", whole(1..=1_000)),
            list_pool_size: reader.value("store.list_pool_size", whole(1..=1_000)),
            tls: reader.value(
                "store.tls",
                choice(&[("auto", TlsPolicy::Auto), ("require", TlsPolicy::Require), ("disable", TlsPolicy::Disable)]),
            ),
            tls_ca_file: reader.optional("store.tls_ca_file", parse::authorities),
            connect_timeout: reader.value("store.connect_timeout", timeout),
            pool_timeout: reader.value("store.pool_timeout", timeout),
            statement_timeout: reader.value("store.statement_timeout", timeout),
            migrate: reader.value("store.migrate", from_text),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsPolicy {
    /// Required unless every host is loopback or a Unix socket.
    Auto,
    Require,
    Disable,
}

#[derive(Clone, Debug)]
pub(crate) struct CacheConfig {
    pub(crate) capacity: usize,
    pub(crate) ttl: Duration,
    pub(crate) stale_for: Duration,
    pub(crate) known_codes: usize,
    pub(crate) negative_ttl: Duration,
}

impl CacheConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            capacity: reader.value("cache.capacity", whole(100..=100_000_000)),
            ttl: reader.value("cache.ttl", timeout),
            stale_for: reader.value("cache.stale_for", parse::duration),
            known_codes: reader.value("cache.known_codes", whole(0..=1_000_000_000)),
            negative_ttl: reader.value("cache.negative_ttl", parse::duration),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct RedisConfig {
    pub(crate) url: Option<Secret>,
    pub(crate) sentinel_password: Option<Secret>,
    pub(crate) timeout: Duration,
    pub(crate) ttl: Duration,
}

impl RedisConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            url: reader.optional("redis.url", parse::redis_url),
            sentinel_password: reader.optional("redis.sentinel_password", |text| Some(Secret::new(text))),
            timeout: reader.value("redis.timeout", timeout),
            ttl: reader.value("redis.ttl", parse::duration_in(Duration::from_secs(10)..=Duration::from_hours(7 * 24))),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct CodesConfig {
    pub(crate) length: CodeLength,
}

impl CodesConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self { length: reader.value("codes.length", |text| from_text(text).and_then(CodeLength::new)) }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct TargetsConfig {
    pub(crate) allow_private: bool,
    /// As written, without the host of `public_url`.
    pub(crate) own_hosts: Vec<String>,
    pub(crate) deny_file: Option<PathBuf>,
    pub(crate) allow_file: Option<PathBuf>,
    pub(crate) max_length: usize,
}

impl TargetsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            allow_private: reader.value("targets.allow_private", from_text),
            own_hosts: reader.list("targets.own_hosts", parse::host),
            deny_file: reader.optional("targets.deny_file", parse::path),
            allow_file: reader.optional("targets.allow_file", parse::path),
            max_length: reader.value("targets.max_length", whole(256..=32_768)),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct PagesConfig {
    pub(crate) crawlable: bool,
    pub(crate) well_known_dir: Option<PathBuf>,
    pub(crate) own: OwnPages,
    pub(crate) qr_logo: Option<PathBuf>,
}

impl PagesConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            crawlable: reader.value("pages.crawlable", from_text),
            well_known_dir: reader.optional("pages.well_known_dir", parse::path),
            own: OwnPages {
                unknown: reader.optional("pages.unknown_url", parse::web_url),
                gone: reader.optional("pages.gone_url", parse::web_url),
                blocked: reader.optional("pages.blocked_url", parse::web_url),
            },
            qr_logo: reader.optional("pages.qr_logo", parse::path),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct ClicksConfig {
    pub(crate) enabled: bool,
    pub(crate) spool: SpoolMode,
    /// In bytes.
    pub(crate) spool_limit: u64,
    /// In days.
    pub(crate) keep_hours: u32,
    pub(crate) respect_opt_out: bool,
    pub(crate) ignore_networks: Vec<IpNet>,
    pub(crate) bots_file: Option<PathBuf>,
    pub(crate) geo_database: Option<PathBuf>,
}

impl ClicksConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let modes = [("auto", SpoolMode::Auto), ("mmap", SpoolMode::Mmap), ("write", SpoolMode::Write)];
        let limit = |text: &str| parse::size(text).filter(|bytes| (1 << 20..=1 << 40).contains(bytes));
        Self {
            enabled: reader.value("clicks.enabled", from_text),
            spool: reader.value("clicks.spool", choice(&modes)),
            spool_limit: reader.value("clicks.spool_limit", limit),
            keep_hours: reader.value("clicks.keep_hours", parse::days(1..=3_650)),
            respect_opt_out: reader.value("clicks.respect_opt_out", from_text),
            ignore_networks: reader.list("clicks.ignore_networks", parse::network),
            bots_file: reader.optional("clicks.bots_file", parse::path),
            geo_database: reader.optional("geo.database", parse::path),
        }
    }
}

/// What callers without an API key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnonymousAccess {
    Off,
    Shorten,
}

pub(super) fn forwarding_field(text: &str) -> Option<ForwardingField> {
    use ForwardingField::{Either, Forwarded, XForwardedFor};
    choice(&[("either", Either), ("x-forwarded-for", XForwardedFor), ("forwarded", Forwarded)])(text)
}

/// Rate limits of one client address and of one API key.
#[derive(Clone, Debug)]
pub(crate) struct LimitsConfig {
    pub(crate) enabled: bool,
    pub(crate) processes: NonZeroU32,
    pub(crate) quotas: Quotas,
}

impl LimitsConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        let mut quota = |rate, burst, least: u32| {
            let burst = reader.value(burst, |text| whole(least..=1_000_000_000)(text).and_then(NonZeroU32::new));
            reader.value(rate, |text| Quota::new(from_text(text)?, burst))
        };
        let quotas = Quotas {
            redirect: quota("limits.redirect.per_second", "limits.redirect.burst", 1),
            read: quota("limits.read.per_second", "limits.read.burst", 1),
            claim: quota("limits.claim.per_second", "limits.claim.burst", 1),
            // A whole batch of 1,000 claims has to fit.
            batch: quota("limits.batch.per_second", "limits.batch.burst", 1_000),
            keys: quota("limits.keys.per_second", "limits.keys.burst", 1),
            unknown: quota("limits.unknown.per_second", "limits.unknown.burst", 1),
        };
        let processes = |text: &str| whole(1..=10_000)(text).and_then(NonZeroU32::new);
        Self {
            enabled: reader.value("limits.enabled", from_text),
            processes: reader.value("limits.processes", processes),
            quotas,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    pub(crate) level: LogLevel,
    pub(crate) format: LogFormat,
}

impl LogConfig {
    pub(super) fn read(reader: &mut Reader<'_>) -> Self {
        use LogFormat::{Auto, Json, Text};
        use LogLevel::{Debug, Error, Info, Warning};
        let levels = [("error", Error), ("warning", Warning), ("info", Info), ("debug", Debug)];
        let formats = [("auto", Auto), ("json", Json), ("text", Text)];
        Self { level: reader.value("log.level", choice(&levels)), format: reader.value("log.format", choice(&formats)) }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogLevel {
    Error,
    Warning,
    Info,
    Debug,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text on a terminal, else JSON.
    Auto,
    Json,
    Text,
}
