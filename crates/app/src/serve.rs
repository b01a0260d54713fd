//! The server: start, readiness, drain and shutdown.

use std::{
    future::pending,
    io::{self, IsTerminal},
    net::TcpListener,
    sync::Arc,
    time::Duration,
};

use adapter_http::{
    ClickSettings, CurrentPolicy, InheritedCodes, Origins, PATH_WORDS, Phase, ServerOptions, Settings, Tasks,
};
use anyhow::{Context, bail};
use domain::{
    ports::Clock,
    service::{BlockService, DomainService},
};
use slog::{Logger, info, o, warn};
use tokio::{
    signal::unix::{Signal, SignalKind, signal},
    task::JoinSet,
    time::{sleep, timeout},
};

use crate::{
    admin_key,
    block_file::BlockFile,
    cli::tell_aside,
    clicks::{self, Clicks},
    config::{AnonymousAccess, Config},
    domain_commands::public_host,
    effects::SystemClock,
    listener::{self, LAST_CALL},
    log::LogStats,
    metrics::Sources,
    ops_server::OpsListener,
    own_files::{self, OwnFiles},
    sole_server::SoleServer,
    stores::{Backend, Store},
    supervisor::Supervisor,
    targets::Targets,
    tasks::{Following, watch_over},
    unreadable::LoggedRows,
};

/// Longest pause between two attempts to prepare the store at the start.
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// How long closing the store may take. With the drain and the open requests it fits into the 30 s of orchestrators.
const LONGEST_CLOSE: Duration = Duration::from_secs(3);

/// Serves until a signal asks it to stop; then drains, finishes open requests, and returns.
pub(crate) async fn serve(config: &Config, log: &Logger, log_stats: LogStats) -> anyhow::Result<()> {
    let started = SystemClock.now();
    log_panics(log.clone());
    let mut stop = Stop::listen()?;
    let own_files = own_files::read(&config.pages)?;
    let listener = listener::bind(config)?;
    let address = listener.local_addr()?;
    let last_call = listener.try_clone()?;
    let ops = OpsListener::bind(config, log)?;
    let ops_address = ops.shown_address()?;
    let backend = Backend::of(&config.store, &tokio::runtime::Handle::current())?;
    let _sole = backend.file().map(|file| SoleServer::of(file, address, log)).transpose()?;
    if !backend.is_remote() {
        migrate(&backend, config, log).await?;
    }
    let store = Arc::new(backend.open(Arc::new(LoggedRows::new(log.new(o!()))))?.shared(config, log)?);
    warn_of_unused_redis(&store, config, log);
    if !backend.is_remote() {
        announce_admin_key(&store, config, log).await?;
    }

    let supervisor = Supervisor::new(Arc::new(SystemClock), log);
    let targets = Targets::load(config, log)?;
    let phase = Phase::default();
    let memory = store.remembered(config, log);
    let clicks = Clicks::open(config, store.clicks.clone(), log)?;
    let services = store.services(config, memory.clone(), clicks.services());
    let (blocks, domains) = (services.blocks.clone(), services.domains.clone());
    let block_file = BlockFile::load(config.blocks_file.clone(), blocks.blocked().clone(), log)
        .with_context(|| format!("blocks.file {}", config.blocks_file.display()))?;
    know_what_is_local(&backend, &domains, &blocks, config).await?;
    let inherited = InheritedCodes::default();
    let (server, handle, status) = adapter_http::serve(
        listener,
        &server_options(config),
        services,
        settings(config, targets.policy(), Arc::new(supervisor.clone()), inherited.clone(), own_files),
        phase.clone(),
        log.new(o!()),
    )?;
    let mut serving = tokio::spawn(server);
    let following = Following::default();
    let sources = Sources {
        server: status.clone(),
        store: Arc::clone(&store),
        cache: memory.clone(),
        blocked: blocks.blocked().clone(),
        hosts: targets.listed(),
        clicks: clicks.clone(),
        following: following.clone(),
        supervisor: supervisor.clone(),
        log: log_stats,
        started,
    };
    let ops = ops.start(status, sources)?;
    info!(log, "listening on http://{}, short addresses begin with {}, ops listener {}", address, config.public_url, ops_address;
        "event.name" => "server.listening", "server.address" => %address, "ops.address" => &ops_address,
        "public_url" => &config.public_url, "store" => %config.store.location);

    let mut preparing = JoinSet::new();
    {
        let start = Start {
            backend,
            store: Arc::clone(&store),
            blocks: blocks.clone(),
            domains: domains.clone(),
            inherited,
            clicks: clicks.clone(),
            config: config.clone(),
            log: log.clone(),
        };
        preparing.spawn(start.prepare(following.clone(), phase.clone()));
    }
    watch_over(&supervisor, &store, &memory, &following, (domains, blocks), (block_file, targets), log);
    let shipper = clicks::watch_over(&supervisor, &clicks, log);

    let signal = tokio::select! {
        signal = stop.next() => signal,
        // The server ended without a signal. Without it nothing is served.
        ended = &mut serving => {
            ended.context("the server panicked")??;
            bail!("the server ended by itself");
        }
        // Without this task the process never becomes ready. Once it is done, this waits without end.
        () = ends_badly(&mut preparing) => bail!("the start panicked"),
    };
    phase.begin_draining();
    let finishing = async {
        handle.stop(true).await;
        serving.await.context("the server panicked")
    };
    let cut = drain(signal, &mut stop, config, last_call, finishing, log).await?;
    preparing.abort_all();
    supervisor.stop();
    if !cut {
        if let Some(shipper) = shipper {
            clicks::ship_the_last(&clicks, &shipper, log).await;
        }
        close(store, clicks, log).await;
    }
    ops.stop().await;
    info!(log, "stopped"; "event.name" => "server.stopped");
    Ok(())
}

