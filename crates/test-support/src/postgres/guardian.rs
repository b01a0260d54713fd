//! A small shell between this process and the server. It outlives this process just long enough to clean up.

use std::{
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    time::Duration,
};

use rustix::process::Pid;

use super::installation::{Account, client, postgres_bin_dir};
use crate::processes::{eventually, is_running};

const STARTUP: Duration = Duration::from_secs(30);

/// Parent process of the server. No other child of this process inherits the pipe to it. So it sees the end of the pipe
/// when this value is dropped, and when this process is killed. Then it ends the server and removes the directory.
#[derive(Debug)]
pub(super) struct Guardian {
    home: PathBuf,
    shell: Child,
    answers: BufReader<ChildStdout>,
}

impl Guardian {
    /// Begins to make a cluster in this directory, for servers with these `name=value` settings. With a `primary`, the
    /// cluster is a copy that follows it.
    pub(super) fn engage(home: &Path, primary: Option<&str>, settings: &[String], account: Option<Account>) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", include_str!("guardian.sh"), "guardian.sh"]).arg(postgres_bin_dir()).arg(home);
        command.arg(primary.unwrap_or_default());
        for setting in settings {
            command.args(["-c", setting]);
        }
        if let Some(Account { uid, gid }) = account {
            command.uid(uid).gid(gid);
        }
        // Its own process group: Ctrl-C and test runners that kill a group must not end it before it cleans up.
        command.process_group(0).current_dir(home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().expect("every system has a shell");
        let answers = BufReader::new(shell.stdout.take().expect("its output is piped"));
        Self { home: home.to_owned(), shell, answers }
    }

    /// Starts the server and waits until it accepts connections. The error is its log.
    pub(super) fn start_server(&mut self, port: u16) -> Result<Pid, String> {
        let postmaster = self.order(port).ok_or_else(|| self.log())?;
        let settled = eventually(STARTUP, || !is_running(postmaster) || self.is_ready(port));
        if settled && is_running(postmaster) { Ok(postmaster) } else { Err(self.log()) }
    }

    /// What the shell, `initdb` and the server wrote so far.
    pub(super) fn log(&self) -> String {
        read_log(&self.home)
    }

    fn order(&mut self, port: u16) -> Option<Pid> {
        writeln!(self.shell.stdin.as_mut()?, "{port}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        Pid::from_raw(answer.trim().parse().ok()?)
    }

    fn is_ready(&self, port: u16) -> bool {
        let mut probe = client("pg_isready");
        probe.args(["--quiet", "--username=signpost", "--dbname=postgres", "--host"]).arg(&self.home);
        let status = probe.args(["--port", &port.to_string()]).status().expect("`pg_isready` lies beside `postgres`");
        status.success()
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // `wait` closes the pipe first, so that the shell cleans up. `drop` cannot report a failure.
        let _ = self.shell.wait();
    }
}

pub(super) fn read_log(home: &Path) -> String {
    let log = fs::read(home.join("log")).unwrap_or_default();
    String::from_utf8_lossy(&log).into_owned()
}
