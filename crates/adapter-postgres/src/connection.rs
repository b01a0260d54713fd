//! Connections: how they are made, secured and bounded.

use std::{
    error::Error,
    path::PathBuf,
    str::FromStr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use deadpool::managed::{Manager, Metrics, RecycleError, RecycleResult};
use diesel_async::AsyncPgConnection;
use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};
use tokio::runtime::Handle;
use tokio_postgres::{
    Config, NoTls, Socket,
    config::{Host, SslMode},
    tls::MakeTlsConnect,
};
use tokio_postgres_rustls::MakeRustlsConnect;

/// Where PostgreSQL is and how long anything there may take.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?…`; several hosts may be named.
    pub url: String,
    /// Most connections.
    pub pool_size: usize,
    /// When to insist on TLS.
    pub tls: TlsPolicy,
    /// PEM file of the authorities to trust instead of the operating system's.
    pub tls_ca_file: Option<PathBuf>,
    /// Bound of one attempt to connect to one host.
    pub connect_timeout: Duration,
    /// Bound of waiting for a connection, connecting included.
    pub pool_timeout: Duration,
    /// Bound of one statement or transaction.
    pub statement_timeout: Duration,
}

/// The URL may hold a password.
impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions").field("pool_size", &self.pool_size).finish_non_exhaustive()
    }
}

/// When to insist on TLS. Where it is used the server's certificate and name are verified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Unless every host is this one: a loopback address, `localhost` or a Unix socket.
    OffHost,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// The options cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidOptions {
    /// The URL is none.
    #[error("the PostgreSQL URL cannot be read")]
    Url(#[source] tokio_postgres::Error),
    /// No certificate to trust.
    #[error("no trusted certificate authority could be read")]
    Authorities(#[source] Box<dyn Error + Send + Sync>),
    /// The pool cannot be made.
    #[error("the connection pool cannot be made")]
    Pool(#[source] Box<dyn Error + Send + Sync>),
}

/// A connection and whether its task has ended.
pub(crate) struct Connection {
    pub(crate) diesel: AsyncPgConnection,
    closed: Arc<AtomicBool>,
}

/// Makes connections.
pub(crate) struct Connector {
    config: Config,
    tls: Option<MakeRustlsConnect>,
    /// Connection tasks live here: on a worker's own runtime they would stall with that worker and end
    /// with it.
    runtime: Handle,
}

impl Connector {
    pub(crate) fn new(options: &PostgresOptions, runtime: Handle) -> Result<Self, InvalidOptions> {
        let mut config = Config::from_str(&options.url).map_err(InvalidOptions::Url)?;
        let tls = match options.tls {
            TlsPolicy::Never => false,
            TlsPolicy::Always => true,
            TlsPolicy::OffHost => !config.get_hosts().iter().all(is_this_host),
        };
        let session = session_options(config.get_options(), options.statement_timeout);
        config
            .ssl_mode(if tls { SslMode::Require } else { SslMode::Disable })
            .application_name("signpost")
            .connect_timeout(options.connect_timeout)
            .keepalives_idle(Duration::from_secs(30))
            .keepalives_interval(Duration::from_secs(10))
            .keepalives_retries(3)
            .tcp_user_timeout(Duration::from_secs(10))
            .options(session);
        let tls = if tls { Some(MakeRustlsConnect::new(tls_config(options)?)) } else { None };
        Ok(Self { config, tls, runtime })
    }

    /// A connection of its own, outside any pool and without statement bound, for migrations.
    pub(crate) async fn connect_unbounded(&self) -> Result<AsyncPgConnection, ConnectError> {
        let mut config = self.config.clone();
        config.options("-c statement_timeout=0 -c lock_timeout=30000");
        Ok(self.connect(config).await?.diesel)
    }

    async fn connect(&self, config: Config) -> Result<Connection, ConnectError> {
        let tls = self.tls.clone();
        let connecting = async move {
            match tls {
                Some(tls) => establish(config, tls).await,
                None => establish(config, NoTls).await,
            }
        };
        self.runtime.spawn(connecting).await.map_err(|_| ConnectError::Cancelled)?
    }
}

async fn establish<T>(config: Config, tls: T) -> Result<Connection, ConnectError>
where
    T: MakeTlsConnect<Socket, TlsConnect: Send, Stream: Send + 'static> + Send,
    <T::TlsConnect as tokio_postgres::tls::TlsConnect<Socket>>::Future: Send,
{
    let (client, connection) = config.connect(tls).await.map_err(ConnectError::Connect)?;
    let closed = Arc::new(AtomicBool::new(false));
    let mark = Arc::clone(&closed);
    tokio::spawn(async move {
        // Whoever waits for an answer is told of the failure; here it only ends the connection.
        let _ended = connection.await;
        mark.store(true, Ordering::Release);
    });
    let diesel = AsyncPgConnection::try_from(client).await.map_err(ConnectError::Setup)?;
    Ok(Connection { diesel, closed })
}

/// Bounds every statement on the server's side too, and pins what the statements rely on:
/// under a stricter isolation `ON CONFLICT` fails with 40001.
fn session_options(given: Option<&str>, statement_timeout: Duration) -> String {
    let bound = statement_timeout.as_millis();
    let given = given.unwrap_or_default();
    format!(
        "{given} -c statement_timeout={bound} -c lock_timeout={bound} \
         -c idle_in_transaction_session_timeout=10000 -c default_transaction_isolation=read\\ committed"
    )
}

fn is_this_host(host: &Host) -> bool {
    match host {
        Host::Unix(_) => true,
        Host::Tcp(name) => {
            let address = name.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
            name == "localhost" || address.is_ok_and(|address| address.is_loopback())
        }
    }
}

fn tls_config(options: &PostgresOptions) -> Result<ClientConfig, InvalidOptions> {
    let authorities = match &options.tls_ca_file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| InvalidOptions::Authorities(error.into()))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    let (trusted, _) = roots.add_parsable_certificates(authorities);
    if trusted == 0 {
        return Err(InvalidOptions::Authorities("it holds no certificate".into()));
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidOptions::Authorities(error.into()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

impl Manager for Connector {
    type Type = Connection;
    type Error = ConnectError;

    async fn create(&self) -> Result<Connection, ConnectError> {
        self.connect(self.config.clone()).await
    }

    /// Costs no round trip: a connection that timed out never comes back here, one that broke is marked.
    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<ConnectError> {
        if connection.closed.load(Ordering::Acquire) {
            return Err(RecycleError::message("the connection was closed"));
        }
        Ok(())
    }
}

/// No connection could be made.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConnectError {
    #[error("connecting failed")]
    Connect(#[source] tokio_postgres::Error),
    #[error("setting the connection up failed")]
    Setup(#[source] diesel::ConnectionError),
    #[error("connecting was cut short")]
    Cancelled,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_and_sockets_are_this_host() {
        let local = |url: &str| {
            let config = Config::from_str(url).expect("valid");
            config.get_hosts().iter().all(is_this_host)
        };
        for url in ["postgres://localhost/x", "postgres://127.0.0.1/x", "postgres://[::1]/x", "host=/run/postgresql"] {
            assert!(local(url), "{url}");
        }
        for url in ["postgres://db.example.com/x", "postgres://10.0.0.1/x", "postgres://localhost,db/x"] {
            assert!(!local(url), "{url}");
        }
    }
}
