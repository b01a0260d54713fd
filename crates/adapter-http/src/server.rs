//! The server: listener, workers, the stream guard, and the application behind it.

use std::{
    io,
    net::TcpListener,
    sync::{Arc, atomic::AtomicBool},
    time::Duration,
};

use actix_http::HttpService;
use actix_server::{Server, ServerHandle};
use actix_service::{ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, HttpRequest, HttpResponse,
    body::BoxBody,
    dev::{AppConfig, ServiceFactory, ServiceRequest, ServiceResponse},
    http::{
        Method,
        header::{self, HeaderValue},
    },
    rt::net::TcpStream,
    web,
};
use bytes::Bytes;
use slog::Logger;
use tokio::sync::Semaphore;
use utoipa_actix_web::AppExt;
use uuid::Uuid;

use crate::{
    answer::{REFILLED_BELOW, UNTAKEN},
    body::Bodies,
    budget::{Budget, OwnShare},
    context::{Context, Gates},
    docs,
    door::Door,
    experience::Experience,
    fixed::Fixed,
    health::{Probers, not_ready},
    limits::Limits,
    observe::Observe,
    openapi::{RouteTable, document, routes, shaped, written},
    problem::{Problem, ProblemKind},
    state::{Phase, Services, Settings, State},
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
    /// Bound of receiving the head of a request.
    pub head_timeout: Duration,
    /// How long a client may take for each 16 KiB of an answer.
    pub answer_timeout: Duration,
    /// Bound of finishing open requests when the server stops.
    pub shutdown_timeout: Duration,
}

/// Most bytes of the head of a request.
const HEAD_LIMIT: usize = 16 * 1024;
/// Most header fields of a request.
const HEADER_LIMIT: usize = 100;

/// Most visitors who wait for the quota of unknown codes. More would cost more in looking again than the answer that they get.
const MOST_PATIENT: usize = 256;

/// Starts to serve on `listener`. The server runs while its future is polled; signals are the caller's.
pub fn serve(
    listener: TcpListener,
    options: &ServerOptions,
    services: Services,
    settings: Settings,
    phase: Phase,
    log: Logger,
) -> io::Result<(Server, ServerHandle)> {
    let limits = WireLimits {
        head_bytes: HEAD_LIMIT,
        headers: HEADER_LIMIT,
        head_timeout: options.head_timeout,
        // Later than the handler that reads the body, which can say what was late; for bodies nobody reads.
        body_timeout: settings.body_timeout + Duration::from_secs(1),
        answer_timeout: options.answer_timeout,
    };
    let state = web::Data::new(state(services, settings, phase, log));
    let keep_alive = options.keep_alive;
    let builder = Server::build()
        .workers(options.workers)
        .max_concurrent_connections(options.max_connections.div_ceil(options.workers))
        .shutdown_timeout(options.shutdown_timeout.as_secs().max(1))
        .disable_signals();
    let stopping = builder.graceful_shutdown_signal();
    let server = builder
        .listen("http", listener, move || {
            let (state, stopping) = (state.clone(), stopping.clone());
            let nonce = Arc::clone(&state.rejection_nonce);
            let guard = fn_service(move |stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                // Small answers must not wait for a full packet; without this they are only slower.
                let _slower = stream.set_nodelay(true);
                let guarded = GuardedStream::new(stream, limits, Arc::clone(&nonce));
                async move { Ok::<_, actix_http::error::DispatchError>((guarded, peer)) }
            });
            let http = HttpService::build()
                .keep_alive(keep_alive)
                // The stream guard has a timer for every head, not only the first.
                .client_request_timeout(Duration::ZERO)
                // The guard ends it earlier.
                .client_disconnect_timeout(LINGER + Duration::from_secs(1))
                .h1_write_buffer_size(REFILLED_BELOW)
                .on_connect_ext(|stream: &GuardedStream<TcpStream>, data| drop(data.insert(stream.flow())))
                .graceful_shutdown_signal(move || {
                    let stopping = stopping.clone();
                    async move { stopping.notified().await }
                })
                .h1(Door { inner: map_config(app(state.clone()), |()| AppConfig::default()), state });
            guard.and_then(http)
        })?
        .run();
    let handle = server.handle();
    Ok((server, handle))
}

fn state(services: Services, settings: Settings, phase: Phase, log: Logger) -> State {
    let mut nonce = [0; 16];
    services.entropy.fill(&mut nonce);
    let mut document = document();
    let limits = Arc::new(Limits::new(settings.quotas, services.meter.clone(), settings.processes));
    limits.keep_swept();
    State {
        routes: RouteTable::of(&mut document),
        openapi: Fixed::new(
            HeaderValue::from_static("application/json"),
            Bytes::from(written(&document).into_bytes().into_boxed_slice()),
        ),
        reader: docs::reader_page(&shaped(&document)),
        warned_of_proxy: AtomicBool::new(false),
        untaken: Budget::new(UNTAKEN, OwnShare::Replace, &log),
        bodies: Bodies::new(&log),
        services,
        phase,
        probers: Probers::default(),
        gates: Arc::new(Gates::new(settings.store_connections)),
        experience: Arc::new(Experience::new()),
        limits,
        patient: Semaphore::new(MOST_PATIENT),
        log,
        rejection_nonce: Uuid::from_bytes(nonce).simple().to_string().into(),
        settings,
    }
}

/// The application, as each worker makes it.
fn app(
    state: web::Data<State>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    App::new()
        .into_utoipa_app()
        .app_data(state.clone())
        .configure(routes)
        .default_service(web::to(nothing_there))
        .into_app()
        .wrap(Observe(state))
}

/// Nothing is at this path, or nothing for this method; or the request asks which methods there are.
pub(crate) async fn nothing_there(
    state: web::Data<State>,
    request: HttpRequest,
) -> Result<HttpResponse<BoxBody>, Problem> {
    // What proxies probe by default: one that is to get no traffic says so there too.
    if request.method() == Method::OPTIONS && matches!(request.path(), "/" | "*") && !state.phase.is_ready() {
        return Err(not_ready(state.phase.name()));
    }
    // A browser hides what it asked for behind a preflight that fails, so a wrong path or method is told by the request itself.
    if request.path().starts_with("/api/") && Context::of(&request).cross_origin.is_preflight(request.head()) {
        return Ok(tell_methods(&request, HeaderValue::from_static("GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")));
    }
    let allowed = state.routes.allowed(request.path()).ok_or_else(|| Problem::new(ProblemKind::NotFound))?;
    let allow = HeaderValue::from_str(&allowed).expect("methods are ASCII");
    if request.method() == Method::OPTIONS { Ok(tell_methods(&request, allow)) } else { Err(not_allowed(allow)) }
}

/// Which methods there are, also as the answer to a preflight.
pub(crate) fn tell_methods(request: &HttpRequest, allow: HeaderValue) -> HttpResponse {
    let mut answer = HttpResponse::NoContent();
    Context::of(request).cross_origin.tell_preflight(request.head(), &allow, &mut answer);
    answer.insert_header((header::ALLOW, allow)).finish()
}

pub(crate) fn not_allowed(allow: HeaderValue) -> Problem {
    Problem::new(ProblemKind::MethodNotAllowed).header(header::ALLOW, allow)
}
