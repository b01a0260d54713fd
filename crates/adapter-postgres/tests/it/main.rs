//! The PostgreSQL store: its contract, its schema, and its behaviour when the server fails.

mod batches;
mod change_feed;
mod clicks;
mod contract;
mod failures;
mod schema;
mod tls;
mod unreadable;
mod upgrade;

use std::{sync::Arc, time::Duration};

use adapter_postgres::{PostgresOptions, PostgresStore, TlsPolicy};
use test_support::{TestDatabase, shared_database_from_template, shared_server};
use tokio::runtime::{Builder, Handle};

/// A store on an empty, migrated database of its own.
async fn fresh() -> (Arc<PostgresStore>, TestDatabase) {
    let database = shared_database_from_template("migrated", migrate);
    (Arc::new(store(&options(&database.socket_url()))), database)
}

/// Timeouts long enough for a busy machine.
fn options(url: &str) -> PostgresOptions {
    PostgresOptions {
        url: url.to_owned(),
        pool_size: 8,
        redirect_pool_size: 4,
        list_pool_size: 4,
        shipping_pool_size: PostgresOptions::SHIPPING_POOL_SIZE,
        statistics_pool_size: PostgresOptions::STATISTICS_POOL_SIZE,
        tls: TlsPolicy::OffHost,
        tls_ca_file: None,
        connect_timeout: Duration::from_secs(10),
        pool_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(20),
    }
}

/// A store whose connections run on the current runtime.
fn store(options: &PostgresOptions) -> PostgresStore {
    PostgresStore::new(options, Handle::current()).expect("the options are valid")
}

fn empty_database() -> TestDatabase {
    shared_server().create_database()
}

/// Migrates on a runtime of its own: the template is made inside another runtime, which must not be blocked.
fn migrate(url: &str) {
    let url = url.to_owned();
    let migrating = std::thread::spawn(move || {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.block_on(async { store(&options(&url)).migrate().await }).expect("a new database takes every migration")
    });
    migrating.join().expect("migrating does not panic");
}
