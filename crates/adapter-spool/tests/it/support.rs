//! Clicks, spools on folders of their own, and a shipper that keeps what it is given.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io::Read as _,
    path::{Path, PathBuf},
    sync::atomic::{AtomicU64, Ordering},
    thread,
    time::{Duration, Instant},
};

use adapter_spool::{Accounting, OwnedClick, Spool, SpoolMode, SpoolOptions};
use domain::{
    click::{ClientNetwork, VisitorHash},
    ports::{ClickRecorder, ClickRecorders as _},
    time::Timestamp,
};
use uuid::{Builder, Uuid};

/// As real as it gets, and of several lengths.
const USER_AGENTS: [&str; 4] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36",
    "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "curl/8.5.0",
    "",
];

/// The click with this number. Each is different.
pub(crate) fn a_click(number: u64) -> OwnedClick {
    let [.., a, b, c] = number.to_be_bytes();
    OwnedClick {
        at: Timestamp::from_unix_micros(1_780_000_000_000_000 + i64::try_from(number).expect("a small number"))
            .expect("a moment"),
        link: Uuid::from_u128(number.into()),
        visitor: (!number.is_multiple_of(3)).then_some(VisitorHash(number)),
        network: (!number.is_multiple_of(5)).then_some(ClientNetwork::V4([a, b, c])),
        referrer: if number.is_multiple_of(2) { "news.example" } else { "" }.into(),
        user_agent: USER_AGENTS[usize::try_from(number % 4).expect("below four")].into(),
        language: "de".into(),
        is_prefetch: number.is_multiple_of(7),
        opted_out: number.is_multiple_of(11),
    }
}

/// Options for a folder, with segments of 64 KiB: a sixteenth of the limit, but not less.
pub(crate) fn small(folder: &Path) -> SpoolOptions {
    SpoolOptions { mode: SpoolMode::Mmap, limit: 1 << 20, kept: 0, ..SpoolOptions::new(folder) }
}

/// The same, with room for all that a test records.
pub(crate) fn roomy(folder: &Path) -> SpoolOptions {
    SpoolOptions { limit: 16 << 20, ..small(folder) }
}

pub(crate) fn open(options: SpoolOptions) -> Spool {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let new_id = || {
        let mut random = [0; 10];
        random[..4].copy_from_slice(&std::process::id().to_be_bytes());
        Builder::from_unix_timestamp_millis(NEXT.fetch_add(1, Ordering::Relaxed), &random).into_uuid()
    };
    Spool::open(options, new_id).expect("the folder can be written")
}

pub(crate) fn recorder(spool: &Spool) -> Box<dyn ClickRecorder> {
    spool.recorder().expect("a spool records")
}

/// Records the clicks with these numbers. It waits for spare segments, so that none is dropped.
pub(crate) fn record(spool: &Spool, recorder: &dyn ClickRecorder, numbers: std::ops::RangeInclusive<u64>) {
    for number in numbers {
        if number % 100 == 1 {
            wait_for_spare(spool);
        }
        recorder.record(&a_click(number).as_click());
    }
    assert_eq!(spool.accounting().no_space, 0);
}

/// A spare of the newest stream is a file whose begin is zero. The worker has it once it is accounted for.
pub(crate) fn wait_for_spare(spool: &Spool) {
    let is_spare = |path: &Path| {
        let mut begin = [1; 8];
        File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok_and(|()| begin == [0; 8])
    };
    eventually("a spare segment", || {
        let mut files = segments(&spool.options().folder);
        let newest = files.last().and_then(|file| file.parent()).map(Path::to_owned);
        files.retain(|file| file.parent() == newest.as_deref());
        let bytes: u64 = files.iter().filter_map(|path| path.metadata().ok()).map(|file| file.len()).sum();
        files.iter().any(|path| is_spare(path)) && spool.accounting().bytes == bytes
    });
}

/// Waits until the condition is true.
pub(crate) fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let begin = Instant::now();
    while !condition() {
        assert!(begin.elapsed() < Duration::from_secs(20), "{what} does not come");
        thread::sleep(Duration::from_millis(2));
    }
}

/// Ships to a store that is a map.
#[derive(Debug, Default)]
pub(crate) struct Shipper {
    pub(crate) acked: BTreeMap<Uuid, u64>,
    pub(crate) clicks: BTreeMap<(Uuid, u64), OwnedClick>,
    pub(crate) lost: u64,
    pub(crate) unknown: u64,
    pub(crate) removed: Vec<Uuid>,
}

impl Shipper {
    /// Ships until nothing is left.
    pub(crate) fn drain(&mut self, spool: &Spool) {
        while self.ship(spool, 1_000) > 0 {}
    }

    /// Ships one piece of each stream. Returns how many records that were.
    pub(crate) fn ship(&mut self, spool: &Spool, at_most: usize) -> u64 {
        let streams = spool.streams();
        assert!(streams.failures.is_empty(), "{streams:?}");
        let mut shipped = 0;
        for stream in streams.ids {
            let acked = self.acked.entry(stream).or_default();
            let piece = spool.read(&stream, *acked, at_most).expect("it can be read");
            assert_eq!(piece.after, *acked);
            assert_eq!(piece.until - piece.after, piece.clicks.len() as u64 + piece.lost + piece.unknown);
            shipped += piece.until - piece.after;
            self.lost += piece.lost;
            self.unknown += piece.unknown;
            let mut last = *acked;
            for (number, click) in piece.clicks {
                assert!(number > last && number <= piece.until, "out of order");
                last = number;
                let again = self.clicks.insert((stream, number), click);
                assert!(again.is_none(), "{stream} {number} is read twice");
            }
            *acked = piece.until;
            balance(spool);
            self.removed.extend(spool.acknowledged(&stream, piece.until).expect("segments can be removed"));
            balance(spool);
        }
        shipped
    }

    /// The clicks of the only stream.
    pub(crate) fn numbers(&self) -> Vec<u64> {
        self.clicks.keys().map(|(_, number)| *number).collect()
    }

    /// Every click that came is what was recorded under its number.
    pub(crate) fn assert_genuine(&self) {
        for ((_, number), click) in &self.clicks {
            assert_eq!(*click, a_click(*number));
        }
    }
}

/// Each click is in one place.
pub(crate) fn balance(spool: &Spool) -> Accounting {
    let it = spool.accounting();
    let gone = it.acknowledged + it.no_space + it.over_limit + it.damaged;
    assert_eq!(it.accepted + it.adopted, gone + it.spooled, "{it:?}");
    it
}

/// The segments of all streams in a folder, by name.
pub(crate) fn segments(folder: &Path) -> Vec<PathBuf> {
    let list = |folder: &Path| -> Vec<_> {
        let entries = fs::read_dir(folder).into_iter().flatten();
        entries.map(|entry| entry.expect("it is listed").path()).collect()
    };
    let mut found: Vec<_> = list(folder).iter().flat_map(|stream| list(stream)).collect();
    found.retain(|path| path.extension().is_some_and(|ending| ending == "clicks"));
    found.sort();
    found
}
