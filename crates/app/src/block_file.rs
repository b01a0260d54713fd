//! Takedowns and revocations from a file, for when the store takes none: its disk is full, or it does not answer.
//!
//! Each line is `code CODE`, `host HOST`, `owner OWNER` or `key ID`; what follows a `#` is a comment. Each process reads
//! the file of its own `data_dir`.

use std::{
    convert::Infallible,
    fs, io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use domain::{
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

/// How often the file is looked at.
const PAUSE: Duration = Duration::from_secs(1);
/// Most bytes of it: a takedown of more belongs into the store.
const MAX_BYTES: u64 = 1024 * 1024;

/// The file, and what was read of it last.
pub(crate) struct BlockFile {
    path: PathBuf,
    blocked: Blocked,
    seen: Option<State>,
    bad_lines: usize,
    /// A look at the file that has not ended.
    looking: Option<JoinHandle<io::Result<Look>>>,
    log: Logger,
}

/// What tells a file from what it was. One that is not there blocks nothing.
type State = Option<(SystemTime, u64)>;
type Look = (State, Option<String>);

impl BlockFile {
    /// Reads it once, before anything is served.
    pub(crate) fn load(path: PathBuf, blocked: Blocked, log: &Logger) -> anyhow::Result<Self> {
        let mut file = Self { path, blocked, seen: None, bad_lines: 0, looking: None, log: log.new(o!()) };
        let look = look(&file.path, file.seen)?;
        file.learn(look);
        Ok(file)
    }

    /// Reads it again when it has changed. While it cannot be read, what was read last is in force.
    pub(crate) async fn keep_up_to_date(&mut self, report: &Report) -> Infallible {
        let mut every = interval(PAUSE);
        every.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            every.tick().await;
            let (path, seen) = (self.path.clone(), self.seen);
            // Beside the runtime: a file system that hangs holds nothing else.
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

/// What the file says, unless it is as it was seen.
fn look(path: &Path, seen: Option<State>) -> io::Result<Look> {
    let state = match fs::metadata(path) {
        Ok(about) => Some((about.modified()?, about.len())),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
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

/// What is blocked, how much that is, and how many lines say nothing.
fn read(text: &str) -> (InForce, usize, usize) {
    let (mut subjects, mut keys, mut bad) = (Vec::<Subject>::new(), Vec::<KeyId>::new(), 0);
    for line in text.lines() {
        let line = line.split('#').next().unwrap_or_default().trim();
        match line.split_once(char::is_whitespace).map(|(kind, value)| (kind, value.trim())) {
            _ if line.is_empty() => {}
            Some(("key", id)) if let Ok(id) = id.parse() => keys.push(id),
            Some((kind, value)) if let Ok(subject) = Subject::parse(kind, value) => subjects.push(subject),
            Some(_) | None => bad += 1,
        }
    }
    let count = subjects.len() + keys.len();
    (subjects.into_iter().collect::<InForce>().with_keys(keys), count, bad)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_line_blocks_one_thing() {
        let (blocked, count, bad) = read(
            "# emergency\ncode abc\nhost Evil.Example. # ticket 7\n owner\tteam-a \n\nkey SSnBEMJK7Gb7\nkey x\nplanet mars\nhost\n",
        );
        assert_eq!((count, bad), (4, 3));
        assert!(blocked.block_host("www.evil.example") && blocked.block_owner(&"team-a".parse().expect("an owner")));
        assert!(blocked.block_key(&"SSnBEMJK7Gb7".parse().expect("an id")));
        assert!(read("").0.is_empty());
    }
}
