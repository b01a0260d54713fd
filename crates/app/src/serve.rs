//! Serving: from the first byte on the listener to the last one written before the process ends.

use std::{net::TcpListener, sync::Arc, time::Duration};

use adapter_http::{CurrentPolicy, Phase, ServerOptions, Settings};
use adapter_redis::SharedMemory;
use anyhow::{Context, bail};
use domain::{
    idempotency::IDEMPOTENCY_WINDOW_SECONDS,
    ports::{ChangeFeed, ChangeSubscriber, Clock, IdempotencyRepository, Identify},
    service::BlockService,
};
use slog::{Logger, debug, info, o, warn};
use tokio::{
    net::TcpSocket,
    signal::unix::{Signal, SignalKind, signal},
    time::{sleep, timeout},
};

use crate::{
    admin_key,
    cli::tell_aside,
    config::{AnonymousAccess, Config},
    effects::SystemClock,
    stores::{Backend, Store},
    targets::Targets,
};

/// Connections that may wait to be accepted.
const BACKLOG: u32 = 1024;
/// Longest wait between two attempts to reach the store at the start.
const LONGEST_RETRY: Duration = Duration::from_secs(2);
/// Most time for closing the store. With the drain and the open requests it fits into the 30 s of orchestrators.
const LONGEST_CLOSE: Duration = Duration::from_secs(3);
/// How often answers nobody can ask for any more are deleted.
const HOUSEKEEPING: Duration = Duration::from_mins(15);

/// Serves until it is told to stop; then drains, finishes what is open, and returns.
pub(crate) async fn serve(config: &Config, log: &Logger) -> anyhow::Result<()> {
    log_panics(log.clone());
    let mut stop = Stop::listen()?;
    let listener = bind(config)?;
    let address = listener.local_addr()?;
    let backend = Backend::of(&config.store, &tokio::runtime::Handle::current())?;
    if !backend.is_remote() {
        migrate(&backend, config, log).await?;
    }
    let store = Arc::new(backend.open()?.shared(config, log)?);
    if config.redis.url.is_some() && store.shared.is_none() {
        warn!(log, "redis.url is not used: nothing is shared on SQLite"; "event.name" => "redis.unused");
    }
    if !backend.is_remote() {
        announce_admin_key(&store, config, log).await?;
    }

    let targets = Targets::load(config, log)?;
    let phase = Phase::default();
    let memory = store.remembered(config, log);
    let services = store.services(config, memory.clone());
    let blocks = services.blocks.clone();
    if !backend.is_remote() {
        blocks.refresh().await?;
    }
    let (server, handle) = adapter_http::serve(
        listener,
        &server_options(config),
        services,
        settings(config, targets.policy()),
        phase.clone(),
        log.new(o!()),
    )?;
    let mut serving = tokio::spawn(server);
    info!(log, "listening on http://{}, short addresses begin with {}", address, config.public_url;
        "event.name" => "server.listening", "server.address" => %address, "public_url" => &config.public_url,
        "store" => %config.store.location);

    let knowing = {
        let (memory, codes) = (memory.clone(), store.codes.clone());
        tokio::spawn(async move { memory.keep_codes_known(codes.as_ref()).await })
    };
    let subscriber: Arc<dyn ChangeSubscriber> = Arc::new(memory);
    let listening = tokio::spawn(hear_of_changes(store.changes.clone(), subscriber.clone(), log.clone()));
    let sharing = tokio::spawn(share(store.shared.clone(), subscriber));
    let preparing = {
        let (store, blocks) = (Arc::clone(&store), blocks.clone());
        tokio::spawn(prepare(backend, store, blocks, config.clone(), phase.clone(), log.clone()))
    };
    let refreshing = tokio::spawn(keep_blocks(blocks, log.clone()));
    let watching = tokio::spawn(targets.keep_up_to_date());
    let housekeeping = tokio::spawn(keep_house(store.answers.clone(), log.clone()));

    let signal = tokio::select! {
        signal = stop.next() => signal,
        // Nobody told it to stop, and without it nothing is served.
        ended = &mut serving => {
            ended.context("the server panicked")??;
            bail!("the server ended by itself");
        }
    };
    phase.begin_draining();
    info!(log, "{} received: draining for {:?}, then finishing; a second signal stops at once", signal, config.http.drain;
        "event.name" => "server.draining");
    let finishing = async {
        sleep(config.http.drain).await;
        handle.stop(true).await;
        serving.await.context("the server panicked")
    };
    let cut = tokio::select! {
        served = finishing => served?.map(|()| false)?,
        signal = stop.next() => {
            info!(log, "{} received again: open requests are cut", signal; "event.name" => "server.cut");
            true
        }
    };
    for task in [knowing, listening, sharing, preparing, refreshing, watching, housekeeping] {
        task.abort();
    }
    if !cut {
        close(store, log).await;
    }
    info!(log, "stopped"; "event.name" => "server.stopped");
    Ok(())
}

/// A store that takes longer is left as it is, as a crash would leave it: it loses nothing either.
async fn close(store: Arc<Store>, log: &Logger) {
    let closing = tokio::task::spawn_blocking(move || store.close());
    if timeout(LONGEST_CLOSE, closing).await.is_err() {
        warn!(log, "the store is not closed in time"; "event.name" => "store.not_closed");
    }
}

/// Signals that ask the process to end.
struct Stop {
    terminate: Signal,
    interrupt: Signal,
}

