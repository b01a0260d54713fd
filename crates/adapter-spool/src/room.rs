//! Room for segments: what goes when the spool is at its limit, or the disk is full.

use std::{fs, io, sync::Arc, time::SystemTime};

use uuid::Uuid;

use crate::{
    folder,
    shared::Shared,
    stream::{Segment, Stream},
};

impl Shared {
    /// Makes room for `size` more bytes below the limit. Segments that are acknowledged go first, then the oldest ones
    /// that are not. Returns whether there is room.
    pub(crate) fn make_room(&self, size: u64) -> io::Result<bool> {
        while self.bytes().saturating_add(size) > self.limit() {
            if !self.remove_kept(0)? && !self.drop_oldest()? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Removes the segment that is acknowledged for the longest time, if those that are hold more than `above` bytes.
    /// Returns whether there was one.
    pub(crate) fn remove_kept(&self, above: u64) -> io::Result<bool> {
        let streams = self.streams();
        let mut oldest: Option<(u64, &Arc<Stream>)> = None;
        let mut bytes = 0;
        for stream in &streams {
            for segment in &stream.state().segments {
                let Some(since) = segment.kept_since else { continue };
                bytes += segment.size;
                if oldest.is_none_or(|(oldest, _)| since < oldest) {
                    oldest = Some((since, stream));
                }
            }
        }
        let Some((since, stream)) = oldest.filter(|_| bytes > above) else { return Ok(false) };
        let removed = {
            let mut state = stream.state();
            let index = state.segments.iter().position(|segment| segment.kept_since == Some(since));
            index.map(|index| state.take(index))
        };
        remove_file(removed)
    }

    /// Removes segments that are acknowledged and were last written before `moment`.
    pub(crate) fn remove_kept_before(&self, moment: SystemTime) -> io::Result<()> {
        let is_older = |segment: &Segment| {
            let written = fs::metadata(&segment.path).and_then(|file| file.modified());
            segment.kept_since.is_some() && written.is_ok_and(|written| written < moment)
        };
        for stream in self.streams() {
            let mut state = stream.state();
            let old: Vec<_> =
                (0..state.segments.len()).rev().filter(|&index| is_older(&state.segments[index])).collect();
            let removed: Vec<_> = old.into_iter().map(|index| state.take(index)).collect();
            drop(state);
            for segment in removed {
                remove_file(Some(segment))?;
            }
        }
        Ok(())
    }

    /// Drops the oldest segment that is sealed, not acknowledged, and not on its way to the store. Returns whether there
    /// was one.
    fn drop_oldest(&self) -> io::Result<bool> {
        for stream in self.streams() {
            let dropped = {
                let mut state = stream.state();
                let index = (0..state.segments.len())
                    .find(|&index| state.segments[index].is_retired() && !state.is_in_hand(index));
                index.map(|index| state.drop_over_limit(index))
            };
            if dropped.is_some() {
                return remove_file(dropped);
            }
        }
        Ok(false)
    }

    /// Takes note of what the store has counted of a stream, and keeps the segments of which all is acknowledged.
    pub(crate) fn acknowledge(&self, stream: &Stream, until: u64) {
        let mut state = stream.state();
        state.acknowledge(until);
        let acked = state.ledger.acked().unwrap_or(0);
        for index in 0..state.segments.len() {
            let is_new = state.segments[index].kept_since.is_none() && !state.segments[index].is_unused();
            if is_new && state.last_of(index) <= acked && state.retire(index) {
                state.segments[index].kept_since = Some(self.next_turn());
            }
        }
    }

    /// Removes the folders of streams of which nothing is left. Returns their ids.
    pub(crate) fn remove_finished(&self) -> io::Result<Vec<Uuid>> {
        let mut removed = Vec::new();
        for stream in self.streams().into_iter().filter(|stream| stream.is_finished()) {
            folder::remove_stream(&stream.folder)?;
            self.forget_stream(&stream);
            removed.push(stream.id);
        }
        // Otherwise a stream could come back after a power cut, whose row in the store is forgotten.
        if !removed.is_empty() {
            folder::sync(&self.options.folder)?;
        }
        Ok(removed)
    }
}

fn remove_file(segment: Option<Segment>) -> io::Result<bool> {
    segment.map_or(Ok(false), |segment| folder::remove(&segment.path).map(|()| true))
}
