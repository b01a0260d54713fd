//! Migrations. An advisory lock lets only one process apply them at a time.

use std::error::Error;

use diesel::{
    QueryResult,
    dsl::sql,
    migration::{Migration, MigrationSource},
    pg::Pg,
    select,
    sql_types::{Bool, Text},
};
use diesel_async::{AsyncMigrationHarness, AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use domain::ports::{RepositoryError, RepositoryErrorKind};

use crate::{
    PostgresStore,
    connection::Line,
    error::{Effect, classify},
    session::until,
    upgrade,
};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// Advisory lock of every call that changes the schema: "signpost" in ASCII.
const LOCK: i64 = 0x7369_676e_706f_7374;

/// A migration and whether it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its name, the same on every store.
    pub name: String,
    /// Whether the schema has it.
    pub applied: bool,
}

/// The versions in the table of migrations; none if there is no such table.
async fn applied_versions(connection: &mut AsyncPgConnection) -> QueryResult<Vec<String>> {
    let there = select(sql::<Bool>("to_regclass('__diesel_schema_migrations') IS NOT NULL"));
    if !there.get_result::<bool>(connection).await? {
        return Ok(Vec::new());
    }
    sql::<Text>("SELECT version FROM __diesel_schema_migrations").load(connection).await
}

impl PostgresStore {
    /// Applies every pending migration, finishes upgrades of rows, and returns the names of the migrations it applied.
    pub async fn migrate(&self) -> Result<Vec<String>, RepositoryError> {
        const DOING: &str = "applying migrations";
        let apply =
            |harness: &mut AsyncMigrationHarness<AsyncPgConnection>| -> Result<_, Box<dyn Error + Send + Sync>> {
                let mut applied = Vec::new();
                for migration in harness.pending_migrations(MIGRATIONS)? {
                    harness.run_migration(&migration)?;
                    applied.push(migration.name().to_string());
                }
                Ok(applied)
            };
        let (applied, mut session, _line) = self.with_schema_lock(DOING, apply).await?;
        upgrade::finish(&mut session)
            .await
            .map_err(|error| RepositoryError::new(classify(&error, Effect::Write), DOING).caused_by(error))?;
        Ok(applied)
    }

    /// Reverts the last migration and returns its name; `None` if none is applied. Data that only this migration has a
    /// place for is lost.
    pub async fn revert(&self) -> Result<Option<String>, RepositoryError> {
        self.with_schema_lock("reverting a migration", |harness| {
            if harness.applied_migrations()?.is_empty() {
                return Ok(None);
            }
            let version = harness.revert_last_migration(MIGRATIONS)?;
            let known = MigrationSource::<Pg>::migrations(&MIGRATIONS)?;
            let reverted = known.iter().find(|migration| migration.name().version() == version);
            Ok(reverted.map(|migration| migration.name().to_string()))
        })
        .await
        .map(|(reverted, ..)| reverted)
    }

    /// Every migration this binary knows, oldest first. Only reads: it works for a role that may not change the schema,
    /// and while another process migrates.
    pub async fn migrations(&self) -> Result<Vec<MigrationStatus>, RepositoryError> {
        const DOING: &str = "reading the migrations";
        let mut session = self.sessions.open(DOING).await?;
        let deadline = session.deadline();
        let applied = until(deadline, applied_versions(session.connection())).await;
        let applied = session.close(Effect::Read, applied)?;
        let mut known = MigrationSource::<Pg>::migrations(&MIGRATIONS)
            .map_err(|error| RepositoryError::new(RepositoryErrorKind::Internal, DOING).caused_by(error))?;
        known.sort_by_key(|migration| migration.name().version().as_owned());
        let status = |migration: Box<dyn Migration<Pg>>| MigrationStatus {
            name: migration.name().to_string(),
            applied: applied.contains(&migration.name().version().to_string()),
        };
        Ok(known.into_iter().map(status).collect())
    }

    /// Runs `work` under the schema lock. The lock is held as long as the returned session and its [`Line`] are kept.
    async fn with_schema_lock<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(&mut AsyncMigrationHarness<AsyncPgConnection>) -> Result<T, Box<dyn Error + Send + Sync>>,
    ) -> Result<(T, AsyncPgConnection, Line), RepositoryError> {
        let unavailable = |error: Box<dyn Error + Send + Sync>| {
            RepositoryError::new(RepositoryErrorKind::Unavailable, doing).caused_by(error)
        };
        let connection = self.connector.connect_for_migrations().await.map_err(|error| unavailable(error.into()))?;
        let (mut session, line) = connection.into_parts();
        // The lock ends with the connection. `lock_timeout` bounds the wait for it.
        let lock = format!("SELECT pg_advisory_lock({LOCK})");
        session.batch_execute(&lock).await.map_err(|error| unavailable(error.into()))?;
        let mut harness = AsyncMigrationHarness::new(session);
        let outcome = work(&mut harness)
            .map_err(|error| RepositoryError::new(RepositoryErrorKind::Internal, doing).caused_by(error))?;
        Ok((outcome, harness.into_inner(), line))
    }
}
