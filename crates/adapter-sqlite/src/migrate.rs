//! Migrations. A write transaction lets only one process apply them at a time.

use std::error::Error;

use diesel::{
    RunQueryDsl, SqliteConnection,
    dsl::sql,
    migration::{Migration, MigrationSource},
    select,
    sql_types::{Bool, Text},
    sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::{OpenError, SqliteFile, upgrade};

const MIGRATIONS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");

/// A migration and whether it is applied.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStatus {
    /// Its name, the same on every store.
    pub name: String,
    /// Whether the schema has it.
    pub applied: bool,
}

impl SqliteFile {
    /// Applies every pending migration, finishes upgrades of rows, and returns the names of the migrations it applied.
    pub fn migrate(&self) -> Result<Vec<String>, OpenError> {
        self.with_schema_lock(|connection| {
            let mut applied = Vec::new();
            for migration in connection.pending_migrations(MIGRATIONS)? {
                connection.run_migration(&migration)?;
                applied.push(migration.name().to_string());
            }
            upgrade::finish(connection)?;
            Ok(applied)
        })
    }

    /// Reverts the last migration and returns its name; `None` if none is applied. Data that only this migration has a
    /// place for is lost.
    pub fn revert(&self) -> Result<Option<String>, OpenError> {
        self.with_schema_lock(|connection| {
            if connection.applied_migrations()?.is_empty() {
                return Ok(None);
            }
            let version = connection.revert_last_migration(MIGRATIONS)?;
            let known = MigrationSource::<Sqlite>::migrations(&MIGRATIONS)?;
            let reverted = known.iter().find(|migration| migration.name().version() == version);
            Ok(reverted.map(|migration| migration.name().to_string()))
        })
    }

    /// Every migration this binary knows, oldest first. Only reads, and creates no file.
    pub fn migrations(&self) -> Result<Vec<MigrationStatus>, OpenError> {
        let applied = if self.path().is_file() { self.applied_versions()? } else { Vec::new() };
        let mut known = MigrationSource::<Sqlite>::migrations(&MIGRATIONS).map_err(OpenError::Migrate)?;
        known.sort_by_key(|migration| migration.name().version().as_owned());
        let status = |migration: Box<dyn Migration<Sqlite>>| MigrationStatus {
            name: migration.name().to_string(),
            applied: applied.contains(&migration.name().version().to_string()),
        };
        Ok(known.into_iter().map(status).collect())
    }

    /// The versions in the table of migrations; none if there is no such table.
    fn applied_versions(&self) -> Result<Vec<String>, OpenError> {
        const TABLE: &str = "EXISTS (SELECT 1 FROM sqlite_master WHERE name = '__diesel_schema_migrations')";
        let mut connection = self.connect_to_look()?;
        let there: bool = select(sql::<Bool>(TABLE)).get_result(&mut connection).map_err(OpenError::Read)?;
        if !there {
            return Ok(Vec::new());
        }
        sql::<Text>("SELECT version FROM __diesel_schema_migrations").load(&mut connection).map_err(OpenError::Read)
    }

    /// Runs `work` in one transaction: all of it happens or none, and other writers wait.
    fn with_schema_lock<T>(
        &self,
        work: impl FnOnce(&mut SqliteConnection) -> Result<T, Box<dyn Error + Send + Sync>>,
    ) -> Result<T, OpenError> {
        let mut connection = self.connect()?;
        connection.immediate_transaction(|connection| work(connection).map_err(OpenError::Migrate))
    }
}
