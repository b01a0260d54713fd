//! A stream: its segments, and how far the store has counted it.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use uuid::Uuid;

use crate::{
    adoption::Remains,
    click::Piece,
    folder::Lock,
    ledger::{Cause, Ledger, Totals},
    live_segment::LiveSegment,
    reader::{self, Extent, Position, Source},
};

/// A stream that this process writes or has adopted.
#[derive(Debug)]
pub(crate) struct Stream {
    pub(crate) id: Uuid,
    pub(crate) folder: PathBuf,
    /// This process writes it, or has written it.
    pub(crate) is_own: bool,
    ended: Arc<AtomicBool>,
    state: Mutex<State>,
    _lock: Arc<Lock>,
}

/// What changes of a stream.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) ledger: Ledger,
    /// Ascending. One that is unused comes last.
    pub(crate) segments: Vec<Segment>,
    /// The number of the last record of segments that are not live.
    last: u64,
    /// The number of the next segment.
    pub(crate) next_ordinal: u64,
    /// What was read and is not acknowledged: after which number, until which one.
    in_hand: (u64, u64),
    position: Option<Position>,
    /// Files were made that the folder on the disk does not list yet.
    pub(crate) is_folder_unsynced: bool,
}

/// A segment of a stream.
#[derive(Debug)]
pub(crate) struct Segment {
    pub(crate) ordinal: u64,
    pub(crate) path: Arc<Path>,
    /// Its size on disk in bytes.
    pub(crate) size: u64,
    pub(crate) body: Body,
    /// All of it is acknowledged. The smaller, the longer.
    pub(crate) kept_since: Option<u64>,
}

/// Where the records of a segment are.
#[derive(Debug)]
pub(crate) enum Body {
    /// In memory and in a file.
    Live(Arc<LiveSegment>),
    /// In a file alone. No record follows.
    Sealed {
        /// The number of its first record.
        first: u64,
        seed: u32,
        /// Where its last record ends, or the end of the file.
        end: usize,
    },
}

impl Stream {
    /// A new stream of this process. It ends when `ended` becomes true.
    pub(crate) fn own(id: Uuid, folder: PathBuf, lock: Arc<Lock>, ended: Arc<AtomicBool>) -> Self {
        let state = State {
            ledger: Ledger::own(),
            segments: Vec::new(),
            last: 0,
            next_ordinal: 1,
            in_hand: (0, 0),
            position: None,
            is_folder_unsynced: true,
        };
        Self { id, folder, is_own: true, ended, state: Mutex::new(state), _lock: lock }
    }

    /// A stream of a process that has ended.
    pub(crate) fn adopted(id: Uuid, folder: PathBuf, lock: Lock, remains: Remains) -> Self {
        let floor = remains.segments.first().map_or(0, |segment| segment.first - 1);
        let segments = remains.segments.into_iter().map(|remnant| Segment {
            ordinal: remnant.ordinal,
            path: remnant.path.into(),
            size: remnant.length,
            body: Body::Sealed {
                first: remnant.first,
                seed: remnant.seed,
                end: usize::try_from(remnant.length).expect("segments are small"),
            },
            kept_since: None,
        });
        let state = State {
            ledger: Ledger::adopted(floor),
            segments: segments.collect(),
            last: remains.last,
            next_ordinal: 0,
            in_hand: (0, 0),
            position: None,
            is_folder_unsynced: false,
        };
        let ended = Arc::new(AtomicBool::new(true));
        Self { id, folder, is_own: false, ended, state: Mutex::new(state), _lock: Arc::new(lock) }
    }

    /// The state. It is held for moments only, never while the disk is asked.
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// No record follows.
    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Reads records with numbers above `after`, in order.
    pub(crate) fn read(&self, after: u64, at_most: usize) -> io::Result<Piece> {
        // Asked first: if it has ended now, all its records are in the plan.
        let has_ended = self.has_ended();
        let (extents, position, last) = self.state().plan(after, at_most as u64);
        let mut reading = reader::read(&extents, position, after, at_most)?;
        if reading.is_complete && has_ended && last > reading.piece.until {
            reading.advance(last, false);
        }
        let mut state = self.state();
        for (after, until) in reading.gaps {
            state.ledger.lose(after, until, Cause::Damaged);
        }
        state.in_hand = (after, reading.piece.until);
        state.position = reading.position;
        Ok(reading.piece)
    }

    /// Whether nothing of it is left to be read or kept.
    pub(crate) fn is_finished(&self) -> bool {
        let has_ended = self.has_ended();
        let state = self.state();
        has_ended && state.segments.is_empty() && state.ledger.acked().is_some_and(|acked| acked >= state.last())
    }

