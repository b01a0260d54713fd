//! [`PostgresStore`]: its connection pools, its health check and its identity.

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
    pools::PoolStatus,
    session::{Sessions, until},
};

/// The PostgreSQL store. Constructing it opens no connection; the first call does.
pub struct PostgresStore {
    pub(crate) connector: Connector,
    /// Pool for the API, except lists of links and codes: claims, changes, histories, blocks, keys, idempotency
    /// records.
    pub(crate) sessions: Sessions,
    /// Redirect lookups. They have their own pool, so writes and lists cannot delay them.
    pub(crate) redirects: Lookups,
    /// Pool for lists of links and codes, which may run long.
    pub(crate) lists: Sessions,
    /// Pool for counting clicks, and for what belongs to it.
    pub(crate) shipping: Sessions,
    /// Pool for statistics of clicks, which may run long.
    pub(crate) statistics: Sessions,
    pub(crate) creations: Creations,
    /// Timeout of one statement or transaction.
    pub(crate) statement_timeout: Duration,
    pub(crate) left_out: LeftOut,
}

impl std::fmt::Debug for PostgresStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PostgresStore").finish_non_exhaustive()
    }
}

impl PostgresStore {
    /// Makes a store on the server of `options`. Connection tasks run on `runtime`, which must have more than one
    /// thread and outlive the store.
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
            shipping: sessions(options.shipping_pool_size)?,
            statistics: sessions(options.statistics_pool_size)?,
            creations: Creations::default(),
            statement_timeout: options.statement_timeout,
            left_out: LeftOut::default(),
            connector,
        })
    }

    /// What the connection pools are doing.
    pub fn pools(&self) -> [PoolStatus; 5] {
        [
            self.sessions.status("api"),
            self.redirects.sessions.status("redirects"),
            self.lists.status("lists"),
            self.shipping.status("shipping"),
            self.statistics.status("statistics"),
        ]
    }

    /// How many lookups of redirects wait for a connection.
    pub fn waiting_lookups(&self) -> usize {
        self.redirects.waiting()
    }

    /// Reports rows that cannot be read to `listener`, each time the store leaves one out.
    pub fn tell_of_unreadable_rows(&self, listener: Arc<dyn UnreadableRows>) {
        self.left_out.tell(listener);
    }
}

#[async_trait]
impl Ping for PostgresStore {
    /// Checks over a new connection that the server accepts writes and that the schema exists. A standby answers reads
    /// but cannot serve as the store. A pooled connection that still works does not prove that a new one can be made.
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
    /// The cluster's system identifier, its timeline, the OID of the database and the OID of the table `links`, joined
    /// by `/`. A promoted standby keeps the system identifier but has a new timeline. The OID of `links` tells schemas
    /// apart.
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
