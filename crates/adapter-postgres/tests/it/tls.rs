//! TLS: required for servers on other hosts, always with a verified certificate.

use std::path::PathBuf;

use adapter_postgres::{PostgresOptions, PostgresStore, TlsPolicy};
use domain::ports::{Identify, Ping, RepositoryErrorKind};
use test_support::{PostgresServer, ServerOptions, TlsFiles};

use crate::{options, store};

/// A self-signed certificate for `127.0.0.1`, and its file as the certificate authority.
fn certificate(folder: &tempfile::TempDir) -> (TlsFiles, PathBuf) {
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let file = folder.path().join("ca.pem");
    std::fs::write(&file, made.cert.pem()).expect("written");
    (TlsFiles { cert_pem: made.cert.pem(), key_pem: made.signing_key.serialize_pem() }, file)
}

fn with(url: &str, tls: TlsPolicy, ca: Option<&PathBuf>) -> PostgresOptions {
    PostgresOptions { tls, tls_ca_file: ca.cloned(), ..options(url) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_is_trusted_only_with_a_verified_certificate() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (files, ca) = certificate(&folder);
    let server = PostgresServer::start(ServerOptions { tls: Some(files), ..ServerOptions::default() });
    let url = server.create_database().url();

    let trusted = store(&with(&url, TlsPolicy::Always, Some(&ca)));
    trusted.migrate().await.expect("the certificate is signed by the named authority");
    trusted.ping().await.expect("a new connection trusts it too");
    trusted.identity().await.expect("a pooled connection works");
    let encrypted =
        "SELECT bool_and(ssl) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'signpost'";
    assert_eq!(server.sql("postgres", encrypted).as_deref().map(str::trim), Ok("t"));

    let other_folder = tempfile::tempdir().expect("a temporary folder");
    let (_, other_ca) = certificate(&other_folder);
    let wary = store(&with(&url, TlsPolicy::Always, Some(&other_ca)));
    let error = wary.ping().await.expect_err("another authority signed the certificate");
    assert_eq!(error.kind(), RepositoryErrorKind::Unavailable);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_without_tls_is_refused_where_tls_is_required() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (_, ca) = certificate(&folder);
    let url = crate::empty_database().url();
    let strict = store(&with(&url, TlsPolicy::Always, Some(&ca)));
    strict.ping().await.expect_err("the server has no TLS");
    let local = store(&with(&url, TlsPolicy::OffHost, None));
    local.migrate().await.expect("a server on this host needs none");
    let open = store(&with(&url, TlsPolicy::Never, None));
    open.migrate().await.expect("TLS is switched off");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_authority_file_without_certificates_is_refused() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("empty.pem");
    std::fs::write(&file, "").expect("written");
    let missing = folder.path().join("missing.pem");
    for file in [file, missing] {
        let options = with("postgres://db.example.com/x", TlsPolicy::OffHost, Some(&file));
        PostgresStore::new(&options, tokio::runtime::Handle::current()).expect_err("no authority to trust");
    }
}
