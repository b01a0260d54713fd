//! `signpost`, a URL shortener: command line, configuration and wiring. The only crate that names concrete stores.
//!
//! | file                                  | holds                                                 |
//! |---------------------------------------|-------------------------------------------------------|
//! | `cli`, `commands`                     | the command line and its commands                     |
//! | `clicks`, `click_commands`            | the spool, its shipper, salts; commands on clicks     |
//! | `config`                              | settings from defaults, file, environment and flags   |
//! | `serve`                               | start, readiness, drain and shutdown of the server    |
//! | `stores`                              | the store, chosen at run time                         |
//! | `tasks`, `supervisor`                 | background tasks, and what restarts them              |
//! | `targets`, `block_file`, `own_files`  | files of the operator: hosts, blocks, pages           |
//! | `metrics`, `store_status`             | what `/metrics` tells                                 |
//! | `ops_server`                          | the listener and server of metrics and health         |
//! | `admin_key`                           | the first admin key                                   |
//! | `log`                                 | log lines, and the thread that writes them            |
//! | `listener`, `sole_server`             | the listening socket; one server for each SQLite file |
//! | `effects`                             | the clock and the CSPRNG of the system                |
//! | `unreadable`                          | reports of rows that cannot be read                   |

mod admin_key;
mod block_file;
mod cli;
mod click_commands;
mod clicks;
mod commands;
mod config;
mod domain_commands;
mod effects;
mod listener;
mod log;
mod metrics;
mod operator;
mod ops_server;
mod own_files;
mod serve;
mod sole_server;
mod store_status;
mod stores;
mod supervisor;
mod targets;
mod tasks;
mod unreadable;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let arguments = cli::Arguments::parse();
    match commands::run(arguments) {
        Ok(code) => code,
        Err(error) => {
            cli::tell_error(&error);
            ExitCode::FAILURE
        }
    }
}
