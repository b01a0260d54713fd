//! The hot path: one click into the segment of one worker.

use std::{
    cell::RefCell,
    sync::{Arc, atomic::Ordering, mpsc::Receiver},
};

use domain::{click::Click, ports::ClickRecorder, time::Timestamp};

use crate::{
    format::Encoder,
    live_segment::{LiveSegment, Progress},
    worker::Worker,
};

/// Records the clicks of one worker in a stream of its own. A click costs no system call, no lock and no allocation
/// (with [`SpoolMode::Write`](crate::SpoolMode::Write) one system call).
#[derive(Debug)]
pub(crate) struct Recorder {
    writer: RefCell<Writer>,
}

#[derive(Debug)]
struct Writer {
    worker: Arc<Worker>,
    spares: Receiver<Arc<LiveSegment>>,
    active: Option<Active>,
    /// The number of the next record in the stream.
    next: u64,
    encoder: Encoder,
}

/// The segment that is being written.
#[derive(Debug)]
struct Active {
    segment: Arc<LiveSegment>,
    seed: u32,
    progress: Progress,
    /// When its first click was.
    since: Timestamp,
}

/// A segment is written for so many seconds at most, so that it can be removed when its clicks are old.
const LONGEST_USE_SECONDS: u64 = 24 * 3_600;

impl Recorder {
    /// Writes to the segments that come from `spares`.
    pub(crate) fn new(worker: Arc<Worker>, spares: Receiver<Arc<LiveSegment>>) -> Self {
        let writer = Writer { worker, spares, active: None, next: 1, encoder: Encoder::new() };
        Self { writer: RefCell::new(writer) }
    }
}

impl ClickRecorder for Recorder {
    fn record(&self, click: &Click<'_>) {
        let mut writer = self.writer.borrow_mut();
        if !writer.record(click) {
            writer.worker.add_no_space();
        }
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        let writer = self.writer.get_mut();
        if let Some(active) = writer.active.take() {
            active.segment.seal();
        }
        writer.worker.end();
    }
}

impl Writer {
    /// Returns whether the click is recorded.
    fn record(&mut self, click: &Click<'_>) -> bool {
        if self.active.as_ref().is_some_and(|active| active.is_old(click.at)) {
            // If there is no other segment yet, this one is used on.
            self.rotate(click.at);
        }
        let length = self.encoder.encode(click);
        let place = self.place(length).or_else(|| {
            if self.rotate(click.at) {
                return self.place(length);
            }
            // A full segment is of no use any more. Once it is counted, it makes room for another one.
            if let Some(full) = self.active.take() {
                full.segment.seal();
            }
            None
        });
        let (Some(at), Some(active)) = (place, self.active.as_mut()) else { return false };
        let is_written = active.append(&mut self.encoder, at, length);
        self.next += u64::from(is_written);
        is_written
    }

    /// Where a record of this length goes; `None` if there is no room.
    fn place(&self, length: usize) -> Option<usize> {
        let active = self.active.as_ref()?;
        let at = active.progress.end.max(active.segment.skip_to.load(Ordering::Relaxed));
        (at + length <= active.segment.size).then_some(at)
    }

    /// Takes the next segment, and asks for another. Returns whether there was one.
    #[cold]
    fn rotate(&mut self, at: Timestamp) -> bool {
        let next = self.spares.try_recv();
        self.worker.wake_maker();
        let (Ok(segment), Some(home)) = (next, self.worker.home.get()) else { return false };
        let Ok(header) = segment.begin(&home.stream, self.next) else {
            // Unused and sealed: it is removed.
            segment.seal();
            return false;
        };
        let progress = segment.progress();
        let old = self.active.replace(Active { segment, seed: header.seed(), progress, since: at });
        // The maker holds it too, until it sees that we have let go: so nothing is unmapped here.
        if let Some(old) = old {
            old.segment.seal();
        }
        true
    }
}

impl Active {
    fn is_old(&self, now: Timestamp) -> bool {
        now.seconds_since(self.since) > LONGEST_USE_SECONDS
    }

    /// Returns whether the record is written.
    fn append(&mut self, encoder: &mut Encoder, at: usize, length: usize) -> bool {
        let record = encoder.seal(self.seed, self.progress.records);
        if self.segment.write(at, record).is_err() {
            return false;
        }
        self.progress = Progress { records: self.progress.records + 1, end: at + length };
        self.segment.publish(self.progress);
        true
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, sync::mpsc::sync_channel, thread};

    use domain::time::Timestamp;
    use uuid::Uuid;

    use super::*;
    use crate::{
        folder,
        format::{RECORDS_AT, Survey, survey},
        medium::Medium,
        worker::Home,
    };

    fn record(recorder: &Recorder) {
        recorder.record(&Click {
            at: Timestamp::from_unix_micros(0).expect("a moment"),
            link: Uuid::nil(),
            visitor: None,
            network: None,
            referrer: "",
            user_agent: "curl/8.5.0",
            language: "",
            is_prefetch: false,
            opted_out: false,
        });
    }

    #[test]
    fn a_click_goes_to_the_next_page_while_the_one_before_is_on_its_way_to_the_disk() {
        let folder = tempfile::tempdir().expect("a folder");
        let stream = Uuid::from_u128(7);
        let (path, lock) = folder::make_stream(folder.path(), &stream).expect("it is made");
        let (spares, receiver) = sync_channel(1);
        let worker = Arc::new(Worker::new(spares, thread::current()));
        worker.home.set(Home { stream, _lock: Arc::new(lock) }).expect("it is empty");
        let segment = Arc::new(LiveSegment::create(&path, 1, 65_536, Medium::Mapped).expect("it is made"));
        worker.spares.send(segment.clone()).expect("there is room");
        let recorder = Recorder::new(worker, receiver);
        record(&recorder);
        let length = segment.progress().end - RECORDS_AT;
        segment.skip_to.store(12_288, Ordering::Relaxed);
        record(&recorder);
        assert_eq!(segment.progress(), Progress { records: 2, end: 12_288 + length });
        segment.skip_to.store(0, Ordering::Relaxed);
        record(&recorder);
        assert_eq!(segment.progress(), Progress { records: 3, end: 12_288 + 2 * length });
        let found = survey(&fs::read(&segment.path).expect("it is there"));
        assert!(matches!(found, Survey::Segment { clicks: 3, damaged: 0, .. }), "{found:?}");
    }
}
