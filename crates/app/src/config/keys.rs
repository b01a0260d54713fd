//! The one table of settings, and what follows from their names.

use std::fmt;

/// One setting.
pub(super) struct Key {
    /// Its name in the file, levels joined by dots.
    pub(super) path: &'static str,
    /// As text; empty for none.
    pub(super) default: &'static str,
    /// What a value has to be; completes "expected …".
    pub(super) expects: &'static str,
    meaning: &'static str,
    /// Never shown, and may come from a file that `SIGNPOST_…_FILE` names.
    pub(super) secret: bool,
}

const TIMEOUT: &str = "a duration such as `250ms`, `10s`, `5m`, `1h` or `7d`, above zero and up to 365d";
const PERIOD: &str = "a duration such as `0s`, `250ms` or `10s`";
const RATE: &str = "a number such as `10` or `0.5`, from one a day to 1000000000";
const SWITCH: &str = "`true` or `false`";

/// Deployments depend on these names: they are added to, not changed.
#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    key("data_dir", "./data", "a directory", "Holds the SQLite file and the admin key"),
    key("public_url", "", "an http or https URL without user, path, query and fragment", "Base of every short URL; if none, made from `http.bind`"),
    key("landing_url", "", "an http or https URL without user and password", "Where `/` redirects"),

    key("http.bind", "127.0.0.1:8080", "an IP address or `localhost`, and a port, such as `0.0.0.0:8080`", "Main listener"),
    key("http.workers", "cores", "`cores` or 1 to 256", "Threads that answer requests"),
    key("http.max_connections", "10000", "1 to 1000000", "Open connections of the process"),
    key("http.head_timeout", "10s", TIMEOUT, "How long a request head may take to arrive"),
    key("http.body_timeout", "10s", TIMEOUT, "How long a request body may take to arrive"),
    key("http.answer_timeout", "10s", TIMEOUT, "How long a client may take for each 16 KiB of an answer; then its connection is closed"),
    key("http.request_timeout", "2300ms", "a duration from 100ms to 60s", "How long an API request may take once its body is there"),
    key("http.redirect_timeout", "1s", TIMEOUT, "How long a redirect may take"),
    key("http.cors_origins", "", "a list of origins such as `https://app.example`, or `*` alone; separated by commas in variables and flags", "Origins whose scripts may call the API from a browser"),
    key("http.keep_alive", "15s", TIMEOUT, "How long an idle connection stays open"),
    key("http.drain", "5s", PERIOD, "When stopping: how long to listen on while readiness answers 503"),
    key("http.shutdown_timeout", "10s", TIMEOUT, "After the drain: how long open requests have before they are cut; 25s at most with the drain"),

    Key { secret: true, ..key("store.url", "sqlite:{data_dir}/signpost.db", "`sqlite:PATH`, `postgres://…` or `postgresql://…` with libpq's options and special characters percent-encoded", "Where links are kept; several PostgreSQL hosts are allowed") },
    key("store.pool_size", "16", "1 to 1000", "Connections to PostgreSQL for the API, without lists"),
    key("store.redirect_pool_size", "8", "1 to 1000", "Connections to PostgreSQL for redirects"),
    key("store.list_pool_size", "4", "1 to 1000", "Connections to PostgreSQL for lists"),
    key("store.tls", "auto", "`auto`, `require` or `disable`", "TLS to PostgreSQL; `auto` requires it unless every host is loopback or a Unix socket"),
    key("store.tls_ca_file", "", "a file of certificates in PEM", "PEM file of trust anchors for PostgreSQL"),
    key("store.connect_timeout", "1800ms", TIMEOUT, "How long getting a session from one PostgreSQL host may take, TLS and authentication included: eight round trips, and the next host is tried beside it after 300 ms; shorter than `store.pool_timeout`"),
    key("store.pool_timeout", "2s", TIMEOUT, "How long to wait for a connection to PostgreSQL, connecting included"),
    key("store.statement_timeout", "2s", TIMEOUT, "How long the statements of one call to the store may take; shorter than `http.request_timeout`"),
    key("store.migrate", "true", SWITCH, "Whether to apply migrations at start"),

    key("cache.capacity", "1000000", "100 to 100000000", "Links that are remembered, for redirects without the store"),
    key("cache.ttl", "10s", TIMEOUT, "How long a link is remembered without asking again, or hearing that nothing changed; how long a change by another process may go unseen"),
    key("cache.stale_for", "10m", PERIOD, "How much longer an active link is redirected to while the store does not answer"),
    key("cache.known_codes", "50000000", "0 to 1000000000",
        "Codes of links that are known to exist, some 1.4 bytes each, so that they need no quota of unknown ones; with more links than that all codes do"),
    key("cache.negative_ttl", "5s", PERIOD, "How long an unknown code is remembered as unknown"),

    Key { secret: true, ..key("redis.url", "", "`redis://…`, `rediss://…` (TLS), `unix://…`, `redis+sentinel://…` or `rediss+sentinel://…`", "A Redis in which the processes on one PostgreSQL share what they know of links; unused with SQLite") },
    Key { secret: true, ..key("redis.sentinel_password", "", "a text", "The password of the sentinels, if they have one; that of the servers stands in `redis.url`") },
    key("redis.timeout", "50ms", TIMEOUT, "How long Redis may take to answer before it is done without; a quarter of `http.redirect_timeout` at most"),
    key("redis.ttl", "1h", "a duration from 10s to 7d", "How long a link stays in Redis"),

    key("codes.length", "8", "6 to 32", "Characters of generated codes"),
    key("targets.allow_private", "false", SWITCH, "Whether links may lead to private addresses and internal names"),
    key("targets.own_hosts", "", "a list of host names without ports; separated by commas in variables and flags", "Further names of this service, where no link may lead"),
    key("targets.deny_file", "", "a readable file", "Hosts where no link may lead, one a line or in a form of public lists; read again when it has changed and stayed so for 2 s, and at SIGHUP; one that is emptied counts only after 30 s, lest it be in the middle of being written"),
    key("targets.allow_file", "", "a readable file", "Hosts that `targets.deny_file` names by mistake, in the same forms"),
    key("targets.max_length", "8192", "256 to 32768", "Most bytes of a target, once it is encoded"),
    key("blocks.file", "{data_dir}/blocks.txt", "a file", "Takedowns and revocations for when the store takes none: lines such as `code CODE`, `host HOST`, `owner OWNER` or `key ID`, in force within five seconds in this process, as long as they stand there"),
    key("pages.crawlable", "true", SWITCH, "Whether `robots.txt` lets crawlers follow links, as those do that show a picture where a link is shared; redirects say `noindex` in any case"),
    key("pages.well_known_dir", "", "a readable directory", "Files to serve under `/.well-known/`, such as `security.txt` or `assetlinks.json`; its `robots.txt` is served in the place of ours; read at start"),
    key("pages.unknown_url", "", "an http or https URL without user and password", "Where browsers are sent that ask for a code no link has; programs get the problem"),
    key("pages.gone_url", "", "an http or https URL without user and password", "The same for links that are deleted or expired"),
    key("pages.blocked_url", "", "an http or https URL without user and password", "The same for links that were taken down"),
    key("auth.anonymous", "off", "`off` or `shorten`", "What callers without an API key may do"),
    key("proxies.trusted", "", "a list of networks such as `10.0.0.0/8`, without bits behind the prefix, or addresses; separated by commas in variables and flags", "Proxies whose `X-Forwarded-For` or `Forwarded` is believed"),
    key("proxies.field", "either", "`x-forwarded-for`, `forwarded`, or `either` if proxies remove the one they do not write", "Where proxies say who their client is"),
    key("limits.enabled", "true", SWITCH, "Whether requests are limited, for each API key and each client address"),
    key("limits.processes", "1", "1 to 10000", "How many processes there are at least: without Redis each allows its share of every limit; with it they are counted"),
    key("limits.redirect.per_second", "5000", RATE, "How many there may be in the long run: following and previewing links, and pages"),
    key("limits.redirect.burst", "50000", "1 to 1000000000", "How many of these there may be at once after a pause"),
    key("limits.read.per_second", "200", RATE, "How many there may be in the long run: reading links, lists and histories"),
    key("limits.read.burst", "2000", "1 to 1000000000", "How many of these there may be at once after a pause"),
    key("limits.claim.per_second", "100", RATE, "How many there may be in the long run: claiming, editing, deleting and reactivating links"),
    key("limits.claim.burst", "1000", "1 to 1000000000", "How many of these there may be at once after a pause"),
    key("limits.batch.per_second", "1000", RATE, "How many there may be in the long run: claims in batches, each of which counts"),
    key("limits.batch.burst", "10000", "1000 to 1000000000", "How many of these there may be at once after a pause"),
    key("limits.keys.per_second", "10", RATE, "How many there may be in the long run: what administrators do"),
    key("limits.keys.burst", "100", "1 to 1000000000", "How many of these there may be at once after a pause"),
    key("limits.unknown.per_second", "0.3334", RATE, "How many there may be in the long run: codes that no link has"),
    key("limits.unknown.burst", "20", "1 to 1000000000", "How many of these there may be at once after a pause"),
    key("log.level", "info", "`error`, `warning`, `info` or `debug`", "The least important lines to write"),
    key("log.format", "auto", "`auto`, `json` or `text`", "Form of the lines; `auto` is text on a terminal, else JSON"),
];

