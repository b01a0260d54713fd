//! What an operator may rely on, tested through `Config::load`.

use std::{collections::BTreeSet, fs, io::Write};

use tempfile::NamedTempFile;

use super::{
    keys::{KEYS, reference_table},
    *,
};

const PASSWORD: &str = "hunter2";

/// Sources that set nothing, so that all defaults apply.
fn sources() -> Sources {
    Sources {
        file: None,
        default_file: "/nonexistent/signpost.toml".into(),
        env: Vec::new(),
        overrides: Vec::new(),
        cores: 4,
    }
}

fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, text): &(&str, &str)| ((*name).to_owned(), (*text).to_owned());
    pairs.iter().map(owned).collect()
}

fn load_flags(flags: &[(&str, &str)]) -> Result<Config, Problems> {
    Config::load(Sources { overrides: pairs(flags), ..sources() })
}

fn load_env(env: &[(&str, &str)]) -> Result<Config, Problems> {
    Config::load(Sources { env: pairs(env), ..sources() })
}

fn load_file(text: &str) -> Result<Config, Problems> {
    let file = file_with(text);
    Config::load(Sources { file: Some(file.path().to_owned()), ..sources() })
}

fn file_with(text: &str) -> NamedTempFile {
    let mut file = NamedTempFile::new().unwrap();
    file.write_all(text.as_bytes()).unwrap();
    file
}

/// The problems without the first line, which counts them.
fn lines(result: Result<Config, Problems>) -> Vec<String> {
    let text = result.expect_err("a problem").to_string();
    let mut lines = text.lines().map(|line| line.trim().to_owned());
    let count = lines.next().unwrap();
    let lines: Vec<String> = lines.collect();
    let noun = if lines.len() == 1 { "problem" } else { "problems" };
    assert_eq!(count, format!("configuration: {} {noun}", lines.len()));
    lines
}

fn assert_problem(result: Result<Config, Problems>, expected: &str) {
    let lines = lines(result);
    assert!(lines.len() == 1 && lines[0].contains(expected), "{expected:?} in {lines:#?}");
}

#[test]
fn a_fresh_clone_needs_no_configuration() {
    let config = Config::load(sources()).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("./data"));
    assert_eq!(config.public_url, "http://127.0.0.1:8080");
    assert_eq!(config.landing_url, None);
    assert_eq!(config.http.workers, 4);
    assert_eq!(config.http.request_timeout, Duration::from_millis(2_300));
    assert_eq!(config.store.location.to_string(), "sqlite:./data/signpost.db");
    assert_eq!(config.store.tls, TlsPolicy::Auto);
    assert!(config.store.migrate);
    assert!(config.targets.own_hosts.is_empty());
    assert_eq!(config.auth, AnonymousAccess::Off);
    assert_eq!((config.log.level, config.log.format), (LogLevel::Info, LogFormat::Auto));
}

