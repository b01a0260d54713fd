//! The spool of one process.

use std::{
    io,
    path::PathBuf,
    sync::{Arc, mpsc::sync_channel},
    time::SystemTime,
};

use domain::ports::{ClickRecorder, ClickRecorders};
use uuid::Uuid;

use crate::{
    accounting::Accounting, adoption, click::Piece, error::SpoolError, folder, medium::Medium, options::SpoolOptions,
    recorder::Recorder, shared::Shared, stream::Stream, threads::Threads, worker::Worker,
};

/// The spool of one process. Clones are handles to the same spool.
#[derive(Clone, Debug)]
pub struct Spool {
    shared: Arc<Shared>,
    threads: Arc<Threads>,
}

/// The streams of a process, and what could not be looked at.
#[derive(Debug, Default)]
pub struct Streams {
    /// Streams that this process writes or has adopted, oldest first.
    pub ids: Vec<Uuid>,
    /// Folders that cannot be read, each with what the operating system says. They are tried again by the next call.
    pub failures: Vec<(PathBuf, io::Error)>,
}

impl Spool {
    /// Opens the spool, and makes its folder (mode 0700). `new_stream_id` gives UUIDs of version 7 (RFC 9562).
    pub fn open(
        options: SpoolOptions,
        new_stream_id: impl Fn() -> Uuid + Send + Sync + 'static,
    ) -> Result<Self, SpoolError> {
        let fail = |source| SpoolError::Folder { folder: options.folder.clone(), source };
        folder::make(&options.folder).map_err(fail)?;
        let medium = Medium::pick(options.mode, &options.folder)?;
        let shared = Arc::new(Shared::new(options, medium, Box::new(new_stream_id)));
        let threads = Threads::start(&shared).map_err(SpoolError::Thread)?;
        Ok(Self { shared, threads: Arc::new(threads) })
    }

    /// The options that it was opened with.
    pub fn options(&self) -> &SpoolOptions {
        &self.shared.options
    }

    /// Whether records are written through a mapping, not by system calls.
    pub fn is_mapped(&self) -> bool {
        self.shared.medium == Medium::Mapped
    }

    /// The streams of this process. Those of processes that have ended are adopted by this call: from then on no other
    /// process reads them.
    ///
    /// For each stream that it has not seen before, the caller asks the store how far it has counted it, and goes on with
    /// [`read`](Self::read) and [`acknowledged`](Self::acknowledged), even if there is nothing to read.
    pub fn streams(&self) -> Streams {
        let mut failures = Vec::new();
        match folder::streams(&self.shared.options.folder) {
            Ok(found) => {
                for (id, path) in found {
                    if self.shared.stream(&id).is_none()
                        && let Err(error) = self.adopt(id, path.clone())
                    {
                        failures.push((path, error));
                    }
                }
            }
            Err(error) => failures.push((self.shared.options.folder.clone(), error)),
        }
        Streams { ids: self.shared.streams().iter().map(|stream| stream.id).collect(), failures }
    }

    fn adopt(&self, id: Uuid, folder: PathBuf) -> io::Result<()> {
        let Some(lock) = folder::lock(&folder)? else { return Ok(()) };
        if let Some(remains) = adoption::examine(&id, &folder)? {
            self.shared.add_stream(Stream::adopted(id, folder, lock, remains));
        }
        Ok(())
    }

    /// Reads records with numbers above `after`, in order, `at_most` of them. A stream that is not one of
    /// [`streams`](Self::streams) has none.
    ///
    /// `after` is how far the store has counted. If that is less than it was, because the store was restored from a
    /// backup, what is still there is read again.
    pub fn read(&self, stream: &Uuid, after: u64, at_most: usize) -> io::Result<Piece> {
        match self.shared.stream(stream) {
            Some(stream) => stream.read(after, at_most),
            None => Ok(Piece { after, until: after, ..Piece::default() }),
        }
    }

    /// The store has counted the stream up to `until`, in a transaction that is committed.
    ///
    /// Segments of which all is acknowledged are removed, except for the last ones ([`SpoolOptions::kept`]). A stream
    /// that has ended is removed with its last segment. Returns the streams that were removed now: their rows can be
    /// forgotten.
    pub fn acknowledged(&self, stream: &Uuid, until: u64) -> io::Result<Vec<Uuid>> {
        if let Some(stream) = self.shared.stream(stream) {
            self.shared.acknowledge(&stream, until);
        }
        while self.shared.remove_kept(self.shared.options.kept)? {}
        self.shared.remove_finished()
    }

    /// Removes segments that are acknowledged and were last written before `moment`, although [`SpoolOptions::kept`]
    /// has room for them. Returns the streams that were removed now, as [`acknowledged`](Self::acknowledged) does.
    pub fn remove_kept_before(&self, moment: SystemTime) -> io::Result<Vec<Uuid>> {
        self.shared.remove_kept_before(moment)?;
        self.shared.remove_finished()
    }

    /// What became of every click.
    pub fn accounting(&self) -> Accounting {
        self.shared.accounting()
    }

    /// Ends the threads, and writes everything through to the disk. Recorders that are still there go on until their
    /// segments are full. Reading and acknowledging stay possible.
    pub fn close(&self) {
        self.threads.stop();
    }
}

/// One stream for each recorder. It has ended once its recorder is dropped.
impl ClickRecorders for Spool {
    fn recorder(&self) -> Option<Box<dyn ClickRecorder>> {
        let (spares, receiver) = sync_channel(2);
        let worker = Arc::new(Worker::new(spares, self.threads.maker()));
        // If the disk is full now, clicks are dropped and counted until the maker succeeds.
        let _ = self.shared.supply(&worker);
        self.shared.add_worker(worker.clone());
        Some(Box::new(Recorder::new(worker, receiver)))
    }
}
