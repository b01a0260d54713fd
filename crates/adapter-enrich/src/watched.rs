//! A file that is read when it is needed, and again when it changes.

use std::{
    fs, io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::SystemTime,
};

/// A file of the operator and what was read from it.
pub(crate) struct Watched<T, E> {
    path: PathBuf,
    read: fn(Vec<u8>) -> Result<T, E>,
    content: Mutex<Content<T>>,
    changes: AtomicU64,
}

struct Content<T> {
    /// The state of the file that was read last; `None` if it must be read again.
    seen: Option<State>,
    /// What it held; `None` until it is needed.
    value: Option<Arc<T>>,
}

/// Time of modification and size: they tell whether a file has changed.
type State = (SystemTime, u64);

/// Why a file cannot be used.
#[derive(Debug)]
pub(crate) enum Failed<E> {
    Io(io::Error),
    Content(E),
}

impl<T, E> Watched<T, E> {
    /// Reads the file once to check it, and releases what it holds.
    pub(crate) fn open(path: PathBuf, read: fn(Vec<u8>) -> Result<T, E>) -> Result<Self, Failed<E>> {
        let (seen, _) = load(&path, read)?;
        let content = Mutex::new(Content { seen: Some(seen), value: None });
        Ok(Self { path, read, content, changes: AtomicU64::new(0) })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Grows whenever the file was read again.
    pub(crate) fn changes(&self) -> u64 {
        self.changes.load(Ordering::Acquire)
    }

    /// What the file holds. It is read if it has not been; `None` if that fails, which the next
    /// [`refresh`](Self::refresh) reports.
    pub(crate) fn get(&self) -> Option<Arc<T>> {
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        if content.value.is_none() {
            match load(&self.path, self.read) {
                Ok((seen, value)) => *content = Content { seen: Some(seen), value: Some(Arc::new(value)) },
                Err(_) => content.seen = None,
            }
        }
        content.value.clone()
    }

    /// Reads the file again if it has changed, and returns whether it has. On an error the content is what it was.
    pub(crate) fn refresh(&self) -> Result<bool, Failed<E>> {
        let now = state(&self.path).map_err(Failed::Io)?;
        if self.content.lock().unwrap_or_else(PoisonError::into_inner).seen == Some(now) {
            return Ok(false);
        }
        // Without the lock: clicks go on while a large file is read.
        let (seen, value) = load(&self.path, self.read)?;
        let mut content = self.content.lock().unwrap_or_else(PoisonError::into_inner);
        let was_needed = content.value.is_some();
        *content = Content { seen: Some(seen), value: was_needed.then(|| Arc::new(value)) };
        self.changes.fetch_add(1, Ordering::Release);
        Ok(true)
    }
}

fn load<T, E>(path: &Path, read: fn(Vec<u8>) -> Result<T, E>) -> Result<(State, T), Failed<E>> {
    // The state first: a change while it is read is seen next time.
    let state = state(path).map_err(Failed::Io)?;
    let bytes = fs::read(path).map_err(Failed::Io)?;
    read(bytes).map(|value| (state, value)).map_err(Failed::Content)
}

fn state(path: &Path) -> io::Result<State> {
    let about = fs::metadata(path)?;
    Ok((about.modified()?, about.len()))
}
