//! Signpost's production store: links, histories, idempotency records, blocks, API keys and counts of
//! clicks in PostgreSQL 15 or later.
//!
//! One call of a port is one statement or one transaction. Every wait has a timeout: getting a connection from the
//! pool, connecting, each statement (in the client and on the server) and locks. A connection that timed out is closed
//! and never reused.
//!
//! To change the schema: (1) add a migration of the same name under `migrations/postgres` and `migrations/sqlite`,
//! (2) change `schema.rs` and `rows.rs` of both stores to match, (3) run the contract suite.
//!
//! | file                                   | holds                                                              |
//! |----------------------------------------|--------------------------------------------------------------------|
//! | `store`                                | [`PostgresStore`]: its connection pools, health check and identity |
//! | `links`, `claim`, `change`, `list`     | the repository of links                                            |
//! | `lookups`                              | the resolver of redirects                                          |
//! | `idempotency`, `api_keys`, `blocks`    | the other repositories                                             |
//! | `clicks`                               | counts of clicks: shipping, statistics and upkeep                  |
//! | `change_feed`, `listener`, `creations` | new history entries, and what wakes their reader                   |
//! | `codes`                                | every code, page by page                                           |
//! | `rows`, `schema`                       | rows, and their conversion to domain types                         |
//! | `session`, `connection`, `hosts`       | pooled sessions, connecting, the hosts of a URL                    |
//! | `pools`                                | what the connection pools are doing, for metrics                   |
//! | `options`, `invalid_options`           | options of the store                                               |
//! | `migrate`, `upgrade`                   | migrations, and upgrades of rows after them                        |
//! | `error`                                | what a caller can conclude from an error                           |

mod api_keys;
mod blocks;
mod change;
mod change_feed;
mod claim;
mod clicks;
mod codes;
mod connection;
mod creations;
mod error;
mod hosts;
mod idempotency;
mod invalid_options;
mod links;
mod list;
mod listener;
mod lookups;
mod migrate;
mod options;
mod pools;
mod rows;
mod schema;
mod session;
mod short_domains;
mod store;
mod upgrade;

pub use invalid_options::InvalidOptions;
pub use migrate::MigrationStatus;
pub use options::{PostgresOptions, TlsPolicy, check_authorities, check_url};
pub use pools::PoolStatus;
pub use store::PostgresStore;
