//! The operator's own files: those under `/.well-known/`, and the logo of QR codes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read,
    path::Path,
    sync::Arc,
};

use adapter_http::Logo;
use anyhow::{Context, ensure};

use crate::config::PagesConfig;

/// The operator's own files, as they were at the start.
pub(crate) struct OwnFiles {
    /// Those under `/.well-known/`, by name.
    pub(crate) well_known: BTreeMap<String, Vec<u8>>,
    pub(crate) qr_logo: Option<Arc<Logo>>,
}

/// Reads all files. Fails if one cannot be used.
pub(crate) fn read(pages: &PagesConfig) -> anyhow::Result<OwnFiles> {
    let qr_logo = pages.qr_logo.as_deref().map(logo).transpose()?.map(Arc::new);
    Ok(OwnFiles { well_known: well_known(pages.well_known_dir.as_deref())?, qr_logo })
}

fn logo(path: &Path) -> anyhow::Result<Logo> {
    let about = || format!("pages.qr_logo {}", path.display());
    let mut file = Vec::new();
    let most = u64::try_from(Logo::MAX_BYTES).expect("a small number") + 1;
    File::open(path).and_then(|open| open.take(most).read_to_end(&mut file)).with_context(about)?;
    Logo::from_png(&file).with_context(about)
}

/// Most bytes of all files together, which are held in memory.
const MAX_BYTES: u64 = 1024 * 1024;

/// Reads the files of a directory, by name. Subdirectories and names that begin with a dot are skipped. Fails if a file
/// cannot be read or all have more than [`MAX_BYTES`].
fn well_known(directory: Option<&Path>) -> anyhow::Result<BTreeMap<String, Vec<u8>>> {
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
