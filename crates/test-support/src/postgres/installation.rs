//! Where PostgreSQL is installed on this machine, and which user runs it.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use rustix::process::geteuid;

/// The directory with `initdb`, `postgres` and `psql`: `$SIGNPOST_TEST_PG_BIN`, else the newest that Debian's packages
/// installed, else the real directory of the `postgres` on the `PATH`.
pub fn postgres_bin_dir() -> PathBuf {
    let chosen = env::var_os("SIGNPOST_TEST_PG_BIN").filter(|value| !value.is_empty()).map(PathBuf::from);
    chosen.or_else(newest_package).or_else(on_path).expect(
        "these tests need a PostgreSQL server: run `just setup`, or name its `bin` directory in SIGNPOST_TEST_PG_BIN",
    )
}

/// The output of `psql` for these statements, or its error output. Several statements are one transaction.
pub(super) fn psql(url: &str, sql: &str) -> Result<String, String> {
    let flags = ["--no-psqlrc", "--tuples-only", "--no-align", "--quiet", "--set=ON_ERROR_STOP=1"];
    let output = client("psql")
        .args(flags)
        .args(["--dbname", url, "--command", sql])
        .stdin(Stdio::null())
        .output()
        .expect("`psql` lies beside `postgres`");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
}

/// Runs a script of `pg_dump`.
pub(super) fn restore(url: &str, script: &Path) {
    let flags = ["--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--dbname", url, "--file"];
    let output = client("psql").args(flags).arg(script).stdin(Stdio::null()).output();
    let output = output.expect("`psql` lies beside `postgres`");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A client program that uses only its arguments, and not the `PG…` variables of the environment.
pub(super) fn client(program: &str) -> Command {
    let mut command = Command::new(postgres_bin_dir().join(program));
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"PG") {
            command.env_remove(name);
        }
    }
    command.env("PGCONNECT_TIMEOUT", "10");
    command
}

/// A user of the operating system.
#[derive(Clone, Copy, Debug)]
pub(super) struct Account {
    pub(super) uid: u32,
    pub(super) gid: u32,
}

/// The user that runs the server instead of root, because PostgreSQL refuses to run as root. `None`: the present user.
pub(super) fn server_account() -> Option<Account> {
    if !geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").expect("every user may read /etc/passwd");
    let account = account_named("postgres", &passwd).or_else(|| account_named("nobody", &passwd));
    Some(account.expect("root needs a user `postgres` or `nobody` to run PostgreSQL as"))
}

fn account_named(name: &str, passwd: &str) -> Option<Account> {
    passwd.lines().find_map(|line| {
        let fields = line.strip_prefix(name)?.strip_prefix(':')?;
        let mut ids = fields.split(':').skip(1).map(str::parse::<u32>);
        Some(Account { uid: ids.next()?.ok()?, gid: ids.next()?.ok()? })
    })
}

fn newest_package() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.flatten();
    let servers = versions.filter_map(|entry| {
        let version: u32 = entry.file_name().to_str()?.parse().ok()?;
        let bin = entry.path().join("bin");
        bin.join("postgres").is_file().then_some((version, bin))
    });
    servers.max().map(|(_, bin)| bin)
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    let server = env::split_paths(&path).find_map(|directory| fs::canonicalize(directory.join("postgres")).ok())?;
    server.parent().map(Path::to_path_buf)
}
