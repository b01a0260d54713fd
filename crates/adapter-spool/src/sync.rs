//! Writing through to the disk, beside the workers and never in their way.
//!
//! A sync write-protects the pages that it writes, and a click that goes to one of them waits until they are written. So
//! of the segment that is being written only finished pages are synced. The page that is being written follows when no
//! click has come for a while; if one comes while it is on its way, the click goes to the page behind it.

use std::{
    fs::File,
    io,
    sync::{Arc, atomic::Ordering},
};

use crate::{
    folder,
    format::{RECORDS_AT, TALLY_AT},
    live_segment::{LiveSegment, Synced},
    map::Map,
    shared::{Shared, held},
    stream::{Body, Stream},
};

impl Shared {
    /// Writes through what was recorded; `everything`: the pages that are being written too.
    pub(crate) fn sync(&self, everything: bool) {
        for stream in self.streams().into_iter().filter(|stream| stream.is_own) {
            self.sync_folder(&stream);
            for segment in live_segments(&stream) {
                if segment.sync(everything).is_err() {
                    self.add_sync_failure();
                }
            }
            if stream.retire().is_err() {
                self.add_sync_failure();
            }
        }
    }

    fn sync_folder(&self, stream: &Stream) {
        let is_unsynced = std::mem::take(&mut stream.state().is_folder_unsynced);
        if is_unsynced && (folder::sync(&stream.folder).is_err() || folder::sync(&self.options.folder).is_err()) {
            stream.state().is_folder_unsynced = true;
            self.add_sync_failure();
        }
    }
}

fn live_segments(stream: &Stream) -> Vec<Arc<LiveSegment>> {
    let state = stream.state();
    let live = state.segments.iter().filter_map(|segment| match &segment.body {
        Body::Live(live) => Some(live.clone()),
        Body::Sealed { .. } => None,
    });
    live.collect()
}

impl Stream {
    /// Gives back the memory of segments that are sealed and synced, and removes those that were never used.
    fn retire(&self) -> io::Result<()> {
        let has_ended = self.has_ended();
        let mut unused = Vec::new();
        let mut state = self.state();
        for index in (0..state.segments.len()).rev() {
            let Body::Live(live) = &state.segments[index].body else { continue };
            if live.first().is_none() && (has_ended || live.is_sealed()) {
                unused.push(state.take(index));
            } else if held(&live.synced).whole {
                state.retire(index);
            }
        }
        drop(state);
        unused.iter().try_for_each(|segment| folder::remove(&segment.path))
    }
}

impl LiveSegment {
    /// Writes through what was recorded in it.
    fn sync(&self, everything: bool) -> io::Result<()> {
        let mut synced = held(&self.synced);
        if synced.whole || self.first().is_none() {
            return Ok(());
        }
        // Asked first: if it is sealed now, it does not grow any more.
        let is_sealed = self.is_sealed();
        let end = self.progress().end;
        let done = match &self.map {
            _ if is_sealed => self.file.sync_data(),
            Some(map) if !everything => self.sync_finished(map, &mut synced, end),
            _ => sync_whole(&self.file, &mut synced, end),
        };
        // After a failure the system takes the pages for written: nothing is gained by trying again.
        synced.whole = is_sealed;
        done
    }

    fn sync_finished(&self, map: &Map, synced: &mut Synced, end: usize) -> io::Result<()> {
        let page = rustix::param::page_size();
        let is_idle = std::mem::replace(&mut synced.seen, end) == end;
        if !synced.header {
            // It shares no page with what changes, unless pages are larger than usual.
            synced.header = true;
            synced.until = RECORDS_AT / page * page;
            if page <= TALLY_AT {
                map.sync(0, TALLY_AT)?;
            }
        }
        let finished = end / page * page;
        if finished > synced.until {
            let from = std::mem::replace(&mut synced.until, finished);
            map.sync(from, finished)?;
        }
        if is_idle && end > finished && synced.settled != end {
            synced.settled = end;
            self.sync_active(map, finished, finished + page)?;
        }
        Ok(())
    }

    /// Syncs the page that is being written, out of the way of the next click.
    fn sync_active(&self, map: &Map, page: usize, next: usize) -> io::Result<()> {
        map.prefault(next, next + (next - page));
        self.skip_to.store(next, Ordering::Relaxed);
        let done = map.sync(page, next);
        self.skip_to.store(0, Ordering::Relaxed);
        map.prefault(page, next);
        done
    }

    /// Prefaults the pages that are written next: for twice the clicks since the last call, within these bounds. Nothing
    /// is done if there was none.
    pub(crate) fn prefault(&self, at_least: usize, at_most: usize) {
        let Some(map) = &self.map else { return };
        let end = self.progress().end;
        let grown = end.saturating_sub(self.prefaulted_at.swap(end, Ordering::Relaxed));
        if grown > 0 {
            let page = rustix::param::page_size();
            map.prefault(TALLY_AT / page * page, RECORDS_AT);
            map.prefault(end / page * page, end + (2 * grown).clamp(at_least, at_most));
        }
    }
}

fn sync_whole(file: &File, synced: &mut Synced, end: usize) -> io::Result<()> {
    if std::mem::replace(&mut synced.settled, end) == end {
        return Ok(());
    }
    file.sync_data()
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{live_segment::Progress, medium::Medium};

    #[test]
    fn the_page_that_is_being_written_is_synced_when_no_click_has_come() {
        let folder = tempfile::tempdir().expect("a folder");
        let segment = LiveSegment::create(folder.path(), 1, 1 << 20, Medium::Mapped).expect("it is made");
        segment.sync(false).expect("it can be synced");
        assert_eq!(*held(&segment.synced), Synced::default(), "it is unused");
        segment.begin(&Uuid::nil(), 1).expect("it is written");
        let page = rustix::param::page_size();
        let end = 4 * page + 8;
        segment.publish(Progress { records: 1, end });
        segment.sync(false).expect("it can be synced");
        let finished = Synced { header: true, until: 4 * page, seen: end, ..Synced::default() };
        assert_eq!(*held(&segment.synced), finished);
        segment.sync(false).expect("it can be synced");
        assert_eq!(*held(&segment.synced), Synced { settled: end, ..finished });
        assert_eq!(segment.skip_to.load(Ordering::Relaxed), 0, "the next click goes on in the same page");
        segment.seal();
        segment.sync(false).expect("it can be synced");
        assert!(held(&segment.synced).whole);
    }
}
