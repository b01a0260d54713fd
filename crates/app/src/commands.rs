//! The commands of the command line.

use std::{
    io::{self, Read, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream},
    path::PathBuf,
    process::ExitCode,
    sync::Arc,
    thread::available_parallelism,
    time::Duration,
};

use adapter_http::OpenApiVersion;
use anyhow::{Context, anyhow, bail};
use domain::{
    api_key::{ApiKey, KeyId, KeySecret, Scope, Scopes},
    block::{Block, Subject},
    link::Owner,
    service::{BlockService, KeyService, NewKey, ServiceError},
};
use tokio::runtime::{Builder, Runtime};
use uuid::Uuid;

use crate::{
    cli::{Arguments, BlockAction, Command, KeysAction, MigrateAction, SettingsArguments, tell, tell_aside},
    click_commands,
    config::{Config, Sources},
    domain_commands::{self, named_domain},
    log,
    operator::operator_call,
    own_files,
    serve::serve,
    stores::Backend,
    targets,
    unreadable::NotedRows,
};

/// Runs the command that the arguments name, and returns its exit code.
pub(crate) fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let config = load(&arguments.settings)?;
    match arguments.command.unwrap_or(Command::Serve) {
        Command::Serve => {
            targets::must_be_readable(&config.targets)?;
            run_server(&config)?;
        }
        Command::Migrate { action } => runtime()?.block_on(migrate(&config, action.unwrap_or(MigrateAction::Up)))?,
        Command::CheckConfig => check_config(&config)?,
        Command::CheckStore => runtime()?.block_on(check_store(&config))?,
        Command::Keys { action } => runtime()?.block_on(keys(&config, action))?,
        Command::Block { action } => runtime()?.block_on(block(&config, action))?,
        Command::Domains { action } => runtime()?.block_on(domain_commands::domains(&config, action))?,
        Command::Stats { code, domain, question, erase } => {
            let stats = click_commands::stats(&config, code.as_deref(), domain.as_deref(), &question, erase);
            runtime()?.block_on(stats)?;
        }
        Command::Spool { action } => return runtime()?.block_on(click_commands::spool(&config, action)),
        Command::Openapi { version } => {
            let version = if version == "3.0" { OpenApiVersion::V3_0 } else { OpenApiVersion::V3_1 };
            tell(&adapter_http::openapi_json(version))?;
        }
        Command::Health { ready } => return health(&config, ready),
    }
    Ok(ExitCode::SUCCESS)
}

fn load(arguments: &SettingsArguments) -> anyhow::Result<Config> {
    #[expect(clippy::disallowed_methods, reason = "this is the one place that reads the environment")]
    let environment = std::env::vars_os();
    let mut env = Vec::new();
    for (name, value) in environment {
        match (name.to_str(), value.to_str()) {
            (Some(name), Some(value)) => env.push((name.to_owned(), value.to_owned())),
            // Other variables may hold any bytes.
            _ if !name.as_encoded_bytes().starts_with(b"SIGNPOST_") => {}
            _ => bail!("{} (environment): is not UTF-8", name.to_string_lossy()),
        }
    }
    let sources = Sources {
        file: arguments.config(),
        default_file: PathBuf::from("signpost.toml"),
        env,
        overrides: arguments.overrides(),
        cores: available_parallelism().map_or(1, std::num::NonZero::get),
    };
    Ok(Config::load(sources)?)
}

/// A runtime for background tasks and store connections, with two threads. The HTTP workers have threads of their own.
fn runtime() -> anyhow::Result<Runtime> {
    Ok(Builder::new_multi_thread().worker_threads(2).enable_all().build()?)
}

fn run_server(config: &Config) -> anyhow::Result<()> {
    let (log, guard) = log::open(&config.log)?;
    let runtime = runtime()?;
    let outcome = runtime.block_on(serve(config, &log, guard.stats()));
    // Tasks that did not end in time are abandoned.
    runtime.shutdown_background();
    drop(guard);
    outcome
}

