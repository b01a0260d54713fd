//! Looks at a spool from outside, beside the process that uses it or without one.

use std::{
    fs::{self, File},
    io::{self, Read as _},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use crate::{
    folder,
    format::{Survey, survey},
};

/// No segment is longer. A foreign file may be.
const MAX_BYTES: u64 = 64 << 20;

/// A stream, as it lies on the disk.
#[derive(Debug)]
pub struct StreamReport {
    /// The stream.
    pub id: Uuid,
    /// A process holds its lock.
    pub is_locked: bool,
    /// Its segments, by name.
    pub segments: Vec<SegmentReport>,
}

/// A segment, as it lies on the disk.
#[derive(Debug)]
pub struct SegmentReport {
    /// Its file.
    pub path: PathBuf,
    /// Length of the file.
    pub bytes: u64,
    /// What is in it.
    pub survey: Survey,
}

impl StreamReport {
    /// Clicks that can be read.
    pub fn clicks(&self) -> u64 {
        self.sum(|survey| if let Survey::Segment { clicks, .. } = survey { clicks } else { 0 })
    }

    /// Records that are sound, but not known to this release.
    pub fn unknown(&self) -> u64 {
        self.sum(|survey| if let Survey::Segment { unknown, .. } = survey { unknown } else { 0 })
    }

    /// Records that are missing inside of segments.
    pub fn damaged(&self) -> u64 {
        self.sum(|survey| if let Survey::Segment { damaged, .. } = survey { damaged } else { 0 })
    }

    /// Segments that cannot be read as such.
    pub fn unreadable(&self) -> u64 {
        self.sum(|survey| u64::from(survey == Survey::Unreadable))
    }

    fn sum(&self, count: impl Fn(Survey) -> u64) -> u64 {
        self.segments.iter().map(|segment| count(segment.survey)).sum()
    }
}

/// Reads all streams in a folder. Nothing is changed. A stream or segment that vanishes meanwhile is left out.
pub fn inspect(folder: &Path) -> io::Result<Vec<StreamReport>> {
    let mut reports = Vec::new();
    for (id, path) in folder::streams(folder)? {
        match inspect_stream(id, &path) {
            Err(error) if folder::is_gone(&error) => {}
            report => reports.push(report?),
        }
    }
    Ok(reports)
}

fn inspect_stream(id: Uuid, folder: &Path) -> io::Result<StreamReport> {
    let is_locked = folder::is_locked(folder)?;
    let mut segments = Vec::new();
    for (_, path) in folder::segments(folder)? {
        match inspect_segment(path) {
            Err(error) if folder::is_gone(&error) => {}
            report => segments.push(report?),
        }
    }
    Ok(StreamReport { id, is_locked, segments })
}

fn inspect_segment(path: PathBuf) -> io::Result<SegmentReport> {
    let bytes = fs::metadata(&path)?.len();
    let mut segment = Vec::new();
    File::open(&path)?.take(MAX_BYTES).read_to_end(&mut segment)?;
    Ok(SegmentReport { survey: survey(&segment), path, bytes })
}
