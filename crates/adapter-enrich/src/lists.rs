//! The operator's files together, and what can be wrong with them.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    countries::{Countries, NoCountries},
    own_bots::{BadLine, OwnBots},
    watched::{Failed, Watched},
};

/// The operator's files: bots of their own, and countries. Clones share them.
///
/// The task that watches them calls [`refresh`](Self::refresh) now and then, on a thread that may block.
#[derive(Clone)]
pub struct Lists {
    pub(crate) bots: Option<Arc<Watched<OwnBots, InvalidList>>>,
    pub(crate) countries: Option<Arc<Watched<Countries, NoCountries>>>,
}

/// Which files were read again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reread {
    /// That of `clicks.bots_file`.
    pub bots: bool,
    /// That of `geo.database`.
    pub countries: bool,
}

/// Why a file of the operator cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// It cannot be read.
    #[error("`{path}` of {setting} cannot be read")]
    Unreadable {
        /// The setting that names it.
        setting: &'static str,
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The list of bots has a bad line.
    #[error("`{path}` of {BOTS_FILE} is no list of bots")]
    BadLine {
        /// The file.
        path: PathBuf,
        /// The line.
        source: BadLine,
    },
    /// The list of bots is no text in UTF-8, or too long.
    #[error("`{path}` of {BOTS_FILE} is no text in UTF-8 of at most {MAX_LIST} bytes")]
    NoText {
        /// The file.
        path: PathBuf,
    },
    /// The database is broken, or has no countries.
    #[error("`{path}` of {GEO_DATABASE} is no database of countries")]
    NoCountries {
        /// The file.
        path: PathBuf,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

const BOTS_FILE: &str = "clicks.bots_file";
const GEO_DATABASE: &str = "geo.database";
/// Largest list of bots in bytes.
const MAX_LIST: usize = 1024 * 1024;

/// Why a file is no list of bots.
#[derive(Debug)]
pub(crate) enum InvalidList {
    NoText,
    BadLine(BadLine),
}

impl Lists {
    /// Reads both files once, to check them.
    pub(crate) fn open(bots: Option<PathBuf>, countries: Option<PathBuf>) -> Result<Self, ListError> {
        let bots = bots.map(|path| Watched::open(path.clone(), read_bots).map_err(|failed| of_bots(&path, failed)));
        let countries = countries
            .map(|path| Watched::open(path.clone(), Countries::read).map_err(|failed| of_countries(&path, failed)));
        Ok(Self { bots: bots.transpose()?.map(Arc::new), countries: countries.transpose()?.map(Arc::new) })
    }

    /// Reads each file again if it has changed. If that fails, the clicks are described by what was read last, the other
    /// file is read nevertheless, and the next call tries again.
    pub fn refresh(&self) -> Result<Reread, ListError> {
        let bots = self.bots.as_ref().map(|file| file.refresh().map_err(|failed| of_bots(file.path(), failed)));
        let countries =
            self.countries.as_ref().map(|file| file.refresh().map_err(|failed| of_countries(file.path(), failed)));
        Ok(Reread { bots: bots.unwrap_or(Ok(false))?, countries: countries.unwrap_or(Ok(false))? })
    }

    /// Grows whenever a file was read again.
    pub(crate) fn changes(&self) -> u64 {
        let bots = self.bots.as_ref().map_or(0, |file| file.changes());
        bots + self.countries.as_ref().map_or(0, |file| file.changes())
    }
}

/// Shows the files, not what they hold.
impl fmt::Debug for Lists {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lists")
            .field("bots", &self.bots.as_ref().map(|file| file.path()))
            .field("countries", &self.countries.as_ref().map(|file| file.path()))
            .finish()
    }
}

fn read_bots(bytes: Vec<u8>) -> Result<OwnBots, InvalidList> {
    if bytes.len() > MAX_LIST {
        return Err(InvalidList::NoText);
    }
    let text = String::from_utf8(bytes).map_err(|_| InvalidList::NoText)?;
    OwnBots::read(&text).map_err(InvalidList::BadLine)
}

fn of_bots(path: &Path, failed: Failed<InvalidList>) -> ListError {
    let path = path.to_owned();
    match failed {
        Failed::Io(source) => ListError::Unreadable { setting: BOTS_FILE, path, source },
        Failed::Content(InvalidList::NoText) => ListError::NoText { path },
        Failed::Content(InvalidList::BadLine(source)) => ListError::BadLine { path, source },
    }
}

fn of_countries(path: &Path, failed: Failed<NoCountries>) -> ListError {
    let path = path.to_owned();
    match failed {
        Failed::Io(source) => ListError::Unreadable { setting: GEO_DATABASE, path, source },
        Failed::Content(source) => ListError::NoCountries { path, source: source.into() },
    }
}
