//! The store, chosen at run time. The only module that names both stores.

use std::{fs::File, io, path::Path, sync::Arc, time::Duration};

use adapter_cache::{CacheOptions, CachedApiKeys, CachedResolver, WriteThroughLinks};
use adapter_http::ClickServices;
use adapter_postgres::{PostgresOptions, PostgresStore};
use adapter_redis::{RedisOptions, SharedChanges, SharedLinks, SharedMemory, SharedResolver};
use adapter_sqlite::{MigrationStatus, OpenError, SqliteClickFile, SqliteFile, SqliteStore};
use anyhow::{Context, bail};
use domain::{
    access::Access,
    block::Subject,
    ports::{
        AddressCatalog, ApiKeyRepository, BlockPosition, BlockRepository, ChangeFeed, ClickRepository, Clock, Entropy,
        IdempotencyRepository, Identify, KeyPosition, LinkFilter, LinkRepository, LinkResolver, ListQuery, Ping,
        Position, RandomCodes, SharedLimiter, ShortDomainRepository, Sort, UnreadableRows,
    },
    service::{BlockService, Blocked, DomainService, KeyService, KnownDomains, LinkService, ResolveService},
};
use slog::{Logger, o};
use tokio::runtime::Handle;

use crate::{
    config::{Config, StoreConfig, StoreLocation, TlsPolicy},
    effects::{SystemClock, SystemEntropy},
    store_status::{SqliteFileStatus, StoreStatus},
    unreadable::CollectedRows,
};

/// How a finding of SQLite begins that reports a row which violates a constraint of its table.
const VIOLATION: &str = "CHECK constraint failed";

/// Where data is stored. The store need not be reachable yet.
#[derive(Clone)]
pub(crate) enum Backend {
    Sqlite(SqliteFiles, Duration),
    Postgres(Arc<PostgresStore>),
}

/// The files of a SQLite store.
#[derive(Clone)]
pub(crate) struct SqliteFiles {
    links: SqliteFile,
    /// Counts of clicks have a file of their own: SQLite has one writer for each file.
    clicks: SqliteClickFile,
}

impl SqliteFiles {
    fn new(links: &Path) -> Self {
        Self { links: SqliteFile::new(links), clicks: SqliteClickFile::new(links.with_file_name("clicks.db")) }
    }
}

/// A migration, and whether it is applied.
pub(crate) struct MigrationLine {
    pub(crate) name: String,
    pub(crate) applied: bool,
}

