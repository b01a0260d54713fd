//! Spare segments: made before they are needed, so that no click waits for the disk.

use std::{
    io,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    folder,
    live_segment::LiveSegment,
    medium::{free_bytes, is_full},
    shared::{Shared, held},
    stream::{Body, Segment, Stream},
    worker::{Home, Worker},
};

const MAX_SIZE: u64 = 8 << 20;
const MIN_SIZE: u64 = 64 << 10;
/// A segment takes this part of the limit, and of the space that is free, at most.
const PART: u64 = 16;
/// How many segments there is room for, for each worker at least.
const LEAST_SEGMENTS: u64 = 4;
/// How often a stream is made anew because another process took its folder for that of a dead one.
const ATTEMPTS: usize = 5;
/// Pages are prefaulted for twice the clicks since the last time, within these bounds.
const MIN_AHEAD: usize = 64 << 10;
const MAX_AHEAD: usize = 1 << 20;

impl Shared {
    /// Makes a spare segment for a worker that has none, and its stream if that is its first one.
    pub(crate) fn supply(&self, worker: &Worker) -> io::Result<()> {
        let _making = held(&self.making);
        worker.looked();
        if worker.ended().load(Ordering::Acquire) {
            return Ok(());
        }
        let stream = self.stream_of(worker)?;
        if stream.state().segments.iter().any(is_spare) {
            return Ok(());
        }
        let segment = Arc::new(self.make_segment(&stream)?);
        let mut state = stream.state();
        state.segments.push(Segment::live(segment.clone()));
        state.is_folder_unsynced = true;
        state.next_ordinal += 1;
        // If the worker has ended just now, the segment stays unused and is removed as such.
        let _ = worker.spares.try_send(segment);
        Ok(())
    }

    fn stream_of(&self, worker: &Worker) -> io::Result<Arc<Stream>> {
        if let Some(home) = worker.home.get() {
            return self.stream(&home.stream).ok_or_else(|| io::ErrorKind::NotFound.into());
        }
        let mut attempts = 1;
        loop {
            let id = (self.new_stream_id)();
            match folder::make_stream(&self.options.folder, &id) {
                Ok((path, lock)) => {
                    let lock = Arc::new(lock);
                    let stream = self.add_stream(Stream::own(id, path, lock.clone(), worker.ended().clone()));
                    let is_first = worker.home.set(Home { stream: id, _lock: lock }).is_ok();
                    assert!(is_first, "one thread at a time makes segments");
                    return Ok(stream);
                }
                Err(error) if attempts == ATTEMPTS || is_full(&error) => return Err(error),
                Err(_) => attempts += 1,
            }
        }
    }

    fn make_segment(&self, stream: &Stream) -> io::Result<LiveSegment> {
        let free = free_bytes(&self.options.folder)?;
        let mut size = preferred_size(self.limit().min(free), self.workers().len() as u64);
        let ordinal = stream.state().next_ordinal;
        loop {
            let mut failure = io::ErrorKind::StorageFull.into();
            if self.make_room(size)? {
                let length = usize::try_from(size).expect("segments are small");
                match LiveSegment::create(&stream.folder, ordinal, length, self.medium) {
                    Err(error) if is_full(&error) => failure = error,
                    made => return made,
                }
                if self.remove_kept(0)? {
                    continue;
                }
            }
            if size == MIN_SIZE {
                return Err(failure);
            }
            size = (size / 2).max(MIN_SIZE);
        }
    }

    /// Maximum size of all segments: with less than this for each worker, some would have none.
    pub(crate) fn limit(&self) -> u64 {
        self.options.limit.max(self.workers().len() as u64 * LEAST_SEGMENTS * MIN_SIZE)
    }

    /// Prefaults the pages that the workers write next.
    pub(crate) fn prefault(&self) {
        for stream in self.streams().into_iter().filter(|stream| stream.is_own) {
            let active = stream.state().segments.iter().rev().find_map(|segment| match &segment.body {
                Body::Live(live) if live.first().is_some() => Some(live.clone()),
                _ => None,
            });
            if let Some(active) = active {
                active.prefault(MIN_AHEAD, MAX_AHEAD);
            }
        }
    }
}

fn is_spare(segment: &Segment) -> bool {
    matches!(&segment.body, Body::Live(live) if live.first().is_none() && !live.is_sealed())
}

/// The size of a segment, if there are that many bytes for all of them, so that each worker can have some.
fn preferred_size(space: u64, workers: u64) -> u64 {
    (space / PART.max(LEAST_SEGMENTS * workers) / MIN_SIZE * MIN_SIZE).clamp(MIN_SIZE, MAX_SIZE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn segments_shrink_when_space_is_short() {
        for (space, workers, size) in [
            (1 << 40, 1, 8 << 20),
            (1 << 30, 1, 8 << 20),
            (8 << 20, 4, 512 << 10),
            (8 << 20, 8, 256 << 10),
            (1 << 20, 1, 64 << 10),
            (0, 1, 64 << 10),
        ] {
            assert_eq!(preferred_size(space, workers), size, "{space}");
        }
    }
}
