//! Little space, or none.

use std::{
    fs::{self, File},
    io::Write as _,
    path::Path,
    process::Command,
    thread,
    time::{Duration, SystemTime},
};

use adapter_spool::{OwnedClick, Spool, SpoolMode, SpoolOptions};
use domain::ports::ClickRecorder;

use crate::support::{
    Shipper, a_click, balance, eventually, open, record, recorder, roomy, segments, small, wait_for_spare,
};

fn bytes_on_disk(folder: &Path) -> u64 {
    segments(folder).iter().filter_map(|path| fs::metadata(path).ok()).map(|file| file.len()).sum()
}

#[test]
fn at_the_limit_the_oldest_clicks_go_and_are_counted() {
    for mode in [SpoolMode::Mmap, SpoolMode::Write] {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = open(SpoolOptions { mode, ..small(folder.path()) });
        let recorder = recorder(&spool);
        record(&spool, &*recorder, 1..=30_000);
        assert!(bytes_on_disk(folder.path()) <= 1 << 20);
        let accounting = balance(&spool);
        assert!(accounting.over_limit > 10_000, "{accounting:?}");
        assert_eq!((accounting.accepted, accounting.no_space), (30_000, 0));

        let mut shipper = Shipper::default();
        shipper.drain(&spool);
        shipper.assert_genuine();
        assert_eq!(shipper.lost, accounting.over_limit);
        assert_eq!(shipper.numbers(), (accounting.over_limit + 1..=30_000).collect::<Vec<_>>());
        assert_eq!(balance(&spool).acknowledged, 30_000 - accounting.over_limit);
    }
}

#[test]
fn what_is_on_its_way_to_the_store_does_not_go() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(small(folder.path()));
    let recorder = recorder(&spool);
    record(&spool, &*recorder, 1..=2_000);
    let stream = spool.streams().ids[0];
    let piece = spool.read(&stream, 0, 100).expect("it can be read");
    record(&spool, &*recorder, 2_001..=30_000);
    assert!(balance(&spool).over_limit > 0);
    assert_eq!(spool.read(&stream, 0, 100).expect("it can be read"), piece);
    spool.acknowledged(&stream, piece.until).expect("segments can be removed");
    assert_eq!(balance(&spool).acknowledged, 100);
}

#[test]
fn acknowledged_segments_make_room_before_others_do() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(SpoolOptions { kept: 1 << 20, ..small(folder.path()) });
    let recorder = recorder(&spool);
    let mut shipper = Shipper::default();
    for begin in (0..30_000).step_by(1_000) {
        record(&spool, &*recorder, begin + 1..=begin + 1_000);
        shipper.drain(&spool);
    }
    assert_eq!(shipper.clicks.len(), 30_000);
    assert_eq!(balance(&spool).over_limit, 0);
    assert!(bytes_on_disk(folder.path()) > 1 << 19, "some are kept");
}

#[test]
fn acknowledged_segments_are_removed_once_they_are_old() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(SpoolOptions { kept: 1 << 20, ..roomy(folder.path()) });
    let recorder = recorder(&spool);
    let day = |number: u64, day: i64| {
        let click = a_click(number);
        OwnedClick { at: click.at.plus_seconds(day * 86_400).expect("a moment"), ..click }
    };
    recorder.record(&day(1, 0).as_click());
    wait_for_spare(&spool);
    // After more than a day another segment is begun, although there is room.
    recorder.record(&day(2, 2).as_click());
    let mut shipper = Shipper::default();
    shipper.drain(&spool);
    assert_eq!(shipper.clicks.len(), 2);
    let first = segments(folder.path()).into_iter().min().expect("there are segments");
    eventually("the first segment is sealed and synced", || {
        shipper.drain(&spool);
        spool.remove_kept_before(SystemTime::UNIX_EPOCH).expect("nothing is that old");
        assert!(first.exists());
        spool.remove_kept_before(SystemTime::now() + Duration::from_secs(1)).expect("it can be removed");
        !first.exists()
    });
    balance(&spool);
}

#[test]
fn many_workers_go_on_once_the_store_has_counted_what_filled_the_spool() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(small(folder.path()));
    let recorders: Vec<_> = (0..16).map(|_| recorder(&spool)).collect();
    let mut shipper = Shipper::default();
    for number in 1..=16_000 {
        for recorder in &recorders {
            recorder.record(&a_click(number).as_click());
        }
    }
    let accounting = balance(&spool);
    assert!(accounting.no_space + accounting.over_limit > 0, "the spool is full");
    for recorder in &recorders {
        eventually("a worker records again", || {
            shipper.drain(&spool);
            let before = spool.accounting();
            recorder.record(&a_click(1).as_click());
            spool.accounting().no_space == before.no_space
        });
    }
    balance(&spool);
}

