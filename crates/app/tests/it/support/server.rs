//! The binary as a process: configured, started, observed, ended.

use std::{
    env, fs,
    io::{BufRead, BufReader, Read},
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;
use test_support::{TestDatabase, shared_server};

use super::{Answer, Connection, PATIENCE, Request, ask, eventually, guardian};

/// The binary with its arguments alone, without the settings in the environment of the tests.
pub(crate) fn signpost() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_signpost"));
    for (name, _) in env::vars_os() {
        if name.as_encoded_bytes().starts_with(b"SIGNPOST_") {
            command.env_remove(name);
        }
    }
    command.stdin(Stdio::null());
    command
}

/// The output of a command that ended by itself.
#[must_use = "a command may fail"]
#[derive(Debug)]
pub(crate) struct Told {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
    pub(crate) took: Duration,
}

/// Runs a command that has to end by itself.
#[track_caller]
pub(crate) fn run(command: &mut Command) -> Told {
    let begun = Instant::now();
    let (mut child, out, err) = spawn(command);
    let ended = eventually(PATIENCE, || out.have_ended() && err.have_ended());
    if !ended {
        child.kill().expect("it runs without end");
    }
    let (code, took) = (child.wait().expect("it is our child").code(), begun.elapsed());
    let told = Told { code, out: out.all().join("\n"), err: err.all().join("\n"), took };
    assert!(ended, "it does not end: {told:?}");
    told
}

fn spawn(command: &mut Command) -> (Child, Lines, Lines) {
    let piped = command.stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = piped.spawn().expect("the binary is built before its tests");
    guardian::watch(child.id());
    let out = Lines::of(child.stdout.take().expect("it is piped"));
    let err = Lines::of(child.stderr.take().expect("it is piped"));
    (child, out, err)
}

/// How a server is started. It can be started again on the same data.
#[derive(Clone, Debug)]
pub(crate) struct Setup {
    folder: Arc<TempDir>,
    /// `None` means SQLite, in the folder.
    database: Option<TestDatabase>,
    /// Set if another process on the same store made it.
    admin_key: Option<String>,
    settings: Vec<(String, String)>,
    variables: Vec<(String, String)>,
}

impl Setup {
    fn new(database: Option<TestDatabase>) -> Self {
        let setup = Self {
            folder: fresh_folder(),
            admin_key: None,
            settings: database.iter().map(|database| ("store.url".to_owned(), database.url())).collect(),
            variables: Vec::new(),
            database,
        };
        setup
            .set("http.bind", "127.0.0.1:0")
            .set("http.workers", "2")
            .set("http.drain", "0s")
            .set("ops.bind", "")
            .set("limits.enabled", "false")
            .set("public_url", "http://sho.test")
            .set("log.format", "json")
    }

    /// With a setting. The last value of a key counts.
    #[must_use]
    pub(crate) fn set(mut self, key: &str, value: &str) -> Self {
        self.settings.push((key.to_owned(), value.to_owned()));
        self
    }

    /// Without a setting.
    #[must_use]
    pub(crate) fn unset(mut self, key: &str) -> Self {
        self.settings.retain(|(name, _)| name != key);
        self
    }

    /// The PostgreSQL database of the server.
    pub(crate) fn database(&self) -> &TestDatabase {
        self.database.as_ref().expect("the test put it on PostgreSQL")
    }

    /// With timeouts that a busy machine keeps too: for tests of what happens, not of when.
    #[must_use]
    pub(crate) fn patient(self) -> Self {
        self.set("http.request_timeout", "30s")
            .set("http.redirect_timeout", "30s")
            .set("store.statement_timeout", "25s")
            .set("store.pool_timeout", "25s")
            .set("store.connect_timeout", "20s")
    }

    /// With an environment variable.
    #[must_use]
    pub(crate) fn variable(mut self, name: &str, value: &str) -> Self {
        self.variables.push((name.to_owned(), value.to_owned()));
        self
    }

    pub(crate) fn is_on_postgres(&self) -> bool {
        self.database.is_some()
    }

