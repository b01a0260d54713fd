//! The operator's own files under `/.well-known/`.

use std::{collections::BTreeMap, fs, path::Path};

use anyhow::{Context, ensure};

/// Most bytes of all files together, which are held in memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads the files of a directory, by name. Subdirectories and names that begin with a dot are skipped. Fails if a file
/// cannot be read or all have more than [`MAX_BYTES`].
pub(crate) fn read(directory: Option<&Path>) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
    let Some(directory) = directory else {
        return Ok(BTreeMap::new());
    };
    let about = || format!("pages.well_known_dir {}", directory.display());
    let (mut files, mut total) = (BTreeMap::new(), 0);
    for entry in fs::read_dir(directory).with_context(about)? {
        let path = entry.with_context(about)?.path();
        let Some(name) = path.file_name().and_then(|name| name.to_str()) else {
            continue;
        };
        let meta = fs::metadata(&path).with_context(about)?;
        if !meta.is_file() || name.starts_with('.') {
            continue;
        }
        total += meta.len();
        ensure!(total <= MAX_BYTES, "{}: the files have more than {MAX_BYTES} bytes together", about());
        files.insert(name.to_owned(), fs::read(&path).with_context(about)?);
    }
    Ok(files)
}
