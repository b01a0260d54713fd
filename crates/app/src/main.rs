//! `signpost`, a URL shortener: command line, configuration and wiring. The only crate that names concrete stores.

mod admin_key;
mod block_file;
mod cli;
mod commands;
mod config;
mod effects;
mod listener;
mod log;
mod serve;
mod sole_server;
mod stores;
mod supervisor;
mod targets;
mod tasks;
mod unreadable;
mod well_known;

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
