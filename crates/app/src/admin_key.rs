//! The first key: made once, kept in a file that only its owner can read, printed once.

use std::{
    fs,
    io::Write,
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use anyhow::Context;
use domain::{
    api_key::KeySecret,
    service::{FirstKey, KeyService},
};

/// The first key, if this call made it count.
pub(crate) struct NewAdminKey {
    pub(crate) secret: KeySecret,
    pub(crate) file: PathBuf,
}

/// Makes an admin key if the store has no key at all.
///
/// The file comes first: were the process killed between the two steps, the next start would find the key in
/// the file and make that one count, so that it is never lost.
pub(crate) async fn ensure(keys: &KeyService, data_dir: &Path) -> anyhow::Result<Option<NewAdminKey>> {
    let (known, _) = keys.list(None, 1).await?;
    if !known.is_empty() {
        return Ok(None);
    }
    let file = data_dir.join("admin.key");
    let (secret, written) = if file.try_exists()? {
        (parse(&fs::read_to_string(&file)?, &file)?, false)
    } else {
        let secret = keys.draw_secret();
        write(&file, &secret).with_context(|| format!("cannot write {}", file.display()))?;
        (secret, true)
    };
    let name = "admin".parse().expect("a plain word is a key name");
    match keys.add_first(name, &secret).await? {
        FirstKey::Added => Ok(Some(NewAdminKey { secret, file })),
        FirstKey::NotNeeded => {
            // Another process was first: what is in our file opens nothing.
            if written {
                fs::remove_file(&file).with_context(|| format!("cannot remove {}", file.display()))?;
            }
            Ok(None)
        }
    }
}

fn parse(text: &str, file: &Path) -> anyhow::Result<KeySecret> {
    text.trim_end_matches('\n').parse().with_context(|| format!("{} holds no API key; remove it", file.display()))
}

/// All of the key or nothing: written beside, then renamed.
fn write(file: &Path, secret: &KeySecret) -> anyhow::Result<()> {
    let folder = file.parent().context("the file is in no folder")?;
    fs::create_dir_all(folder)?;
    let beside = file.with_extension(format!("key.{}", std::process::id()));
    let mut out = fs::OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside)?;
    out.write_all(format!("{}\n", secret.expose()).as_bytes())?;
    out.sync_all()?;
    fs::rename(&beside, file)?;
    fs::File::open(folder)?.sync_all()?;
    Ok(())
}
