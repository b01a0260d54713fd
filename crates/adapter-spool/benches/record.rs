//! The cost of recording a click on the hot path.

use std::{
    fs::{self, File},
    hint::black_box,
    io::Read as _,
    path::Path,
    thread,
    time::{Duration, Instant},
};

use adapter_spool::{Spool, SpoolMode, SpoolOptions};
use criterion::{Criterion, criterion_group, criterion_main};
use domain::{
    click::{Click, ClientNetwork, VisitorHash},
    ports::ClickRecorders as _,
    time::Timestamp,
};
use uuid::{Builder, Uuid};

/// So many fit into the segments that are ready.
const ROUND: u64 = 20_000;

fn click() -> Click<'static> {
    Click {
        at: Timestamp::from_unix_micros(1_780_000_000_000_000).expect("a moment"),
        link: Uuid::from_u128(0x0193_7a5e_0000_7000_8000_0000_0000_0001),
        visitor: Some(VisitorHash(4_711)),
        network: Some(ClientNetwork::V4([203, 0, 113])),
        referrer: "news.example",
        user_agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/141.0.0.0 Safari/537.36",
        language: "de",
        is_prefetch: false,
        opted_out: false,
    }
}

/// Whether a segment is ready: a file whose begin is zero.
fn has_spare(folder: &Path) -> bool {
    let entries = |folder: &Path| fs::read_dir(folder).expect("it is there").flatten().map(|entry| entry.path());
    let is_spare = |path: &Path| {
        let mut begin = [1; 8];
        File::open(path).and_then(|mut file| file.read_exact(&mut begin)).is_ok_and(|()| begin == [0; 8])
    };
    entries(folder).any(|stream| entries(&stream).any(|path| is_spare(&path)))
}

fn recording(criterion: &mut Criterion) {
    for (name, mode) in [("record a click, mapped", SpoolMode::Mmap), ("record a click, written", SpoolMode::Write)] {
        let folder = tempfile::tempdir().expect("a folder");
        let options = SpoolOptions { mode, kept: 0, ..SpoolOptions::new(folder.path()) };
        let new_id = || Builder::from_unix_timestamp_millis(1, &[7; 10]).into_uuid();
        let spool = Spool::open(options, new_id).expect("the folder can be written");
        let recorder = spool.recorder().expect("it records");
        let stream = spool.streams().ids[0];
        let round = |clicks: u64| {
            let begin = Instant::now();
            (0..clicks).for_each(|_| recorder.record(black_box(&click())));
            let taken = begin.elapsed();
            // As the shipper does, so that the disk does not fill.
            spool.acknowledged(&stream, u64::MAX).expect("segments can be removed");
            while !has_spare(folder.path()) {
                thread::yield_now();
            }
            taken
        };
        let rounds = |clicks: u64| -> Duration {
            let whole: Duration = (0..clicks / ROUND).map(|_| round(ROUND)).sum();
            whole + round(clicks % ROUND)
        };
        criterion.bench_function(name, |bench| bench.iter_custom(rounds));
        assert_eq!(spool.accounting().no_space, 0, "a click that is dropped costs less");
    }
}

criterion_group!(benches, recording);
criterion_main!(benches);
