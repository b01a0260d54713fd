//! Connections: connecting, TLS, timeouts and closing.

use std::{
    error::Error,
    fmt,
    sync::{
        Arc, Mutex,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use diesel_async::AsyncPgConnection;
use domain::ports::FailureReason;
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::{
    runtime::Handle,
    task::{AbortHandle, JoinSet},
    time::{sleep, timeout},
};
use tokio_postgres::{Config, NoTls, Socket, config::SslMode, tls::MakeTlsConnect};
use tokio_postgres_rustls::MakeRustlsConnect;

use crate::{
    error::{reason, reason_of_no_session},
    hosts::{self, Hosts},
    invalid_options::InvalidOptions,
    options::{PostgresOptions, TlsPolicy, tls_config},
};

/// How long a host is tried alone before the next one is tried in parallel.
const HEAD_START: Duration = Duration::from_millis(300);

/// A connection. Dropping it closes the socket at once, even in the middle of a statement.
pub(crate) struct Connection {
    pub(crate) diesel: AsyncPgConnection,
    line: Line,
    /// Number of the change feed's server when this connection was made. The pool discards a connection with an older
    /// number.
    server: u64,
}

impl Connection {
    /// Splits off the session, for a caller that must own it. It works as long as its [`Line`] is kept.
    pub(crate) fn into_parts(self) -> (AsyncPgConnection, Line) {
        (self.diesel, self.line)
    }
}

/// The task that moves the bytes of a connection. Dropping this aborts the task. Otherwise it would wait for a server
/// that never replies, and keep the socket open meanwhile.
pub(crate) struct Line(AbortHandle);

impl Line {
    pub(crate) fn spawn(moving: impl Future<Output = ()> + Send + 'static) -> Self {
        Self(tokio::spawn(moving).abort_handle())
    }
}

impl Drop for Line {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Makes connections.
#[derive(Clone)]
pub(crate) struct Connector {
    hosts: Arc<Hosts>,
    tls: Option<MakeRustlsConnect>,
    connect_timeout: Duration,
    server: Arc<Server>,
    /// Runs the connection tasks. On a worker's own runtime they would stall with that worker and end with it.
    runtime: Handle,
}

/// The server that the change feed reads from.
#[derive(Default)]
struct Server {
    name: Mutex<Option<String>>,
    /// Rises each time the change feed moves to another server.
    number: AtomicU64,
}

impl Connector {
    /// Session options that a migration adds: no statement timeout, and a lock timeout of 30 seconds, to wait for the
    /// migration of another process.
    const MIGRATING: &str = " -c statement_timeout=0 -c lock_timeout=30000";

    pub(crate) fn new(options: &PostgresOptions, runtime: Handle) -> Result<Self, InvalidOptions> {
        let mut hosts = Hosts::parse(&options.url)?;
        let tls = match options.tls {
            TlsPolicy::Never => false,
            TlsPolicy::Always => true,
            TlsPolicy::OffHost => !hosts.are_local(),
        };
        hosts.each(|host| {
            let session = session_options(host.get_options(), options.statement_timeout);
            host.ssl_mode(if tls { SslMode::Require } else { SslMode::Disable })
                .application_name("signpost")
                // Timeout for each address of a name. It is half of the total, so that a dead address leaves time for
                // the next one.
                .connect_timeout(options.connect_timeout / 2)
                .keepalives_idle(Duration::from_secs(30))
                .keepalives_interval(Duration::from_secs(10))
                .keepalives_retries(3)
                .tcp_user_timeout(Duration::from_secs(10))
                .options(session);
        });
        let tls = if tls { Some(MakeRustlsConnect::new(tls_config(options)?)) } else { None };
        Ok(Self {
            hosts: Arc::new(hosts),
            tls,
            connect_timeout: options.connect_timeout,
            server: Arc::default(),
            runtime,
        })
    }

    /// Notes that the change feed reads from `server`. Connections to another server are not used any more: the feed
    /// does not report the changes of that server.
    pub(crate) fn reads_from(&self, server: String) {
        let mut name = self.server.name.lock().expect("no thread panics while it holds this lock");
        if name.as_ref().is_some_and(|name| *name != server) {
            self.server.number.fetch_add(1, Ordering::AcqRel);
        }
        *name = Some(server);
    }

    /// The runtime of the connection tasks.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Opens a connection for migrations, outside the pools and without a statement timeout.
    pub(crate) async fn connect_for_migrations(&self) -> Result<Connection, ConnectError> {
        let mut hosts = self.hosts.in_order();
        for host in &mut hosts {
            // The later of two settings with the same name applies.
            let session = host.get_options().unwrap_or_default().to_owned() + Self::MIGRATING;
            host.options(session);
        }
        self.connect(hosts).await
    }

    /// Runs `attempt` on the hosts, outside the pools, and returns the first result.
    pub(crate) async fn connect_with<C, A>(
        &self,
        attempt: impl Fn(Config, Option<MakeRustlsConnect>) -> A + Send + Sync + 'static,
    ) -> Result<C, ConnectError>
    where
        C: Send + 'static,
        A: Future<Output = Result<C, AttemptError>> + Send,
    {
        self.first_of(self.hosts.in_order(), attempt).await
    }

    async fn connect(&self, hosts: Vec<Config>) -> Result<Connection, ConnectError> {
        let attempt = |host, tls| async {
            match tls {
                Some(tls) => establish(host, tls).await,
                None => establish(host, NoTls).await,
            }
        };
        let server = self.server.number.load(Ordering::Acquire);
        let (diesel, line) = self.first_of(hosts, attempt).await?;
        Ok(Connection { diesel, line, server })
    }

    /// The result of the first host that succeeds in time. The next host starts [`HEAD_START`] after the one before, or
    /// as soon as one fails. A caller that stops waiting cancels the attempt.
    async fn first_of<C, A>(
        &self,
        hosts: Vec<Config>,
        attempt: impl Fn(Config, Option<MakeRustlsConnect>) -> A + Send + Sync + 'static,
    ) -> Result<C, ConnectError>
    where
        C: Send + 'static,
        A: Future<Output = Result<C, AttemptError>> + Send,
    {
        let (tls, bound) = (self.tls.clone(), self.connect_timeout);
        let trying = async move {
            let one = async |host| {
                let place = hosts::place(&host);
                let made = timeout(bound, attempt(host, tls.clone())).await;
                made.unwrap_or(Err(AttemptError::TimedOut)).map_err(|error| (place, error))
            };
            let (mut hosts, mut running, mut failures) = (hosts.into_iter(), FuturesUnordered::new(), Vec::new());
            loop {
                running.extend(hosts.next().map(&one));
                tokio::select! {
                    made = running.next() => match made {
                        Some(Ok(made)) => return Ok(made),
                        Some(Err(failure)) => failures.push(failure),
                        None => return Err(ConnectError::NoHost(failures)),
                    },
                    // A host that does not answer must not hold up the next one, whatever the network latency.
                    () = sleep(HEAD_START), if hosts.len() > 0 => {}
                }
            }
        };
        let mut attempts = JoinSet::new();
        attempts.spawn_on(trying, &self.runtime);
        match attempts.join_next().await {
            Some(Ok(outcome)) => outcome,
            Some(Err(_)) | None => Err(ConnectError::Cancelled),
        }
    }
}

async fn establish<T>(config: Config, tls: T) -> Result<(AsyncPgConnection, Line), AttemptError>
where
    T: MakeTlsConnect<Socket, TlsConnect: Send, Stream: Send + 'static> + Send,
    <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await.map_err(AttemptError::Connect)?;
    // A failure reaches the caller that waits for a reply. Here it only ends the task.
    let line = Line::spawn(async move { drop(connection.await) });
    let diesel = AsyncPgConnection::try_from(client).await.map_err(AttemptError::Setup)?;
    Ok((diesel, line))
}

/// Sets timeouts on the server too: 9/10 of `statement_timeout` for statements, 3/4 of it for locks. They are shorter
/// than the client's timeout, so that the server's error still arrives and says which of the two it was. Also pins read
/// committed: under a stricter isolation level `ON CONFLICT` fails with 40001.
fn session_options(given: Option<&str>, statement_timeout: Duration) -> String {
    let (statement, lock) = (statement_timeout * 9 / 10, statement_timeout * 3 / 4);
    format!(
        "{} -c statement_timeout={} -c lock_timeout={} -c idle_in_transaction_session_timeout=10000 \
         -c default_transaction_isolation=read\\ committed",
        given.unwrap_or_default(),
        statement.as_millis().max(1),
        lock.as_millis().max(1),
    )
}

impl Manager for Connector {
    type Type = Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Connection, ConnectError> {
        self.connect(self.hosts.in_order()).await
    }

    /// Checks a pooled connection without a round trip. A connection that timed out never returns to the pool, and the
    /// task of a broken one has ended.
    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<ConnectError> {
        if connection.line.0.is_finished() {
            return Err(RecycleError::message("the connection was closed"));
        }
        if connection.server != self.server.number.load(Ordering::Acquire) {
            return Err(RecycleError::message("the history is read from another server by now"));
        }
        Ok(())
    }
}

/// No connection could be made.
#[derive(Debug)]
pub(crate) enum ConnectError {
    /// Every host failed, each for its own reason.
    NoHost(Vec<(String, AttemptError)>),
    /// The runtime is shutting down.
    Cancelled,
}

impl ConnectError {
    /// The reason, for the operator: the most specific one of all hosts.
    pub(crate) fn reason(&self) -> FailureReason {
        match self {
            Self::NoHost(failures) => failures.iter().map(|(_, error)| error.reason()).max().unwrap_or_default(),
            Self::Cancelled => FailureReason::Unknown,
        }
    }
}

/// Prints the reasons of all hosts, because an error can have only one source.
impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("connecting was cut short"),
            Self::NoHost(failures) => {
                f.write_str("could not connect to any PostgreSQL host")?;
                for (place, error) in failures {
                    write!(f, "; {place}: {error}")?;
                    let mut cause = error.source();
                    while let Some(below) = cause {
                        write!(f, ": {below}")?;
                        cause = below.source();
                    }
                }
                Ok(())
            }
        }
    }
}

impl Error for ConnectError {}

/// One host could not be connected to.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttemptError {
    #[error("connecting failed")]
    Connect(#[source] tokio_postgres::Error),
    #[error("setting the session up failed")]
    Setup(#[source] diesel::ConnectionError),
    #[error("no session in time")]
    TimedOut,
}

impl AttemptError {
    fn reason(&self) -> FailureReason {
        match self {
            Self::Connect(error) => reason_of_no_session(error),
            Self::Setup(diesel::ConnectionError::CouldntSetupConfiguration(error)) => reason(error),
            Self::Setup(_) => FailureReason::Unknown,
            Self::TimedOut => FailureReason::ConnectTimedOut,
        }
    }
}