async fn migrate(config: &Config, action: MigrateAction) -> anyhow::Result<()> {
    let backend = Backend::of(&config.store, &tokio::runtime::Handle::current())?;
    match action {
        MigrateAction::Up => {
            let applied = backend.migrate().await?;
            for name in &applied {
                tell(&format!("applied {name}"))?;
            }
            if applied.is_empty() {
                tell("nothing to apply")?;
            }
        }
        MigrateAction::Status => {
            backend.must_exist()?;
            for line in backend.migrations().await? {
                tell(&format!("{} {}", if line.applied { "applied" } else { "missing" }, line.name))?;
            }
        }
        MigrateAction::Revert { yes: false } => {
            bail!(
                "this deletes whatever only the last migration knows, from {}; say --yes to do it",
                config.store.location
            )
        }
        MigrateAction::Revert { yes: true } => {
            backend.must_exist()?;
            match backend.revert().await? {
                Some(name) => tell(&format!("reverted {name}"))?,
                None => tell("nothing to revert")?,
            }
        }
    }
    Ok(())
}

fn check_config(config: &Config) -> anyhow::Result<()> {
    for setting in config.effective() {
        tell(&format!("{} = {}  # {}", setting.key, setting.value, setting.source))?;
    }
    own_files::read(&config.pages)?;
    targets::must_be_readable(&config.targets)
}

async fn check_store(config: &Config) -> anyhow::Result<()> {
    let backend = Backend::of(&config.store, &tokio::runtime::Handle::current())?;
    backend.must_exist()?;
    let faults = backend.faults().await?;
    for fault in &faults {
        tell(fault)?;
    }
    match faults.len() {
        0 => tell("nothing is wrong"),
        count => bail!("{count} findings about {}", config.store.location),
    }
}

async fn keys(config: &Config, action: KeysAction) -> anyhow::Result<()> {
    let backend = Backend::of(&config.store, &tokio::runtime::Handle::current())?;
    backend.must_be_migrated().await?;
    let store = backend.open(Arc::<NotedRows>::default())?;
    let keys = store.key_service();
    match action {
        KeysAction::Create { name, owner, scopes, domains: hosts, expires_at } => {
            let mut domains = Vec::new();
            for host in &hosts {
                domains.push(named_domain(&store, Some(host)).await?);
            }
            let new = NewKey {
                name: name.parse().context("--name")?,
                owner: owner.parse::<Owner>().context("--owner")?,
                scopes: Scopes::try_from(scopes).context("--scope")?,
                domains,
                expires_at: expires_at.map(|text| text.parse()).transpose().context("--expires-at")?,
            };
            if !new.domains.is_empty() && new.scopes.allow(Scope::Admin) {
                bail!("an administrator's key is not bound to short domains: leave out --domain");
            }
            let issued = keys.create(&operator_call(&new.owner), None, &new).await?;
            tell_aside(&format!(
                "key {} for owner {} in {}, shown this once:",
                issued.key.id, issued.key.owner, config.store.location
            ));
            tell(issued.secret.expose())
        }
        KeysAction::List => list_keys(&keys).await,
        KeysAction::Revoke { id } => {
            // An operator who revokes a leaked key may have only the key. Errors do not repeat it.
            let known = id.parse::<KeySecret>().map(|secret| secret.id()).or_else(|_| id.parse());
            let id: KeyId =
                known.ok().context("that is neither the id of a key nor a key: see `signpost keys list`")?;
            match keys.revoke(&operator_call(&Owner::default()), &id).await {
                Ok(()) => tell(&format!("revoked {id}")),
                Err(ServiceError::NotFound) => bail!("there is no key {id}"),
                Err(error) => Err(error.into()),
            }
        }
    }
}