fn warn_of_unused_redis(store: &Store, config: &Config, log: &Logger) {
    if config.redis.url.is_some() && store.shared.is_none() {
        warn!(log, "redis.url has no effect: processes share nothing on SQLite"; "event.name" => "redis.ignored");
    }
}

/// Drains after `signal`, then finishes the open requests. Returns whether a second signal cut that short.
async fn drain(
    signal: &'static str,
    stop: &mut Stop,
    config: &Config,
    last_call: TcpListener,
    finishing: impl Future<Output = anyhow::Result<io::Result<()>>>,
    log: &Logger,
) -> anyhow::Result<bool> {
    // A server that is interrupted at a terminal has no probes that must see it unready first.
    let drain =
        if signal == Stop::INTERRUPT && io::stderr().is_terminal() { Duration::ZERO } else { config.http.drain };
    info!(log, "{} received: draining for {:?}, then finishing; a second signal stops at once", signal, drain;
        "event.name" => "server.draining");
    let draining = async {
        stop_listening(drain, last_call, log).await;
        finishing.await
    };
    tokio::select! {
        served = draining => Ok(served?.map(|()| false)?),
        signal = stop.next() => {
            info!(log, "{} received again: open requests are aborted", signal; "event.name" => "server.drain_aborted");
            Ok(true)
        }
    }
}

/// Serves on for the drain. After it, connections that wait in the backlog are accepted, and new ones are ignored.
async fn stop_listening(drain: Duration, last_call: TcpListener, log: &Logger) {
    sleep(drain).await;
    if drain.is_zero() {
        return;
    }
    if let Err(error) = listener::ignore_new_connections(&last_call) {
        warn!(log, "connections that arrive while the listener closes may be reset: {}", error; "event.name" => "listener.filter_failed");
    }
    sleep(LAST_CALL).await;
}

/// Closes the store and the spool. What takes longer than `LONGEST_CLOSE` is left as a crash would leave it, which loses
/// nothing either.
async fn close(store: Arc<Store>, clicks: Clicks, log: &Logger) {
    let closing = tokio::task::spawn_blocking(move || {
        store.close();
        if let Some(spool) = &clicks.spool {
            spool.close();
        }
    });
    if timeout(LONGEST_CLOSE, closing).await.is_err() {
        warn!(log, "the store did not close in time"; "event.name" => "store.close_timeout");
    }
}

/// Signals that ask the process to end.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    const INTERRUPT: &str = "SIGINT";

    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => Self::INTERRUPT,
        }
    }
}

fn server_options(config: &Config) -> ServerOptions {
    ServerOptions {
        workers: config.http.workers,
        max_connections: config.http.max_connections,
        keep_alive: config.http.keep_alive,
        head_timeout: config.http.head_timeout,
        answer_timeout: config.http.answer_timeout,
        shutdown_timeout: config.http.shutdown_timeout,
    }
}

fn settings(
    config: &Config,
    targets: CurrentPolicy,
    tasks: Arc<dyn Tasks>,
    inherited: InheritedCodes,
    own_files: OwnFiles,
) -> Settings {
    Settings {
        public_url: config.public_url.clone(),
        unknown_host: config.unknown_host,
        landing_url: config.landing_url.clone(),
        targets,
        cors_origins: Origins::of(&config.http.cors_origins),
        crawlable: config.pages.crawlable,
        well_known: own_files.well_known,
        pages: Arc::new(config.pages.own.clone()),
        clicks: ClickSettings {
            respect_opt_out: config.clicks.respect_opt_out,
            ignored: config.clicks.ignore_networks.clone(),
        },
        qr_logo: own_files.qr_logo,
        anonymous_may_claim: match config.auth {
            AnonymousAccess::Off => false,
            AnonymousAccess::Shorten => true,
        },
        proxies: config.proxies.clone(),
        quotas: config.limits.enabled.then_some(config.limits.quotas),
        processes: config.limits.processes,
        store_connections: config.store.pool_size,
        request_timeout: config.http.request_timeout,
        redirect_timeout: config.http.redirect_timeout,
        body_timeout: config.http.body_timeout,
        tasks,
        inherited,
    }
}

