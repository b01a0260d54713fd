//! Private Redis servers. Each has its own directory, and ends with the process that started it.

use std::{
    env,
    ffi::OsString,
    fs,
    io::{BufRead, BufReader, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::process::{Pid, Signal};

use crate::processes::{self, eventually, free_port};

const STARTUP: Duration = Duration::from_secs(30);
const SHUTDOWN: Duration = Duration::from_secs(30);
const PORT_ATTEMPTS: u32 = 5;

/// An empty server without a password that keeps no data over a restart, or a sentinel that watches no server yet. It
/// ends and its files are removed when it is dropped, and when this process ends in any way.
#[derive(Debug)]
pub struct RedisServer {
    home: PathBuf,
    port: u16,
    process: Mutex<Pid>,
    guardian: Mutex<Guardian>,
}

#[derive(Debug)]
struct Guardian {
    shell: Child,
    answers: BufReader<ChildStdout>,
}

impl RedisServer {
    /// Starts a server and waits until it answers. Panics with the server's log if it does not.
    pub fn start() -> Arc<Self> {
        Self::start_with(&["--save", "", "--appendonly", "no"])
    }

    /// Starts a sentinel. [Commands](Self::command) set which server it watches.
    pub fn start_sentinel() -> Arc<Self> {
        Self::start_with(&["--sentinel"])
    }

    fn start_with(options: &[&str]) -> Arc<Self> {
        let directory = tempfile::Builder::new().prefix("signpost-redis-").tempdir_in("/tmp");
        let home = directory.expect("/tmp is writable").keep();
        let mut guardian = Guardian::engage(&home, options);
        for _ in 0..PORT_ATTEMPTS {
            let port = free_port();
            if let Some(process) = guardian.start_server(port) {
                let (process, guardian) = (Mutex::new(process), Mutex::new(guardian));
                return Arc::new(Self { home, port, process, guardian });
            }
        }
        panic!("Redis did not start:\n{}", log(&home));
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// Its port on 127.0.0.1. A restart keeps the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The output of `redis-cli` for a command. Panics if the server answers with an error. Blocks until there is an
    /// answer.
    #[track_caller]
    pub fn command(&self, words: &[&str]) -> String {
        let answer = ask(self.port, words).expect("the server answers");
        assert!(!is_error(&answer), "{words:?}: {answer}");
        answer
    }

    /// Stops the server with SIGSTOP: connections stay open, but nothing answers.
    pub fn freeze(&self) {
        processes::freeze(self.process());
    }

    /// Resumes a frozen server.
    pub fn thaw(&self) {
        processes::thaw(self.process());
    }

    /// Kills the server with SIGKILL. Its data is lost.
    pub fn kill(&self) {
        processes::kill(self.process());
    }

    /// Starts the server again on the same port, empty. If it still runs, it is stopped first.
    pub fn restart(&self) {
        self.thaw();
        processes::signal(self.process(), Signal::TERM);
        assert!(eventually(SHUTDOWN, || !processes::is_running(self.process())), "Redis did not stop");
        let started = self.guardian.lock().expect("no thread panics while it holds the lock").start_server(self.port);
        let started = started.unwrap_or_else(|| panic!("Redis did not start again:\n{}", log(&self.home)));
        *self.process.lock().expect("no thread panics while it holds the lock") = started;
    }

    fn process(&self) -> Pid {
        *self.process.lock().expect("no thread panics while it holds the lock")
    }
}

impl Guardian {
    fn engage(home: &Path, options: &[&str]) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", include_str!("guardian.sh"), "guardian.sh"]).arg(program("redis-server")).arg(home);
        command.args(options).args(["--bind", "127.0.0.1", "--dir"]).arg(home);
        // Its own process group: Ctrl-C and test runners that kill a group must not end it before it cleans up.
        command.process_group(0).current_dir(home);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut shell = command.spawn().expect("every system has a shell");
        let answers = BufReader::new(shell.stdout.take().expect("its output is piped"));
        Self { shell, answers }
    }

    fn start_server(&mut self, port: u16) -> Option<Pid> {
        writeln!(self.shell.stdin.as_mut()?, "{port}").ok()?;
        let mut answer = String::new();
        self.answers.read_line(&mut answer).ok()?;
        let process = Pid::from_raw(answer.trim().parse().ok()?)?;
        let ready = || ask(port, &["PING"]).as_deref() == Some("PONG");
        let settled = eventually(STARTUP, || !processes::is_running(process) || ready());
        (settled && processes::is_running(process)).then_some(process)
    }
}

impl Drop for Guardian {
    fn drop(&mut self) {
        // `wait` closes the pipe first, so that the shell cleans up. `drop` cannot report a failure.
        let _ = self.shell.wait();
    }
}

/// `redis-cli` exits with 0 even after an error. Every error begins with a kind in capitals (`ERR`, `WRONGTYPE`,
/// `READONLY`).
fn is_error(answer: &str) -> bool {
    let kind = answer.split_once(' ').map_or("", |(kind, _)| kind);
    kind.len() > 2 && kind.bytes().all(|byte| byte.is_ascii_uppercase())
}

fn log(home: &Path) -> String {
    fs::read_to_string(home.join("log")).unwrap_or_default()
}

fn ask(port: u16, words: &[&str]) -> Option<String> {
    let mut command = Command::new(program("redis-cli"));
    let output = command.args(["-h", "127.0.0.1", "-p", &port.to_string()]).args(words).stdin(Stdio::null()).output();
    let output = output.expect("`redis-cli` comes with the server");
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// The path of a program: in `$SIGNPOST_TEST_REDIS_BIN`, else on the `PATH`.
fn program(name: &str) -> OsString {
    match env::var_os("SIGNPOST_TEST_REDIS_BIN").filter(|value| !value.is_empty()) {
        Some(directory) => PathBuf::from(directory).join(name).into_os_string(),
        None => name.into(),
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::mpsc, thread};

    use super::*;

    #[test]
    fn a_server_answers_and_forgets_everything_when_it_is_killed() {
        let server = RedisServer::start();
        assert_eq!(server.command(&["SET", "key", "value"]), "OK");
        assert_eq!(server.command(&["GET", "key"]), "value");
        server.kill();
        assert_eq!(ask(server.port(), &["PING"]), None);
        server.restart();
        assert_eq!(server.command(&["GET", "key"]), "");
    }

    #[test]
    #[should_panic(expected = "WRONGTYPE")]
    fn a_command_that_the_server_rejects_panics() {
        let server = RedisServer::start();
        assert_eq!(server.command(&["SET", "key", "value"]), "OK");
        server.command(&["LPUSH", "key", "value"]);
    }

    #[test]
    fn a_frozen_server_answers_when_it_thaws() {
        let server = RedisServer::start();
        server.freeze();
        let (sender, answer) = mpsc::channel();
        let asked = Arc::clone(&server);
        let asking = thread::spawn(move || sender.send(asked.command(&["PING"])));
        assert!(answer.recv_timeout(Duration::from_millis(300)).is_err());
        server.thaw();
        assert_eq!(answer.recv_timeout(Duration::from_secs(30)), Ok("PONG".to_owned()));
        asking.join().expect("the answer was taken").expect("the answer was taken");
    }

    #[test]
    fn a_frozen_server_is_gone_when_it_is_dropped() {
        let server = RedisServer::start();
        let (process, home) = (server.process(), server.home.clone());
        server.freeze();
        drop(server);
        assert!(!processes::is_running(process) && !home.exists());
    }
}
