//! The shipper: reads clicks from the spool, describes and counts them, and stores the counts.

use std::{
    collections::HashMap,
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use adapter_enrich::Describer;
use adapter_spool::{Piece, Spool};
use domain::{
    click::DescribedClick,
    ports::{ClickBatch, ClickDescriber, ClickRepository, Clock, Shipped},
};
use tokio::{task::spawn_blocking, time::Instant};
use uuid::Uuid;

use super::{parts::Clicks, progress::Progress, shipped::ShippedTotals};
use crate::{effects::SystemClock, supervisor::Failure};

/// How often the store is asked again how far it has counted.
const ASK_AGAIN: Duration = Duration::from_mins(1);
/// Most clicks of one batch. The more, the fewer rows are written for each: clicks of one link and day are one row. A
/// click takes some 500 bytes until it is stored, so a full batch takes some 25 MB.
const LARGEST_BATCH: usize = 50_000;
/// The first batch, and the smallest after failures: clicks of many links take the store longer than its timeout allows
/// for a large batch.
const SMALLEST_BATCH: usize = 100;
/// A batch that takes the store longer makes the next ones smaller: the one writer of SQLite must not keep other calls
/// waiting. But not smaller than this, because a slow disk takes as long for few clicks.
const LONGEST_STORING: Duration = Duration::from_millis(250);
const SMALL_ENOUGH: usize = 5_000;

/// Ships the clicks of one process, and those that dead processes left on the same volume.
pub(crate) struct Shipper {
    spool: Spool,
    repository: Arc<dyn ClickRepository>,
    describer: Arc<Mutex<Describer>>,
    progress: Progress,
    /// How far each stream is counted, as the store said last.
    acked: HashMap<Uuid, u64>,
    /// When the store was last asked for all of them.
    asked: Instant,
    totals: ShippedTotals,
    /// Most clicks of the next batch.
    batch: usize,
}

impl Shipper {
    /// A shipper; `None` if clicks are not recorded.
    pub(crate) fn new(clicks: &Clicks) -> Option<Self> {
        Some(Self {
            spool: clicks.spool.clone()?,
            repository: clicks.repository.clone(),
            describer: clicks.describer.clone()?,
            progress: clicks.progress.clone(),
            acked: HashMap::new(),
            asked: Instant::now(),
            totals: ShippedTotals::default(),
            batch: SMALLEST_BATCH,
        })
    }

    /// What was shipped so far.
    pub(crate) fn totals(&self) -> ShippedTotals {
        self.totals
    }

    /// Ships everything that was recorded before this call. `alive` is called after each batch. A stream that cannot be
    /// shipped does not hold up the others. Returns what cannot be read on the disk.
    pub(crate) async fn ship_all(&mut self, alive: impl Fn() + Send) -> Result<Option<String>, Failure> {
        let begun = SystemClock.now();
        // After a failover the store may have counted less than it said before.
        if self.asked.elapsed() > ASK_AGAIN {
            self.acked.clear();
            self.asked = Instant::now();
        }
        let spool = self.spool.clone();
        let streams = blocking(move || spool.streams()).await?;
        let folder = streams.failures.into_iter().next().map(|(folder, error)| (folder.display().to_string(), error));
        let mut unreadable = folder.map(|(folder, error)| format!("{folder}: {error}"));
        let mut failure = None;
        // One batch of each stream in turn: no stream waits until another one has nothing left.
        let mut left = streams.ids;
        while !left.is_empty() {
            let mut unfinished = Vec::new();
            for stream in left {
                match self.ship_batch(stream).await {
                    Ok(true) => unfinished.push(stream),
                    Ok(false) => {}
                    Err(Unshipped::Unreadable(error)) => unreadable = Some(format!("stream {stream}: {error}")),
                    Err(Unshipped::Failed(reason)) => {
                        self.acked.remove(&stream);
                        failure.get_or_insert(reason);
                    }
                }
                alive();
            }
            left = unfinished;
        }
        if let Some(failure) = failure {
            return Err(failure);
        }
        self.progress.reached(begun);
        Ok(unreadable)
    }

    /// Ships one batch of a stream. Returns whether the stream may have more that was recorded before this call.
    async fn ship_batch(&mut self, stream: Uuid) -> Result<bool, Unshipped> {
        let mut acked = match self.acked.get(&stream) {
            Some(acked) => *acked,
            None => self.repository.acked(&stream).await.map_err(|error| Failure::from(&error))?,
        };
        let (spool, after, most) = (self.spool.clone(), acked, self.batch);
        let piece = blocking(move || spool.read(&stream, after, most)).await?.map_err(Unshipped::Unreadable)?;
        let (until, is_full) = (piece.until, piece.clicks.len() as u64 + piece.unknown >= most as u64);
        if !piece.is_empty() {
            acked = self.store(stream, piece).await?;
        }
        self.acked.insert(stream, acked);
        let spool = self.spool.clone();
        let removed = blocking(move || spool.acknowledged(&stream, acked)).await?;
        for gone in removed.map_err(Unshipped::Unreadable)? {
            // Its row is of no use any more. If this fails, the row stays, and does no harm.
            self.acked.remove(&gone);
            self.repository.forget_stream(&gone).await.map_err(|error| Failure::from(&error))?;
        }
        // Another process may have counted it up to elsewhere: then the rest is still to be read.
        Ok(is_full || acked != until)
    }

    /// Stores a piece, and returns how far the stream is counted then.
    async fn store(&mut self, stream: Uuid, piece: Piece) -> Result<u64, Failure> {
        let (after, until, lost, unknown) = (piece.after, piece.until, piece.lost, piece.unknown);
        let describer = Arc::clone(&self.describer);
        let clicks = blocking(move || described(&describer, piece)).await?;
        let count = clicks.len() as u64;
        let batch = ClickBatch { stream, after, until, lost, clicks, at: SystemClock.now() };
        let begun = Instant::now();
        let stored = self.repository.store(&batch).await.map_err(|error| Failure::from(&error));
        let taken = stored.is_ok().then(|| begun.elapsed());
        self.batch = next_batch(self.batch, batch.clicks.len(), taken);
        match stored? {
            Shipped::Stored { of_missing_links } => {
                self.totals.stored += count - of_missing_links;
                self.totals.of_missing_links += of_missing_links;
                self.totals.unknown += unknown;
                Ok(until)
            }
            Shipped::Elsewhere { acked } => Ok(acked),
        }
    }
}

/// The size of the batch after one of so many clicks, of which the store took so long; `None` if it failed.
fn next_batch(most: usize, clicks: usize, taken: Option<Duration>) -> usize {
    let next = match taken {
        None => clicks / 2,
        Some(taken) if taken > LONGEST_STORING && most > SMALL_ENOUGH => SMALL_ENOUGH.max(clicks / 2),
        Some(_) => most.max(clicks * 2),
    };
    next.clamp(SMALLEST_BATCH, LARGEST_BATCH)
}

fn described(describer: &Mutex<Describer>, piece: Piece) -> Vec<DescribedClick> {
    let mut describer = describer.lock().unwrap_or_else(PoisonError::into_inner);
    // What was read is released click by click.
    let clicks = piece.clicks.into_iter().map(|(_, click)| {
        let traits = describer.describe(&click.as_click());
        DescribedClick { at: click.at, link: click.link, visitor: click.visitor, traits }
    });
    clicks.collect()
}

/// Why a batch was not shipped.
enum Unshipped {
    /// Its files cannot be read, or not be removed.
    Unreadable(io::Error),
    Failed(Failure),
}

impl From<Failure> for Unshipped {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Runs work that reads files or computes for long.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Failure> {
    spawn_blocking(work).await.map_err(|error| Failure::new("it panicked", error.to_string()))
}

#[cfg(test)]
mod tests {
    use adapter_enrich::DescriberOptions;
    use adapter_spool::SpoolOptions;
    use domain::{
        click::Click,
        ports::{ClickRecorders, Clock},
    };
    use test_support::MemoryStore;
    use tokio::time::advance;

    use super::*;
    use crate::clicks::new_stream_id;

    #[test]
    fn batches_grow_while_the_store_is_quick_and_shrink_when_it_is_not() {
        let (quick, slow) = (Some(Duration::from_millis(90)), Some(Duration::from_secs(1)));
        let mut batch = SMALLEST_BATCH;
        for expected in [200, 400, 800, 1_600, 3_200, 6_400, 12_800, 25_600, 50_000, 50_000] {
            batch = next_batch(batch, batch, quick);
            assert_eq!(batch, expected);
        }
        assert_eq!(next_batch(50_000, 3, quick), 50_000, "a few clicks say nothing about a large batch");
        for expected in [25_000, 12_500, 6_250, 5_000] {
            batch = next_batch(batch, batch, slow);
            assert_eq!(batch, expected);
        }
        assert_eq!(next_batch(400, 400, slow), 800, "a slow disk takes as long for few clicks");
        for expected in [2_500, 1_250, 625, 312, 156, 100, 100] {
            batch = next_batch(batch, batch, None);
            assert_eq!(batch, expected);
        }
        assert_eq!(next_batch(50_000, 3, None), SMALLEST_BATCH, "even a few clicks failed");
    }

    /// A store that a failover took back to an earlier state has counted less than it said.
    #[tokio::test(start_paused = true)]
    async fn the_store_is_asked_again_how_far_it_has_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = Spool::open(SpoolOptions::new(folder.path()), new_stream_id).expect("the folder can be written");
        let store = Arc::new(MemoryStore::default());
        let mut shipper = Shipper {
            spool: spool.clone(),
            repository: store.clone(),
            describer: Arc::new(Mutex::new(Describer::new(DescriberOptions::default()).expect("no file is read"))),
            progress: Progress::new(true),
            acked: HashMap::new(),
            asked: Instant::now(),
            totals: ShippedTotals::default(),
            batch: SMALLEST_BATCH,
        };
        let recorder = spool.recorder().expect("a spool records");
        let click = Click {
            at: SystemClock.now(),
            link: Uuid::from_u128(1),
            visitor: None,
            network: None,
            referrer: "",
            user_agent: "",
            language: "",
            is_prefetch: false,
            opted_out: false,
        };
        recorder.record(&click);
        let stream = spool.streams().ids[0];
        let ship = async |shipper: &mut Shipper| {
            let unreadable = shipper.ship_all(|| ()).await.map_err(|failure| failure.details().to_owned());
            assert_eq!(unreadable, Ok(None));
            store.acked(&stream).await.expect("memory does not fail")
        };
        assert_eq!(ship(&mut shipper).await, 1);
        store.forget_stream(&stream).await.expect("memory does not fail");
        assert_eq!(ship(&mut shipper).await, 0, "what the store said last is believed for a while");
        advance(ASK_AGAIN + Duration::from_secs(1)).await;
        assert_eq!(ship(&mut shipper).await, 1);
    }
}
