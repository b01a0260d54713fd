//! Signpost's embedded default store: links, histories, recorded answers and API keys in one SQLite file.
//!
//! SQLite is compiled in. It runs on its own threads (one writer with group commit, a few readers, others for long
//! reads), in WAL mode with `synchronous=FULL`: what is acknowledged survives a power loss.
//!
//! A row that has a key of its own is read with `get_result`. `first` would say `LIMIT ?`, and a statement whose limit is
//! bound is prepared anew by SQLite each time, which costs several times what it does.
//!
//! To change the schema: 1. add a migration of the same name under `migrations/postgres` and
//! `migrations/sqlite`, 2. follow it in `schema.rs` and `rows.rs` of both stores, 3. run the contract suite.

mod answers;
mod api_keys;
mod blocks;
mod change_feed;
mod claim;
mod codes;
mod error;
mod file;
mod job;
mod links;
mod list;
mod migrate;
mod rows;
mod schema;
mod statements;
mod store;
mod threads;
mod upgrade;
mod writer;

pub use file::{OpenError, SqliteFile};
pub use migrate::MigrationStatus;
pub use store::SqliteStore;