const fn key(path: &'static str, default: &'static str, expects: &'static str, meaning: &'static str) -> Key {
    Key { path, default, expects, meaning, secret: false }
}

/// The prefix of every variable.
pub(super) const PREFIX: &str = "SIGNPOST_";

impl Key {
    pub(super) fn find(path: &str) -> Option<&'static Self> {
        KEYS.iter().find(|key| key.path == path)
    }

    /// Whether a value of that type can be meant: numbers and switches are not written as texts for nothing. What is
    /// taken as it is, a path or a name, would else be called `5` or `true`.
    pub(super) fn takes(&self, value: &toml::Value) -> bool {
        match value {
            toml::Value::Integer(_) | toml::Value::Float(_) => {
                self.default == "cores" || self.default.parse::<f64>().is_ok()
            }
            toml::Value::Boolean(_) => self.default.parse::<bool>().is_ok(),
            toml::Value::Array(_) => self.expects.starts_with("a list of "),
            toml::Value::String(_) => true,
            toml::Value::Datetime(_) | toml::Value::Table(_) => false,
        }
    }

    /// `store.url` is `SIGNPOST_STORE__URL`.
    pub(super) fn variable(&self) -> String {
        format!("{PREFIX}{}", self.path.to_uppercase().replace('.', "__"))
    }

    /// The variable that names a file with the value; only secrets have one.
    pub(super) fn file_variable(&self) -> Option<String> {
        self.secret.then(|| self.variable() + "_FILE")
    }

    fn row(&self) -> String {
        let variables = match self.file_variable() {
            Some(file) => format!("`{}` or `{file}`", self.variable()),
            None => format!("`{}`", self.variable()),
        };
        let default = match self.default {
            "" => "none".to_owned(),
            text => format!("`{text}`"),
        };
        let Self { path, meaning, expects, .. } = self;
        format!("| `{path}` | {variables} | {default} | {meaning} ({expects}) |\n")
    }
}

