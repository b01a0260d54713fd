//! How long recording a click takes, while a shipper reads beside it and the spool syncs to the disk.
//!
//!     measure FOLDER auto|mmap|write CLICKS_A_SECOND SECONDS [fdatasync]
//!
//! With `fdatasync`, whole segments are synced every 200 ms besides, as a simpler spool would do.

#![expect(clippy::disallowed_methods, reason = "a load generator paces itself by the system clock")]

use std::{
    env::args,
    fs::{self, File},
    path::PathBuf,
    sync::atomic::{AtomicBool, Ordering},
    thread,
    time::{Duration, Instant},
};

use adapter_spool::{OwnedClick, Spool, SpoolMode, SpoolOptions};
use domain::{
    click::{ClientNetwork, VisitorHash},
    ports::ClickRecorders as _,
    time::Timestamp,
};
use uuid::{Builder, Uuid};

const INTERVAL: Duration = Duration::from_millis(200);

#[expect(clippy::disallowed_macros, clippy::print_stdout, reason = "the figures are the result")]
fn main() {
    let arguments: Vec<_> = args().skip(1).collect();
    let [folder, mode, rate, seconds, rest @ ..] = arguments.as_slice() else { panic!("four arguments at least") };
    let folder = PathBuf::from(folder);
    let mode = match mode.as_str() {
        "auto" => SpoolMode::Auto,
        "mmap" => SpoolMode::Mmap,
        "write" => SpoolMode::Write,
        other => panic!("`{other}` is no mode"),
    };
    let rate: u32 = rate.parse().expect("a rate");
    let seconds: u32 = seconds.parse().expect("a number of seconds");
    let options = SpoolOptions { mode, kept: 0, ..SpoolOptions::new(&folder) };
    let millis = u64::from(std::process::id());
    let spool = Spool::open(options, move || Builder::from_unix_timestamp_millis(millis, &[7; 10]).into_uuid())
        .expect("a spool");
    let is_done = AtomicBool::new(false);
    let mut taken = thread::scope(|scope| {
        scope.spawn(|| ship(&spool, &is_done));
        if rest.iter().any(|argument| argument == "fdatasync") {
            scope.spawn(|| sync_files(&folder, &is_done));
        }
        let taken = record(&spool, rate, seconds);
        is_done.store(true, Ordering::Relaxed);
        taken
    });
    let clicks = taken.len();
    let mean = taken.iter().map(|&nanos| u64::from(nanos)).sum::<u64>() / clicks as u64;
    taken.sort_unstable();
    let part = |per_million: usize| taken[(clicks - 1) * per_million / 1_000_000];
    println!(
        "{clicks} clicks, in ns: mean {mean}, p50 {}, p99 {}, p99.9 {}, p99.99 {}, max {}",
        part(500_000),
        part(990_000),
        part(999_000),
        part(999_900),
        part(1_000_000)
    );
    println!("{:?}", spool.accounting());
}

/// Records clicks evenly, several at once if there are more than one a millisecond. Returns how long each took, in nanoseconds.
fn record(spool: &Spool, rate: u32, seconds: u32) -> Vec<u32> {
    let recorder = spool.recorder().expect("a recorder");
    let mut click = OwnedClick {
        at: Timestamp::from_unix_micros(1_780_000_000_000_000).expect("a moment"),
        link: Uuid::from_u128(0x0193_7a5e_0000_7000_8000_0000_0000_0001),
        visitor: Some(VisitorHash(0)),
        network: Some(ClientNetwork::V4([203, 0, 113])),
        referrer: "news.example".into(),
        user_agent: "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/537.36 (KHTML, like Gecko) \
                     Chrome/141.0.0.0 Safari/537.36"
            .into(),
        language: "de".into(),
        is_prefetch: false,
        opted_out: false,
    };
    let begin = Instant::now();
    let mut taken = Vec::new();
    for number in 0..rate * seconds {
        click.visitor = Some(VisitorHash(number.into()));
        let before = Instant::now();
        recorder.record(&click.as_click());
        taken.push(u32::try_from(before.elapsed().as_nanos()).unwrap_or(u32::MAX));
        let ahead = (Duration::from_secs(1) * number / rate).saturating_sub(begin.elapsed());
        if ahead > Duration::from_millis(1) {
            thread::sleep(ahead);
        }
    }
    taken
}

fn ship(spool: &Spool, is_done: &AtomicBool) {
    let mut acked = 0;
    while !is_done.load(Ordering::Relaxed) {
        for stream in spool.streams().ids {
            let piece = spool.read(&stream, acked, 5_000).expect("it can be read");
            acked = piece.until;
            spool.acknowledged(&stream, acked).expect("segments can be removed");
        }
        thread::sleep(INTERVAL / 20);
    }
}

fn sync_files(folder: &PathBuf, is_done: &AtomicBool) {
    while !is_done.load(Ordering::Relaxed) {
        for stream in fs::read_dir(folder).expect("the folder is there").flatten() {
            for file in fs::read_dir(stream.path()).into_iter().flatten().flatten() {
                if let Ok(file) = File::open(file.path()) {
                    file.sync_data().expect("it can be synced");
                }
            }
        }
        thread::sleep(INTERVAL);
    }
}
