//! Connections: how they are made, secured, bounded and ended.

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

/// How long a host is tried alone before the next one is tried beside it.
const HEAD_START: Duration = Duration::from_millis(300);

/// A connection. Dropped, its socket is closed at once, also in the middle of a statement.
pub(crate) struct Connection {
    pub(crate) diesel: AsyncPgConnection,
    line: Line,
    /// Which of the servers that the history was read from came before it.
    server: u64,
}

impl Connection {
    /// The session alone, for whoever has to own it. It works as long as its line is kept.
    pub(crate) fn into_parts(self) -> (AsyncPgConnection, Line) {
        (self.diesel, self.line)
    }
}

/// The task that moves the bytes of a connection, and ends with it. Left alone it would wait for the answer of
/// a server that gives none, and hold the socket as long.
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
    /// Connection tasks live here: on a worker's own runtime they would stall with that worker and end
    /// with it.
    runtime: Handle,
}

/// The server that the history is read from.
#[derive(Default)]
struct Server {
    name: Mutex<Option<String>>,
    /// Rises whenever it is another one.
    number: AtomicU64,
}

impl Connector {
    /// What the session of a migration adds to the options of all others: no bound of statements, and patience with
    /// somebody else's migration.
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
                // Of each address of a name, so that a dead one leaves time for the next.
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

    /// From now on the history is read from there. Connections to another server are not used any more, for what they
    /// answer that history says nothing about.
    pub(crate) fn reads_from(&self, server: String) {
        let mut name = self.server.name.lock().expect("nothing panics while it is held");
        if name.as_ref().is_some_and(|name| *name != server) {
            self.server.number.fetch_add(1, Ordering::AcqRel);
        }
        *name = Some(server);
    }

    /// Where connections live.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// A connection of its own, outside any pool and without statement bound, for migrations.
    pub(crate) async fn connect_for_migrations(&self) -> Result<Connection, ConnectError> {
        let mut hosts = self.hosts.in_order();
        for host in &mut hosts {
            // Of two settings of one name the later one holds.
            let session = host.get_options().unwrap_or_default().to_owned() + Self::MIGRATING;
            host.options(session);
        }
        self.connect(hosts).await
    }

    /// What `attempt` makes of a connection of its own, outside any pool.
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

    /// What the first host gives that answers in time; the later ones are tried a little later. A caller that stops waiting ends the attempt.
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
                    // A host that does not answer does not hide the next one, however far away they are.
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
    // Whoever waits for an answer is told of a failure; here it only ends the connection.
    let line = Line::spawn(async move { drop(connection.await) });
    let diesel = AsyncPgConnection::try_from(client).await.map_err(AttemptError::Setup)?;
    Ok((diesel, line))
}

/// Bounds every statement on the server's side too, a little below ours, so that its refusal still reaches us
/// and says which of both it was. And pins what the statements rely on: under a stricter isolation
/// `ON CONFLICT` fails with 40001.
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

    /// Costs no round trip: a connection that timed out never comes back here, and one that broke has no task.
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
    /// To none of the hosts, each for its own reason.
    NoHost(Vec<(String, AttemptError)>),
    /// The runtime ends.
    Cancelled,
}

impl ConnectError {
    /// Why, for the operator: of several hosts what the one says that says most.
    pub(crate) fn reason(&self) -> FailureReason {
        match self {
            Self::NoHost(failures) => failures.iter().map(|(_, error)| error.reason()).max().unwrap_or_default(),
            Self::Cancelled => FailureReason::Unknown,
        }
    }
}

/// With the reasons of all hosts: a chain of causes has room for one only.
impl fmt::Display for ConnectError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cancelled => f.write_str("connecting was cut short"),
            Self::NoHost(failures) => {
                f.write_str("no host gives a session")?;
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

/// One host gave no session.
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