    /// The data directory, which the server creates itself.
    pub(crate) fn data_dir(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Starts a server and waits until it is ready.
    pub(crate) fn start(&self) -> Signpost {
        let server = self.launch();
        let ready = eventually(PATIENCE, || server.ask(&Request::get("/readyz")).status == 200);
        assert!(ready, "not ready: {:?} {}", server.log(), server.complaints());
        server
    }

    /// Starts a server and waits until it listens.
    pub(crate) fn launch(&self) -> Signpost {
        let (child, lines, complaints) = spawn(&mut self.command());
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut server = Signpost { setup: self.clone(), address, child: Mutex::new(child), lines, complaints };
        server.address = server.listening_address();
        server
    }

    /// Runs one of the other commands of the binary, on the same store and settings.
    pub(crate) fn run(&self, arguments: &[&str]) -> Told {
        run(self.command().args(arguments))
    }

    /// The settings as flags, for a shell.
    pub(crate) fn flags(&self) -> String {
        let data_dir = format!("--data-dir {}", self.data_dir().display());
        self.settings.iter().fold(data_dir, |flags, (key, value)| flags + &format!(" --set {key}={value}"))
    }

    /// The command that starts a server, for a test that handles the process itself.
    pub(crate) fn command(&self) -> Command {
        let mut command = signpost();
        command.current_dir(self.folder.path()).arg("--data-dir").arg(self.data_dir());
        for (key, value) in &self.settings {
            command.arg("--set").arg(format!("{key}={value}"));
        }
        command.envs(self.variables.clone());
        command
    }
}

fn fresh_folder() -> Arc<TempDir> {
    let folder = tempfile::Builder::new().prefix("server-").tempdir_in(guardian::folder());
    Arc::new(folder.expect("the guardian's folder takes others"))
}

/// A running server. It is killed when dropped.
#[derive(Debug)]
pub(crate) struct Signpost {
    setup: Setup,
    address: SocketAddr,
    child: Mutex<Child>,
    lines: Lines,
    complaints: Lines,
}

impl Signpost {
    /// On a SQLite file in a folder of its own.
    pub(crate) fn on_sqlite() -> Setup {
        Setup::new(None)
    }

    /// On an empty database of the PostgreSQL server that tests share.
    pub(crate) fn on_postgres() -> Setup {
        Self::on_database(&shared_server().create_database())
    }

    /// On a PostgreSQL database.
    pub(crate) fn on_database(database: &TestDatabase) -> Setup {
        Setup::new(Some(database.clone()))
    }

    /// The setup that it was started with.
    pub(crate) fn setup(&self) -> &Setup {
        &self.setup
    }

    /// Another process on the same database, with a folder of its own.
    pub(crate) fn another(&self) -> Setup {
        Setup { folder: fresh_folder(), admin_key: Some(self.admin_key()), ..self.setup.clone() }
    }

    /// The PostgreSQL database of the server.
    pub(crate) fn database(&self) -> &TestDatabase {
        self.setup.database()
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// The address of the ops listener; `None` without one.
    pub(crate) fn ops_address(&self) -> Option<SocketAddr> {
        self.event("server.listening")["ops.address"].as_str()?.parse().ok()
    }

    /// The key that this server made when it first started, or another process before it on the same store.
    pub(crate) fn admin_key(&self) -> String {
        let kept = || fs::read_to_string(self.setup.data_dir().join("admin.key")).expect("it made the first key");
        self.setup.admin_key.clone().unwrap_or_else(|| kept().trim_end().to_owned())
    }

    /// Sends the request on a new connection.
    #[track_caller]
    pub(crate) fn ask(&self, request: &Request) -> Answer {
        ask(self.address, request).unwrap_or_else(|error| panic!("{request:?}: {error}; {}", self.complaints()))
    }

    #[track_caller]
    pub(crate) fn get(&self, target: &str) -> Answer {
        self.ask(&Request::get(target))
    }

    /// Opens a connection and sends nothing yet.
    pub(crate) fn connect(&self) -> Connection {
        Connection::open(self.address).expect("it listens")
    }

    /// All log lines so far; each has to be JSON.
    #[track_caller]
    pub(crate) fn log(&self) -> Vec<Value> {
        let lines = self.lines.all();
        lines.iter().map(|line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
    }

    /// The events of that name in the log so far.
    pub(crate) fn events(&self, name: &str) -> Vec<Value> {
        self.log().into_iter().filter(|line| line["event.name"] == name).collect()
    }

    /// The first event of that name; waits for it.
    #[track_caller]
    pub(crate) fn event(&self, name: &str) -> Value {
        let mut event = None;
        let told = eventually(PATIENCE, || {
            event = self.events(name).into_iter().next();
            event.is_some()
        });
        assert!(told, "no {name}: {}", self.output());
        event.expect("it was told")
    }

    /// Everything it has written to standard output so far.
    pub(crate) fn output(&self) -> String {
        self.lines.all().join("\n")
    }

    /// Everything it has written to standard error so far.
    pub(crate) fn complaints(&self) -> String {
        self.complaints.all().join("\n")
    }

    pub(crate) fn signal(&self, signal: Signal) {
        let pid = Pid::from_child(&self.child());
        kill_process(pid, signal).expect("it runs, or is a zombie of ours");
    }

    /// Its current memory use (`VmRSS`).
    pub(crate) fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child().id())).expect("it runs");
        let kilobytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
        kilobytes.and_then(|number| number.parse::<u64>().ok()).expect("the kernel says so") * 1_024
    }

