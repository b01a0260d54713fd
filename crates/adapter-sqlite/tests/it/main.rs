//! The SQLite store: its contract, its schema, and its durability.

mod change_feed;
mod clicks;
mod contract;
mod durability;
mod long_lists;
mod schema;
mod unreadable;
mod upgrade;

use std::{sync::Arc, time::Duration};

use adapter_sqlite::{SqliteFile, SqliteStore};
use tempfile::TempDir;

/// A store on an empty, migrated file of its own.
async fn fresh() -> (Arc<SqliteStore>, TempDir) {
    let (file, folder) = migrated_file();
    (Arc::new(file.open(Duration::from_secs(20)).expect("a migrated database opens")), folder)
}

fn migrated_file() -> (SqliteFile, TempDir) {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = SqliteFile::new(path(&folder));
    file.migrate().expect("a new database takes every migration");
    (file, folder)
}

fn path(folder: &TempDir) -> std::path::PathBuf {
    folder.path().join("signpost.db")
}
