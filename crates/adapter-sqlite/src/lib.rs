//! Signpost's embedded default store: links, histories, idempotency records, blocks and API keys in one SQLite
//! file, and counts of clicks in another.
//!
//! SQLite is compiled in. It runs on its own threads: one writer with group commit, a few readers, and separate readers
//! for long reads. WAL mode with `synchronous=FULL` makes every acknowledged write survive a power loss.
//!
//! Read a row by its unique key with `get_result`, not with `first`. `first` adds `LIMIT ?`, and SQLite prepares a
//! statement with a bound limit again at every call, which costs several times what running it costs.
//!
//! To change the schema: (1) add a migration of the same name under `migrations/postgres` and `migrations/sqlite`, or
//! `migrations/sqlite-clicks` for clicks, (2) change `schema.rs` and `rows.rs` of both stores to match, (3) run the
//! contract suite.
//!
//! | file                                   | holds                                                  |
//! |----------------------------------------|--------------------------------------------------------|
//! | `store`                                | [`SqliteStore`]: its threads and health check          |
//! | `file`                                 | [`SqliteFile`]: the database file and how it is opened |
//! | `links`, `claim`, `statements`, `list` | the repository and the resolver of links               |
//! | `idempotency`, `api_keys`, `blocks`    | the other repositories                                 |
//! | `clicks`                               | counts of clicks, in a file of their own               |
//! | `change_feed`                          | new history entries                                    |
//! | `codes`                                | every code, page by page                               |
//! | `rows`, `schema`                       | rows, and their conversion to domain types             |
//! | `threads`, `writer`, `job`             | one writer with group commit, readers, and their jobs  |
//! | `migrate`, `upgrade`                   | migrations, and upgrades of rows after them            |
//! | `error`                                | what a caller can conclude from an error               |

mod api_keys;
mod blocks;
mod change_feed;
mod claim;
mod clicks;
mod codes;
mod error;
mod file;
mod idempotency;
mod job;
mod links;
mod list;
mod migrate;
mod rows;
mod schema;
mod short_domains;
mod statements;
mod store;
mod threads;
mod upgrade;
mod writer;

pub use clicks::{SqliteClickFile, SqliteClicks};
pub use file::{OpenError, SqliteFile};
pub use migrate::MigrationStatus;
pub use store::SqliteStore;
pub use threads::QueueStatus;
