//! The threads of the spool: one makes spare segments, one syncs.

use std::{
    io,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread::{self, JoinHandle, Thread},
    time::Duration,
};

use crate::shared::{Shared, held};

/// How often both look, if they are not woken.
const INTERVAL: Duration = Duration::from_millis(200);

/// The threads of the spool. They end when this is dropped.
#[derive(Debug)]
pub(crate) struct Threads {
    maker: Thread,
    syncer: Thread,
    shared: Arc<Shared>,
    is_stopped: Arc<AtomicBool>,
    running: Mutex<Vec<JoinHandle<()>>>,
}

impl Threads {
    /// Starts both.
    pub(crate) fn start(shared: &Arc<Shared>) -> io::Result<Self> {
        let is_stopped = Arc::new(AtomicBool::new(false));
        let maker = repeat("click-segments", shared, &is_stopped, make)?;
        let syncer = repeat("click-sync", shared, &is_stopped, |shared| shared.sync(false))?;
        Ok(Self {
            maker: maker.thread().clone(),
            syncer: syncer.thread().clone(),
            shared: shared.clone(),
            is_stopped,
            running: Mutex::new(vec![maker, syncer]),
        })
    }

    /// The thread that makes segments.
    pub(crate) fn maker(&self) -> Thread {
        self.maker.clone()
    }

    /// Ends both, and writes everything through.
    pub(crate) fn stop(&self) {
        self.is_stopped.store(true, Ordering::Release);
        self.maker.unpark();
        self.syncer.unpark();
        for thread in held(&self.running).drain(..) {
            if thread.join().is_err() {
                // The panic is told by its hook, and the last sync below is not theirs.
                self.shared.add_sync_failure();
            }
        }
        self.shared.sync(true);
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.stop();
    }
}

fn make(shared: &Shared) {
    for worker in shared.workers() {
        // Clicks that are dropped for want of a segment are counted where that happens.
        let _ = shared.supply(&worker);
    }
    shared.prefault();
}

fn repeat(
    name: &str,
    shared: &Arc<Shared>,
    is_stopped: &Arc<AtomicBool>,
    step: impl Fn(&Shared) + Send + 'static,
) -> io::Result<JoinHandle<()>> {
    let (shared, is_stopped) = (shared.clone(), is_stopped.clone());
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        while !is_stopped.load(Ordering::Acquire) {
            step(&shared);
            thread::park_timeout(INTERVAL);
        }
    })
}
