//! Private PostgreSQL servers. Each has its own directory, and ends with the process that started it.

mod databases;
mod guardian;
mod installation;

use std::{
    fs::{self, Permissions},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal};

pub use databases::{TestDatabase, shared_database_from_template, shared_server};
pub use installation::postgres_bin_dir;

use guardian::{Guardian, read_log};
use installation::{Account, psql, server_account};

use crate::processes::{self, free_port};

const SHUTDOWN: Duration = Duration::from_secs(30);
/// Maximum time until the commits of a server wait for a standby: one or two checkpoints on a slow disk.
const SYNCHRONY: Duration = Duration::from_mins(1);
const PORT_ATTEMPTS: u32 = 5;

/// A fresh cluster with the superuser `signpost`, who needs no password. The server ends and its files are removed when
/// it is dropped, and when this process ends in any way.
#[derive(Debug)]
pub struct PostgresServer {
    home: PathBuf,
    port: u16,
    postmaster: Mutex<Pid>,
    guardian: Mutex<Guardian>,
    databases: AtomicU32,
}

/// How a server differs from the default one for tests.
#[derive(Clone, Debug, Default)]
pub struct ServerOptions {
    /// Keep committed data even through a loss of power. This is slower.
    pub durable: bool,
    /// Offer TLS over TCP. Plain connections are still accepted.
    pub tls: Option<TlsFiles>,
    /// Listen on this port, instead of on any free port.
    pub port: Option<u16>,
    /// More settings, as in `postgresql.conf`. They override the default ones.
    pub extra: Vec<(String, String)>,
}

/// The certificate and the private key of a server.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    /// The certificate, with its chain if there is one.
    pub cert_pem: String,
    /// The private key, without a passphrase.
    pub key_pem: String,
}

impl PostgresServer {
    /// Starts a server and waits until it accepts connections. Panics with the server's log if it does not.
    pub fn start(options: ServerOptions) -> Arc<Self> {
        Self::start_following(None, options)
    }

    /// Starts a hot standby that follows this server, under the name `standby`.
    pub fn start_standby(&self, options: ServerOptions) -> Arc<Self> {
        let primary = format!("{}&application_name=standby", self.socket_url("postgres"));
        Self::start_following(Some(&primary), options)
    }

    /// Makes every commit wait for a standby, and returns once commits do.
    ///
    /// `pg_stat_replication` says `sync` too early: it shows what the walsender has read. Commits depend on a flag in
    /// shared memory. The checkpointer sets this flag only after a checkpoint that it may be writing. So this function
    /// freezes the standby and checks that a commit waits.
    pub fn wait_for_standby(&self, standby: &Self) {
        let sql = |sql| self.sql("postgres", sql).unwrap_or_else(|complaint| panic!("{sql}: {complaint}"));
        sql("ALTER SYSTEM SET synchronous_standby_names = 'standby'");
        sql("SELECT pg_reload_conf()");
        let waits = processes::eventually(SYNCHRONY, || self.a_commit_waits_for(standby));
        assert!(waits, "commits do not wait for the standby:\n{}", self.log());
    }

    /// Whether a commit waits while the standby is frozen.
    fn a_commit_waits_for(&self, standby: &Self) -> bool {
        const COMMIT: &str = "SELECT pg_logical_emit_message(true, 'probe', '')";
        const WAITING: &str = "SELECT count(*) > 0 FROM pg_stat_activity WHERE wait_event = 'SyncRep'";
        thread::scope(|scope| {
            standby.freeze();
            let commit = scope.spawn(|| self.sql("postgres", COMMIT));
            let waits = || self.sql("postgres", WAITING) == Ok("t".to_owned());
            let settled = processes::eventually(SYNCHRONY, || commit.is_finished() || waits());
            let waits = settled && !commit.is_finished();
            standby.thaw();
            commit.join().expect("asking does not panic").expect("the standby follows again");
            waits
        })
    }

    /// Stops sending to its standbys until the server ends, as a cut cable would.
    pub fn hold_replication(&self) {
        let senders = self.sql("postgres", "SELECT pid FROM pg_stat_replication").expect("it runs");
        let senders: Vec<_> = senders.lines().filter_map(|pid| Pid::from_raw(pid.parse().ok()?)).collect();
        assert!(!senders.is_empty(), "no standby follows");
        processes::hold(&senders);
    }

