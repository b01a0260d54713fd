//! Options of the store: the server, TLS, pool sizes and timeouts.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};

use crate::{hosts::Hosts, invalid_options::InvalidOptions};

/// The server, TLS, pool sizes and timeouts.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?…`; may name several hosts.
    pub url: String,
    /// Maximum connections for the API, except lists of links and codes.
    pub pool_size: usize,
    /// Maximum connections for redirects.
    pub redirect_pool_size: usize,
    /// Maximum connections for lists of links and codes.
    pub list_pool_size: usize,
    /// Maximum connections for counting clicks.
    pub shipping_pool_size: usize,
    /// Maximum connections for statistics of clicks.
    pub statistics_pool_size: usize,
    /// When TLS is required.
    pub tls: TlsPolicy,
    /// PEM file of the certificate authorities to trust. `None`: those of the operating system.
    pub tls_ca_file: Option<PathBuf>,
    /// Timeout of one attempt to open a session on one host: name lookup, connecting, TLS and authentication.
    pub connect_timeout: Duration,
    /// Timeout of getting a connection from a pool, including connecting.
    pub pool_timeout: Duration,
    /// Timeout of one statement or transaction.
    pub statement_timeout: Duration,
}

impl PostgresOptions {
    /// Connections for counting clicks that serve one process well: one that ships, and one for the rest.
    pub const SHIPPING_POOL_SIZE: usize = 2;
    /// Connections for statistics that serve one process well.
    pub const STATISTICS_POOL_SIZE: usize = 4;
}

/// Leaves out the URL, which may hold a password.
impl std::fmt::Debug for PostgresOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresOptions").field("pool_size", &self.pool_size).finish_non_exhaustive()
    }
}

/// When TLS is required. A TLS connection always verifies the certificate and the name of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsPolicy {
    /// Required unless every host is this machine: a loopback address, `localhost` or a Unix socket.
    OffHost,
    /// Always.
    Always,
    /// Never.
    Never,
}

/// Checks that `url` is a valid PostgreSQL URL. Does not connect.
pub fn check_url(url: &str) -> Result<(), InvalidOptions> {
    Hosts::parse(url).map(drop)
}

/// Checks that `file` is a PEM file with at least one certificate.
pub fn check_authorities(file: &Path) -> Result<(), InvalidOptions> {
    authorities(Some(file)).map(drop)
}

pub(crate) fn tls_config(options: &PostgresOptions) -> Result<ClientConfig, InvalidOptions> {
    let roots = authorities(options.tls_ca_file.as_deref())?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| InvalidOptions::Authorities(error.into()))?;
    Ok(config.with_root_certificates(roots).with_no_client_auth())
}

/// The certificate authorities in the PEM file, or those of the operating system if `file` is `None`.
fn authorities(file: Option<&Path>) -> Result<RootCertStore, InvalidOptions> {
    let certificates = match file {
        Some(path) => CertificateDer::pem_file_iter(path)
            .and_then(Iterator::collect::<Result<Vec<_>, _>>)
            .map_err(|error| InvalidOptions::Authorities(error.into()))?,
        None => rustls_native_certs::load_native_certs().certs,
    };
    let mut roots = RootCertStore::empty();
    match roots.add_parsable_certificates(certificates) {
        (0, _) => Err(InvalidOptions::Authorities("it holds no certificate".into())),
        _ => Ok(roots),
    }
}
