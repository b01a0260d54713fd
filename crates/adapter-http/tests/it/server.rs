//! The HTTP adapter on a free port, and a minimal client for it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    num::NonZeroU32,
    sync::{Arc, Mutex},
    thread,
    time::Duration,
};

use adapter_http::{
    ClickServices, ClickSettings, CurrentPolicy, InheritedCodes, Logo, Origins, Phase, Scrape, ServerOptions, Services,
    Settings, TaskState, Tasks, TrustedProxies, UnknownHost, serve, serve_ops,
};
use domain::{
    api_key::KeySecret,
    click::{DailySalts, OrphanCounters},
    ports::{ClickProgress, ClickRecorder, ClickRecorders, CodeGenerator},
    service::{
        BlockService, Blocked, DomainService, KeyService, KnownDomains, LinkService, ResolveService, StatisticsService,
    },
    time::Timestamp,
};
use rustix::net::sockopt::set_socket_linger;
use serde_json::Value;
use slog::{Drain, Logger, o};
use test_support::{ManualClock, MemoryStore, SeededEntropy};

use crate::troubled_store::TroubledStore;

pub(crate) struct RunningServer {
    pub(crate) store: Arc<TroubledStore>,
    pub(crate) phase: Phase,
    address: SocketAddr,
    /// The address of the ops listener.
    ops: SocketAddr,
    key: KeySecret,
    log: Lines,
}

/// How long the store may take, for a request and for a redirect.
pub(crate) const PATIENCE: Duration = Duration::from_millis(300);

impl RunningServer {
    /// Served by one worker on a thread of its own, until the test process ends. It is ready.
    pub(crate) fn start(codes: impl CodeGenerator + 'static) -> Self {
        let server = Self::starting(codes);
        server.phase.become_ready();
        server
    }

    /// The same, but not ready yet.
    pub(crate) fn starting(codes: impl CodeGenerator + 'static) -> Self {
        Self::recording(codes, Arc::new(NoClicks))
    }

    /// The same, with clicks recorded by `recorders`.
    pub(crate) fn recording(codes: impl CodeGenerator + 'static, recorders: Arc<dyn ClickRecorders>) -> Self {
        Self::knowing(codes, recorders, KnownDomains::default())
    }