    fn start_following(primary: Option<&str>, options: ServerOptions) -> Arc<Self> {
        let fixed = options.port;
        let account = server_account();
        let home = private_directory(account, options.tls.as_ref());
        let mut guardian = Guardian::engage(&home, primary, &settings(options, &home), account);
        for _ in 0..PORT_ATTEMPTS {
            let port = fixed.unwrap_or_else(free_port);
            match guardian.start_server(port) {
                Ok(postmaster) => {
                    let (postmaster, guardian) = (Mutex::new(postmaster), Mutex::new(guardian));
                    return Arc::new(Self { home, port, postmaster, guardian, databases: AtomicU32::new(0) });
                }
                Err(log) if log.contains("Address already in use") => {} // another process took the port
                Err(log) => panic!("PostgreSQL did not start:\n{log}"),
            }
        }
        panic!("PostgreSQL got no free port in {PORT_ATTEMPTS} attempts:\n{}", guardian.log());
    }

    /// The address of a database over TCP.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://signpost@127.0.0.1:{}/{database}", self.port)
    }

    /// The address of a database over the Unix socket.
    pub fn socket_url(&self, database: &str) -> String {
        let directory = self.home.to_str().expect("the path is ASCII").replace('/', "%2F");
        format!("postgres://signpost@/{database}?host={directory}&port={}", self.port)
    }

    /// Its port on 127.0.0.1. A restart keeps the port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the postmaster. A restart changes it.
    pub fn pid(&self) -> i32 {
        self.postmaster().as_raw_pid()
    }

    /// Its log so far.
    pub fn log(&self) -> String {
        read_log(&self.home)
    }

    /// Runs SQL and returns its rows, columns separated by `|`, or the error output. It blocks as long as the SQL
    /// takes. Connecting fails after 10 s without an answer.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String, String> {
        psql(&self.socket_url(database), sql)
    }

    /// A fresh, empty database.
    pub fn create_database(self: &Arc<Self>) -> TestDatabase {
        self.create_from_template("template1")
    }

    /// A copy of a database. That database must not have any connections.
    pub fn create_from_template(self: &Arc<Self>, template: &str) -> TestDatabase {
        let name = format!("test_{}", self.databases.fetch_add(1, Ordering::Relaxed));
        self.create(&name, template);
        TestDatabase::new(Arc::clone(self), name)
    }

    /// Stops the server with SIGSTOP: connections stay open, but nothing answers.
    pub fn freeze(&self) {
        processes::freeze(self.postmaster());
    }

    /// Resumes a frozen server.
    pub fn thaw(&self) {
        processes::thaw(self.postmaster());
    }

    /// Kills the server, as a loss of power would: clients get no message, and there is no checkpoint.
    pub fn kill(&self) {
        processes::kill(self.postmaster());
    }

    /// Stops the server in order (fast shutdown), which disconnects its clients.
    pub fn stop(&self) {
        self.thaw();
        let postmaster = self.postmaster();
        processes::signal(postmaster, Signal::INT);
        let ended = processes::eventually(SHUTDOWN, || !processes::is_running(postmaster));
        assert!(ended, "PostgreSQL did not stop:\n{}", self.log());
    }

    /// Promotes this standby to a primary, and returns once it is one.
    pub fn promote(&self) {
        let promoted = self.sql("postgres", "SELECT pg_promote()").expect("it is a standby");
        assert_eq!(promoted, "t", "the standby stays one:\n{}", self.log());
    }

    /// The database of that name on this server.
    pub fn database(self: &Arc<Self>, name: &str) -> TestDatabase {
        TestDatabase::new(Arc::clone(self), name.to_owned())
    }

    /// Starts the server again on the same port, after a [`stop`](Self::stop) if it still runs.
    pub fn restart(&self) {
        self.stop();
        let started = self.guardian().start_server(self.port);
        let postmaster = started.unwrap_or_else(|log| panic!("PostgreSQL did not start again:\n{log}"));
        *self.postmaster.lock().expect("no thread panics while it holds the lock") = postmaster;
    }

    /// Uses `FILE_COPY`, because the default strategy also writes the whole copy to the WAL.
    fn create(&self, name: &str, template: &str) {
        let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_') && name.len() <= 63;
        assert!(plain, "`{name}` is no database name that needs no quotes in SQL and URLs");
        let sql = format!("CREATE DATABASE \"{name}\" TEMPLATE \"{template}\" STRATEGY FILE_COPY");
        self.sql("postgres", &sql).unwrap_or_else(|complaint| panic!("no database `{name}`: {complaint}"));
    }

    fn postmaster(&self) -> Pid {
        *self.postmaster.lock().expect("no thread panics while it holds the lock")
    }

    fn guardian(&self) -> MutexGuard<'_, Guardian> {
        self.guardian.lock().expect("starting a server returns errors and does not panic")
    }
}