impl Stop {
    fn listen() -> anyhow::Result<Self> {
        Ok(Self { terminate: signal(SignalKind::terminate())?, interrupt: signal(SignalKind::interrupt())? })
    }

    async fn next(&mut self) -> &'static str {
        tokio::select! {
            _ = self.terminate.recv() => "SIGTERM",
            _ = self.interrupt.recv() => "SIGINT",
        }
    }
}

fn bind(config: &Config) -> anyhow::Result<TcpListener> {
    let bind = config.http.bind;
    let listening = || {
        let socket = if bind.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_reuseaddr(true)?;
        socket.bind(bind)?;
        socket.listen(BACKLOG)?.into_std()
    };
    listening().with_context(|| format!("cannot listen on {bind} (http.bind)"))
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

fn settings(config: &Config, targets: CurrentPolicy) -> Settings {
    Settings {
        public_url: config.public_url.clone(),
        landing_url: config.landing_url.clone(),
        targets,
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
    }
}

/// Brings the store to where it can serve, however long it takes to appear.
async fn prepare(backend: Backend, store: Arc<Store>, blocks: BlockService, config: Config, phase: Phase, log: Logger) {
    let mut pause = Duration::from_millis(100);
    while backend.is_remote()
        && let Err(error) = prepare_remote(&backend, &store, &blocks, &config, &log).await
    {
        warn!(log, "the store is not usable yet"; "event.name" => "store.unavailable",
            "error.message" => format!("{error:#}"), "retry_ms" => pause.as_millis());
        sleep(pause).await;
        pause = LONGEST_RETRY.min(pause * 2);
    }
    phase.become_ready();
    info!(log, "ready"; "event.name" => "server.ready");
}

async fn prepare_remote(
    backend: &Backend,
    store: &Store,
    blocks: &BlockService,
    config: &Config,
    log: &Logger,
) -> anyhow::Result<()> {
    migrate(backend, config, log).await?;
    store.ping.ping().await?;
    // Whoever sends traffic here must not be led to what is taken down.
    blocks.refresh().await?;
    announce_admin_key(store, config, log).await
}

async fn migrate(backend: &Backend, config: &Config, log: &Logger) -> anyhow::Result<()> {
    if config.store.migrate {
        for name in backend.migrate().await? {
            info!(log, "migration `{}` applied", name; "event.name" => "store.migrated", "migration" => &name);
        }
    }
    Ok(())
}

/// Learns of takedowns by others, for ever. While the store does not answer, what is known stays in force.
async fn keep_blocks(blocks: BlockService, log: Logger) {
    const PAUSE: Duration = Duration::from_secs(1);
    loop {
        if let Err(error) = blocks.refresh().await {
            debug!(log, "what is blocked is not known anew"; "event.name" => "blocks.not_read",
                "error.message" => error.to_string());
        }
        sleep(PAUSE).await;
    }
}

/// The secret goes to the person at the terminal, never into the log.
async fn announce_admin_key(store: &Store, config: &Config, log: &Logger) -> anyhow::Result<()> {
    if let Some(new) = admin_key::ensure(&store.key_service(), &config.data_dir).await? {
        let file = new.file.display().to_string();
        info!(log, "admin key made, kept in {}", file; "event.name" => "api_key.created",
            "api_key.id" => %new.secret.id(), "file" => &file);
        tell_aside(&format!("\n  admin API key, shown this once and kept in {file}:\n\n  {}\n", new.secret.expose()));
    }
    Ok(())
}

/// Hears of what other processes change, and begins again whenever that breaks off.
async fn hear_of_changes(changes: Arc<dyn ChangeFeed>, subscriber: Arc<dyn ChangeSubscriber>, log: Logger) {
    const PAUSE: Duration = Duration::from_millis(500);
    loop {
        let error = changes.subscribe(subscriber.clone()).await;
        debug!(log, "changes by other processes are not heard of"; "event.name" => "store.not_listening",
            "error.message" => format!("{:#}", anyhow::Error::from(error)));
        sleep(PAUSE).await;
    }
}

/// Keeps what processes share, if they share anything.
async fn share(shared: Option<(SharedMemory, Arc<dyn Identify>)>, subscriber: Arc<dyn ChangeSubscriber>) {
    if let Some((shared, store)) = shared {
        shared.keep(store.as_ref(), subscriber).await;
    }
}

/// Deletes answers that are too old to be asked for.
async fn keep_house(answers: Arc<dyn IdempotencyRepository>, log: Logger) {
    loop {
        sleep(HOUSEKEEPING).await;
        let Some(moment) = SystemClock.now().plus_seconds(-IDEMPOTENCY_WINDOW_SECONDS) else {
            continue;
        };
        match answers.forget(moment).await {
            Ok(count) => {
                info!(log, "{} old answers forgotten", count; "event.name" => "answers.forgotten", "count" => count);
            }
            Err(error) => warn!(log, "old answers were not forgotten"; "event.name" => "answers.kept",
                "error.message" => format!("{:#}", anyhow::Error::from(error))),
        }
    }
}

/// A panic is a defect: it is told with its place, and without what the panicking code had in hand.
fn log_panics(log: Logger) {
    std::panic::set_hook(Box::new(move |panic| {
        let place = panic.location().map_or_else(|| "unknown".to_owned(), ToString::to_string);
        slog::error!(log, "a thread panicked at {}", place; "event.name" => "panic", "code.location" => &place);
    }));
}
