//! A server and its children, as `/proc` shows them, and ports for it.

use std::{
    fs,
    hash::{BuildHasher, RandomState},
    net::{Ipv4Addr, TcpListener},
    thread,
    time::Duration,
};

use rustix::process::{Pid, Signal, kill_process};

/// How long a process may take to do as a signal says.
const OBEDIENCE: Duration = Duration::from_secs(10);

/// Holds them all in mid-step. The server is first: the children it then has are all there will be.
pub(crate) fn freeze(server: Pid) {
    hold(&[server]);
    hold(&children(server));
}

/// Lets them go on.
pub(crate) fn thaw(server: Pid) {
    for process in family(server) {
        signal(process, Signal::CONT);
    }
}

/// Ends them all without a last word.
pub(crate) fn kill(server: Pid) {
    freeze(server);
    let family = family(server);
    for &process in &family {
        signal(process, Signal::KILL);
    }
    let gone = eventually(OBEDIENCE, || !family.iter().any(|&process| is_running(process)));
    assert!(gone, "a killed server goes on living");
}

/// A zombie does not run.
pub(crate) fn is_running(process: Pid) -> bool {
    state(process).is_some_and(|state| !matches!(state, 'Z' | 'X'))
}

pub(crate) fn signal(process: Pid, signal: Signal) {
    // The only failure among our own processes: it is gone, and whoever asked looks at its state anyway.
    let _ = kill_process(process, signal);
}

/// Whether it became true in about this time.
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

/// Holds these, and returns once they hold still.
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

/// Below the ports that the kernel hands out by itself, lest one of those be in our place after a restart.
pub(crate) fn free_port() -> u16 {
    let random = || u16::try_from(RandomState::new().hash_one(()) % 10_000).expect("below 10 000");
    let is_free = |port: &u16| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok();
    (0..1_000).map(|_| 20_000 + random()).find(is_free).expect("not every port is taken")
}
