//! The first admin key: created once, kept in a file that only its owner can read, printed once.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use domain::{
    api_key::KeySecret,
    service::{FirstKey, KeyService, Refused},
};

/// The first key, if this call added it to the store.
pub(crate) struct NewAdminKey {
    pub(crate) secret: KeySecret,
    pub(crate) file: PathBuf,
}

/// Creates an admin key if the store has no key at all.
///
/// The file is written before the store. If the process is killed between the two steps, the next start finds the key
/// in the file and adds it to the store, so that it is never lost.
pub(crate) async fn ensure(keys: &KeyService, data_dir: &Path) -> anyhow::Result<Option<NewAdminKey>> {
    let (known, _) = keys.list(None, 1).await?;
    if !known.is_empty() {
        return Ok(None);
    }
    let file = data_dir.join("admin.key");
    if !file.try_exists()? {
        write(&file, &keys.draw_secret()).with_context(|| format!("cannot write {}", file.display()))?;
    }
    let secret = read(&file)?;
    let name = "admin".parse().expect("a plain word is a key name");
    match keys.add_first(name, &secret).await? {
        FirstKey::Added => Ok(Some(NewAdminKey { secret, file })),
        FirstKey::NotNeeded => {
            // Another process added its key first. The key in this file is valid only if it is that key.
            if matches!(keys.authenticate(&secret).await, Err(Refused::Invalid)) {
                fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            }
            Ok(None)
        }
    }
}

fn read(file: &Path) -> anyhow::Result<KeySecret> {
    let text = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
    text.trim_end_matches('\n').parse().with_context(|| format!("{} holds no API key; remove it", file.display()))
}

/// Writes all of the key or nothing, and never over another: to a file beside it, which then gets the name if that is
/// free.
fn write(file: &Path, secret: &KeySecret) -> anyhow::Result<()> {
    let folder = file.parent().context("the file is in no folder")?;
    fs::create_dir_all(folder)?;
    let beside = file.with_extension(format!("key.{}", std::process::id()));
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    out.write_all(format!("{}\n", secret.expose()).as_bytes())?;
    out.sync_all()?;
    let named = fs::hard_link(&beside, file);
    fs::remove_file(&beside)?;
    match named {
        // Another process in this folder was first: its key is as good.
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        Ok(()) | Err(_) => {}
    }
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}
