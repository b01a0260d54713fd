//! The ops listener: metrics and health on an address of their own. Its worker has a thread and a runtime of its own, so
//! it answers while all workers of the main listener are busy.

use std::{io, net::TcpListener, panic::AssertUnwindSafe, sync::Arc, time::Duration};

use actix_http::{HttpService, Payload, Request, Response};
use actix_server::{Server, ServerHandle};
use actix_service::{ServiceFactoryExt, fn_service};
use actix_web::{
    HttpMessage as _, HttpResponse,
    body::BoxBody,
    http::{
        ConnectionType, Method,
        header::{self, HeaderMap, HeaderValue},
    },
    rt::{net::TcpStream, task::spawn_blocking},
};
use futures_util::FutureExt;
use tokio::{sync::Semaphore, time::timeout};

use super::{pipeline::rejection, status::ServerStatus};
use crate::{
    ops::health,
    problem::{Problem, ProblemKind},
    request::trace::{self, X_REQUEST_ID},
    wire::{GuardedStream, LINGER, WireLimits},
};

/// Most connections at once. A scraper needs one.
const MAX_CONNECTIONS: usize = 64;
/// Most bytes and header fields of a head.
const HEAD_BYTES: usize = 8 * 1024;
const HEADERS: usize = 64;
/// How long a connection may stay idle: longer than the pause between two scrapes.
const KEEP_ALIVE: Duration = Duration::from_secs(75);
/// How long a head, a body and the reading of an answer may take.
const TIMEOUT: Duration = Duration::from_secs(5);
/// Most scrapes at once. More are only there if one hangs.
const SCRAPES: usize = 4;

/// The formats of a scrape.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScrapeFormat {
    /// OpenMetrics 1.0.
    OpenMetrics,
    /// The text format of Prometheus, version 0.0.4.
    PrometheusText,
}

impl ScrapeFormat {
    /// The format for a client that accepts these media types. Prometheus asks for OpenMetrics first.
    fn accepted(headers: &HeaderMap) -> Self {
        let mut accepted = headers.get_all(header::ACCEPT).filter_map(|value| value.to_str().ok());
        if accepted.any(|value| value.contains("application/openmetrics-text")) {
            Self::OpenMetrics
        } else {
            Self::PrometheusText
        }
    }

    fn media_type(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::PrometheusText => "text/plain; version=0.0.4; charset=utf-8",
        })
    }
}

/// Makes the text of a scrape. It may block for a moment.
pub type Scrape = Arc<dyn Fn(ScrapeFormat) -> String + Send + Sync>;

/// What answers on the ops listener.
#[derive(Clone)]
struct Ops {
    server: ServerStatus,
    scrape: Scrape,
    scrapes: Arc<Semaphore>,
}

/// Starts to serve metrics and health on `listener`. The server runs while its future is polled.
pub fn serve_ops(listener: TcpListener, server: ServerStatus, scrape: Scrape) -> io::Result<(Server, ServerHandle)> {
    let limits = WireLimits {
        head_bytes: HEAD_BYTES,
        headers: HEADERS,
        head_timeout: TIMEOUT,
        body_timeout: TIMEOUT,
        answer_timeout: TIMEOUT,
    };
    let ops = Ops { server, scrape, scrapes: Arc::new(Semaphore::new(SCRAPES)) };
    let server = Server::build()
        .workers(1)
        .max_concurrent_connections(MAX_CONNECTIONS)
        .shutdown_timeout(1)
        .disable_signals()
        .listen("ops", listener, move || {
            let (ops, nonce) = (ops.clone(), Arc::clone(&ops.server.state.rejection_nonce));
            let guard = fn_service(move |stream: TcpStream| {
                let peer = stream.peer_addr().ok();
                let guarded = GuardedStream::new(stream, limits, Arc::clone(&nonce));
                async move { Ok::<_, actix_http::error::DispatchError>((guarded, peer)) }
            });
            let answering = fn_service(move |request: Request| {
                let ops = ops.clone();
                async move { Ok::<_, actix_web::Error>(ops.answer(request).await) }
            });
            let http = HttpService::build()
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(Duration::ZERO)
                .client_disconnect_timeout(LINGER + Duration::from_secs(1))
                .h1(answering);
            guard.and_then(http)
        })?
        .run();
    let handle = server.handle();
    Ok((server, handle))
}

impl Ops {
    async fn answer(&self, mut request: Request) -> Response<BoxBody> {
        let has_body = !matches!(request.take_payload(), Payload::None);
        let outcome = AssertUnwindSafe(self.route(&request)).catch_unwind().await;
        let outcome = outcome.unwrap_or_else(|_panicked| Err(Problem::new(ProblemKind::Internal)));
        let mut random = [0; trace::RANDOM_BYTES];
        self.server.state.services.entropy.fill(&mut random);
        let id = trace::request_id(request.headers(), &random);
        let mut answer = outcome.unwrap_or_else(|problem| problem.to_response(id.as_str(), Some(request.path())));
        let headers = answer.headers_mut();
        headers.insert(X_REQUEST_ID.clone(), HeaderValue::from_str(id.as_str()).expect("ids are plain ASCII"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if has_body {
            // It is not read.
            answer.head_mut().set_connection_type(ConnectionType::Close);
        }
        answer.into()
    }

    async fn route(&self, request: &Request) -> Result<HttpResponse, Problem> {
        let state = &self.server.state;
        if let Some(rejected) = rejection(request.headers(), &state.rejection_nonce) {
            return Err(rejected);
        }
        let path = request.path();
        if !matches!(path, "/metrics" | "/livez" | "/readyz" | "/health") {
            return Err(Problem::new(ProblemKind::NotFound));
        }
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let allow = HeaderValue::from_static("GET, HEAD");
            return Err(Problem::new(ProblemKind::MethodNotAllowed).header(header::ALLOW, allow));
        }
        match path {
            "/livez" => Ok(health::alive()),
            "/readyz" => health::ready(state),
            "/health" => Ok(health::checked(state, &self.server.probers).await),
            _ => self.scraped(ScrapeFormat::accepted(request.headers())).await,
        }
    }

    /// Runs the scrape on another thread: a file system that hangs must not hold up the health checks.
    async fn scraped(&self, format: ScrapeFormat) -> Result<HttpResponse, Problem> {
        let unavailable = |why: &str| Problem::new(ProblemKind::Unavailable).detail(why);
        let permit = Arc::clone(&self.scrapes).try_acquire_owned();
        let permit = permit.map_err(|_| unavailable("Earlier scrapes hang."))?;
        let scrape = Arc::clone(&self.scrape);
        let scraping = spawn_blocking(move || {
            let text = scrape(format);
            drop(permit);
            text
        });
        match timeout(TIMEOUT, scraping).await {
            Ok(Ok(text)) => Ok(HttpResponse::Ok()
                .insert_header((header::CONTENT_TYPE, format.media_type()))
                .insert_header((header::CACHE_CONTROL, HeaderValue::from_static("no-store")))
                .body(text)),
            Ok(Err(_panicked)) => Err(Problem::new(ProblemKind::Internal)),
            Err(_elapsed) => Err(unavailable("The scrape hangs.")),
        }
    }
}