#[test]
fn every_setting_reaches_its_field() {
    let authority = rcgen::generate_simple_self_signed(Vec::new()).unwrap().cert.pem();
    let authority = file_with(&authority);
    let authority = authority.path().to_str().unwrap();
    let others = [
        ("data_dir", "/d", r#"data_dir: "/d""#),
        ("public_url", "https://sho.rt/", r#"public_url: "https://sho.rt""#),
        ("landing_url", "https://example.com/", r#"landing_url: Some("https://example.com/")"#),
        ("http.bind", "[::1]:80", " bind: [::1]:80"),
        ("http.workers", "3", " workers: 3"),
        ("http.max_connections", "7", " max_connections: 7"),
        ("http.head_timeout", "3s", " head_timeout: 3s"),
        ("http.body_timeout", "3s", " body_timeout: 3s"),
        ("http.answer_timeout", "3s", " answer_timeout: 3s"),
        ("http.request_timeout", "3s", " request_timeout: 3s"),
        ("http.redirect_timeout", "3s", " redirect_timeout: 3s"),
        (
            "http.cors_origins",
            "https://a.example, http://b:81",
            r#" cors_origins: ["https://a.example", "http://b:81"]"#,
        ),
        ("http.keep_alive", "3s", " keep_alive: 3s"),
        ("http.drain", "3s", " drain: 3s"),
        ("http.shutdown_timeout", "3s", " shutdown_timeout: 3s"),
        ("ops.bind", "[::1]:9999", " bind: Some([::1]:9999)"),
        ("store.url", "postgresql://db/x", " location: Postgres([redacted])"),
        ("store.pool_size", "3", " pool_size: 3"),
        ("store.redirect_pool_size", "3", " redirect_pool_size: 3"),
        ("store.list_pool_size", "3", " list_pool_size: 3"),
        ("store.tls", "require", " tls: Require"),
        ("store.tls_ca_file", authority, " tls_ca_file: Some("),
        ("store.connect_timeout", "200ms", " connect_timeout: 200ms"),
        ("store.pool_timeout", "3s", " pool_timeout: 3s"),
        ("store.statement_timeout", "1500ms", " statement_timeout: 1.5s"),
        ("store.migrate", "false", " migrate: false"),
        ("cache.capacity", "777", " capacity: 777"),
        ("cache.ttl", "7s", " ttl: 7s"),
        ("cache.stale_for", "0s", " stale_for: 0ns"),
        ("cache.known_codes", "0", " known_codes: 0"),
        ("cache.negative_ttl", "0s", " negative_ttl: 0ns"),
        ("redis.url", "redis://:pw@cache:6379/1", " url: Some([redacted])"),
        ("redis.sentinel_password", "pw", " sentinel_password: Some([redacted])"),
        ("redis.timeout", "20ms", " timeout: 20ms"),
        ("redis.ttl", "2h", " ttl: 7200s"),
        ("codes.length", "9", " length: CodeLength(9)"),
        ("domains.unknown_host", "not-found", " unknown_host: NotFound"),
        ("targets.allow_private", "true", " allow_private: true"),
        ("targets.own_hosts", "a.example, b.example", r#" own_hosts: ["a.example", "b.example"]"#),
        ("targets.deny_file", authority, " deny_file: Some("),
        ("targets.allow_file", authority, " allow_file: Some("),
        ("targets.max_length", "2048", " max_length: 2048"),
        ("blocks.file", "{data_dir}/own.txt", r#" blocks_file: "./data/own.txt""#),
        ("pages.crawlable", "false", " crawlable: false"),
        ("pages.well_known_dir", "/srv/own", r#" well_known_dir: Some("/srv/own")"#),
        ("pages.unknown_url", "https://example.com/?a", r#" unknown: Some("https://example.com/?a")"#),
        ("pages.gone_url", "https://example.com/b", r#" gone: Some("https://example.com/b")"#),
        ("pages.blocked_url", "https://example.com/c", r#" blocked: Some("https://example.com/c")"#),
        ("pages.qr_logo", authority, " qr_logo: Some("),
        ("clicks.enabled", "false", " enabled: false"),
        ("clicks.spool", "write", " spool: Write"),
        ("clicks.spool_limit", "64MiB", " spool_limit: 67108864"),
        ("clicks.keep_hours", "30d", " keep_hours: 30"),
        ("clicks.respect_opt_out", "false", " respect_opt_out: false"),
        ("clicks.ignore_networks", "192.0.2.0/24", " ignore_networks: [192.0.2.0/24]"),
        ("clicks.bots_file", authority, " bots_file: Some("),
        ("geo.database", authority, " geo_database: Some("),
        ("auth.anonymous", "shorten", " auth: Shorten"),
        (
            "proxies.trusted",
            "10.0.0.0/8, 2001:db8::1",
            " proxies: TrustedProxies { networks: [10.0.0.0/8, 2001:db8::1/128], field: Either }",
        ),
        ("proxies.field", "forwarded", " field: Forwarded }"),
        ("limits.enabled", "false", " enabled: false"),
        ("limits.processes", "7", " processes: 7,"),
        ("limits.redirect.per_second", "7", " redirect: Quota { burst: 50000, interval: 142.857143ms }"),
        ("limits.redirect.burst", "7777", " redirect: Quota { burst: 7777,"),
        ("limits.read.per_second", "7", " read: Quota { burst: 2000, interval: 142.857143ms }"),
        ("limits.read.burst", "7777", " read: Quota { burst: 7777,"),
        ("limits.claim.per_second", "7", " claim: Quota { burst: 1000, interval: 142.857143ms }"),
        ("limits.claim.burst", "7777", " claim: Quota { burst: 7777,"),
        ("limits.batch.per_second", "7", " batch: Quota { burst: 10000, interval: 142.857143ms }"),
        ("limits.batch.burst", "7777", " batch: Quota { burst: 7777,"),
        ("limits.keys.per_second", "7", " keys: Quota { burst: 100, interval: 142.857143ms }"),
        ("limits.keys.burst", "7777", " keys: Quota { burst: 7777,"),
        ("limits.unknown.per_second", "7", " unknown: Quota { burst: 20, interval: 142.857143ms }"),
        ("limits.unknown.burst", "7777", " unknown: Quota { burst: 7777,"),
        ("log.level", "debug", " level: Debug"),
        ("log.format", "json", " format: Json"),
    ];
    let defaults = format!("{:?}", Config::load(sources()).unwrap());
    for (key, text, field) in others {
        let config = format!("{:?}", load_flags(&[(key, text)]).unwrap());
        assert!(config.contains(field) && !defaults.contains(field), "{key}: {config}");
    }
    let tried: Vec<&str> = others.iter().map(|(key, _, _)| *key).collect();
    let all: Vec<&str> = KEYS.iter().map(|key| key.path).collect();
    assert_eq!(tried, all);
}

#[test]
fn keys_and_variables_are_unique() {
    let paths: BTreeSet<_> = KEYS.iter().map(|key| key.path).collect();
    let names = KEYS.iter().flat_map(|key| [Some(key.variable()), key.file_variable()]);
    let variables: Vec<String> = names.flatten().collect();
    let distinct: BTreeSet<_> = variables.iter().collect();
    assert_eq!(paths.len(), KEYS.len());
    assert_eq!(distinct.len(), variables.len());
    assert!(variables.contains(&"SIGNPOST_STORE__URL_FILE".to_owned()));
    assert!(variables.contains(&"SIGNPOST_HTTP__MAX_CONNECTIONS".to_owned()));
}

#[test]
fn a_secret_that_is_not_set_is_shown_as_empty() {
    let shown = |config: &Config| {
        config.effective().iter().find(|effective| effective.key == "redis.url").unwrap().value.clone()
    };
    assert_eq!(shown(&Config::load(sources()).unwrap()), "");
    assert_eq!(shown(&load_flags(&[("redis.url", "redis://:pw@h")]).unwrap()), "[redacted]");
}

#[test]
fn the_rule_for_redis_timeout_applies_only_with_redis() {
    let short = ("http.redirect_timeout", "100ms");
    assert!(load_flags(&[short]).is_ok());
    assert_problem(load_flags(&[short, ("redis.url", "redis://h")]), "redis.timeout");
}

#[test]
fn docs_list_exactly_these_settings() {
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/CONFIG.md");
    let text = fs::read_to_string(docs).unwrap_or_default();
    let (_, rest) = text.split_once("<!-- settings -->").unwrap_or_default();
    let (listed, _) = rest.split_once("<!-- /settings -->").unwrap_or_default();
    let table = reference_table();
    assert!(listed.trim() == table.trim(), "between the markers in {docs} has to stand:\n\n{table}");
}

#[test]
fn flags_beat_variables_beat_the_file_beats_defaults() {
    let text = "data_dir = 'file'\n[http]\nworkers = 1\nmax_connections = 1\n[store]\npool_size = 1";
    let file = file_with(text);
    let env = pairs(&[("SIGNPOST_HTTP__WORKERS", "2"), ("SIGNPOST_HTTP__MAX_CONNECTIONS", "2")]);
    let overrides = pairs(&[("http.workers", "3")]);
    let path = file.path().to_owned();
    let config = Config::load(Sources { file: Some(path.clone()), env, overrides, ..sources() }).unwrap();
    assert_eq!((config.http.workers, config.http.max_connections, config.store.pool_size), (3, 2, 1));

    let source = |key: &str| config.effective().iter().find(|setting| setting.key == key).unwrap().source.clone();
    assert_eq!(source("http.workers"), Source::Flag);
    assert_eq!(source("http.max_connections"), Source::Variable("SIGNPOST_HTTP__MAX_CONNECTIONS".to_owned()));
    assert_eq!(source("data_dir"), Source::File(path));
    assert_eq!(source("log.level"), Source::Default);
}

#[test]
fn files_are_found_by_flag_then_variable_then_default() {
    let (flag, variable, default) = (file_with("data_dir='f'"), file_with("data_dir='v'"), file_with("data_dir='d'"));
    let env = pairs(&[("SIGNPOST_CONFIG", variable.path().to_str().unwrap())]);
    let default_file = default.path().to_owned();
    for (file, env, expected) in
        [(Some(flag.path().to_owned()), env.clone(), "f"), (None, env, "v"), (None, Vec::new(), "d")]
    {
        let given = Sources { file, env, default_file: default_file.clone(), ..sources() };
        assert_eq!(Config::load(given).unwrap().data_dir, PathBuf::from(expected));
    }
}

#[test]
fn a_named_file_has_to_be_there() {
    let missing = Sources { file: Some("/nonexistent/named.toml".into()), ..sources() };
    assert_problem(Config::load(missing), "file /nonexistent/named.toml: cannot be read");
    assert_problem(load_env(&[("SIGNPOST_CONFIG", "/nonexistent/x")]), "file /nonexistent/x: cannot be read");
    let directory = Sources { default_file: "/".into(), ..sources() };
    assert_problem(Config::load(directory), "file /: cannot be read");
}

#[test]
fn all_problems_are_listed_with_key_source_and_expectation() {
    let file = file_with("[http]\nworkers = 0\n[htpp]\nbind = 'x'\n[store]\npool_size = 1.5\n[log]\nlevel = ['info']");
    let path = file.path().display();
    let given = Sources {
        file: Some(file.path().to_owned()),
        env: pairs(&[("SIGNPOST_CODES__LENGTH", "5"), ("SIGNPOST_HTTP_BIND", "x"), ("HOME", "/")]),
        overrides: pairs(&[("auth.anonymous", "on"), ("log.lvel", "info")]),
        ..sources()
    };
    let found: BTreeSet<String> = lines(Config::load(given)).into_iter().collect();
    let expected = BTreeSet::from([
        format!("http.workers (file {path}): expected `cores` or 1 to 256"),
        format!("htpp.bind (file {path}): unknown, did you mean http.bind?"),
        format!("store.pool_size (file {path}): expected 1 to 1000"),
        format!("log.level (file {path}): expected `error`, `warning`, `info` or `debug`"),
        "codes.length (variable SIGNPOST_CODES__LENGTH): expected 6 to 32".to_owned(),
        "SIGNPOST_HTTP_BIND (environment): unknown, did you mean SIGNPOST_HTTP__BIND?".to_owned(),
        "auth.anonymous (flag): expected `off` or `shorten`".to_owned(),
        "log.lvel (flag): unknown, did you mean log.level?".to_owned(),
    ]);
    assert_eq!(found, expected);
}

/// Such networks would let any client claim any address.
#[test]
fn trusted_networks_of_all_addresses_or_with_bits_behind_the_prefix_are_refused() {
    for network in
        ["0.0.0.0/0", "::/0", "::ffff:0:0/96", "10.0.0.1/8", "2001:db8::1/32", "10.0.0.0/33", "proxy.internal"]
    {
        assert_problem(load_env(&[("SIGNPOST_PROXIES__TRUSTED", network)]), "proxies.trusted (variable");
    }
}

#[test]
fn unknown_or_malformed_entries_of_a_file_are_problems() {
    assert_problem(load_file("colour = 1"), "colour (file");
    assert_problem(load_file("[nonsense]"), "nonsense (file");
    assert_problem(load_file("http = 1"), "http (file");
    assert_problem(load_file("[[store]]"), "store (file");
    assert_problem(load_file("[http.bind]\nport = 1"), "http.bind.port (file");
    assert_problem(load_file("[data_dir]"), "expected a directory");
    assert_problem(load_file("\n\nhttp = {"), "not TOML at line 3");
    assert!(load_file("[http]\n[store]\n").is_ok());
}

#[test]
fn unknown_variables_with_the_prefix_are_problems_except_those_of_tests() {
    assert!(load_env(&[("SIGNPOST_TEST_STORE", "x"), ("PATH", "x"), ("SIGNPOSTS", "x")]).is_ok());
    assert_problem(load_env(&[("SIGNPOST_KEY", "x")]), "SIGNPOST_KEY (environment): unknown");
    assert_problem(load_env(&[("SIGNPOST_HTTP__BIND_FILE", "x")]), "SIGNPOST_HTTP__BIND_FILE (environment): unknown");
}

#[test]
fn a_secret_from_a_file_loses_one_trailing_newline() {
    for (text, expected) in [("a", "a"), ("a\n", "a"), ("a\r\n", "a"), ("a\n\n", "a\n")] {
        let file = file_with(text);
        let config = load_env(&[("SIGNPOST_REDIS__SENTINEL_PASSWORD_FILE", file.path().to_str().unwrap())]).unwrap();
        assert_eq!(config.redis.sentinel_password.map(|text| text.expose().to_owned()).as_deref(), Some(expected));
    }
    let both = [("SIGNPOST_STORE__URL", "sqlite:a"), ("SIGNPOST_STORE__URL_FILE", "/nonexistent")];
    assert_problem(load_env(&both), "expected only one of them");
    assert_problem(
        load_env(&[("SIGNPOST_STORE__URL_FILE", "/nonexistent")]),
        "store.url (variable SIGNPOST_STORE__URL_FILE): its file cannot be read",
    );
}

#[test]
fn secrets_are_never_shown() {
    let url = format!("postgres://user:{PASSWORD}@db/links");
    let config = load_flags(&[("store.url", &url)]).unwrap();
    let StoreLocation::Postgres(secret) = &config.store.location else { panic!("not PostgreSQL") };
    assert_eq!(secret.expose(), url);
    let shown = config.effective().iter().find(|setting| setting.key == "store.url").unwrap();
    assert_eq!(shown.value, "postgres://[redacted]");
    assert!(!format!("{config:?}").contains(PASSWORD));

    let bad = format!("mysql://user:{PASSWORD}@db/links");
    for result in [
        load_flags(&[("store.url", &bad)]),
        load_flags(&[("landing_url", &url)]),
        load_flags(&[(&url, "x")]),
        load_env(&[("SIGNPOST_STORE__URL", &bad)]),
        load_env(&[("SIGNPOST_STORE__URL_FILE", &url)]),
        load_file(&format!("[store]\nurl = '{bad}'")),
        load_file(&format!("[store]\nurl = {url}")),
        load_file(&format!("[store]\nurl = '{url}")),
        load_file(&format!("'{url}' = 1")),
    ] {
        let problems = result.expect_err("a problem");
        assert!(!format!("{problems} {problems:?}").contains(PASSWORD), "{problems}");
    }
}

#[test]
fn durations_have_a_unit_and_are_above_zero() {
    for (text, seconds) in [("1s", 1), ("5m", 300), ("1h", 3_600), ("7d", 604_800), ("365d", 31_536_000)] {
        assert_eq!(parse::timeout(text), Some(Duration::from_secs(seconds)), "{text}");
    }
    assert_eq!(parse::timeout("250ms"), Some(Duration::from_millis(250)));
    for text in [
        "",
        "s",
        "10",
        "1.5s",
        "-1s",
        "+1s",
        " 1s",
        "1 s",
        "1S",
        "1w",
        "0s",
        "366d",
        "18446744073709551616ms",
        "99999999999999999d",
    ] {
        assert_eq!(parse::timeout(text), None, "{text:?}");
    }
    assert_eq!(load_flags(&[("http.drain", "0s")]).unwrap().http.drain, Duration::ZERO);
    assert_problem(load_flags(&[("http.keep_alive", "0ms")]), "http.keep_alive (flag): expected a duration");
    assert_problem(load_flags(&[("http.request_timeout", "61s")]), "expected a duration from 100ms to 60s");
}

#[test]
fn timeouts_fit_into_each_other() {
    assert_problem(
        load_flags(&[("http.request_timeout", "2s")]),
        "store.statement_timeout (default) and http.request_timeout (flag): expected the first to be shorter",
    );
    assert_problem(load_flags(&[("http.drain", "16s")]), "http.drain (flag) and http.shutdown_timeout (default)");
    assert!(load_flags(&[("http.drain", "15s")]).is_ok());
    // The default that replaces a refused value causes no second problem.
    assert_problem(
        load_flags(&[("http.request_timeout", "soon"), ("store.statement_timeout", "3s")]),
        "http.request_timeout (flag): expected a duration",
    );
}

#[test]
fn the_public_url_is_a_bare_origin() {
    for (text, expected) in [
        ("https://sho.rt", "https://sho.rt"),
        ("https://SHO.rt:443/", "https://sho.rt"),
        ("http://[::1]:81", "http://[::1]:81"),
    ] {
        assert_eq!(load_flags(&[("public_url", text)]).unwrap().public_url, expected);
    }
    for text in [
        "sho.rt",
        "ftp://sho.rt",
        "https://sho.rt/a",
        "https://sho.rt//",
        "https://sho.rt/?",
        "https://sho.rt#",
        "https://u@sho.rt",
    ] {
        assert_problem(load_flags(&[("public_url", text)]), "public_url (flag): expected an http or https URL");
    }
    for (bind, expected) in [
        ("0.0.0.0:80", "http://127.0.0.1:80"),
        ("[::]:81", "http://127.0.0.1:81"),
        ("[::1]:82", "http://[::1]:82"),
        ("10.0.0.1:83", "http://10.0.0.1:83"),
    ] {
        assert_eq!(load_flags(&[("http.bind", bind)]).unwrap().public_url, expected);
    }
}

#[test]
fn own_hosts_are_a_list_in_the_file_and_comma_separated_elsewhere() {
    let expected = ["a.example", "[::1]"];
    let in_file = load_file("[targets]\nown_hosts = ['a.example', '[::1]']").unwrap();
    assert_eq!(in_file.targets.own_hosts, expected);
    let in_variable = load_env(&[("SIGNPOST_TARGETS__OWN_HOSTS", "a.example,[::1]")]).unwrap();
    assert_eq!(in_variable.targets.own_hosts, expected);
    for bad in [
        "['']",
        "['a:80']",
        "['[::1]:80']",
        "['a/b']",
        "['a b']",
        "['u@a']",
        "['http://a']",
        "[1]",
        "['*.a']",
        "['a..b']",
        "['-a.b']",
        "['.']",
        "['%61']",
    ] {
        assert_problem(load_file(&format!("[targets]\nown_hosts = {bad}")), "targets.own_hosts (file");
    }
}

#[test]
fn the_store_is_a_file_or_postgresql() {
    let shown = |url: &str| load_flags(&[("data_dir", "/d"), ("store.url", url)]).unwrap().store.location.to_string();
    assert_eq!(shown("sqlite:{data_dir}/x.db"), "sqlite:/d/x.db");
    assert_eq!(shown("sqlite:/x.db"), "sqlite:/x.db");
    assert_eq!(shown("postgres://a:1,b:2/x?target_session_attrs=read-write"), "postgres://[redacted]");
    assert_eq!(shown("postgresql:///x?host=/run/postgresql"), "postgres://[redacted]");
    let pieces = format!("postgres://user:x@{PASSWORD}?y@db/x?{PASSWORD}=1");
    assert!(!lines(load_flags(&[("store.url", &pieces)])).concat().contains(PASSWORD));
    for bad in [
        "postgres://db/x?no_such_option=1",
        "postgres://db:port/x",
        "postgres://a,b/x?hostaddr=::1",
        "postgres://app:hunter2@ho st/x",
        "postgres://app:hunter2@<h>/x",
        "postgres://app:hunter2@h:0/x",
        "postgres://app:hunter2@h:99999/x",
        "postgres://app:hunter2@a,,b/x",
        "postgres://app:hunter2@[::zz]/x",
        "postgres://app:hun%ter2@h/x",
    ] {
        assert_problem(load_flags(&[("store.url", bad)]), "store.url (flag): expected `sqlite:PATH`");
    }
    assert_eq!(shown("sqlite:///x.db"), "sqlite:///x.db");
    for bad in ["sqlite::memory:", "sqlite://x.db", "sqlite:x.db?mode=ro"] {
        assert_problem(load_flags(&[("store.url", bad)]), "store.url (flag): expected `sqlite:PATH`");
    }
    for bad in ["", "sqlite:", "sqlite:{data_dir}/", "postgres://", "postgresql:x", "mysql://x", "/x.db"] {
        assert_problem(load_flags(&[("store.url", bad)]), "store.url (flag): expected `sqlite:PATH`");
    }
}

#[test]
fn trust_anchors_are_read_before_anything_starts() {
    let nothing = file_with("no certificate");
    for bad in ["/nonexistent/ca.pem", nothing.path().to_str().unwrap(), "/"] {
        assert_problem(load_flags(&[("store.tls_ca_file", bad)]), "store.tls_ca_file (flag): expected a file");
    }
}

#[test]
fn workers_follow_the_cores_within_bounds() {
    for (cores, workers) in [(0, 1), (4, 4), (1_000, 256)] {
        let config = Config::load(Sources { cores, ..sources() }).unwrap();
        assert_eq!(config.http.workers, workers);
    }
}

#[test]
fn all_effective_settings_are_listed_and_resolved() {
    let config = load_flags(&[("targets.own_hosts", "a.example")]).unwrap();
    let shown = |key: &str| config.effective().iter().find(|setting| setting.key == key).unwrap().value.as_str();
    assert_eq!(config.effective().len(), KEYS.len());
    assert_eq!(shown("http.workers"), "4");
    assert_eq!(shown("public_url"), "http://127.0.0.1:8080");
    assert_eq!(shown("store.url"), "sqlite:./data/signpost.db");
    assert_eq!(shown("targets.own_hosts"), "a.example");
    assert_eq!(shown("landing_url"), "");
}

#[test]
fn a_value_of_a_wrong_type_is_refused() {
    for key in KEYS {
        let (section, name) = key.path.rsplit_once('.').map_or(("", key.path), |(section, name)| (section, name));
        let head = if section.is_empty() { String::new() } else { format!("[{section}]\n") };
        let is_number = key.default == "cores" || key.default.parse::<f64>().is_ok();
        let is_switch = ["true", "false"].contains(&key.default);
        let is_list = key.expects.starts_with("a list of ");
        for (value, fits) in
            [("5", is_number), ("true", is_switch), ("['a', 5]", false), ("[true]", false), ("[[]]", false)]
        {
            let problems =
                load_file(&format!("{head}{name} = {value}\n")).map_or_else(|p| p.to_string(), |_| String::new());
            // A number may still be too small or too large.
            assert!(fits || problems.contains(&format!("{} (file", key.path)), "{} = {value}: {problems}", key.path);
        }
        let list = load_file(&format!("{head}{name} = ['a.example']\n")).is_ok();
        assert!(!list || is_list, "{} takes no list", key.path);
    }
}

#[test]
fn urls_with_port_zero_are_refused() {
    for (key, bad) in
        [("public_url", "http://sho.rt:0"), ("redis.url", "redis://h:0"), ("store.url", "postgres://h:0/x")]
    {
        assert_problem(load_flags(&[(key, bad)]), &format!("{key} (flag): expected "));
    }
}