/// A directory under `/tmp`, whatever `TMPDIR` is: the path of a socket has at most 108 bytes. The guardian removes it.
fn private_directory(account: Option<Account>, tls: Option<&TlsFiles>) -> PathBuf {
    let directory = tempfile::Builder::new().prefix("signpost-pg-").tempdir_in("/tmp").expect("/tmp is writable");
    let home = directory.keep();
    hand_over(&home, account);
    if let Some(TlsFiles { cert_pem, key_pem }) = tls {
        for (name, pem) in [("server.crt", cert_pem), ("server.key", key_pem)] {
            let path = home.join(name);
            fs::write(&path, pem).expect("a new directory takes files");
            fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("it is ours");
            hand_over(&path, account);
        }
    }
    home
}

fn hand_over(path: &Path, account: Option<Account>) {
    if let Some(Account { uid, gid }) = account {
        chown(path, Some(uid), Some(gid)).expect("root may change the owner of a file");
    }
}

fn settings(options: ServerOptions, home: &Path) -> Vec<String> {
    let home = home.display();
    let mut settings = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        format!("unix_socket_directories={home}"),
        "max_connections=200".to_owned(),
        "shared_buffers=32MB".to_owned(),
        "dynamic_shared_memory_type=mmap".to_owned(), // in the directory, and removed with it
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
        "log_lock_waits=on".to_owned(),
        "log_line_prefix=%m [%p] %q%d %a %e ".to_owned(),
    ];
    if !options.durable {
        settings.extend(["fsync", "synchronous_commit", "full_page_writes"].map(|name| format!("{name}=off")));
    }
    if options.tls.is_some() {
        settings.push("ssl=on".to_owned());
        settings.push(format!("ssl_cert_file={home}/server.crt"));
        settings.push(format!("ssl_key_file={home}/server.key"));
    }
    settings.extend(options.extra.into_iter().map(|(name, value)| format!("{name}={value}")));
    settings
}

#[cfg(test)]
mod tests {
    use std::{
        env,
        process::{Command, Stdio},
        sync::mpsc,
    };

    use super::*;

    #[test]
    fn a_new_server_answers_over_tcp_and_over_its_socket() {
        let server = PostgresServer::start(ServerOptions::default());
        let question = "SELECT current_user, current_setting('server_encoding')";
        assert_eq!(psql(&server.url("postgres"), question), Ok("signpost|UTF8".to_owned()));
        assert_eq!(psql(&server.socket_url("postgres"), question), Ok("signpost|UTF8".to_owned()));
    }

    #[test]
    #[should_panic(expected = "unrecognized configuration parameter")]
    fn a_server_that_does_not_start_says_why() {
        let extra = vec![("no_such_setting".to_owned(), "1".to_owned())];
        PostgresServer::start(ServerOptions { extra, ..ServerOptions::default() });
    }

    #[test]
    fn a_template_is_prepared_once_and_its_copies_are_separate() {
        let mut prepared = 0;
        let mut copy = || {
            shared_database_from_template("apart", |url| {
                prepared += 1;
                psql(url, "CREATE TABLE links (code text)").expect("a new database takes tables");
            })
        };
        let (first, second) = (copy(), copy());
        first.sql("INSERT INTO links VALUES ('abc')").expect("the copy has the table");
        assert_eq!(second.sql("SELECT count(*) FROM links"), Ok("0".to_owned()));
        assert_eq!(prepared, 1);
    }

    #[test]
    fn a_frozen_server_answers_when_it_thaws() {
        let server = PostgresServer::start(ServerOptions::default());
        server.freeze();
        let (sender, answer) = mpsc::channel();
        let asked = Arc::clone(&server);
        let asking = thread::spawn(move || sender.send(asked.sql("postgres", "SELECT 1")));
        assert!(answer.recv_timeout(Duration::from_millis(300)).is_err());
        server.thaw();
        assert_eq!(answer.recv_timeout(Duration::from_secs(30)), Ok(Ok("1".to_owned())));
        asking.join().expect("the answer was taken").expect("the answer was taken");
    }