impl Backend {
    /// Reads the settings. Does not connect.
    pub(crate) fn of(config: &StoreConfig, runtime: &Handle) -> anyhow::Result<Self> {
        match &config.location {
            StoreLocation::Sqlite(path) => Ok(Self::Sqlite(SqliteFiles::new(path), config.statement_timeout)),
            StoreLocation::Postgres(url) => {
                let options = PostgresOptions {
                    url: url.expose().to_owned(),
                    pool_size: config.pool_size,
                    redirect_pool_size: config.redirect_pool_size,
                    list_pool_size: config.list_pool_size,
                    shipping_pool_size: PostgresOptions::SHIPPING_POOL_SIZE,
                    statistics_pool_size: PostgresOptions::STATISTICS_POOL_SIZE,
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

    /// Whether the store is a server, which may be unreachable at times.
    pub(crate) fn is_remote(&self) -> bool {
        match self {
            Self::Sqlite(..) => false,
            Self::Postgres(_) => true,
        }
    }

    /// Fails if the SQLite file is missing or cannot be read. Only serving and migrating create it.
    pub(crate) fn must_exist(&self) -> anyhow::Result<()> {
        match self {
            // No other part of this process has the file open: closing it here would release SQLite's own locks on it.
            Self::Sqlite(files, _) => match File::open(files.links.path()) {
                Ok(_) => Ok(()),
                Err(error) if error.kind() == io::ErrorKind::NotFound => bail!(
                    "there is no database at {}: name the folder of your server with --data-dir, or its store with --set store.url=…; `signpost migrate` makes a new one",
                    files.links.path().display()
                ),
                Err(error) => {
                    bail!(
                        "{} cannot be read: {error}; run this as the user of the server",
                        files.links.path().display()
                    )
                }
            },
            Self::Postgres(_) => Ok(()),
        }
    }

    /// Fails as [`Self::must_exist`] does, and if a migration is not applied.
    pub(crate) async fn must_be_migrated(&self) -> anyhow::Result<()> {
        self.must_exist()?;
        match self.migrations().await?.iter().find(|migration| !migration.applied) {
            Some(missing) => bail!("the schema lacks {}: run `signpost migrate`", missing.name),
            None => Ok(()),
        }
    }

    /// The file of a SQLite store.
    pub(crate) fn file(&self) -> Option<&Path> {
        match self {
            Self::Sqlite(files, _) => Some(files.links.path()),
            Self::Postgres(_) => None,
        }
    }

    /// Adds the name of the SQLite file to an error.
    fn opened<T>(&self, outcome: Result<T, OpenError>) -> anyhow::Result<T> {
        match self {
            Self::Sqlite(files, _) => outcome.with_context(|| files.links.path().display().to_string()),
            Self::Postgres(_) => Ok(outcome?),
        }
    }

    /// Applies all missing migrations and returns their names, oldest first.
    pub(crate) async fn migrate(&self) -> anyhow::Result<Vec<String>> {
        match self {
            Self::Sqlite(files, _) => {
                let links = self.opened(files.links.migrate())?;
                let mut names = [links, self.opened(files.clicks.migrate())?].concat();
                names.sort_unstable();
                Ok(names)
            }
            Self::Postgres(store) => Ok(store.migrate().await?),
        }
    }

    /// Reverts the last migration and returns its name; `None` if none is applied.
    pub(crate) async fn revert(&self) -> anyhow::Result<Option<String>> {
        match self {
            // The migrations of both files are one sequence, by their names.
            Self::Sqlite(files, _) => {
                let last = |migrations: Vec<MigrationStatus>| {
                    migrations.into_iter().filter(|status| status.applied).map(|status| status.name).next_back()
                };
                let links = last(self.opened(files.links.migrations())?);
                let clicks = last(self.opened(files.clicks.migrations())?);
                if clicks > links { self.opened(files.clicks.revert()) } else { self.opened(files.links.revert()) }
            }
            Self::Postgres(store) => Ok(store.revert().await?),
        }
    }

    /// All migrations, oldest first.
    pub(crate) async fn migrations(&self) -> anyhow::Result<Vec<MigrationLine>> {
        Ok(match self {
            Self::Sqlite(files, _) => {
                let (links, clicks) = (self.opened(files.links.migrations())?, self.opened(files.clicks.migrations())?);
                let mut lines: Vec<_> = links
                    .into_iter()
                    .chain(clicks)
                    .map(|status| MigrationLine { name: status.name, applied: status.applied })
                    .collect();
                lines.sort_by(|one, other| one.name.cmp(&other.name));
                lines
            }
            Self::Postgres(store) => {
                let lines = store.migrations().await?.into_iter();
                lines.map(|status| MigrationLine { name: status.name, applied: status.applied }).collect()
            }
        })
    }

    /// What is wrong with the stored data or with the store; empty if nothing is.
    pub(crate) async fn faults(&self) -> anyhow::Result<Vec<String>> {
        let damage = match self {
            Self::Sqlite(files, _) => {
                let links = self.opened(files.links.damage())?;
                // Before the first migration there is no such file.
                let clicks =
                    if files.clicks.path().is_file() { self.opened(files.clicks.damage())? } else { Vec::new() };
                [links, clicks].concat()
            }
            Self::Postgres(_) => Vec::new(),
        };
        if !damage.iter().all(|finding| finding.starts_with(VIOLATION)) {
            return Ok(damage);
        }
        let missing = self.migrations().await?.into_iter().filter(|migration| !migration.applied);
        let faults: Vec<_> = missing.map(|missing| format!("migration {} is not applied", missing.name)).collect();
        if !faults.is_empty() {
            return Ok([damage, faults].concat());
        }
        if let Self::Postgres(store) = self {
            store.ping().await?;
        }
        // SQLite does not report which row violates a constraint. Most such rows cannot be read, so reading names them.
        Ok([damage, self.unreadable_rows().await?].concat())
    }

    /// The rows that cannot be read and are left out of all results. Reads every link, block in force and API key.
    async fn unreadable_rows(&self) -> anyhow::Result<Vec<String>> {
        let rows = Arc::<CollectedRows>::default();
        let store = self.open(rows.clone())?;
        let read = store.read_everything().await;
        store.close();
        read?;
        Ok(rows.lines())
    }

    /// Opens the store behind its ports. Rows that cannot be read are left out and reported to `unreadable`.
    pub(crate) fn open(&self, unreadable: Arc<dyn UnreadableRows>) -> anyhow::Result<Store> {
        match self {
            Self::Sqlite(files, patience) => {
                let store = Arc::<SqliteStore>::new(self.opened(files.links.open(*patience))?);
                let clicks = Arc::new(self.opened(files.clicks.open(store.clone(), *patience))?);
                store.tell_of_unreadable_rows(unreadable.clone());
                clicks.tell_of_unreadable_rows(unreadable);
                let both = (Arc::clone(&store), Arc::clone(&clicks));
                let close = move || {
                    both.1.close();
                    both.0.close();
                };
                let (seen, files) = ((Arc::clone(&store), Arc::clone(&clicks)), files.clone());
                let status = move || {
                    StoreStatus::Sqlite(vec![
                        SqliteFileStatus::of("links", files.links.path(), seen.0.queues().into()),
                        SqliteFileStatus::of("clicks", files.clicks.path(), seen.1.queues().into()),
                    ])
                };
                Ok(Store { close: Some(Box::new(close)), ..Store::over(store, clicks, Box::new(status)) })
            }
            Self::Postgres(store) => {
                store.tell_of_unreadable_rows(unreadable);
                let seen = Arc::clone(store);
                let status = move || {
                    let (pools, waiting_lookups) = (seen.pools().into(), seen.waiting_lookups());
                    StoreStatus::Postgres { pools, waiting_lookups }
                };
                let opened = Store::over(Arc::clone(store), store.clone(), Box::new(status));
                Ok(Store { identity: Some(store.clone()), ..opened })
            }
        }
    }
}

/// A store behind its ports.
pub(crate) struct Store {
    pub(crate) links: Arc<dyn LinkRepository>,
    pub(crate) clicks: Arc<dyn ClickRepository>,
    pub(crate) idempotency: Arc<dyn IdempotencyRepository>,
    resolver: Arc<dyn LinkResolver>,
    keys: Arc<dyn ApiKeyRepository>,
    blocks: Arc<dyn BlockRepository>,
    pub(crate) ping: Arc<dyn Ping>,
    pub(crate) changes: Arc<dyn ChangeFeed>,
    pub(crate) addresses: Arc<dyn AddressCatalog>,
    domains: Arc<dyn ShortDomainRepository>,
    /// The identity of the store, if several processes may share it.
    identity: Option<Arc<dyn Identify>>,
    /// What these processes share in Redis, if Redis is configured.
    pub(crate) shared: Option<(SharedMemory, Arc<dyn Identify>)>,
    /// Closes the store. `None` if it needs no closing.
    close: Option<Box<dyn Fn() + Send + Sync>>,
    /// Reads what the store is doing.
    status: ReadStatus,
}

type ReadStatus = Box<dyn Fn() -> StoreStatus + Send + Sync>;

impl Store {
    fn over<S>(store: Arc<S>, clicks: Arc<dyn ClickRepository>, status: ReadStatus) -> Self
    where
        S: LinkRepository
            + IdempotencyRepository
            + LinkResolver
            + ApiKeyRepository
            + BlockRepository
            + Ping
            + ChangeFeed
            + AddressCatalog
            + ShortDomainRepository
            + 'static,
    {
        Self {
            links: store.clone(),
            clicks,
            idempotency: store.clone(),
            resolver: store.clone(),
            keys: store.clone(),
            blocks: store.clone(),
            ping: store.clone(),
            changes: store.clone(),
            addresses: store.clone(),
            domains: store,
            identity: None,
            shared: None,
            close: None,
            status,
        }
    }

    /// The same store with its links shared between processes through Redis, if Redis is configured and several
    /// processes may share the store.
    pub(crate) fn shared(mut self, config: &Config, log: &Logger) -> anyhow::Result<Self> {
        let (Some(url), Some(identity)) = (&config.redis.url, self.identity.clone()) else {
            return Ok(self);
        };
        let options = RedisOptions {
            url: url.expose().to_owned(),
            sentinel_password: config.redis.sentinel_password.as_ref().map(|password| password.expose().to_owned()),
            timeout: config.redis.timeout,
            ttl: config.redis.ttl,
        };
        let shared = SharedMemory::new(options, Arc::new(SystemEntropy), Handle::current(), log.new(o!()))
            .context("redis.url")?;
        self.links = Arc::new(SharedLinks::new(self.links, shared.clone()));
        self.resolver = Arc::new(SharedResolver::new(self.resolver, shared.clone()));
        self.changes = Arc::new(SharedChanges::new(self.changes, shared.clone()));
        self.shared = Some((shared, identity));
        Ok(self)
    }

    /// The L1 cache in front of the store, for redirects.
    pub(crate) fn remembered(&self, config: &Config, log: &Logger) -> CachedResolver {
        let options = CacheOptions {
            capacity: config.cache.capacity,
            ttl: config.cache.ttl,
            stale_for: config.cache.stale_for,
            negative_ttl: config.cache.negative_ttl,
            known_codes: config.cache.known_codes,
            // A tenth of the timeout is left for the request that waits for the lookup.
            timeout: config.http.redirect_timeout * 9 / 10,
        };
        CachedResolver::new(self.resolver.clone(), options, Handle::current(), log.new(o!()))
    }

    /// The services of the HTTP adapter, with redirects from the cache `memory`.
    pub(crate) fn services(
        &self,
        config: &Config,
        memory: CachedResolver,
        clicks: ClickServices,
    ) -> adapter_http::Services {
        let clock: Arc<dyn Clock> = Arc::new(SystemClock);
        let entropy: Arc<dyn Entropy> = Arc::new(SystemEntropy);
        let codes = Arc::new(RandomCodes::new(config.codes.length, entropy.clone()));
        let links = Arc::new(WriteThroughLinks::new(self.links.clone(), memory.clone()));
        let memory = Arc::new(memory);
        let idempotency = self.idempotency.clone();
        let blocks = self.block_service();
        adapter_http::Services {
            links: LinkService::new(links, idempotency, clock.clone(), codes, entropy.clone()),
            keys: key_service(Arc::new(CachedApiKeys::new(self.keys.clone())), self.idempotency.clone()),
            resolver: ResolveService::new(memory, blocks.blocked().clone(), clock),
            blocks,
            domains: self.domain_service(),
            store: self.ping.clone(),
            shared: self.shared.as_ref().map(|(shared, _)| Arc::new(shared.clone()) as Arc<dyn Ping>),
            shared_limiter: self.shared.as_ref().map(|(shared, _)| Arc::new(shared.clone()) as Arc<dyn SharedLimiter>),
            clicks,
            entropy,
        }
    }

    /// What the store is doing.
    pub(crate) fn status(&self) -> StoreStatus {
        (self.status)()
    }

    /// Finishes the work in progress and closes the store. Blocks.
    pub(crate) fn close(&self) {
        if let Some(close) = &self.close {
            close();
        }
    }

    /// Whether a block covers any existing link. Always `true` for hosts: the check would have to read every link.
    pub(crate) async fn has_links_of(&self, subject: &Subject) -> anyhow::Result<bool> {
        Ok(match subject {
            Subject::Address(address) => self.links.find(address).await?.is_some(),
            Subject::Host(_) => true,
            Subject::Owner(owner) => {
                let access = Access::Owner(owner.clone());
                let (filter, sort) = (LinkFilter::default(), Sort::default());
                let query = ListQuery { access, filter, sort, after: None, limit: 1 };
                !self.links.list(&query).await?.is_empty()
            }
        })
    }

    /// Reads every link, short domain, block in force and API key, so that rows that cannot be read are reported. Lifted blocks are
    /// skipped, because they have no effect.
    async fn read_everything(&self) -> anyhow::Result<()> {
        const PAGE: u32 = 500;
        let mut query = ListQuery {
            access: Access::All,
            filter: LinkFilter::default(),
            sort: Sort::OldestFirst,
            after: None,
            limit: PAGE,
        };
        loop {
            let page = self.links.list(&query).await?;
            query.after = page.last().map(Position::from);
            if page.len() < PAGE as usize {
                break;
            }
        }
        self.domains.all().await?;
        let mut after = None;
        loop {
            let page = self.blocks.list(false, after.as_ref(), PAGE).await?;
            after = page.last().map(BlockPosition::from);
            if page.len() < PAGE as usize {
                break;
            }
        }
        let mut after = None;
        loop {
            let page = self.keys.list(after.as_ref(), PAGE).await?;
            after = page.last().map(KeyPosition::from);
            if page.len() < PAGE as usize {
                return Ok(());
            }
        }
    }

    /// The service for takedowns. Until its first refresh it knows no takedowns and every redirect is refused.
    pub(crate) fn block_service(&self) -> BlockService {
        BlockService::new(self.blocks.clone(), Blocked::unread(), Arc::new(SystemClock), Arc::new(SystemEntropy))
    }

    /// The service for short domains. Until its first refresh it knows none.
    pub(crate) fn domain_service(&self) -> DomainService {
        DomainService::new(self.domains.clone(), KnownDomains::unread(), Arc::new(SystemClock))
    }

    /// The service for API keys, without the cache in front of the store.
    pub(crate) fn key_service(&self) -> KeyService {
        key_service(self.keys.clone(), self.idempotency.clone())
    }
}

fn key_service(keys: Arc<dyn ApiKeyRepository>, idempotency: Arc<dyn IdempotencyRepository>) -> KeyService {
    KeyService::new(keys, idempotency, Arc::new(SystemClock), Arc::new(SystemEntropy))
}