    /// The same, with these short domains.
    pub(crate) fn knowing(
        codes: impl CodeGenerator + 'static,
        recorders: Arc<dyn ClickRecorders>,
        domains: KnownDomains,
    ) -> Self {
        let store = Arc::new(TroubledStore::new());
        let (clock, entropy) = (Arc::new(ManualClock::default()), Arc::new(SeededEntropy::new(1)));
        let keys = KeyService::new(store.clone(), store.clone(), clock.clone(), entropy.clone());
        let links = LinkService::new(store.clone(), store.clone(), clock.clone(), Arc::new(codes), entropy.clone());
        let blocks =
            BlockService::new(Arc::new(MemoryStore::default()), Blocked::default(), clock.clone(), entropy.clone());
        let services = Services {
            links,
            keys: keys.clone(),
            blocks: blocks.clone(),
            domains: DomainService::new(Arc::new(MemoryStore::default()), domains, clock.clone()),
            resolver: ResolveService::new(store.clone(), blocks.blocked().clone(), clock.clone()),
            store: store.clone(),
            shared: None,
            shared_limiter: None,
            clicks: ClickServices {
                recorders,
                salts: DailySalts::default(),
                orphans: OrphanCounters::default(),
                statistics: StatisticsService::new(Arc::new(MemoryStore::default()), Arc::new(NoClicks), clock, 400),
            },
            entropy,
        };
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let ops_listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let ops = ops_listener.local_addr().expect("it is bound");
        let (phase, log) = (Phase::default(), Lines::default());
        let key = keys.draw_secret();
        let (first, secret, server_phase, logger) = (keys, key.clone(), phase.clone(), log.logger());
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
            runtime.expect("a runtime").block_on(async move {
                first.add_first("admin".parse().expect("valid"), &secret).await.expect("memory does not fail");
                let serving = serve(listener, &options(), services, settings(), server_phase, logger);
                let (server, _handle, status) = serving.expect("the listener is good");
                let scrape: Scrape = Arc::new(|_| "up 1\n".to_owned());
                let (ops, _handle) = serve_ops(ops_listener, status, scrape).expect("the listener is good");
                tokio::spawn(ops);
                server.await.expect("it serves until the end");
            });
        });
        Self { store, phase, address, ops, key, log }
    }

    /// Sends a request with the admin key.
    pub(crate) fn ask(&self, method: &str, path: &str, body: Option<&Value>) -> Answer {
        self.send(method, path, &self.key_field(), body)
    }

    /// The header field with the admin key.
    pub(crate) fn key_field(&self) -> String {
        format!("x-api-key: {}\r\n", self.key.expose())
    }

    /// Sends a request to the ops listener.
    pub(crate) fn ask_ops(&self, path: &str) -> Answer {
        let mut stream = TcpStream::connect(self.ops).expect("it listens");
        stream.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout can be set");
        let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        Answer::parse(&answer)
    }

    /// Sends a request to the main listener, and returns the connection.
    pub(crate) fn begin(&self, path: &str) -> TcpStream {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        let head = format!("GET {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).expect("the kernel takes it");
        stream
    }

    /// Sends a request with these header fields, each with its line end.
    pub(crate) fn send(&self, method: &str, path: &str, fields: &str, body: Option<&Value>) -> Answer {
        let body = body.map(Value::to_string).unwrap_or_default();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nhost: test\r\nconnection: close\r\n{fields}\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        stream.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout can be set");
        stream.write_all((head + &body).as_bytes()).expect("the server reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("the server answers");
        Answer::parse(&answer)
    }

    /// Sends a request that is held, and resets the connection once the server has read it.
    pub(crate) fn ask_and_leave(&self, request_id: &str) {
        let mut stream = TcpStream::connect(self.address).expect("the server listens");
        let ask = |path: &str, id: &str| format!("GET {path} HTTP/1.1\r\nhost: test\r\nx-request-id: {id}\r\n\r\n");
        // Both come in one piece, so the answer to the first shows that the second one has come.
        let both = ask("/livez", "before") + &ask("/abcdef", request_id);
        stream.write_all(both.as_bytes()).expect("the server reads");
        stream.read_exact(&mut [0; 15]).expect("the server answers");
        set_socket_linger(&stream, Some(Duration::ZERO)).expect("it is a socket");
    }

    /// Every line logged for that request.
    pub(crate) fn log_of(&self, request_id: &str) -> String {
        let lines = self.log.0.lock().expect("no thread panics while holding it");
        let text = String::from_utf8_lossy(&lines).into_owned();
        text.lines().filter(|line| line.contains(request_id)).collect::<Vec<_>>().join("\n")
    }
}

fn options() -> ServerOptions {
    ServerOptions {
        workers: 1,
        max_connections: 400,
        keep_alive: Duration::from_secs(5),
        head_timeout: Duration::from_secs(5),
        answer_timeout: Duration::from_secs(5),
        shutdown_timeout: Duration::from_secs(1),
    }
}

fn settings() -> Settings {
    Settings {
        public_url: "http://sho.test".to_owned(),
        unknown_host: UnknownHost::Default,
        landing_url: None,
        targets: CurrentPolicy::default(),
        cors_origins: Origins::None,
        crawlable: true,
        well_known: std::collections::BTreeMap::new(),
        pages: Arc::default(),
        qr_logo: Some(Arc::new(logo())),
        anonymous_may_claim: false,
        proxies: TrustedProxies::default(),
        quotas: None,
        processes: NonZeroU32::MIN,
        store_connections: 16,
        request_timeout: PATIENCE,
        redirect_timeout: PATIENCE,
        body_timeout: Duration::from_secs(5),
        clicks: ClickSettings::default(),
        tasks: Arc::new(NoTasks),
        inherited: InheritedCodes::default(),
    }
}

/// A grey square.
fn logo() -> Logo {
    let mut file = Vec::new();
    let encoder = png::Encoder::new(&mut file, 1, 1);
    encoder.write_header().and_then(|mut writer| writer.write_image_data(&[128])).expect("memory takes all");
    Logo::from_png(&file).expect("a picture")
}

/// An answer, read to its end.
#[must_use = "an answer may be a refusal"]
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    head: String,
    pub(crate) body: String,
}

impl Answer {
    fn parse(text: &str) -> Self {
        let (head, body) = text.split_once("\r\n\r\n").expect("an HTTP answer");
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok()).expect("a status");
        Self { status, head: head.to_owned(), body: body.to_owned() }
    }

    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(given, _)| given.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_str(&self.body).expect("JSON")
    }
}

/// The log, kept in memory.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().expect("no thread panics while holding it").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Lines {
    fn logger(&self) -> Logger {
        let json = slog_json::Json::default(self.clone());
        Logger::root(Mutex::new(json).fuse(), o!())
    }
}

/// No background tasks.
#[derive(Debug)]
struct NoTasks;

impl Tasks for NoTasks {
    fn states(&self) -> Vec<TaskState> {
        Vec::new()
    }
}

/// Clicks are not recorded.
pub(crate) struct NoClicks;

impl ClickRecorders for NoClicks {
    fn recorder(&self) -> Option<Box<dyn ClickRecorder>> {
        None
    }
}

impl ClickProgress for NoClicks {
    fn counted_until(&self) -> Timestamp {
        Timestamp::from_unix_micros(0).expect("1970 is in range")
    }
}
