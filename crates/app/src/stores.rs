//! The store, chosen at run time; the one place that names both.

use std::{sync::Arc, time::Duration};

use adapter_postgres::{PostgresOptions, PostgresStore};
use adapter_sqlite::{SqliteFile, SqliteStore};
use anyhow::Context;
use domain::{
    ports::{ApiKeyRepository, Clock, Entropy, IdempotencyRepository, LinkRepository, LinkResolver, Ping, RandomCodes},
    service::{KeyService, LinkService, ResolveService},
};
use tokio::runtime::Handle;

use crate::{
    config::{Config, StoreConfig, StoreLocation, TlsPolicy},
    effects::{SystemClock, SystemEntropy},
};

/// Where data lives, not yet necessarily reachable.
#[derive(Clone)]
pub(crate) enum Backend {
    Sqlite(SqliteFile, Duration),
    Postgres(Arc<PostgresStore>),
}

/// What became of a migration.
pub(crate) struct MigrationLine {
    pub(crate) name: String,
    pub(crate) applied: bool,
}

impl Backend {
    /// Reads the settings; nothing is connected yet.
    pub(crate) fn of(config: &StoreConfig, runtime: &Handle) -> anyhow::Result<Self> {
        match &config.location {
            StoreLocation::Sqlite(path) => Ok(Self::Sqlite(SqliteFile::new(path), config.statement_timeout)),
            StoreLocation::Postgres(url) => {
                let options = PostgresOptions {
                    url: url.expose().to_owned(),
                    pool_size: config.pool_size,
                    tls: match config.tls {
                        TlsPolicy::Auto => adapter_postgres::TlsPolicy::OffHost,
                        TlsPolicy::Require => adapter_postgres::TlsPolicy::Always,
                        TlsPolicy::Disable => adapter_postgres::TlsPolicy::Never,
                    },
                    tls_ca_file: config.tls_ca_file.clone(),
                    connect_timeout: config.connect_timeout,
                    pool_timeout: config.pool_timeout,
                    statement_timeout: config.statement_timeout,
                };
                let store = PostgresStore::new(&options, runtime.clone()).context("store.url")?;
                Ok(Self::Postgres(Arc::new(store)))
            }
        }
    }

    /// Whether the store is somewhere else, and may come and go.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Self::Sqlite(..) => false,
            Self::Postgres(_) => true,
        }
    }

    /// Applies what is missing and says what it applied.
    pub(crate) async fn migrate(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Sqlite(file, _) => Ok(file.migrate()?),
            Self::Postgres(store) => Ok(store.migrate().await?),
        }
    }

    /// Takes the last migration back and says which it was.
    pub(crate) async fn revert(&self) -> anyhow::Result<Option<String>> {
        match self {
            Self::Sqlite(file, _) => Ok(file.revert()?),
            Self::Postgres(store) => Ok(store.revert().await?),
        }
    }

    /// Every migration, oldest first.
    pub(crate) async fn migrations(&self) -> anyhow::Result<Vec<MigrationLine>> {
        Ok(match self {
            Self::Sqlite(file, _) => {
                let lines = file.migrations()?.into_iter();
                lines.map(|status| MigrationLine { name: status.name, applied: status.applied }).collect()
            }
            Self::Postgres(store) => {
                let lines = store.migrations().await?.into_iter();
                lines.map(|status| MigrationLine { name: status.name, applied: status.applied }).collect()
            }
        })
    }

    /// What is wrong with what is stored, or with who stores it; nothing if all is well.
    pub(crate) async fn faults(&self) -> anyhow::Result<Vec<String>> {
        let mut faults = match self {
            Self::Sqlite(file, _) => file.damage()?,
            Self::Postgres(store) => {
                store.ping().await?;
                Vec::new()
            }
        };
        let missing = self.migrations().await?.into_iter().filter(|migration| !migration.applied);
        faults.extend(missing.map(|migration| format!("migration {} is not applied", migration.name)));
        Ok(faults)
    }

    /// The store behind its ports.
    pub(crate) fn open(&self) -> anyhow::Result<Store> {
        match self {
            Self::Sqlite(file, patience) => Ok(Store::over(Arc::<SqliteStore>::new(file.open(*patience)?))),
            Self::Postgres(store) => Ok(Store::over(Arc::clone(store))),
        }
    }
}

/// A store behind its ports.
pub(crate) struct Store {
    links: Arc<dyn LinkRepository>,
    pub(crate) answers: Arc<dyn IdempotencyRepository>,
    resolver: Arc<dyn LinkResolver>,
    keys: Arc<dyn ApiKeyRepository>,
    pub(crate) ping: Arc<dyn Ping>,
}

impl Store {
    fn over<S>(store: Arc<S>) -> Self
    where
        S: LinkRepository + IdempotencyRepository + LinkResolver + ApiKeyRepository + Ping + 'static,
    {
        Self { links: store.clone(), answers: store.clone(), resolver: store.clone(), keys: store.clone(), ping: store }
    }

    /// The services of the HTTP face.
    pub(crate) fn services(&self, config: &Config) -> adapter_http::Services {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let codes = Arc::new(RandomCodes::new(config.codes.length, entropy.clone()));
        let (links, answers) = (self.links.clone(), self.answers.clone());
        adapter_http::Services {
            links: LinkService::new(links, answers, clock.clone(), codes, entropy.clone()),
            keys: self.key_service(),
            resolver: ResolveService::new(self.resolver.clone(), clock),
            store: self.ping.clone(),
            entropy,
        }
    }

    /// API keys alone, for the command line.
    pub(crate) fn key_service(&self) -> KeyService {
        KeyService::new(self.keys.clone(), self.answers.clone(), Arc::new(SystemClock), Arc::new(SystemEntropy))
    }
}