/// All settings as a Markdown table.
#[cfg_attr(not(test), expect(dead_code, reason = "keeps docs/CONFIG.md true, in a test"))]
pub(crate) fn reference_table() -> String {
    let head = "| key | variable | default | meaning |\n|---|---|---|---|\n";
    let rows: String = KEYS.iter().map(Key::row).collect();
    format!("{head}{rows}")
}

/// The problem that nothing is called `name`.
///
/// The name is only repeated if it could be one: a secret in the wrong place stays secret.
pub(super) fn unknown(name: &str, place: &dyn fmt::Display, known: impl Iterator<Item = String>) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    if name.len() > 64 || !name.bytes().all(plain) {
        return format!("a name that cannot be one ({place}): unknown");
    }
    let nearest = known.map(|known| (edit_distance(name, &known), known)).min();
    match nearest {
        Some((0..=3, known)) => format!("{name} ({place}): unknown, did you mean {known}?"),
        Some(_) | None => format!("{name} ({place}): unknown"),
    }
}

/// Levenshtein: insertions, deletions and substitutions between two texts.
fn edit_distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.len()).collect();
    for (line, a) in from.bytes().enumerate() {
        let mut diagonal = row[0];
        row[0] = line + 1;
        for (column, b) in to.bytes().enumerate() {
            let substituted = diagonal + usize::from(a != b);
            diagonal = row[column + 1];
            row[column + 1] = substituted.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[to.len()]
}
