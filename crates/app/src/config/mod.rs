//! Configuration: defaults, a TOML file, `SIGNPOST_*` variables and flags become one typed value, or
//! a list of everything that is wrong with them.
//!
//! To add a setting:
//!
//! 1. a row in `keys::KEYS`: its name, default and meaning;
//! 2. a field in `sections`, and beside it the line that reads it;
//! 3. a row in the test `every_setting_reaches_its_field`, and docs/CONFIG.md, which a test compares.

mod keys;
mod layers;
mod parse;
mod problems;
mod reader;
mod sections;
mod sources;
#[cfg(test)]
mod tests;
mod values;

use std::{path::PathBuf, time::Duration};

use adapter_http::{TrustedProxies, UnknownHost};

pub(crate) use self::{
    layers::Source,
    problems::Problems,
    sections::{
        AnonymousAccess, CacheConfig, ClicksConfig, CodesConfig, HttpConfig, LimitsConfig, LogConfig, LogFormat,
        LogLevel, OpsConfig, PagesConfig, RedisConfig, StoreConfig, TargetsConfig, TlsPolicy,
    },
    sources::Sources,
    values::StoreLocation,
};
use self::{
    layers::{Entry, Settings},
    reader::Reader,
};

/// All settings, checked. `keys::KEYS` describes the fields.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    /// Without a trailing slash.
    pub(crate) public_url: String,
    pub(crate) unknown_host: UnknownHost,
    pub(crate) landing_url: Option<String>,
    pub(crate) http: HttpConfig,
    pub(crate) ops: OpsConfig,
    pub(crate) store: StoreConfig,
    pub(crate) cache: CacheConfig,
    pub(crate) redis: RedisConfig,
    pub(crate) codes: CodesConfig,
    pub(crate) targets: TargetsConfig,
    pub(crate) pages: PagesConfig,
    pub(crate) clicks: ClicksConfig,
    pub(crate) blocks_file: PathBuf,
    pub(crate) auth: AnonymousAccess,
    pub(crate) proxies: TrustedProxies,
    pub(crate) limits: LimitsConfig,
    pub(crate) log: LogConfig,
    effective: Vec<Effective>,
}

/// One setting as it took effect, with secrets redacted.
#[derive(Clone, Debug)]
pub(crate) struct Effective {
    pub(crate) key: &'static str,
    pub(crate) value: String,
    pub(crate) source: Source,
}

impl Config {
    /// Most time for the drain and open requests together: below the 30 s that orchestrators wait before they kill.
    const LONGEST_STOP: Duration = Duration::from_secs(25);

    /// Reads all sources. Fails with every problem, not only the first.
    pub(crate) fn load(sources: Sources) -> Result<Self, Problems> {
        let cores = sources.cores;
        let mut problems = Problems::default();
        let settings = Settings::gather(sources, &mut problems);
        let mut reader = Reader::new(&settings, &mut problems);
        let mut config = Self::read(&mut reader, cores);
        config.check(&mut reader);
        if !problems.is_empty() {
            return Err(problems);
        }
        config.effective = settings.iter().map(|entry| config.show(entry)).collect();
        Ok(config)
    }

    /// Every setting with its value and source, in the order of the documentation.
    pub(crate) fn effective(&self) -> &[Effective] {
        &self.effective
    }

    fn read(reader: &mut Reader<'_>, cores: usize) -> Self {
        let data_dir = reader.value("data_dir", parse::path);
        let http = HttpConfig::read(reader, cores);
        Self {
            public_url: reader.value("public_url", |text| parse::public_url(text, http.bind)),
            unknown_host: reader.value(
                "domains.unknown_host",
                parse::choice(&[("default", UnknownHost::Default), ("not-found", UnknownHost::NotFound)]),
            ),
            landing_url: reader.optional("landing_url", parse::web_url),
            ops: OpsConfig::read(reader),
            store: StoreConfig::read(reader, &data_dir),
            cache: CacheConfig::read(reader),
            redis: RedisConfig::read(reader),
            codes: CodesConfig::read(reader),
            targets: TargetsConfig::read(reader),
            pages: PagesConfig::read(reader),
            clicks: ClicksConfig::read(reader),
            blocks_file: reader.value("blocks.file", |text| parse::file_in(text, &data_dir)),
            auth: reader.value(
                "auth.anonymous",
                parse::choice(&[("off", AnonymousAccess::Off), ("shorten", AnonymousAccess::Shorten)]),
            ),
            proxies: TrustedProxies::new(
                reader.list("proxies.trusted", parse::network),
                reader.value("proxies.field", sections::forwarding_field),
            ),
            limits: LimitsConfig::read(reader),
            log: LogConfig::read(reader),
            effective: Vec::new(),
            data_dir,
            http,
        }
    }

    /// Checks the rules between settings.
    fn check(&self, reader: &mut Reader<'_>) {
        if self.store.statement_timeout >= self.http.request_timeout {
            reader.refuse_both(
                ["store.statement_timeout", "http.request_timeout"],
                "the first to be shorter than the second",
            );
        }
        if self.store.connect_timeout >= self.store.pool_timeout {
            reader.refuse_both(
                ["store.connect_timeout", "store.pool_timeout"],
                "the first to be shorter than the second, or a host that does not answer hides the next one",
            );
        }
        if self.redis.url.is_some() && self.redis.timeout > self.http.redirect_timeout / 4 {
            reader.refuse_both(
                ["redis.timeout", "http.redirect_timeout"],
                "the first to be a quarter of the second at most, or too little time is left for the store",
            );
        }
        // Beside other origins, `*` would open the API to all origins.
        let opens_to_all = self.http.cors_origins.iter().any(|origin| origin == "*");
        if opens_to_all && self.http.cors_origins.len() > 1 {
            reader.refuse("http.cors_origins");
        }
        if self.http.drain + self.http.shutdown_timeout > Self::LONGEST_STOP {
            reader.refuse_both(
                ["http.drain", "http.shutdown_timeout"],
                "at most 25s together, to be done within a grace period of 30s",
            );
        }
    }

    fn show(&self, entry: &Entry) -> Effective {
        let value = match entry.key.path {
            "public_url" => self.public_url.clone(),
            "http.workers" => self.http.workers.to_string(),
            "blocks.file" => self.blocks_file.display().to_string(),
            "store.url" => self.store.location.to_string(),
            _ if entry.key.secret && !entry.value.to_string().is_empty() => "[redacted]".to_owned(),
            _ => entry.value.to_string(),
        };
        Effective { key: entry.key.path, value, source: entry.source.clone() }
    }
}