    /// Its counters, and how many clicks wait for the store.
    pub(crate) fn account(&self, state: &State) -> (Totals, u64) {
        let last = state.last();
        let accepted = if self.is_own { last } else { 0 };
        (Totals { accepted, ..state.ledger.totals() }, state.ledger.waiting(last))
    }
}

impl State {
    /// The number of the last record.
    pub(crate) fn last(&self) -> u64 {
        self.segments.iter().rev().find_map(Segment::last_of_live).unwrap_or(0).max(self.last)
    }

    fn plan(&mut self, after: u64, at_most: u64) -> (Vec<Extent>, Option<Position>, u64) {
        let last = self.last();
        self.ledger.resume(after, last);
        let acked = self.ledger.acked().unwrap_or(after);
        for index in 0..self.segments.len() {
            if self.last_of(index) > acked {
                self.segments[index].kept_since = None;
            }
        }
        self.in_hand = (after, after.saturating_add(at_most));
        // From the last one back: once a segment is in use, the one before does not grow any more.
        let mut extents: Vec<_> = self.segments.iter().rev().filter_map(Segment::extent).collect();
        extents.reverse();
        (extents, self.position, last)
    }

    /// The number of the last record of a segment, lost ones included.
    pub(crate) fn last_of(&self, index: usize) -> u64 {
        let first = self.segments[index].first();
        let next = self.segments[index + 1..].iter().map(Segment::first).find(|&next| next > first).flatten();
        next.map_or_else(|| self.last(), |next| next - 1)
    }

    /// Takes note of what the store has counted.
    pub(crate) fn acknowledge(&mut self, until: u64) {
        let last = self.last();
        self.ledger.acknowledge(until, last);
    }

    /// Whether a segment holds what was read and is not acknowledged.
    pub(crate) fn is_in_hand(&self, index: usize) -> bool {
        let (after, until) = self.in_hand;
        let after = after.max(self.ledger.acked().unwrap_or(0));
        let first = self.segments[index].first().unwrap_or(u64::MAX);
        after < until && first <= until && self.last_of(index) > after
    }

    /// Gives back the memory of a sealed segment, once its recorder has let go of it: that must not wait for it. Returns
    /// whether it lies in a file alone now.
    pub(crate) fn retire(&mut self, index: usize) -> bool {
        let segment = &mut self.segments[index];
        let Body::Live(live) = &segment.body else { return true };
        if !live.is_sealed() || Arc::strong_count(live) > 1 {
            return false;
        }
        let Some(Extent { first, seed, end, .. }) = segment.extent() else { return false };
        self.last = self.last.max(segment.last_of_live().unwrap_or(0));
        segment.body = Body::Sealed { first, seed, end };
        true
    }

    /// Drops a segment with all that is in it.
    pub(crate) fn drop_over_limit(&mut self, index: usize) -> Segment {
        self.last = self.last();
        if let Some(first) = self.segments[index].first() {
            self.ledger.lose(first - 1, self.last_of(index), Cause::OverLimit);
        }
        self.segments.remove(index)
    }

    /// Takes out a segment that has no record, or of which all is acknowledged.
    pub(crate) fn take(&mut self, index: usize) -> Segment {
        self.last = self.last();
        self.segments.remove(index)
    }
}

impl Segment {
    /// A segment that is to be written.
    pub(crate) fn live(segment: Arc<LiveSegment>) -> Self {
        Self {
            ordinal: segment.ordinal,
            path: segment.path.as_path().into(),
            size: segment.size as u64,
            body: Body::Live(segment),
            kept_since: None,
        }
    }

    /// The number of its first record; `None` if it is unused.
    pub(crate) fn first(&self) -> Option<u64> {
        match &self.body {
            Body::Live(segment) => segment.first(),
            Body::Sealed { first, .. } => Some(*first),
        }
    }

    /// It is unused.
    pub(crate) fn is_unused(&self) -> bool {
        self.first().is_none()
    }

    /// It lies in a file alone.
    pub(crate) fn is_retired(&self) -> bool {
        matches!(self.body, Body::Sealed { .. })
    }

    fn last_of_live(&self) -> Option<u64> {
        let Body::Live(segment) = &self.body else { return None };
        Some(segment.first()? + u64::from(segment.progress().records) - 1)
    }

    fn extent(&self) -> Option<Extent> {
        let ordinal = self.ordinal;
        match &self.body {
            Body::Live(segment) => {
                let first = segment.first()?;
                let (seed, end) = (segment.seed(), segment.progress().end);
                Some(Extent { ordinal, source: Source::Live(segment.clone()), first, seed, end })
            }
            &Body::Sealed { first, seed, end } => {
                Some(Extent { ordinal, source: Source::File(self.path.clone()), first, seed, end })
            }
        }
    }
}
