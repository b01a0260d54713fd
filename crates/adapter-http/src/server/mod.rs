//! The server: listener, workers, the stream guard, the pipeline, and the application behind it.
//!
//! | file         | holds                                         |
//! |--------------|-----------------------------------------------|
//! | `mod`        | how they are put together                     |
//! | `pipeline`   | the steps of every request                    |
//! | `access_log` | the log line of each request, which counts it |
//! | `status`     | what a running server can tell of itself      |
//! | `ops_listener` | metrics and health on an address of their own |

pub(crate) mod access_log;
mod ops_listener;
mod pipeline;
mod status;

use std::{
    io, mem,
    net::TcpListener,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use actix_http::HttpService;
use actix_server::{Server, ServerHandle};
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App,
    body::BoxBody,
    dev::{AppConfig, ServiceFactory, ServiceRequest, ServiceResponse},
    rt::net::TcpStream,
    web,
};
use slog::Logger;
use utoipa_actix_web::AppExt;
use uuid::Uuid;

use self::pipeline::PipelineFactory;
pub use self::{
    ops_listener::{Scrape, ScrapeFormat, serve_ops},
    status::{ConcurrencyStatus, ConnectionStatus, FailedShares, ServerStatus},
};
use crate::{
    limits::{
        Limits,
        concurrency::CallLimits,
        memory::{MemoryBudget, OwnShare},
    },
    metrics::RequestCounters,
    ops::probe::Probers,
    request::{
        body_room::Bodies,
        domain_reads::DomainReads,
        methods::{RouteTable, nothing_there},
        public_url::PublicUrl,
        state::{Phase, Services, Settings, State},
        store_outcomes::StoreOutcomes,
    },
    response::body::{REFILLED_BELOW, UNTAKEN},
    routes::{
        openapi::{document, route_table, shaped, written},
        routes,
    },
    site::{docs::Documents, front::WellKnown},
    wire::{GuardedStream, LINGER, WireLimits},
};

/// How the server listens.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Threads that serve connections.
    pub workers: usize,
    /// Most connections at once, over all workers.
    pub max_connections: usize,
    /// How long a connection may stay idle between requests.
    pub keep_alive: Duration,
    /// Timeout of receiving the head of a request.
    pub head_timeout: Duration,
    /// How long a client may take for each 16 KiB of an answer.
    pub answer_timeout: Duration,
    /// Timeout of finishing open requests when the server stops.
    pub shutdown_timeout: Duration,
}

/// Most bytes of the head of a request.
const HEAD_LIMIT: usize = 16 * 1024;
/// Most header fields of a request.
const HEADER_LIMIT: usize = 100;

/// Starts to serve on `listener`. The server runs while its future is polled. Handling signals is left to the caller.
/// The status tells what the server does.
pub fn serve(
    listener: TcpListener,
    options: &ServerOptions,
    services: Services,
    settings: Settings,
    phase: Phase,
    log: Logger,
) -> io::Result<(Server, ServerHandle, ServerStatus)> {
    let limits = WireLimits {
        head_bytes: HEAD_LIMIT,
        headers: HEADER_LIMIT,
        head_timeout: options.head_timeout,
        // For bodies that no handler reads. Later than the timeout of handlers, whose answer says what was late.
        body_timeout: settings.body_timeout + Duration::from_secs(1),
        answer_timeout: options.answer_timeout,
    };
    let shared = Shared::new(services, settings, phase, log);
    let status = ServerStatus {
        state: shared.state.clone(),
        probers: shared.probers.clone(),
        counters: RequestCounters::default(),
        connections: Arc::default(),
        max_connections: options.max_connections,
    };
    let (counters, connections) = (status.counters.clone(), Arc::clone(&status.connections));
    let keep_alive = options.keep_alive;
    let builder = Server::build()
        .workers(options.workers)
        .max_concurrent_connections(options.max_connections.div_ceil(options.workers))
        .shutdown_timeout(options.shutdown_timeout.as_secs().max(1))
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder
        .listen("http", listener, move || {
            let (shared, stopping) = (shared.clone(), stopping.clone());
            let nonce = Arc::clone(&shared.state.rejection_nonce);
            let (counters, connections) = (counters.clone(), Arc::clone(&connections));
            let guard = fn_service(move |stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                // Small answers must not wait for a full packet. If this fails, they are only slower.
                let _slower = stream.set_nodelay(true);
                let guarded = GuardedStream::new(stream, limits, Arc::clone(&nonce)).counted_by(connections.clone());
                async move { Ok::<_, actix_http::error::DispatchError>((guarded, peer)) }
            });
            let http = HttpService::build()
                .keep_alive(keep_alive)
                // The stream guard has a timer for every head, not only the first.
                .client_request_timeout(Duration::ZERO)
                // The stream guard closes the connection earlier.
                .client_disconnect_timeout(LINGER + Duration::from_secs(1))
                .h1_write_buffer_size(REFILLED_BELOW)
                .on_connect_ext(|stream: &GuardedStream<TcpStream>, data| drop(data.insert(stream.flow())))
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .h1(PipelineFactory {
                    app: map_config(app(&shared), |()| AppConfig::default()),
                    state: shared.state,
                    counters,
                });
            guard.and_then(http)
        })?
        .run();
    let handle = server.handle();
    Ok((server, handle, status))
}

/// What all workers share.
#[derive(Clone)]
struct Shared {
    state: web::Data<State>,
    routes: web::Data<RouteTable>,
    documents: web::Data<Documents>,
    probers: web::Data<Probers>,
    well_known: web::Data<WellKnown>,
}

impl Shared {
    fn new(services: Services, mut settings: Settings, phase: Phase, log: Logger) -> Self {
        let mut nonce = [0; 16];
        services.entropy.fill(&mut nonce);
        let mut document = document();
        let limits = Arc::new(Limits::new(settings.quotas, services.shared_limiter.clone(), settings.processes));
        limits.keep_swept();
        let well_known = WellKnown::new(mem::take(&mut settings.well_known));
        let state = State {
            warned_of_proxy: AtomicBool::new(false),
            warned_of_host: AtomicBool::new(false),
            domain_reads: DomainReads::default(),
            public_url: PublicUrl::of(&settings.public_url),
            untaken: MemoryBudget::new(UNTAKEN, OwnShare::Replace, &log),
            bodies: Bodies::new(&log),
            calls: CallLimits::new(settings.store_connections),
            outcomes: StoreOutcomes::new(),
            rejection_nonce: Uuid::from_bytes(nonce).simple().to_string().into(),
            services,
            settings,
            phase,
            limits,
            log,
        };
        Self {
            state: web::Data::new(state),
            routes: web::Data::new(route_table(&mut document)),
            documents: web::Data::new(Documents::new(written(&document), &shaped(&document))),
            probers: web::Data::default(),
            well_known: web::Data::new(well_known),
        }
    }
}

/// The application. Each worker makes its own.
fn app(
    shared: &Shared,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = actix_web::Error,
        InitError = (),
    > + use<>,
> {
    App::new()
        .into_utoipa_app()
        .app_data(shared.state.clone())
        .app_data(shared.routes.clone())
        .app_data(shared.documents.clone())
        .app_data(shared.probers.clone())
        .app_data(shared.well_known.clone())
        .configure(routes)
        .default_service(web::to(nothing_there))
        .into_app()
}
