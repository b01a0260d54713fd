//! A small shell that ends our servers and removes their folders after this process is gone, however it ended.
//!
//! Servers in statics are never dropped, and a test process that is killed drops nothing.

use std::{
    fs,
    io::Write,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{LazyLock, Mutex},
};

use super::signpost;

struct Guardian {
    folder: PathBuf,
    shell: Mutex<Child>,
}

static GUARDIAN: LazyLock<Guardian> = LazyLock::new(Guardian::engage);

/// The folder of all servers of this process.
pub(super) fn folder() -> &'static Path {
    &GUARDIAN.folder
}

/// Ends that process when ours ends.
pub(crate) fn watch(process: u32) {
    let mut shell = GUARDIAN.shell.lock().expect("nothing panics in here");
    let orders = shell.stdin.as_mut().expect("its input is piped");
    writeln!(orders, "{process}").expect("the guardian reads until we are gone");
}

impl Guardian {
    fn engage() -> Self {
        let folder = tempfile::Builder::new().prefix("signpost-it-").tempdir().expect("a place for files").keep();
        let binary = fs::canonicalize(signpost().get_program()).expect("the binary is built before its tests");
        let shell = Command::new("sh")
            .args(["-c", include_str!("guardian.sh"), "guardian.sh"])
            .args([&binary, &folder])
            // No child of ours inherits the pipe. A process group of its own, so that Ctrl-C does not end it before its
            // work.
            .process_group(0)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("every system has a shell");
        Self { folder, shell: Mutex::new(shell) }
    }
}
