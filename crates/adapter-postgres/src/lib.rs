//! Signpost's production store: links, histories, recorded answers and API keys in PostgreSQL 15 or later.
//!
//! One call of a port is one statement or one transaction. Every wait has a bound: for a connection, for
//! connecting, for each statement (on both sides) and for locks. A connection whose answer did not come
//! in time is closed, never used again.
//!
//! To change the schema: 1. add a migration of the same name under `migrations/postgres` and
//! `migrations/sqlite`, 2. follow it in `schema.rs` and `rows.rs` of both stores, 3. run the contract suite.

mod answers;
mod api_keys;
mod change;
mod claim;
mod connection;
mod error;
mod links;
mod list;
mod migrate;
mod rows;
mod schema;
mod session;

use async_trait::async_trait;
use deadpool::{Runtime, managed::Pool};
use diesel_async::SimpleAsyncConnection;
use domain::ports::{Ping, RepositoryError};
use tokio::runtime::Handle;

pub use connection::{InvalidOptions, PostgresOptions, TlsPolicy};
pub use migrate::MigrationStatus;

use crate::{
    connection::Connector,
    error::Effect,
    session::{Sessions, until},
};

/// The store. Cheap to make: nothing is connected before the first call.
pub struct PostgresStore {
    sessions: Sessions,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// A store on the server of `options`, with its connections served by `runtime`, which must have more
    /// than one thread and outlive the store.
    pub fn new(options: &PostgresOptions, runtime: Handle) -> Result<Self, InvalidOptions> {
        let connector = Connector::new(options, runtime)?;
        let pool = Pool::builder(connector)
            .max_size(options.pool_size)
            .runtime(Runtime::Tokio1)
            .build()
            .map_err(|error| InvalidOptions::Pool(error.into()))?;
        Ok(Self { sessions: Sessions::new(pool, options.pool_timeout, options.statement_timeout) })
    }
}

#[async_trait]
impl Ping for PostgresStore {
    /// Asks the server something only a working session can answer.
    async fn ping(&self) -> Result<(), RepositoryError> {
        let mut session = self.sessions.open("pinging the store").await?;
        let deadline = session.deadline();
        let answer = until(deadline, session.connection().batch_execute("SELECT 1")).await;
        session.close(Effect::Read, answer)
    }
}
