//! The contract of every store, against the real stores as the binary uses them: behind the L1 cache.

use std::{sync::Arc, time::Duration};

use adapter_cache::{CacheOptions, CachedApiKeys, CachedResolver, WriteThroughLinks};
use adapter_postgres::{PostgresOptions, PostgresStore, TlsPolicy};
use adapter_sqlite::SqliteFile;
use slog::{Discard, Logger, o};
use tempfile::TempDir;
use test_support::{Decorated, TestDatabase, contract::Store, shared_database_from_template};
use tokio::runtime::{Builder, Handle};

/// Enough for a busy machine.
const PATIENCE: Duration = Duration::from_secs(20);

fn remembered<S: Store + 'static>(store: Arc<S>) -> Arc<Decorated> {
    let options = CacheOptions {
        capacity: 1_000,
        ttl: Duration::from_secs(10),
        stale_for: Duration::from_mins(10),
        negative_ttl: Duration::from_secs(5),
        known_codes: 1_000_000,
        timeout: PATIENCE,
    };
    let resolver = CachedResolver::new(store.clone(), options, Handle::current(), Logger::root(Discard, o!()));
    let links = WriteThroughLinks::new(store.clone(), resolver.clone());
    let keys = Arc::new(CachedApiKeys::new(store.clone()));
    Arc::new(Decorated { store, links: Arc::new(links), resolver: Arc::new(resolver), keys })
}

async fn on_sqlite() -> (Arc<Decorated>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = SqliteFile::new(folder.path().join("signpost.db"));
    file.migrate().expect("a new file takes every migration");
    (remembered(Arc::new(file.open(PATIENCE).expect("the file opens"))), folder)
}

async fn on_postgres() -> (Arc<Decorated>, TestDatabase) {
    let database = shared_database_from_template("remembered", migrate);
    (remembered(Arc::new(postgres(&database.socket_url()))), database)
}

fn postgres(url: &str) -> PostgresStore {
    let options = PostgresOptions {
        url: url.to_owned(),
        pool_size: 8,
        redirect_pool_size: 4,
        list_pool_size: 4,
        shipping_pool_size: PostgresOptions::SHIPPING_POOL_SIZE,
        statistics_pool_size: PostgresOptions::STATISTICS_POOL_SIZE,
        tls: TlsPolicy::OffHost,
        tls_ca_file: None,
        connect_timeout: PATIENCE / 2,
        pool_timeout: PATIENCE,
        statement_timeout: PATIENCE,
    };
    PostgresStore::new(&options, Handle::current()).expect("the options are valid")
}

/// Runs on a runtime of its own: the template database is made inside another runtime, which must not be blocked.
fn migrate(url: &str) {
    let url = url.to_owned();
    let migrating = std::thread::spawn(move || {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.block_on(async { postgres(&url).migrate().await }).expect("a new database takes every migration")
    });
    migrating.join().expect("migrating does not panic");
}

mod sqlite {
    test_support::contract_suite!(super::on_sqlite);
}

mod postgresql {
    test_support::contract_suite!(super::on_postgres);
}
