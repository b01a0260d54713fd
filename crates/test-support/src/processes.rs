//! A server process and its children, as `/proc` shows them, and free ports for servers.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a signal may take to have its effect.
const OBEDIENCE: Duration = Duration::from_secs(10);

/// Stops a server and its children with SIGSTOP. The server is first, so that it cannot start more children.
pub(crate) fn freeze(server: Pid) {
    hold(&[server]);
    hold(&children(server));
}

/// Resumes a server and its children.
pub(crate) fn thaw(server: Pid) {
    for process in family(server) {
        signal(process, Signal::CONT);
    }
}

/// Kills a server and its children with SIGKILL.
pub(crate) fn kill(server: Pid) {
    freeze(server);
    let family = family(server);
    for &process in &family {
        signal(process, Signal::KILL);
    }
    let gone = eventually(OBEDIENCE, || !family.iter().any(|&process| is_running(process)));
    assert!(gone, "a killed server goes on living");
}

/// Whether a process runs. A zombie does not run.
pub(crate) fn is_running(process: Pid) -> bool {
    state(process).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

pub(crate) fn signal(process: Pid, signal: Signal) {
    // For our own processes this fails only if the process is gone. Callers check its state anyway.
    let _ = kill_process(process, signal);
}

/// Whether the condition became true within about this time.
#[must_use]
pub(crate) fn eventually(limit: Duration, mut condition: impl FnMut() -> bool) -> bool {
    const PAUSE: Duration = Duration::from_millis(5);
    for _ in 0..limit.as_millis() / PAUSE.as_millis() {
        if condition() {
            return true;
        }
        thread::sleep(PAUSE);
    }
    condition()
}

/// Stops these processes with SIGSTOP, and returns once they have stopped.
pub(crate) fn hold(processes: &[Pid]) {
    for &process in processes {
        signal(process, Signal::STOP);
    }
    let held = eventually(OBEDIENCE, || processes.iter().all(|&process| is_at_rest(process)));
    assert!(held, "the server does not hold still");
}

fn is_at_rest(process: Pid) -> bool {
    !is_running(process) || state(process) == Some('T')
}

fn family(server: Pid) -> Vec<Pid> {
    let mut family = children(server);
    family.insert(0, server);
    family
}

fn children(parent: Pid) -> Vec<Pid> {
    let parent = parent.as_raw_pid().to_string();
    let entries = fs::read_dir("/proc").expect("Linux shows its processes").flatten();
    let processes = entries.filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?));
    processes.filter(|&process| status(process, "PPid:").as_ref() == Some(&parent)).collect()
}

fn state(process: Pid) -> Option<char> {
    status(process, "State:")?.chars().next()
}

fn status(process: Pid, field: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{}/status", process.as_raw_pid())).ok()?;
    status.lines().find_map(|line| Some(line.strip_prefix(field)?.trim().to_owned()))
}

/// A free port below the ephemeral range of the kernel, so that a server finds its port free after a restart.
pub(crate) fn free_port() -> u16 {
    let random = || u16::try_from(RandomState::new().hash_one(()) % 10_000).expect("below 10 000");
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..1_000).map(|_| 20_000 + random()).find(is_free).expect("not every port is taken")
}
