//! The ops listener of the process, and its server.

use std::{
    io,
    net::{SocketAddr, TcpListener},
    sync::Arc,
};

use adapter_http::{ServerHandle, ServerStatus};
use slog::Logger;
use tokio::task::JoinHandle;

use crate::{
    config::Config,
    listener,
    metrics::{Metrics, Sources},
};

/// The ops listener, if there is one.
pub(crate) struct OpsListener(Option<TcpListener>);

impl OpsListener {
    /// Opens it. See [`listener::bind_ops`].
    pub(crate) fn bind(config: &Config, log: &Logger) -> anyhow::Result<Self> {
        Ok(Self(listener::bind_ops(config, log)?))
    }

    /// Its address for the log; `off` if there is none.
    pub(crate) fn shown_address(&self) -> io::Result<String> {
        let address = self.0.as_ref().map(TcpListener::local_addr).transpose()?;
        Ok(address.map_or_else(|| "off".to_owned(), |address: SocketAddr| address.to_string()))
    }

    /// Serves metrics and health on it.
    pub(crate) fn start(self, status: ServerStatus, sources: Sources) -> io::Result<OpsServer> {
        let Some(listener) = self.0 else {
            return Ok(OpsServer(None));
        };
        let metrics = Metrics::new(sources);
        let (server, handle) =
            adapter_http::serve_ops(listener, status, Arc::new(move |format| metrics.scrape(format)))?;
        Ok(OpsServer(Some((tokio::spawn(server), handle))))
    }
}

/// The server of the ops listener, if there is one.
pub(crate) struct OpsServer(Option<(JoinHandle<io::Result<()>>, ServerHandle)>);

impl OpsServer {
    /// Ends it. A scrape that is under way is aborted.
    pub(crate) async fn stop(self) {
        if let Some((running, handle)) = self.0 {
            handle.stop(false).await;
            // Whether it panicked makes no difference any more.
            let _ended = running.await;
        }
    }
}
