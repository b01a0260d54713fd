//! Migrations: applied by one process at a time, whoever else starts at the same moment.

use std::error::Error;

use diesel::{
    migration::{Migration, MigrationSource},
    pg::Pg,
};
use diesel_async::{AsyncMigrationHarness, SimpleAsyncConnection};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};
use domain::ports::{RepositoryError, RepositoryErrorKind};

use crate::PostgresStore;

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/postgres");

/// The advisory lock that everything which changes the schema holds: "signpost" in ASCII.
const LOCK: i64 = 0x7369_676e_706f_7374;

/// A migration and whether it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its name, the same on every store.
    pub name: String,
    /// Whether the schema has it.
    pub applied: bool,
}

impl PostgresStore {
    /// Applies what is missing and says what it applied.
    pub async fn migrate(&self) -> Result<Vec<String>, RepositoryError> {
        self.with_schema_lock("applying migrations", |harness| {
            let mut applied = Vec::new();
            for migration in harness.pending_migrations(MIGRATIONS)? {
                harness.run_migration(&migration)?;
                applied.push(migration.name().to_string());
            }
            Ok(applied)
        })
        .await
    }

    /// Takes back the last migration and says which it was; data that only it knew is lost.
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
    }

    /// Every migration this binary knows, oldest first.
    pub async fn migrations(&self) -> Result<Vec<MigrationStatus>, RepositoryError> {
        self.with_schema_lock("reading the migrations", |harness| {
            let applied = harness.applied_migrations()?;
            let mut known = MigrationSource::<Pg>::migrations(&MIGRATIONS)?;
            known.sort_by_key(|migration| migration.name().version().as_owned());
            let status = |migration: Box<dyn Migration<Pg>>| MigrationStatus {
                name: migration.name().to_string(),
                applied: applied.contains(&migration.name().version().as_owned()),
            };
            Ok(known.into_iter().map(status).collect())
        })
        .await
    }

    async fn with_schema_lock<T>(
        &self,
        doing: &'static str,
        work: impl FnOnce(
            &mut AsyncMigrationHarness<diesel_async::AsyncPgConnection>,
        ) -> Result<T, Box<dyn Error + Send + Sync>>,
    ) -> Result<T, RepositoryError> {
        let unavailable = |error: Box<dyn Error + Send + Sync>| {
            RepositoryError::new(RepositoryErrorKind::Unavailable, doing).caused_by(error)
        };
        let connection = self.connector.connect_for_migrations().await.map_err(|error| unavailable(error.into()))?;
        let (mut session, _line) = connection.into_parts();
        // Ends with the connection; waiting is bounded by lock_timeout.
        let lock = format!("SELECT pg_advisory_lock({LOCK})");
        session.batch_execute(&lock).await.map_err(|error| unavailable(error.into()))?;
        let mut harness = AsyncMigrationHarness::new(session);
        work(&mut harness).map_err(|error| RepositoryError::new(RepositoryErrorKind::Internal, doing).caused_by(error))
    }
}
