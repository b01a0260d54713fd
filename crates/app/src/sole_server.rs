//! At most one server per SQLite file. A second server would not be notified of changes by the first, and each would
//! count limits for itself. Commands may run beside a server.

use std::{
    ffi::OsString,
    fs::{self, File, TryLockError},
    io::{self, Read, Write},
    net::SocketAddr,
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
};

use anyhow::bail;
use slog::{Logger, warn};

/// The exclusive right to serve a file. It ends with the process, however the process ends.
#[derive(Debug)]
pub(crate) struct SoleServer(#[expect(dead_code, reason = "the lock lives as long as the file is open")] Option<File>);

impl SoleServer {
    /// Takes the right to serve `database`. Fails with the process id and address of the server that has it.
    pub(crate) fn of(database: &Path, address: SocketAddr, log: &Logger) -> anyhow::Result<Self> {
        // The lock is on the database itself, under whatever name it is opened. It stays open: closing it would release
        // SQLite's own locks, which are of another kind (POSIX). The file beside it only names the server that holds
        // the lock.
        let path = beside(database);
        let locked = open(database).map_err(TryLockError::Error).and_then(|file| file.try_lock().map(|()| file));
        let file = match locked {
            Ok(file) => file,
            Err(TryLockError::WouldBlock) => {
                let mut other = String::new();
                // The name of the other server is a help for the operator; the error does not depend on it.
                let _unnamed = File::open(&path).and_then(|mut file| file.read_to_string(&mut other));
                bail!("{} is served by another process already: {}", database.display(), other.trim());
            }
            Err(TryLockError::Error(error)) => {
                warn!(log, "cannot lock the SQLite file: another server on it would go unnoticed"; "event.name" => "store.lock_failed",
                    "file" => %path.display(), "error.message" => %error);
                return Ok(Self(None));
            }
        };
        let name = format!("{}, listening on {address}\n", process::id());
        let named = open(&path).and_then(|mut file| file.set_len(0).and_then(|()| file.write_all(name.as_bytes())));
        if let Err(error) = named {
            warn!(log, "cannot write the name of this server beside its lock"; "event.name" => "store.lock_holder_failed",
                "file" => %path.display(), "error.message" => %error);
        }
        Ok(Self(Some(file)))
    }
}

/// Opens or creates the file. Creates its folder if it is missing, as for the database.
fn open(path: &Path) -> io::Result<File> {
    if let Some(folder) = path.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    fs::OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

fn beside(database: &Path) -> PathBuf {
    let mut name = OsString::from(database);
    name.push(".server");
    name.into()
}
