//! What the operating system knows of the process.

use std::{fs, time::Duration};

use rustix::{
    process::{Resource, getrlimit},
    time::{ClockId, clock_gettime},
};

/// The process at one moment.
pub(super) struct ProcessStatus {
    pub(super) resident_bytes: u64,
    pub(super) virtual_bytes: u64,
    pub(super) threads: u64,
    pub(super) descriptors: u64,
    /// `None` without a limit.
    pub(super) max_descriptors: Option<u64>,
    /// User and system time of all threads since the start.
    pub(super) processor_time: Duration,
}

impl ProcessStatus {
    /// Reads it; `None` where there is no `/proc`.
    pub(super) fn read() -> Option<Self> {
        let status = fs::read_to_string("/proc/self/status").ok()?;
        let value = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
            line.split_whitespace().next()?.parse::<u64>().ok()
        };
        let used = clock_gettime(ClockId::ProcessCPUTime);
        Some(Self {
            resident_bytes: value("VmRSS")? * 1_024,
            virtual_bytes: value("VmSize")? * 1_024,
            threads: value("Threads")?,
            descriptors: descriptors()?,
            max_descriptors: getrlimit(Resource::Nofile).current,
            processor_time: Duration::new(used.tv_sec.try_into().ok()?, used.tv_nsec.try_into().ok()?),
        })
    }
}

/// Open descriptors. Since Linux 6.2 the size of the folder is their number; before, they have to be listed.
fn descriptors() -> Option<u64> {
    const FOLDER: &str = "/proc/self/fd";
    match fs::metadata(FOLDER).ok()?.len() {
        0 => Some(fs::read_dir(FOLDER).ok()?.count() as u64),
        count => Some(count),
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn open_files_and_used_time_are_counted() {
        let before = ProcessStatus::read().expect("the tests run on Linux");
        let open: Vec<_> = (0..100).map(|_| File::open("/proc/self/status").expect("it is there")).collect();
        let after = ProcessStatus::read().expect("the tests run on Linux");
        // Other tests run at the same time.
        assert!(after.descriptors > before.descriptors + 50, "{} {}", before.descriptors, after.descriptors);
        assert!(after.processor_time > before.processor_time && after.resident_bytes > 1 << 20);
        drop(open);
    }
}
