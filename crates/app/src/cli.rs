//! The command line.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, builder::OsStringValueParser};

use crate::log::steers;

/// A URL shortener that manages a link's whole life.
///
/// Without a command it serves. Settings come from defaults, a TOML file, SIGNPOST_* variables and flags, each
/// overriding the one before; `signpost check-config` shows all of them.
#[derive(Debug, Parser)]
#[command(name = "signpost", version, max_term_width = 100)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) settings: SettingsArguments,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

/// Settings that can be given on the command line.
#[derive(Debug, Args)]
pub(crate) struct SettingsArguments {
    /// TOML file with settings [default: ./signpost.toml, if it exists]
    #[arg(long, short, global = true, value_name = "FILE", env = "SIGNPOST_CONFIG", value_parser = OsStringValueParser::new())]
    config: Option<OsString>,
    /// Any setting, such as `--set codes.length=10`; can be repeated
    #[arg(long, short, global = true, value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Folder of the database file and the admin key (`data_dir`)
    #[arg(long, global = true, value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Address to listen on (`http.bind`)
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    bind: Option<String>,
    /// Base of all short addresses (`public_url`)
    #[arg(long, global = true, value_name = "URL")]
    public_url: Option<String>,
    /// error, warning, info or debug (`log.level`)
    #[arg(long, global = true, value_name = "LEVEL")]
    log_level: Option<String>,
    /// auto, json or text (`log.format`)
    #[arg(long, global = true, value_name = "FORMAT")]
    log_format: Option<String>,
}

impl SettingsArguments {
    /// The file that was named; an empty variable names none.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        self.config.as_ref().filter(|file| !file.is_empty()).map(PathBuf::from)
    }

    /// The settings given here, by key.
    pub(crate) fn overrides(&self) -> Vec<(String, String)> {
        let flags = [
            ("data_dir", &self.data_dir),
            ("http.bind", &self.bind),
            ("public_url", &self.public_url),
            ("log.level", &self.log_level),
            ("log.format", &self.log_format),
        ];
        let given = flags.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value.clone()?)));
        self.set.iter().cloned().chain(given).collect()
    }
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("expected KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

/// What to do.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the API and redirects (the default)
    Serve,
    /// Bring the database schema up to date, show its state, or take the last step back
    Migrate {
        #[command(subcommand)]
        action: Option<MigrateAction>,
    },
    /// Check the configuration and show every setting with where it comes from; secrets are not shown
    CheckConfig,
    /// Check what is stored: on SQLite the whole file, on PostgreSQL that it takes writes; on both the schema and every row
    CheckStore,
    /// Make, list and revoke API keys, directly in the store
    Keys {
        #[command(subcommand)]
        action: KeysAction,
    },
    /// Take links down by code, target host or owner, list what is down, and put it up again, directly in the store
    Block {
        #[command(subcommand)]
        action: BlockAction,
    },
    /// Print the OpenAPI document
    Openapi {
        /// Which version of OpenAPI: 3.0 is for generators that know no later one
        #[arg(long, value_name = "VERSION", default_value = "3.1", value_parser = ["3.0", "3.1"])]
        version: String,
    },
    /// Ask a running server how it is; succeeds if it answers that it works
    Health {
        /// Ask whether it wants traffic (/readyz) instead of how it is (/health)
        #[arg(long)]
        ready: bool,
    },
}

/// What to do with the schema.
#[derive(Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Apply what is missing (the default)
    Up,
    /// List all migrations and whether they are applied
    Status,
    /// Take the last migration back, with all data that only it knows: the first one takes every link
    Revert {
        /// Really do it
        #[arg(long)]
        yes: bool,
    },
}

/// What to do with API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysAction {
    /// Make a key and print it, this once
    Create {
        /// What people call it
        #[arg(long)]
        name: String,
        /// Whose links it sees and claims
        #[arg(long, default_value = "default")]
        owner: String,
        /// What it may do, one or more of links:read, links:create, links:write, stats:read, admin
        #[arg(long = "scope", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// Until when it works, RFC 3339
        #[arg(long)]
        expires_at: Option<String>,
    },
    /// List all keys, newest first
    List,
    /// Revoke a key, at once and for good
    Revoke {
        /// Its id, or the key itself
        id: String,
    },
}

/// What to do with takedowns. Running servers follow within two seconds.
#[derive(Debug, Subcommand)]
pub(crate) enum BlockAction {
    /// Take one link down
    Code {
        /// Its code
        code: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take down all links to a host and to the names below it
    Host {
        /// Its name or address
        host: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take down all links of an owner, who may make no more
    Owner {
        /// Its name
        owner: String,
        #[command(flatten)]
        why: Why,
    },
    /// List takedowns, newest first
    List {
        /// Those that are lifted too
        #[arg(long)]
        all: bool,
    },
    /// Lift a takedown: what it was about is as it was before
    Lift {
        /// Its id
        id: String,
    },
}

/// Why something is taken down.
#[derive(Args, Debug)]
pub(crate) struct Why {
    /// For whoever asks later; visitors do not see it
    #[arg(long)]
    pub(crate) reason: String,
}

/// Tells the person at the terminal. Names and titles are other people's: what a terminal would obey is escaped.
pub(crate) fn tell(text: &str) -> anyhow::Result<()> {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character != '\n' && steers(character) {
            shown.extend(character.escape_unicode());
        } else {
            shown.push(character);
        }
    }
    match writeln!(io::stdout(), "{shown}") {
        // Whoever reads has seen enough (`signpost keys list | head -1`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        told => Ok(told?),
    }
}

/// Tells the person at the terminal, beside the program's output.
pub(crate) fn tell_aside(text: &str) {
    // Where nobody can be told, nothing can be done about it.
    let _untold = writeln!(io::stderr(), "{text}");
}

/// Tells why the program failed, with everything below.
pub(crate) fn tell_error(error: &anyhow::Error) {
    tell_aside(&format!("signpost: {error:#}"));
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn flags_are_settings_and_override_set() {
        let arguments = Arguments::parse_from(["signpost", "--set", "http.bind=a", "--bind", "b", "keys", "list"]);
        let overrides = arguments.settings.overrides();
        assert_eq!(overrides.last(), Some(&("http.bind".to_owned(), "b".to_owned())));
    }
}
