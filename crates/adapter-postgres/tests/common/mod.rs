//! Stores on private databases.

use std::{sync::Arc, time::Duration};

use adapter_postgres::{PostgresOptions, PostgresStore, TlsPolicy};
use test_support::{TestDatabase, shared_database_from_template};
use tokio::runtime::{Builder, Handle};

/// A store on an empty, migrated database of its own.
pub(crate) async fn fresh() -> (Arc<PostgresStore>, TestDatabase) {
    let database = shared_database_from_template("migrated", migrate);
    (Arc::new(store(&options(&database.socket_url()))), database)
}

/// Bounds wide enough for a busy machine.
pub(crate) fn options(url: &str) -> PostgresOptions {
    PostgresOptions {
        url: url.to_owned(),
        pool_size: 8,
        tls: TlsPolicy::OffHost,
        tls_ca_file: None,
        connect_timeout: Duration::from_secs(10),
        pool_timeout: Duration::from_secs(20),
        statement_timeout: Duration::from_secs(20),
    }
}

/// A store served by the runtime this is called on.
pub(crate) fn store(options: &PostgresOptions) -> PostgresStore {
    PostgresStore::new(options, Handle::current()).expect("the options are valid")
}

/// On a runtime of its own: the template is made inside another one, which must not be blocked.
fn migrate(url: &str) {
    let url = url.to_owned();
    let migrating = std::thread::spawn(move || {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        runtime.block_on(async { store(&options(&url)).migrate().await }).expect("a new database takes every migration")
    });
    migrating.join().expect("migrating does not panic");
}