/// Returns only if the start panics.
async fn ends_badly(preparing: &mut JoinSet<()>) {
    match preparing.join_next().await {
        Some(Err(_panicked)) => {}
        Some(Ok(())) | None => pending().await,
    }
}

/// Prepares the store for serving, and retries until the store is reachable.
struct Start {
    backend: Backend,
    store: Arc<Store>,
    blocks: BlockService,
    domains: DomainService,
    inherited: InheritedCodes,
    clicks: Clicks,
    config: Config,
    log: Logger,
}

impl Start {
    async fn prepare(self, following: Following, phase: Phase) {
        let (log, mut pause) = (&self.log, Duration::from_millis(100));
        while let Err(error) = self.prepare_store().await {
            warn!(log, "the store is not usable yet"; "event.name" => "store.unavailable",
                "error.message" => format!("{error:#}"), "retry_ms" => pause.as_millis());
            sleep(pause).await;
            pause = LONGEST_RETRY.min(pause * 2);
        }
        // The change feed cannot be read before the store is prepared. Lookups before the feed is in sync are not
        // cached, so readiness waits for the feed, for up to `LONGEST_RETRY`.
        following.may_begin.send_replace(true);
        let mut has_begun = following.has_begun.subscribe();
        let waiting = timeout(LONGEST_RETRY, has_begun.wait_for(|begun| *begun));
        if waiting.await.is_err() {
            warn!(log, "ready, but the change feed is not synced yet"; "event.name" => "store.feed_pending");
        }
        phase.become_ready();
        info!(log, "ready"; "event.name" => "server.ready");
    }

    async fn prepare_store(&self) -> anyhow::Result<()> {
        let Self { backend, store, config, log, .. } = self;
        if backend.is_remote() {
            migrate(backend, config, log).await?;
            store.ping.ping().await?;
            // No redirect before short domains and blocklist are known.
            know_domains(&self.domains, config).await?;
            self.blocks.refresh().await?;
            announce_admin_key(store, config, log).await?;
        }
        // Clicks before that have no visitor.
        clicks::refresh_salts(&self.clicks).await?;
        let addresses = store.addresses.with_codes(&PATH_WORDS).await?;
        self.inherited.learn(addresses.iter().filter_map(|address| address.parse().ok()).collect());
        Ok(())
    }
}

/// Reads the short domains. Fails if the public URL names another one than the default short domain: its links would
/// then have two addresses, and those of the default one none.
async fn know_domains(domains: &DomainService, config: &Config) -> anyhow::Result<()> {
    let all = domains.all().await?;
    match public_host(config).filter(|host| all.at(host.as_str()).is_some()) {
        Some(host) => bail!("public_url names {host}, which is a short domain of its own: see `signpost domains list`"),
        None => Ok(()),
    }
}

/// Reads what a store of the same machine can tell at once, before the first request.
async fn know_what_is_local(
    backend: &Backend,
    domains: &DomainService,
    blocks: &BlockService,
    config: &Config,
) -> anyhow::Result<()> {
    if !backend.is_remote() {
        know_domains(domains, config).await?;
        blocks.refresh().await?;
    }
    Ok(())
}

async fn migrate(backend: &Backend, config: &Config, log: &Logger) -> anyhow::Result<()> {
    if config.store.migrate {
        for name in backend.migrate().await? {
            info!(log, "migration `{}` applied", name; "event.name" => "store.migrated", "migration" => &name);
        }
    }
    Ok(())
}

/// Creates the first admin key if there is none. The secret is printed at a terminal only: standard error may end up in
/// a log.
async fn announce_admin_key(store: &Store, config: &Config, log: &Logger) -> anyhow::Result<()> {
    if let Some(new) = admin_key::ensure(&store.key_service(), &config.data_dir).await? {
        let file = new.file.display().to_string();
        info!(log, "admin key made, kept in {}", file; "event.name" => "api_key.created",
            "api_key.id" => %new.secret.id(), "file" => &file);
        if io::stderr().is_terminal() {
            tell_aside(&format!("\n  admin API key, kept in {file}:\n\n  {}\n", new.secret.expose()));
        } else {
            tell_aside(&format!("the admin API key is in {file}"));
        }
    }
    Ok(())
}

/// Logs every panic with its location, but without its message, which may hold data of the code that panicked.
fn log_panics(log: Logger) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        slog::error!(log, "a thread panicked at {}", place; "event.name" => "panic", "code.location" => &place);
    }));
}