async fn block(config: &Config, action: BlockAction) -> anyhow::Result<()> {
    let backend = Backend::of(&config.store, &tokio::runtime::Handle::current())?;
    backend.must_be_migrated().await?;
    let store = backend.open(Arc::<NotedRows>::default())?;
    let blocks = store.block_service();
    let (kind, value, why) = match action {
        BlockAction::Code { code, why } => ("code", code, why),
        BlockAction::Host { host, why } => ("host", host, why),
        BlockAction::Owner { owner, why } => ("owner", owner, why),
        BlockAction::List { all } => return list_blocks(&blocks, all).await,
        BlockAction::Lift { id } => {
            let id: Uuid = id.parse().ok().context("that is no id of a takedown: see `signpost block list`")?;
            return match blocks.lift(&operator_call(&Owner::default()), &id).await {
                Ok(()) => tell(&format!("lifted {id}")),
                Err(ServiceError::NotFound) => bail!("there is no takedown {id}"),
                Err(error) => Err(error.into()),
            };
        }
    };
    // A code on another short domain than the default one: `go.example/promo`.
    let (host, word) = match value.split_once('/').filter(|_| kind == "code") {
        Some((host, code)) => (Some(host), code),
        None => (None, value.as_str()),
    };
    let domain = named_domain(&store, host).await?;
    let subject = Subject::parse(kind, word, domain).with_context(|| format!("{kind} {value}"))?;
    let reason = why.reason.parse().context("--reason")?;
    let (block, added) = blocks.block(&operator_call(&Owner::default()), subject, reason).await?;
    tell(&format!("{} {}", if added { "blocked" } else { "blocked before:" }, block_line(&block)))?;
    // A block may be meant for a future link, but a typo must not look like a takedown. If the lookup fails, no note is
    // printed.
    if let Ok(false) = store.has_links_of(&block.subject).await {
        tell_aside(&format!("note: there is no link of the {kind} {value} yet; upper and lower case differ"));
    }
    Ok(())
}

async fn list_blocks(blocks: &BlockService, lifted_too: bool) -> anyhow::Result<()> {
    tell("ID  SINCE  BY  KIND  VALUE  STATE  REASON")?;
    let mut after = None;
    loop {
        let (page, next) = blocks.list(lifted_too, after.as_ref(), 100).await?;
        for block in &page {
            tell(&block_line(block))?;
        }
        match next {
            Some(position) => after = Some(position),
            None => return Ok(()),
        }
    }
}

fn block_line(block: &Block) -> String {
    let Block { id, subject, created_at, created_by, .. } = block;
    let state = block.lifted.as_ref().map_or_else(|| "in force".to_owned(), |l| format!("lifted {} by {}", l.at, l.by));
    let (kind, value) = (subject.kind(), subject.value());
    format!("{id}  {created_at}  {created_by}  {kind}  {value}  {state}  {}", block.reason.as_str())
}

async fn list_keys(keys: &KeyService) -> anyhow::Result<()> {
    const HEADINGS: [&str; 7] = ["ID", "CREATED", "OWNER", "SCOPES", "STATE", "LAST USED", "NAME"];
    tell(&HEADINGS.join("  "))?;
    let mut after = None;
    loop {
        let (page, next) = keys.list(after.as_ref(), 100).await?;
        for key in &page {
            tell(&key_line(key))?;
        }
        match next {
            Some(position) => after = Some(position),
            None => return Ok(()),
        }
    }
}

fn key_line(key: &ApiKey) -> String {
    let state = match (key.revoked_at, key.expires_at) {
        (Some(at), _) => format!("revoked {at}"),
        (None, Some(at)) => format!("until {at}"),
        (None, None) => "live".to_owned(),
    };
    let scopes = key.scopes.names().join(",");
    let used = key.last_used_at.map_or_else(|| "never".to_owned(), |at| at.to_string());
    format!("{}  {}  {}  {scopes}  {state}  {used}  {}", key.id, key.created_at, key.owner, key.name.as_str())
}

/// Queries the server at `http.bind` of these settings with a minimal HTTP client. Timeout: 3 s.
fn health(config: &Config, ready: bool) -> anyhow::Result<ExitCode> {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let bind = config.http.bind;
    let here = match bind.ip() {
        IpAddr::V4(any) if any.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(any) if any.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        other => other,
    };
    let address = SocketAddr::new(here, bind.port());
    let path = if ready { "/readyz" } else { "/health" };
    let asking = || {
        let mut stream = TcpStream::connect_timeout(&address, TIMEOUT)?;
        stream.set_read_timeout(Some(TIMEOUT))?;
        write!(stream, "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n")?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer)?;
        io::Result::Ok(answer)
    };
    let answer = asking().map_err(|error| match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => anyhow!("it did not answer in time"),
        _ => error.into(),
    });
    let answer = answer.with_context(|| format!("no answer from http://{address}{path}"))?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer is not HTTP")?;
    tell(body.trim_end())?;
    let works = head.starts_with("HTTP/1.1 200 ");
    Ok(if works { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