#[test]
fn without_a_spare_segment_clicks_are_dropped_and_counted() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(small(folder.path()));
    let recorder = recorder(&spool);
    spool.close();
    for number in 1..=2_000 {
        recorder.record(&a_click(number).as_click());
    }
    let accounting = balance(&spool);
    assert!(accounting.no_space > 1_000 && accounting.spooled > 100, "{accounting:?}");
    assert_eq!(accounting.accepted, 2_000);
    let mut shipper = Shipper::default();
    shipper.drain(&spool);
    // What was dropped has no number.
    assert_eq!((shipper.clicks.len() as u64, shipper.lost), (accounting.spooled, 0));
}

/// A disk of 8 MiB.
struct TinyDisk(tempfile::TempDir);

impl TinyDisk {
    /// `None`: this user may not mount.
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().expect("a folder");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", "size=8m", "tmpfs"]).arg(folder.path()).output();
        mount.is_ok_and(|mount| mount.status.success()).then_some(Self(folder))
    }
}

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let unmounted = Command::new("umount").arg(self.0.path()).status();
        assert!(unmounted.is_ok_and(|status| status.success()) || thread::panicking(), "the disk stays mounted");
    }
}

/// Records `least` clicks at least, and then until ten rounds record none. Returns how many were recorded. Before that,
/// clicks are dropped only while a new segment is late.
fn fill(spool: &Spool, recorder: &dyn ClickRecorder, least: u64) -> u64 {
    let (mut recorded, mut idle) = (0, 0);
    eventually("a full disk", || {
        let begun = recorded;
        for _ in 0..100 {
            let dropped = spool.accounting().no_space;
            recorder.record(&a_click(recorded + 1).as_click());
            recorded += u64::from(spool.accounting().no_space == dropped);
        }
        idle = if recorded == begun { idle + 1 } else { 0 };
        recorded >= least && idle >= 10
    });
    recorded
}

/// Where mounting is not allowed, a limit stands in for the disk.
#[test]
fn a_full_disk_drops_clicks_and_takes_them_again_when_there_is_space() {
    let disk = TinyDisk::mount();
    let folder = tempfile::tempdir().expect("a folder");
    let folder = disk.as_ref().map_or(folder.path(), |disk| disk.0.path());
    for mode in [SpoolMode::Auto, SpoolMode::Mmap, SpoolMode::Write] {
        let clicks = folder.join(format!("{mode:?}"));
        let spool = open(SpoolOptions { mode, kept: 64 << 20, ..SpoolOptions::new(&clicks) });
        let recorder = recorder(&spool);
        let mut recorded = 0;
        if disk.is_some() {
            recorded += fill(&spool, &*recorder, 30_000);
        } else {
            record(&spool, &*recorder, 1..=100);
            recorded += 100;
        }
        assert_eq!(balance(&spool).over_limit, 0);
        let mut shipper = Shipper::default();
        shipper.drain(&spool);
        // What is acknowledged gives its space back.
        let dropped = spool.accounting().no_space;
        eventually("space", || {
            let before = spool.accounting().no_space;
            recorder.record(&a_click(recorded + 1).as_click());
            spool.accounting().no_space == before
        });
        recorded += 1;
        assert!(spool.accounting().no_space >= dropped);
        shipper.drain(&spool);
        shipper.assert_genuine();
        assert_eq!((shipper.numbers(), shipper.lost), ((1..=recorded).collect(), 0), "{mode:?}");
        let accounting = balance(&spool);
        assert_eq!((accounting.acknowledged, accounting.spooled), (recorded, 0));
        drop((recorder, spool));
        fs::remove_dir_all(&clicks).expect("it is removed");
    }
}

#[test]
fn a_disk_that_is_full_from_the_start_is_used_once_it_has_space() {
    let Some(disk) = TinyDisk::mount() else {
        // There is no other way to fill a disk.
        return;
    };
    let ballast = disk.0.path().join("ballast");
    let mut file = File::create(&ballast).expect("it is made");
    while file.write_all(&[1; 4_096]).is_ok() {}
    let spool = open(SpoolOptions::new(disk.0.path().join("clicks")));
    let recorder = recorder(&spool);
    recorder.record(&a_click(1).as_click());
    assert_eq!(balance(&spool).no_space, 1);
    fs::remove_file(&ballast).expect("it is removed");
    drop(file);
    eventually("space", || {
        let before = spool.accounting().no_space;
        recorder.record(&a_click(1).as_click());
        spool.accounting().no_space == before
    });
    let mut shipper = Shipper::default();
    shipper.drain(&spool);
    assert_eq!(shipper.numbers(), [1]);
}
