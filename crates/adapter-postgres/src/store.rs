//! [`PostgresStore`]: its connections, and whether it works.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use deadpool::{
    Runtime,
    managed::{Manager, Pool},
};
use diesel::{
    dsl::sql,
    select,
    sql_types::{Bool, Text},
};
use diesel_async::RunQueryDsl;
use domain::ports::{FailureReason, Identify, LeftOut, Ping, RepositoryError, RepositoryErrorKind, UnreadableRows};
use tokio::{runtime::Handle, time::Instant};

use crate::{
    connection::Connector,
    creations::Creations,
    error::{Effect, classify, reason},
    invalid_options::InvalidOptions,
    lookups::Lookups,
    options::PostgresOptions,
    session::{Sessions, until},
};

/// The store. Cheap to make: nothing is connected before the first call.
pub struct PostgresStore {
    pub(crate) connector: Connector,
    /// For the API: claims, changes, keys.
    pub(crate) sessions: Sessions,
    /// For redirects alone, which no writer and no list may keep waiting.
    pub(crate) redirects: Lookups,
    /// For lists, which may take long.
    pub(crate) lists: Sessions,
    pub(crate) creations: Creations,
    /// Bound of one statement or transaction.
    pub(crate) statement_timeout: Duration,
    pub(crate) left_out: LeftOut,
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
        let sessions = |size| {
            let pool = Pool::builder(connector.clone()).max_size(size).runtime(Runtime::Tokio1).build();
            let pool = pool.map_err(|error| InvalidOptions::Pool(error.into()))?;
            Ok(Sessions::new(pool, options.pool_timeout, options.statement_timeout))
        };
        Ok(Self {
            sessions: sessions(options.pool_size)?,
            redirects: Lookups::new(
                sessions(options.redirect_pool_size)?,
                options.redirect_pool_size,
                connector.runtime(),
            ),
            lists: sessions(options.list_pool_size)?,
            creations: Creations::default(),
            statement_timeout: options.statement_timeout,
            left_out: LeftOut::default(),
            connector,
        })
    }

    /// Tells `listener` of rows that cannot be read, each time one is left out.
    pub fn tell_of_unreadable_rows(&self, listener: Arc<dyn UnreadableRows>) {
        self.left_out.tell(listener);
    }
}

#[async_trait]
impl Ping for PostgresStore {
    /// Asks the server whether it takes writes, for a standby answers every read and is no store; and looks for the
    /// schema, without which nothing else works. In a session of its own: that sessions of before still work says
    /// nothing about those to come.
    async fn ping(&self) -> Result<(), RepositoryError> {
        const DOING: &str = "pinging the store";
        let unavailable = || RepositoryError::new(RepositoryErrorKind::Unavailable, DOING);
        let connecting = self.connector.create().await;
        let mut own = connecting.map_err(|error| unavailable().because(error.reason()).caused_by(error))?;
        let takes_writes =
            "current_setting('transaction_read_only') = 'off' AND NOT EXISTS (SELECT FROM links WHERE false)";
        let question = select(sql::<Bool>(takes_writes));
        let deadline = Instant::now() + self.statement_timeout;
        match until(deadline, question.get_result::<bool>(&mut own.diesel)).await {
            Some(Ok(true)) => Ok(()),
            Some(Ok(false)) => Err(unavailable().because(FailureReason::ReadOnly).caused_by("it is read-only")),
            Some(Err(error)) => Err(RepositoryError::new(classify(&error, Effect::Read), DOING)
                .because(reason(&error))
                .caused_by(error)),
            None => Err(unavailable().because(FailureReason::TimedOut)),
        }
    }
}

#[async_trait]
impl Identify for PostgresStore {
    /// The cluster's own number, which a promoted standby keeps, its timeline, which it does not, and the database and
    /// the schema in it.
    async fn identity(&self) -> Result<String, RepositoryError> {
        let mut session = self.sessions.open("identifying the store").await?;
        let deadline = session.deadline();
        let name = "(SELECT system_identifier::text FROM pg_control_system()) || '/' || \
                    substr(pg_walfile_name(pg_current_wal_lsn()), 1, 8) || '/' || \
                    (SELECT oid::text FROM pg_database WHERE datname = current_database()) || '/' || \
                    'links'::regclass::oid::text";
        let answer = until(deadline, select(sql::<Text>(name)).get_result(session.connection())).await;
        session.close(Effect::Read, answer)
    }
}
