//! Streams of processes that have ended go to one that has not, and to one only.

use std::fs;

use adapter_spool::{Spool, SpoolOptions};

use crate::support::{Shipper, a_click, balance, eventually, open, record, recorder, roomy, segments};

/// Records clicks in a spool that is gone then. Two spools on one folder are like two processes: locks belong to open
/// files.
fn leave_behind(options: SpoolOptions, clicks: u64) {
    let spool = open(options);
    let recorder = recorder(&spool);
    record(&spool, &*recorder, 1..=clicks);
}

#[test]
fn a_stream_is_adopted_once_its_process_is_gone() {
    let folder = tempfile::tempdir().expect("a folder");
    let first = open(roomy(folder.path()));
    let recorder = recorder(&first);
    record(&first, &*recorder, 1..=3_000);
    let second = open(roomy(folder.path()));
    assert!(second.streams().ids.is_empty());
    drop(first);
    assert!(second.streams().ids.is_empty(), "clicks are still recorded");
    drop(recorder);
    let stream = second.streams().ids[0];
    let third = open(roomy(folder.path()));
    assert!(third.streams().ids.is_empty(), "one adopts it");
    let accounting = balance(&second);
    assert_eq!((accounting.unclaimed, accounting.adopted), (3_000, 0));

    let mut shipper = Shipper::default();
    shipper.drain(&second);
    shipper.assert_genuine();
    assert_eq!((shipper.numbers(), shipper.removed), ((1..=3_000).collect(), vec![stream]));
    let accounting = balance(&second);
    assert_eq!((accounting.adopted, accounting.acknowledged, accounting.unclaimed), (3_000, 3_000, 0));
    assert_eq!(fs::read_dir(folder.path()).expect("it is there").count(), 0);
}

#[test]
fn only_what_the_store_has_not_counted_is_adopted() {
    let folder = tempfile::tempdir().expect("a folder");
    leave_behind(roomy(folder.path()), 1_000);
    let spool = open(roomy(folder.path()));
    let stream = spool.streams().ids[0];
    let mut shipper = Shipper::default();
    shipper.acked.insert(stream, 900);
    shipper.drain(&spool);
    assert_eq!(shipper.numbers(), (901..=1_000).collect::<Vec<_>>());
    let accounting = balance(&spool);
    assert_eq!((accounting.adopted, accounting.acknowledged), (100, 100));
}

/// After a power cut a store can know more than the disk.
#[test]
fn a_store_that_has_counted_more_than_there_is_gets_nothing_and_the_stream_goes() {
    let folder = tempfile::tempdir().expect("a folder");
    leave_behind(roomy(folder.path()), 100);
    let spool = open(roomy(folder.path()));
    let stream = spool.streams().ids[0];
    let mut shipper = Shipper::default();
    shipper.acked.insert(stream, 1_000);
    shipper.drain(&spool);
    assert_eq!((shipper.clicks.len(), shipper.lost, shipper.removed), (0, 0, vec![stream]));
    assert_eq!(balance(&spool).adopted, 0);
}

#[test]
fn acknowledged_segments_are_kept_for_a_store_that_goes_back() {
    let folder = tempfile::tempdir().expect("a folder");
    leave_behind(roomy(folder.path()), 30_000);
    let kept = 3 << 20;
    let options = SpoolOptions { kept, ..roomy(folder.path()) };
    let spool = open(options.clone());
    let mut shipper = Shipper::default();
    shipper.drain(&spool);
    assert!(shipper.removed.is_empty());
    let files = segments(folder.path());
    assert_eq!(files.len(), 3, "{files:?}");
    let stream = spool.streams().ids[0];
    // The store is restored from a backup in which it had counted less.
    let first = spool.read(&stream, 29_000, 1).expect("it can be read").clicks[0].0;
    assert_eq!(first, 29_001);
    shipper.acked.insert(stream, 29_000);
    shipper.clicks.retain(|(_, number), _| *number <= 29_000);
    shipper.drain(&spool);
    shipper.assert_genuine();
    assert_eq!(shipper.clicks.len(), 30_000);
    let accounting = balance(&spool);
    assert_eq!((accounting.adopted, accounting.acknowledged), (31_000, 31_000));
    // So does one that is restored while no process runs.
    drop(spool);
    let spool = open(options);
    assert_eq!(spool.streams().ids, [stream]);
    let piece = spool.read(&stream, 29_500, 1_000).expect("it can be read");
    assert_eq!((piece.clicks.len(), piece.lost), (500, 0));
    balance(&spool);
}

#[test]
fn a_stream_that_vanishes_disturbs_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(roomy(folder.path()));
    let recorder = recorder(&spool);
    record(&spool, &*recorder, 1..=20_000);
    let [gone, kept] = [folder.path().join(spool.streams().ids[0].to_string()), folder.path().join("unrelated")];
    fs::create_dir(&kept).expect("it is made");
    fs::remove_dir_all(&gone).expect("it is removed");
    for number in 20_001..=40_000 {
        recorder.record(&a_click(number).as_click());
    }
    let mut shipper = Shipper::default();
    shipper.drain(&spool);
    balance(&spool);
    drop(recorder);
    eventually("the removal", || {
        shipper.drain(&spool);
        spool.streams().ids.is_empty()
    });
    let accounting = balance(&spool);
    assert_eq!(accounting.accepted, 40_000);
    assert_eq!(accounting.acknowledged, shipper.clicks.len() as u64);
    assert_eq!(accounting.spooled, 0);
    assert!(kept.exists());
}

#[test]
fn no_spool_adopts_what_a_later_release_has_written() {
    let folder = tempfile::tempdir().expect("a folder");
    leave_behind(roomy(folder.path()), 100);
    let path = &segments(folder.path())[0];
    let written = fs::read(path).expect("it is there");
    let mut later = written.clone();
    later[8] = 2;
    later[4_160 + 8] = 2;
    fs::write(path, &later).expect("it is written");
    let spool = open(roomy(folder.path()));
    assert!(spool.streams().ids.is_empty());
    assert_eq!(fs::read(path).expect("it is there"), later);
    fs::write(path, &written).expect("it is written");
    assert_eq!(spool.streams().ids.len(), 1, "its lock is free");
}

#[test]
fn spools_that_start_at_once_share_no_stream() {
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..4 {
        leave_behind(roomy(folder.path()), 10);
    }
    let spools: Vec<Spool> = std::thread::scope(|scope| {
        let opening: Vec<_> = (0..4)
            .map(|_| {
                scope.spawn(|| {
                    let spool = open(roomy(folder.path()));
                    let _recorder = recorder(&spool);
                    let streams = spool.streams();
                    assert!(streams.failures.is_empty(), "{streams:?}");
                    spool
                })
            })
            .collect();
        opening.into_iter().map(|opening| opening.join().expect("it opens")).collect()
    });
    let mut ids: Vec<_> = spools.iter().flat_map(|spool| spool.streams().ids).collect();
    ids.sort();
    let all = ids.len();
    ids.dedup();
    assert_eq!(ids.len(), all, "each stream is held once");
    let clicks: u64 = spools.iter().map(|spool| spool.accounting().unclaimed).sum();
    assert_eq!(clicks, 40);
}
