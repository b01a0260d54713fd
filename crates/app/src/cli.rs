//! The command line.

use std::{
    ffi::OsString,
    io::{self, Write},
    path::PathBuf,
};

use clap::{Args, Parser, Subcommand, builder::OsStringValueParser};

use crate::log::steers;

/// A URL shortener that manages the whole lifecycle of a link.
///
/// Without a command it serves. Settings come from the defaults, a TOML file, SIGNPOST_* variables and flags; each
/// source overrides those before it. `signpost check-config` shows all settings.
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
    #[arg(long, short, global = true, help_heading = "Options of every command", value_name = "FILE", env = "SIGNPOST_CONFIG", value_parser = OsStringValueParser::new())]
    config: Option<OsString>,
    /// Set any setting, such as `--set codes.length=10`; can be repeated
    #[arg(long, short, global = true, help_heading = "Options of every command", value_name = "KEY=VALUE", value_parser = key_and_value)]
    set: Vec<(String, String)>,
    /// Directory of the SQLite file and the admin key (`data_dir`)
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "FOLDER")]
    data_dir: Option<String>,
    /// Address to listen on (`http.bind`)
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "ADDRESS:PORT")]
    bind: Option<String>,
    /// Base of every short URL (`public_url`)
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "URL")]
    public_url: Option<String>,
    /// Least severe level to log: error, warning, info or debug (`log.level`)
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "LEVEL")]
    log_level: Option<String>,
    /// Format of log lines: auto, json or text (`log.format`)
    #[arg(long, global = true, help_heading = "Options of every command", value_name = "FORMAT")]
    log_format: Option<String>,
}

impl SettingsArguments {
    /// The file named by the flag or the variable. An empty name counts as none.
    pub(crate) fn config(&self) -> Option<PathBuf> {
        self.config.as_ref().filter(|file| !file.is_empty()).map(PathBuf::from)
    }

    /// The settings given as flags, by key. The later one wins.
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

/// The commands.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Serve the API and redirects (the default)
    Serve,
    /// Apply missing migrations to the database schema, list all migrations, or revert the last one
    Migrate {
        #[command(subcommand)]
        action: Option<MigrateAction>,
    },
    /// Check the configuration and show every setting with its value and source; secrets are redacted
    CheckConfig,
    /// Check the stored data: on SQLite the whole file, on PostgreSQL that it accepts writes; on both the schema and
    /// every row
    CheckStore,
    /// Create, list and revoke API keys, directly in the store
    Keys {
        #[command(subcommand)]
        action: KeysAction,
    },
    /// Take links down by code, target host or owner; list and lift takedowns; directly in the store
    ///
    /// Running servers apply a change within two seconds.
    Block {
        #[command(subcommand)]
        action: BlockAction,
    },
    /// Add, list, change and remove short domains, directly in the store
    ///
    /// Running servers apply a change within two seconds.
    Domains {
        #[command(subcommand)]
        action: DomainsAction,
    },
    /// Show the clicks of a link over time, and by what they tell, directly from the store
    Stats {
        /// Code of the link; without it, the clicks of all links
        code: Option<String>,
        /// Host of the link's short domain [default: the default one]
        #[arg(long, value_name = "HOST", requires = "code")]
        domain: Option<String>,
        #[command(flatten)]
        question: StatsArguments,
        /// Delete all counts of the link instead; those of all links of its owner stay
        #[arg(long, requires = "code")]
        erase: bool,
    },
    /// Look at the clicks on disk that the store has not counted yet, or count them
    Spool {
        #[command(subcommand)]
        action: SpoolAction,
    },
    /// Print the OpenAPI document
    Openapi {
        /// OpenAPI version; 3.0 is for generators that do not support 3.1
        #[arg(long, value_name = "VERSION", default_value = "3.1", value_parser = ["3.0", "3.1"])]
        version: String,
    },
    /// Query /health of the running server; the exit code is 0 if it answers 200, else 1
    Health {
        /// Query /readyz (does the server accept traffic) instead of /health
        #[arg(long)]
        ready: bool,
    },
}

/// Which clicks to show.
#[derive(Args, Debug)]
pub(crate) struct StatsArguments {
    /// Their begin, RFC 3339 or a date [default: some thirty intervals before the end]
    #[arg(long, value_name = "TIME")]
    pub(crate) from: Option<String>,
    /// Their end, RFC 3339 or a date, which is included [default: now]
    #[arg(long, value_name = "TIME")]
    pub(crate) to: Option<String>,
    /// Length of each bar: hour, day, week or month
    #[arg(long, value_name = "INTERVAL", default_value = "day", value_parser = ["hour", "day", "week", "month"])]
    pub(crate) interval: String,
    /// Time zone of the bars, by its IANA name
    #[arg(long, value_name = "ZONE", default_value = "UTC")]
    pub(crate) tz: String,
    /// Whether clicks of bots count: exclude, only or include
    #[arg(long, value_name = "CHOICE", default_value = "exclude", value_parser = ["exclude", "only", "include"])]
    pub(crate) bots: String,
}