    #[test]
    fn a_killed_server_keeps_what_was_committed() {
        let server = PostgresServer::start(ServerOptions { durable: true, ..ServerOptions::default() });
        let database = server.create_database();
        database.sql("CREATE TABLE links AS SELECT 'abc' AS code").expect("a new database takes tables");
        server.kill();
        assert!(database.sql("SELECT 1").is_err());
        server.restart();
        assert_eq!(database.sql("SELECT code FROM links"), Ok("abc".to_owned()));
    }

    #[test]
    fn wait_for_standby_returns_only_once_commits_wait() {
        let options = || ServerOptions { durable: true, ..ServerOptions::default() };
        let primary = PostgresServer::start(options());
        let standby = primary.start_standby(options());
        let checkpointer =
            primary.sql("postgres", "SELECT pid FROM pg_stat_activity WHERE backend_type = 'checkpointer'");
        let checkpointer = Pid::from_raw(checkpointer.expect("it runs").parse().expect("a process id")).expect("not 0");
        // Holds the checkpointer before it reads the new settings, as a checkpoint on a slow disk would.
        processes::hold(&[checkpointer]);
        thread::scope(|scope| {
            let waiting = scope.spawn(|| primary.wait_for_standby(&standby));
            let synchronous = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
            let looks_so = || primary.sql("postgres", synchronous) == Ok("1".to_owned());
            let looked_so = processes::eventually(Duration::from_secs(30), looks_so);
            thread::sleep(Duration::from_millis(300));
            let was_early = waiting.is_finished();
            processes::signal(checkpointer, Signal::CONT);
            waiting.join().expect("commits wait once the checkpointer runs");
            assert!(looked_so, "the walsender does not hear of the setting");
            assert!(!was_early, "the setting was taken for its effect");
        });
        primary.hold_replication();
        let (sender, answer) = mpsc::channel();
        let asked = Arc::clone(&primary);
        let asking = thread::spawn(move || sender.send(asked.sql("postgres", "CREATE TABLE links ()")));
        assert!(answer.recv_timeout(Duration::from_millis(300)).is_err(), "a commit that the standby never saw");
        primary.kill();
        assert!(answer.recv_timeout(Duration::from_secs(30)).expect("its session is gone").is_err());
        asking.join().expect("the answer was taken").expect("the answer was taken");
    }

    #[test]
    fn a_frozen_server_is_gone_when_it_is_dropped() {
        let server = PostgresServer::start(ServerOptions::default());
        let (postmaster, home) = (server.postmaster(), server.home.clone());
        server.freeze();
        drop(server);
        assert!(!processes::is_running(postmaster));
        assert!(!home.exists());
    }

    /// The test starts itself again as the process to kill. An environment variable marks that process.
    #[test]
    fn a_server_dies_with_a_process_that_is_killed() {
        const REPORT: &str = "SIGNPOST_TEST_PG_VICTIM_REPORT";
        if let Some(report) = env::var_os(REPORT) {
            let server = PostgresServer::start(ServerOptions::default());
            fs::write(report, format!("{} {}\n", server.pid(), server.home.display())).expect("the directory exists");
            loop {
                thread::park();
            }
        }

        let directory = tempfile::tempdir().expect("a place for the report");
        let report = directory.path().join("report");
        let mut victim = Command::new(env::current_exe().expect("this process runs from a file"))
            .args(["--exact", "postgres::tests::a_server_dies_with_a_process_that_is_killed"])
            .env(REPORT, &report)
            .stdout(Stdio::null())
            .spawn()
            .expect("this test can be started again");
        let read = || fs::read_to_string(&report).unwrap_or_default();
        let reported = processes::eventually(Duration::from_mins(1), || read().ends_with('\n'));
        victim.kill().expect("the process waits to be killed");
        victim.wait().expect("it is our child");
        assert!(reported, "the victim started no server");

        let report = read();
        let (pid, home) = report.trim_end().split_once(' ').expect("an id and a directory");
        let postmaster = pid.parse().ok().and_then(Pid::from_raw).expect("a process id");
        let gone = || !processes::is_running(postmaster) && !Path::new(home).exists();
        let died = processes::eventually(Duration::from_secs(30), gone);
        assert!(died, "the server outlives the process that started it");
    }
}
