//! Databases for one test each, and the server that most tests of a process share.

use std::{
    collections::BTreeSet,
    path::Path,
    sync::{Arc, Mutex, OnceLock},
};

use super::{PostgresServer, ServerOptions, installation::restore};

/// A database that no other test sees. It lives as long as its server.
#[derive(Clone, Debug)]
pub struct TestDatabase {
    server: Arc<PostgresServer>,
    name: String,
}

impl TestDatabase {
    pub(super) fn new(server: Arc<PostgresServer>, name: String) -> Self {
        Self { server, name }
    }

    /// Its name on the server.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its address over TCP.
    pub fn url(&self) -> String {
        self.server.url(&self.name)
    }

    /// Its address over the Unix socket.
    pub fn socket_url(&self) -> String {
        self.server.socket_url(&self.name)
    }

    /// Fills it, while it is empty, from a script that `pg_dump` wrote.
    pub fn restore(&self, script: &Path) {
        restore(&self.socket_url(), script);
    }

    /// Runs SQL as [`PostgresServer::sql`] does.
    pub fn sql(&self, sql: &str) -> Result<String, String> {
        self.server.sql(&self.name, sql)
    }
}

/// The server of this test process, started by the first call. It is not durable. A test that freezes, kills or
/// restarts a server starts its own.
pub fn shared_server() -> Arc<PostgresServer> {
    static SERVER: OnceLock<Arc<PostgresServer>> = OnceLock::new();
    Arc::clone(SERVER.get_or_init(|| PostgresServer::start(ServerOptions::default())))
}

/// A copy of the database that `prepare` sets up, on the shared server. The first call for a key prepares it;
/// `prepare` gets its URL and must have closed its connections when it returns.
pub fn shared_database_from_template(key: &str, prepare: impl FnOnce(&str)) -> TestDatabase {
    static PREPARED: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
    let server = shared_server();
    let template = format!("template_{key}");
    // The lock is held to the end, because PostgreSQL copies only a database without connections.
    let mut prepared = PREPARED.lock().expect("no earlier call panicked while it held the lock");
    if !prepared.contains(&template) {
        server.create(&template, "template1");
        prepare(&server.url(&template));
        prepared.insert(template.clone());
    }
    server.create_from_template(&template)
}
