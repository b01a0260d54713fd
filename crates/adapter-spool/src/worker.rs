//! What a recorder and the threads of the spool share.

use std::{
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::SyncSender,
    },
    thread::Thread,
};

use uuid::Uuid;

use crate::{folder::Lock, live_segment::LiveSegment};

/// The stream of a worker.
#[derive(Debug)]
pub(crate) struct Home {
    pub(crate) stream: Uuid,
    /// Held as long as clicks are recorded, even if the spool is dropped before.
    pub(crate) _lock: Arc<Lock>,
}

/// What a recorder and the threads of the spool share.
#[derive(Debug)]
pub(crate) struct Worker {
    /// Its stream, once that has a folder.
    pub(crate) home: OnceLock<Home>,
    /// Where the spare segments go.
    pub(crate) spares: SyncSender<Arc<LiveSegment>>,
    /// The thread that makes them.
    maker: Thread,
    is_waiting: AtomicBool,
    no_space: AtomicU64,
    ended: Arc<AtomicBool>,
}

impl Worker {
    /// A worker without a stream.
    pub(crate) fn new(spares: SyncSender<Arc<LiveSegment>>, maker: Thread) -> Self {
        Self {
            home: OnceLock::new(),
            spares,
            maker,
            is_waiting: AtomicBool::new(false),
            no_space: AtomicU64::new(0),
            ended: Arc::default(),
        }
    }

    /// A spare is taken or missing: the maker should look. It is woken once until it has [looked](Self::looked).
    pub(crate) fn wake_maker(&self) {
        if !self.is_waiting.swap(true, Ordering::Relaxed) {
            self.maker.unpark();
        }
    }

    /// The maker looks now.
    pub(crate) fn looked(&self) {
        self.is_waiting.store(false, Ordering::Relaxed);
    }

    /// A click was not recorded.
    pub(crate) fn add_no_space(&self) {
        self.no_space.fetch_add(1, Ordering::Relaxed);
    }

    /// How many clicks were not recorded.
    pub(crate) fn no_space(&self) -> u64 {
        self.no_space.load(Ordering::Relaxed)
    }

    /// No click follows.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
        self.maker.unpark();
    }

    /// Becomes true when no click follows.
    pub(crate) fn ended(&self) -> &Arc<AtomicBool> {
        &self.ended
    }
}
