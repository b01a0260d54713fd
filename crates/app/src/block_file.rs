//! Takedowns and revocations from a file, for when the store accepts no writes: its disk is full, or it does not
//! answer.
//!
//! Each line is `code CODE`, `host HOST`, `owner OWNER` or `key ID`; `#` begins a comment. Each process reads the file
//! of its own `data_dir`.

use std::{
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use domain::{
    address::DomainId,
    api_key::KeyId,
    block::{InForce, Subject},
    service::Blocked,
};
use slog::{Logger, info, o, warn};
use tokio::{
    task::{JoinHandle, spawn_blocking},
    time::{MissedTickBehavior, interval, timeout},
};

use crate::supervisor::{Failure, Report};

/// How often the file is checked for changes.
const PAUSE: Duration = Duration::from_secs(1);
/// Largest file that is read. A takedown that needs more belongs in the store.
const MAX_BYTES: u64 = 1024 * 1024;

/// The file, and what was last read from it.
pub(crate) struct BlockFile {
    path: PathBuf,
    blocked: Blocked,
    seen: Option<State>,
    bad_lines: usize,
    /// A check of the file that is still running.
    looking: Option<JoinHandle<io::Result<Look>>>,
    log: Logger,
}

/// Time of modification and size: they tell whether a file has changed. A missing file blocks nothing.
type State = Option<(SystemTime, u64)>;
type Look = (State, Option<String>);

impl BlockFile {
    /// Reads the file once, before anything is served. Fails if it cannot be read.
    pub(crate) fn load(path: PathBuf, blocked: Blocked, log: &Logger) -> anyhow::Result<Self> {
        let mut file = Self { path, blocked, seen: None, bad_lines: 0, looking: None, log: log.new(o!()) };
        let look = look(&file.path, file.seen)?;
        file.learn(look);
        Ok(file)
    }

    /// Reads the file again when it has changed. If it cannot be read, the blocks that were read last stay in force.
    pub(crate) async fn keep_up_to_date(&mut self, report: &Report) -> Infallible {
        let mut every = interval(PAUSE);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let (path, seen) = (self.path.clone(), self.seen);
            // On a thread of its own: a file system that hangs must not block the runtime.
            let looking = self.looking.get_or_insert_with(|| spawn_blocking(move || look(&path, seen)));
            let Ok(looked) = timeout(PAUSE, &mut *looking).await else {
                report.failed(Failure::new(
                    "the file of blocks cannot be read",
                    "the file system does not answer".to_owned(),
                ));
                continue;
            };
            self.looking = None;
            match looked.map_err(io::Error::other).flatten() {
                Ok(look) => {
                    self.learn(look);
                    if self.bad_lines > 0 {
                        report.succeeded_but("some lines of the file of blocks are not in force");
                    } else {
                        report.succeeded();
                    }
                }
                Err(error) => report.failed(Failure::new("the file of blocks cannot be read", error.to_string())),
            }
        }
    }

    fn learn(&mut self, (state, text): Look) {
        let was_there = self.seen.flatten().is_some();
        self.seen = Some(state);
        let Some(text) = text else {
            return;
        };
        let (local, count, bad_lines) = read(&text);
        self.bad_lines = bad_lines;
        self.blocked.enforce(local);
        if bad_lines > 0 {
            warn!(self.log, "{} lines of blocks.file are not understood", bad_lines; "event.name" => "blocks.file_loaded",
                "file" => %self.path.display(), "blocks.in_force" => count, "lines.unread" => bad_lines);
        } else if count > 0 || was_there {
            info!(self.log, "{} blocks of blocks.file are in force", count; "event.name" => "blocks.file_loaded",
                "file" => %self.path.display(), "blocks.in_force" => count);
        }
    }
}

/// The state of the file, with its text if the state is not `seen`.
fn look(path: &Path, seen: Option<State>) -> io::Result<Look> {
    let state = match fs::metadata(path) {
        Ok(about) => Some((about.modified()?, about.len())),
        // A link that leads nowhere is no missing file: its blocks stay in force, and it is reported.
        Err(error) if error.kind() == io::ErrorKind::NotFound && fs::symlink_metadata(path).is_err() => None,
        Err(error) => return Err(error),
    };
    if seen == Some(state) {
        return Ok((state, None));
    }
    if state.is_some_and(|(_, length)| length > MAX_BYTES) {
        return Err(io::Error::other(format!("it has more than {MAX_BYTES} bytes")));
    }
    let text = if state.is_some() { fs::read_to_string(path)? } else { String::new() };
    Ok((state, Some(text)))
}

/// The blocks of the text, their number, and the number of lines that cannot be understood.
fn read(text: &str) -> (InForce, usize, usize) {
    let (mut subjects, mut keys, mut bad) = (Vec::<Subject>::new(), Vec::<KeyId>::new(), 0);
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.split_once(char::is_whitespace).map(|(kind, value)| (kind, value.trim())) {
            _ if line.is_empty() => {}
            Some(("key", id)) if let Ok(id) = id.parse() => keys.push(id),
            // On another short domain than the default one, which has a number: `code 7/promo`.
            Some(("code", value))
                if value.contains('/')
                    && let Ok(address) = value.parse() =>
            {
                subjects.push(Subject::Address(address));
            }
            Some((kind, value)) if let Ok(subject) = Subject::parse(kind, value, DomainId::DEFAULT) => {
                subjects.push(subject);
            }
            Some(_) | None => bad += 1,
        }
    }
    let count = subjects.len() + keys.len();
    (subjects.into_iter().collect::<InForce>().with_keys(keys), count, bad)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_missing_file_blocks_nothing_and_a_dangling_link_is_an_error() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("blocks.txt");
        assert_eq!(look(&path, None).expect("it may be missing"), (None, Some(String::new())));
        symlink(folder.path().join("gone.txt"), &path).expect("the folder is ours");
        assert!(look(&path, None).is_err());
    }

    #[test]
    fn each_line_blocks_one_thing() {
        let (blocked, count, bad) = read(
            "# emergency\ncode abc\ncode 7/abc\ncode 07/abc\nhost Evil.Example. # ticket 7\n owner\tteam-a \n\nkey SSnBEMJK7Gb7\nkey x\nplanet mars\nhost\n",
        );
        assert_eq!((count, bad), (5, 4));
        assert!(blocked.block_host("www.evil.example") && blocked.block_owner(&"team-a".parse().expect("an owner")));
        assert!(blocked.block_key(&"SSnBEMJK7Gb7".parse().expect("an id")));
        assert!(read("").0.is_empty());
    }
}
