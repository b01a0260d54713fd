//! The table of all settings, and the variables that follow from their names.

use std::fmt;

/// One setting.
pub(super) struct Key {
    /// Its name in the file, levels joined by dots.
    pub(super) path: &'static str,
    /// The default, as text; empty for none.
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

/// Deployments depend on these names: new ones are added, and none is changed.
#[rustfmt::skip]
pub(super) static KEYS: &[Key] = &[
    key("data_dir", "./data", "a directory", "Holds the SQLite file and the admin key"),
    key("public_url", "", "an http or https URL without user, path, query and fragment", "Base of every short URL; if none, derived from `http.bind`"),
    key("landing_url", "", "an http or https URL without user and password", "Where `/` redirects"),

    key("http.bind", "127.0.0.1:8080", "an IP address or `localhost`, and a port, such as `0.0.0.0:8080`", "Address and port of the listener"),
    key("http.workers", "cores", "`cores` or 1 to 256", "Worker threads that serve requests"),
    key("http.max_connections", "10000", "1 to 1000000", "Most open connections of the process"),
    key("http.head_timeout", "10s", TIMEOUT, "How long a request head may take to arrive"),
    key("http.body_timeout", "10s", TIMEOUT, "How long a request body may take to arrive"),
    key("http.answer_timeout", "10s", TIMEOUT, "How long a client may take to read each 16 KiB of an answer; then its connection is closed"),
    key("http.request_timeout", "2300ms", "a duration from 100ms to 60s", "How long an API request may take once its body has arrived"),
    key("http.redirect_timeout", "1s", TIMEOUT, "How long a redirect may take"),
    key("http.cors_origins", "", "a list of origins such as `https://app.example`, or `*` alone; separated by commas in variables and flags", "Origins whose scripts may call the API from a browser"),
    key("http.keep_alive", "15s", TIMEOUT, "How long an idle connection stays open. Make it longer than the idle timeout of a proxy in front (nginx: 60 s)"),
    key("http.drain", "5s", PERIOD, "On shutdown: how long the server keeps serving while readiness answers 503"),
    key("http.shutdown_timeout", "10s", TIMEOUT, "After the drain: how long open requests have until they are aborted; at most 25s together with the drain"),

    key("ops.bind", "127.0.0.1:9464", "an IP address or `localhost`, and a port, such as `0.0.0.0:9464`; or empty", "Address and port of the ops listener, which answers `/metrics`, `/livez`, `/readyz` and `/health`; empty: none. If it is not set and the address is taken, the process serves without it"),

    Key { secret: true, ..key("store.url", "sqlite:{data_dir}/signpost.db", "`sqlite:PATH`, `postgres://…` or `postgresql://…` with libpq's options and special characters percent-encoded", "The store of all links; several PostgreSQL hosts are allowed") },
    key("store.pool_size", "16", "1 to 1000", "PostgreSQL connections for the API, except lists"),
    key("store.redirect_pool_size", "8", "1 to 1000", "PostgreSQL connections for redirects"),
    key("store.list_pool_size", "4", "1 to 1000", "PostgreSQL connections for lists"),
    key("store.tls", "auto", "`auto`, `require` or `disable`", "TLS to PostgreSQL; `auto` requires it unless every host is loopback or a Unix socket"),
    key("store.tls_ca_file", "", "a file of certificates in PEM", "PEM file of trust anchors for PostgreSQL"),
    key("store.connect_timeout", "1800ms", TIMEOUT, "How long opening a session on one PostgreSQL host may take, including TLS and authentication: eight round trips. The next host is tried in parallel after 300 ms. Has to be shorter than `store.pool_timeout`"),
    key("store.pool_timeout", "2s", TIMEOUT, "How long a call may wait for a PostgreSQL connection, including the time to connect"),
    key("store.statement_timeout", "2s", TIMEOUT, "How long all statements of one call to the store may take; shorter than `http.request_timeout`"),
    key("store.migrate", "true", SWITCH, "Whether to apply migrations at start"),

    key("cache.capacity", "1000000", "100 to 100000000", "Most links in the L1 cache, which serves redirects without the store"),
    key("cache.ttl", "10s", TIMEOUT, "How long a cache entry is fresh after a lookup, or after the change feed confirmed that nothing changed. Bounds how long a change by another process can go unseen"),
    key("cache.stale_for", "10m", PERIOD, "How much longer an expired cache entry of an active link redirects while the store is unavailable"),
    key("cache.known_codes", "50000000", "0 to 1000000000",
        "Most codes in the filter of existing codes, about 1.4 bytes each. Codes in the filter are not charged to `limits.unknown`; with more links than this, there is no filter and all codes are charged"),
    key("cache.negative_ttl", "5s", PERIOD, "How long the cache keeps a code as unknown"),

    Key { secret: true, ..key("redis.url", "", "`redis://…`, `rediss://…` (TLS), `unix://…`, `redis+sentinel://…` or `rediss+sentinel://…`", "Redis in which the processes on one PostgreSQL share links and limits; unused with SQLite") },
    Key { secret: true, ..key("redis.sentinel_password", "", "a text", "Password of the sentinels, if they have one; that of the servers is part of `redis.url`") },
    key("redis.timeout", "50ms", TIMEOUT, "How long Redis may take to answer before a request goes on without it; at most a quarter of `http.redirect_timeout`"),
    key("redis.ttl", "1h", "a duration from 10s to 7d", "How long a link stays in Redis"),

    key("codes.length", "8", "6 to 32", "Length of generated codes, in characters"),
    key("domains.unknown_host", "default", "`default` or `not-found`", "How a request is answered whose host is no short domain: as one for the default short domain, or with 404"),
    key("targets.allow_private", "false", SWITCH, "Whether targets may be private addresses and internal names"),
    key("targets.own_hosts", "", "a list of host names without ports; separated by commas in variables and flags", "Further host names of this service, which are refused as targets"),
    key("targets.deny_file", "", "a readable file", "Hosts that are refused as targets, one per line or in a format of public lists. Read again at SIGHUP, and after a change once the file has stayed the same for 2 s. A list that becomes empty takes effect only after 30 s, because its writer may not be done"),
    key("targets.allow_file", "", "a readable file", "Exceptions to `targets.deny_file`, in the same formats"),
    key("targets.max_length", "8192", "256 to 32768", "Most bytes of a target, after percent-encoding"),
    key("blocks.file", "{data_dir}/blocks.txt", "a file", "Takedowns and revocations for when the store accepts no writes: lines such as `code CODE`, `host HOST`, `owner OWNER` or `key ID`. A line is in force in this process within five seconds, and for as long as the file has it"),
    key("pages.crawlable", "true", SWITCH, "Whether `robots.txt` lets crawlers follow links, which services need that show a preview of a shared link. Redirects say `noindex` in any case"),
    key("pages.well_known_dir", "", "a readable directory", "Files to serve under `/.well-known/`, such as `security.txt` or `assetlinks.json`. A `robots.txt` there replaces the built-in one. Read at start"),
    key("pages.unknown_url", "", "an http or https URL without user and password", "Where browsers are redirected if no link has the code; other clients get the problem document"),
    key("pages.gone_url", "", "an http or https URL without user and password", "Where browsers are redirected if the link is deleted or expired; other clients get the problem document"),
    key("pages.blocked_url", "", "an http or https URL without user and password", "Where browsers are redirected if the link was taken down; other clients get the problem document"),
    key("pages.qr_logo", "", "a readable PNG file", "Picture in the middle of QR codes that are asked for with `logo=true`. Read at start"),
    key("clicks.enabled", "true", SWITCH, "Whether redirects are counted"),
    key("clicks.spool", "auto", "`auto`, `mmap` or `write`", "How a click reaches the disk before its redirect is answered: through a mapping, or with one system call; `auto` maps where the file system keeps the space of an allocated file"),
    key("clicks.spool_limit", "1GiB", "a size such as `64MiB` or `1GiB`, from 1MiB to 1TiB", "Most bytes of clicks on disk that the store has not counted yet; beyond it the oldest are dropped"),
    key("clicks.keep_hours", "400d", "1d to 3650d", "How long statistics show clicks by hour; after that they show them by day"),
    key("clicks.respect_opt_out", "true", SWITCH, "Whether clients that send `Sec-GPC: 1` or `DNT: 1` count in totals only"),
    key("clicks.ignore_networks", "", "a list of networks such as `10.0.0.0/8`, without bits behind the prefix, or addresses; separated by commas in variables and flags", "Networks whose clicks are not counted, such as those of monitors"),
    key("clicks.bots_file", "", "a readable file", "Further bots: a text that user agents contain, or a regular expression between slashes, one per line"),
    key("geo.database", "", "a readable file", "Database of countries in MaxMind's format (MMDB); without it no country is known. Read again when it changes"),
    key("auth.anonymous", "off", "`off` or `shorten`", "What callers without an API key may do"),
    key("proxies.trusted", "", "a list of networks such as `10.0.0.0/8`, without bits behind the prefix, or addresses; separated by commas in variables and flags", "Proxies whose `X-Forwarded-For` or `Forwarded` is trusted"),
    key("proxies.field", "either", "`x-forwarded-for`, `forwarded`, or `either` if proxies remove the one they do not write", "Header field in which the proxies name their client"),
    key("limits.enabled", "true", SWITCH, "Whether requests are limited, per API key and per client address"),
    key("limits.processes", "1", "1 to 10000", "Least number of processes. Without Redis each process allows its share of every limit; with Redis the processes are counted"),
    key("limits.redirect.per_second", "5000", RATE, "Sustained rate: redirects, previews and pages"),
    key("limits.redirect.burst", "50000", "1 to 1000000000", "Burst: most of these requests at once after a pause"),
    key("limits.read.per_second", "200", RATE, "Sustained rate: reading links, lists and histories"),
    key("limits.read.burst", "2000", "1 to 1000000000", "Burst: most of these requests at once after a pause"),
    key("limits.claim.per_second", "100", RATE, "Sustained rate: claiming, editing, deleting and reactivating links"),
    key("limits.claim.burst", "1000", "1 to 1000000000", "Burst: most of these requests at once after a pause"),
    key("limits.batch.per_second", "1000", RATE, "Sustained rate: claims in batches, each of which counts"),
    key("limits.batch.burst", "10000", "1000 to 1000000000", "Burst: most of these requests at once after a pause"),
    key("limits.keys.per_second", "10", RATE, "Sustained rate: managing API keys, blocks and short domains"),
    key("limits.keys.burst", "100", "1 to 1000000000", "Burst: most of these requests at once after a pause"),
    key("limits.unknown.per_second", "0.3334", RATE, "Sustained rate: requests for codes that no link has"),
    key("limits.unknown.burst", "20", "1 to 1000000000", "Burst: most of these requests at once after a pause"),
    key("log.level", "info", "`error`, `warning`, `info` or `debug`", "Least severe level to write"),
    key("log.format", "auto", "`auto`, `json` or `text`", "Format of the lines; `auto` is text on a terminal, otherwise JSON"),
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

    /// Whether the setting accepts a TOML value of this type. Numbers and switches may be bare or text. Paths and names
    /// must be text: a bare `5` or `true` there is a mistake.
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
#[cfg_attr(not(test), expect(dead_code, reason = "only a test uses it, to compare docs/CONFIG.md"))]
pub(crate) fn reference_table() -> String {
    let head = "| key | variable | default | meaning |\n|---|---|---|---|\n";
    let rows: String = KEYS.iter().map(Key::row).collect();
    format!("{head}{rows}")
}

/// The problem that no setting is called `name`.
///
/// The name is repeated only if it could be the name of a setting, so that a secret in the wrong place stays secret.
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
