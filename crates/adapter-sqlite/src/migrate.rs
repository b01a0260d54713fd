//! Migrations. A write transaction lets only one process apply them at a time.

use std::error::Error;

use diesel::{
    QueryResult, RunQueryDsl, SqliteConnection,
    dsl::sql,
    migration::{Migration, MigrationSource},
    select,
    sql_types::{Bool, Text},
    sqlite::Sqlite,
};
use diesel_migrations::{EmbeddedMigrations, MigrationHarness, embed_migrations};

use crate::{OpenError, SqliteFile, upgrade};

const OF_LINKS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite");
const OF_CLICKS: EmbeddedMigrations = embed_migrations!("../../migrations/sqlite-clicks");

/// The migrations of one kind of file.
pub(crate) struct Migrations {
    known: fn() -> EmbeddedMigrations,
    /// Runs after the migrations, in their transaction.
    finish: fn(&mut SqliteConnection) -> QueryResult<()>,
}

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
        Migrations::LINKS.apply(self)
    }

    /// Reverts the last migration and returns its name; `None` if none is applied. Data that only this migration has a
    /// place for is lost.
    pub fn revert(&self) -> Result<Option<String>, OpenError> {
        Migrations::LINKS.revert(self)
    }

    /// Every migration this binary knows, oldest first. Only reads, and creates no file.
    pub fn migrations(&self) -> Result<Vec<MigrationStatus>, OpenError> {
        Migrations::LINKS.list(self)
    }
}

impl Migrations {
    /// Those of the file of links, with everything but clicks.
    pub(crate) const LINKS: Self = Self { known: || OF_LINKS, finish: upgrade::finish };
    /// Those of the file of clicks.
    pub(crate) const CLICKS: Self = Self { known: || OF_CLICKS, finish: |_| Ok(()) };

    pub(crate) fn apply(&self, file: &SqliteFile) -> Result<Vec<String>, OpenError> {
        file.with_schema_lock(|connection| {
            let mut applied = Vec::new();
            for migration in connection.pending_migrations((self.known)())? {
                connection.run_migration(&migration)?;
                applied.push(migration.name().to_string());
            }
            (self.finish)(connection)?;
            Ok(applied)
        })
    }

    pub(crate) fn revert(&self, file: &SqliteFile) -> Result<Option<String>, OpenError> {
        file.with_schema_lock(|connection| {
            if connection.applied_migrations()?.is_empty() {
                return Ok(None);
            }
            let version = connection.revert_last_migration((self.known)())?;
            let known = MigrationSource::<Sqlite>::migrations(&(self.known)())?;
            let reverted = known.iter().find(|migration| migration.name().version() == version);
            Ok(reverted.map(|migration| migration.name().to_string()))
        })
    }

    pub(crate) fn list(&self, file: &SqliteFile) -> Result<Vec<MigrationStatus>, OpenError> {
        let applied = if file.path().is_file() { file.applied_versions()? } else { Vec::new() };
        let mut known = MigrationSource::<Sqlite>::migrations(&(self.known)()).map_err(OpenError::Migrate)?;
        known.sort_by_key(|migration| migration.name().version().as_owned());
        let status = |migration: Box<dyn Migration<Sqlite>>| MigrationStatus {
            name: migration.name().to_string(),
            applied: applied.contains(&migration.name().version().to_string()),
        };
        Ok(known.into_iter().map(status).collect())
    }
}

impl SqliteFile {
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
