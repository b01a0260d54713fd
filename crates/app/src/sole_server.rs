//! One server for one SQLite file. A second one would not hear of the changes of the first until it looks, and each would
//! count limits for itself. Commands work beside a server.

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

/// The right to serve a file. It ends with the process, however that ends.
#[derive(Debug)]
pub(crate) struct SoleServer(#[expect(dead_code, reason = "the lock lives as long as the file is open")] Option<File>);

impl SoleServer {
    /// Takes the right to serve `database`, or says who has it.
    pub(crate) fn of(database: &Path, address: SocketAddr, log: &Logger) -> anyhow::Result<Self> {
        // The database itself is locked, whatever name it is opened by; SQLite's own locks are of another kind (POSIX), and would
        // be gone as soon as this file was closed: it stays open. The file beside it only says who that is.
        let path = beside(database);
        let locked = open(database).map_err(TryLockError::Error).and_then(|file| file.try_lock().map(|()| file));
        let file = match locked {
            Ok(file) => file,
            Err(TryLockError::WouldBlock) => {
                let mut other = String::new();
                // Who it is helps, and is no condition.
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

/// The folder may have to be made for it, as for the database.
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