/// The actions on the click spool. Only `ship` changes anything.
#[derive(Clone, Copy, Debug, Subcommand)]
pub(crate) enum SpoolAction {
    /// Show each stream, how much of it the store has counted, and what waits; works beside a running server
    Status,
    /// Read every record, and report those that cannot be read; the exit code is 1 if there are any
    Check,
    /// Count what dead processes left behind; clicks of a running server are left to it
    Ship,
}

/// The actions on the schema.
#[derive(Debug, Subcommand)]
pub(crate) enum MigrateAction {
    /// Apply all missing migrations (the default)
    Up,
    /// List all migrations and whether they are applied
    Status,
    /// Revert the last migration and delete all data that only it holds; reverting the first one deletes every link
    Revert {
        /// Confirm the deletion; without it nothing is reverted
        #[arg(long)]
        yes: bool,
    },
}

/// The actions on API keys.
#[derive(Debug, Subcommand)]
pub(crate) enum KeysAction {
    /// Create a key and print it; it is shown only this once
    Create {
        /// Name of the key, for people
        #[arg(long)]
        name: String,
        /// Owner whose links the key reads and claims
        #[arg(long, default_value = "default")]
        owner: String,
        /// Scopes of the key, separated by commas: links:read, links:create, links:write, stats:read, admin
        #[arg(long = "scope", required = true, value_delimiter = ',')]
        scopes: Vec<String>,
        /// Short domains to which the key is bound, separated by commas; `default` for the default one [default: all]
        #[arg(long = "domain", value_name = "HOST", value_delimiter = ',')]
        domains: Vec<String>,
        /// Time when the key expires, RFC 3339; without it the key never expires
        #[arg(long)]
        expires_at: Option<String>,
    },
    /// List all keys, newest first
    List,
    /// Revoke a key, at once and permanently
    Revoke {
        /// Id of the key, or the key itself
        id: String,
    },
}

/// The actions on short domains. Running servers apply them within two seconds.
#[derive(Debug, Subcommand)]
pub(crate) enum DomainsAction {
    /// Add a short domain
    Add {
        /// Host name, such as go.example.com
        host: String,
        #[command(flatten)]
        settings: DomainArguments,
    },
    /// List all short domains; the default one is the first
    List,
    /// Change a short domain
    Edit {
        /// Host name; `default` for the default one
        host: String,
        #[command(flatten)]
        settings: DomainArguments,
    },
    /// Remove a short domain on which no link lives
    Remove {
        /// Host name
        host: String,
    },
}

/// How addresses on a short domain behave. An empty text clears a setting.
#[derive(Args, Debug)]
pub(crate) struct DomainArguments {
    /// Where the bare short domain redirects
    #[arg(long, value_name = "URL")]
    pub(crate) landing_url: Option<String>,
    /// Page for browsers at unknown codes
    #[arg(long, value_name = "URL")]
    pub(crate) not_found_url: Option<String>,
    /// Page for browsers at deleted and expired links
    #[arg(long, value_name = "URL")]
    pub(crate) gone_url: Option<String>,
    /// Page for browsers at links that were taken down
    #[arg(long, value_name = "URL")]
    pub(crate) blocked_url: Option<String>,
    /// Redirect of links that are claimed without one: 301, 302, 307 or 308
    #[arg(long, value_name = "STATUS")]
    pub(crate) redirect: Option<String>,
    /// What crawlers are told: noindex, index or disallow
    #[arg(long, value_name = "RULE")]
    pub(crate) robots: Option<String>,
    /// Whether links can be claimed on it: true or false
    #[arg(long, value_name = "BOOL")]
    pub(crate) accepts_links: Option<bool>,
}

/// The actions on takedowns. Running servers apply them within two seconds.
#[derive(Debug, Subcommand)]
pub(crate) enum BlockAction {
    /// Take one link down
    Code {
        /// Code of the link; on another short domain than the default one, with its host: go.example/promo
        code: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take down all links to a host and to its subdomains
    Host {
        /// Host name or address
        host: String,
        #[command(flatten)]
        why: Why,
    },
    /// Take down all links of an owner, who cannot create new ones
    Owner {
        /// Name of the owner
        owner: String,
        #[command(flatten)]
        why: Why,
    },
    /// List takedowns, newest first
    List {
        /// Include lifted takedowns
        #[arg(long)]
        all: bool,
    },
    /// Lift a takedown: the links it covered are as they were before
    Lift {
        /// Id of the takedown
        id: String,
    },
}

/// Why something is taken down.
#[derive(Args, Debug)]
pub(crate) struct Why {
    /// Reason, kept with the takedown; visitors do not see it
    #[arg(long)]
    pub(crate) reason: String,
}

/// Prints `text` and a newline to standard output. Characters that a terminal would obey are escaped, because names and
/// titles come from API callers. A reader that closed the pipe is no error.
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
        // The reader has closed the pipe (`signpost keys list | head -1`).
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        told => Ok(told?),
    }
}

/// Prints `text` and a newline to standard error.
pub(crate) fn tell_aside(text: &str) {
    // A failure to write to standard error cannot be reported anywhere.
    let _untold = writeln!(io::stderr(), "{text}");
}

/// Prints the error that ended the program and its causes to standard error.
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