    /// Whether it has ended, by itself or by a signal.
    #[must_use]
    pub(crate) fn has_ended(&self) -> bool {
        self.child().try_wait().expect("it is our child").is_some()
    }

    /// Waits for its end, and for all of its output. Returns its exit status.
    #[must_use]
    #[track_caller]
    pub(crate) fn wait(&self) -> ExitStatus {
        let ended =
            eventually(PATIENCE, || self.has_ended() && self.lines.have_ended() && self.complaints.have_ended());
        assert!(ended, "it does not end: {}", self.output());
        self.child().wait().expect("it is our child")
    }

    /// Waits until its database has ended all its sessions. After that, no statement that it sent can take effect.
    /// Returns whether they ended in time.
    #[must_use]
    pub(crate) fn is_forgotten(&self) -> bool {
        let others = "SELECT count(*) FROM pg_stat_activity \
                      WHERE datname = current_database() AND pid <> pg_backend_pid()";
        let ended = |database: &TestDatabase| database.sql(others).as_deref() == Ok("0");
        self.setup.database.as_ref().is_none_or(|database| eventually(PATIENCE, || ended(database)))
    }

    /// Ends it by SIGTERM, as an orchestrator does, and waits.
    #[must_use]
    #[track_caller]
    pub(crate) fn terminate(&self) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait()
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill9(&self) {
        let mut child = self.child();
        // It may have ended before.
        let _gone = child.kill();
        child.wait().expect("it is our child");
    }

    fn child(&self) -> MutexGuard<'_, Child> {
        self.child.lock().expect("nothing panics in here")
    }

    fn listening_address(&self) -> SocketAddr {
        let told = || {
            let event = self.events("server.listening").pop()?;
            event["server.address"].as_str()?.parse().ok()
        };
        let mut address = None;
        let settled = eventually(PATIENCE, || {
            address = told();
            address.is_some() || self.has_ended()
        });
        let listens = settled.then(|| address.or_else(told)).flatten();
        listens.unwrap_or_else(|| panic!("it does not listen: {} {}", self.output(), self.complaints()))
    }
}

impl Drop for Signpost {
    fn drop(&mut self) {
        if let Ok(child) = self.child.get_mut() {
            // It may have ended before, and a failure could not be reported.
            let _gone = child.kill();
            let _gone = child.wait();
        }
    }
}

/// The lines of a stream, as they arrive.
#[derive(Clone, Debug, Default)]
struct Lines(Arc<Mutex<Received>>);

#[derive(Debug, Default)]
struct Received {
    lines: Vec<String>,
    ended: bool,
}

impl Lines {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let lines = Self::default();
        let reader = lines.clone();
        thread::spawn(move || {
            for line in BufReader::new(stream).split(b'\n').map_while(Result::ok) {
                reader.received().lines.push(String::from_utf8_lossy(&line).into_owned());
            }
            reader.received().ended = true;
        });
        lines
    }

    fn all(&self) -> Vec<String> {
        self.received().lines.clone()
    }

    fn have_ended(&self) -> bool {
        self.received().ended
    }

    fn received(&self) -> MutexGuard<'_, Received> {
        self.0.lock().expect("nothing panics in here")
    }
}
