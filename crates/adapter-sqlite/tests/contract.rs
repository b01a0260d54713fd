//! The SQLite store keeps the contract of all stores.

use std::sync::Arc;

use adapter_sqlite::{SqliteFile, SqliteStore};
use tempfile::TempDir;

async fn fresh() -> (Arc<SqliteStore>, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = SqliteFile::new(folder.path().join("signpost.db"));
    file.migrate().expect("a new database takes every migration");
    (Arc::new(file.open().expect("a migrated database opens")), folder)
}

mod contract {
    test_support::contract_suite!(super::fresh);
}
