//! Options: where PostgreSQL is, whom to trust there, and how long anything may take.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use rustls::{ClientConfig, RootCertStore, pki_types::CertificateDer, pki_types::pem::PemObject};

use crate::{hosts::Hosts, invalid_options::InvalidOptions};

/// Where PostgreSQL is and how long anything there may take.
#[derive(Clone)]
pub struct PostgresOptions {
    /// `postgres://user:password@host:port/database?…`; several hosts may be named.
    pub url: String,
    /// Most connections for the API, without lists.
    pub pool_size: usize,
    /// Most connections for redirects.
    pub redirect_pool_size: usize,
    /// Most connections for lists.
    pub list_pool_size: usize,
    /// When to insist on TLS.
    pub tls: TlsPolicy,
    /// PEM file of the authorities to trust instead of the operating system's.
    pub tls_ca_file: Option<PathBuf>,
    /// Bound of one attempt to get a session from one host: resolving, connecting, TLS, authentication.
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

/// Whether `url` can be read, without connecting to anything.
pub fn check_url(url: &str) -> Result<(), InvalidOptions> {
    Hosts::parse(url).map(drop)
}

/// Whether `file` holds certificates of authorities, in PEM.
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

/// Those of a PEM file, or else of the operating system.
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
