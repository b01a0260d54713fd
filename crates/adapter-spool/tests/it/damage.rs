//! A damaged spool loses what is damaged, and says how much.

use std::{
    fs::{self, OpenOptions},
    path::PathBuf,
};

use adapter_spool::{Accounting, Survey, inspect};
use tempfile::TempDir;

use crate::support::{Shipper, balance, open, record, recorder, roomy, segments};

const CLICKS: u64 = 40_000;

/// A stream of four segments whose process is gone.
fn stream() -> (TempDir, Vec<PathBuf>) {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(roomy(folder.path()));
    let recorder = recorder(&spool);
    record(&spool, &*recorder, 1..=CLICKS);
    drop((recorder, spool));
    let files = segments(folder.path());
    assert_eq!(files.len(), 4, "{files:?}");
    (folder, files)
}

/// Ships all that is left.
fn ship(folder: &TempDir) -> (Shipper, Accounting) {
    let spool = open(roomy(folder.path()));
    let mut shipper = Shipper::default();
    shipper.drain(&spool);
    shipper.assert_genuine();
    let accounting = balance(&spool);
    assert_eq!(accounting.spooled, 0);
    assert_eq!((accounting.acknowledged, accounting.damaged), (shipper.clicks.len() as u64, shipper.lost));
    assert_eq!(shipper.removed.len(), 1, "nothing remains");
    (shipper, accounting)
}

/// How many records a segment holds, and which one is the first.
fn records(file: &PathBuf) -> (u64, u64) {
    match adapter_spool::survey(&fs::read(file).expect("it is there")) {
        Survey::Segment { clicks, first, .. } => (clicks, first),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_middle_segment_that_is_gone_costs_its_own_clicks() {
    let (folder, files) = stream();
    let (count, first) = records(&files[1]);
    fs::remove_file(&files[1]).expect("it is removed");
    let (shipper, _) = ship(&folder);
    assert_eq!(shipper.lost, count);
    assert_eq!(shipper.numbers(), (1..first).chain(first + count..=CLICKS).collect::<Vec<_>>());
}

#[test]
fn a_first_segment_that_is_gone_costs_its_own_clicks() {
    let (folder, files) = stream();
    let (count, _) = records(&files[0]);
    fs::remove_file(&files[0]).expect("it is removed");
    let (shipper, accounting) = ship(&folder);
    assert_eq!((shipper.lost, shipper.clicks.len() as u64), (count, CLICKS - count));
    assert_eq!(accounting.adopted, CLICKS);
}

#[test]
fn a_segment_that_is_cut_costs_what_is_cut_off() {
    for keep in [0, 100, 4_096, 4_104, 8_192, 100_001, 777_777] {
        for index in [1, 3] {
            let (folder, files) = stream();
            let (count, _) = records(&files[index]);
            let file = OpenOptions::new().write(true).open(&files[index]).expect("it is there");
            file.set_len(keep).expect("it is cut");
            let left = match adapter_spool::survey(&fs::read(&files[index]).expect("it is there")) {
                Survey::Segment { clicks, .. } => clicks,
                _ => 0,
            };
            let (shipper, _) = ship(&folder);
            assert_eq!(shipper.clicks.len() as u64, CLICKS - count + left, "{index} {keep}");
            // Only the count in the last segment tells how many it had.
            let is_told = index < 3 || keep >= 4_104;
            assert_eq!(shipper.lost, if is_told { count - left } else { 0 }, "{index} {keep}");
        }
    }
}

#[test]
fn a_thousand_flipped_bits_cost_a_thousand_clicks_at_most() {
    let (folder, files) = stream();
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut draw = |below: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % below as u64).expect("it is small")
    };
    let mut contents: Vec<_> = files.iter().map(|file| fs::read(file).expect("it is there")).collect();
    for _ in 0..1_000 {
        let segment = &mut contents[draw(4)];
        let bit = draw(segment.len() * 8);
        segment[bit / 8] ^= 1 << (bit % 8);
    }
    for (file, content) in files.iter().zip(&contents) {
        fs::write(file, content).expect("it is written");
    }
    let (shipper, _) = ship(&folder);
    assert!((500..=1_000).contains(&shipper.lost), "{}", shipper.lost);
    assert_eq!(shipper.clicks.len() as u64 + shipper.lost, CLICKS);
}

#[test]
fn swapped_and_copied_segments_change_nothing() {
    let (folder, files) = stream();
    let swapped = folder.path().join("swapped");
    fs::rename(&files[0], &swapped).expect("it is moved");
    fs::rename(&files[2], &files[0]).expect("it is moved");
    fs::rename(&swapped, &files[2]).expect("it is moved");
    fs::copy(&files[1], files[1].with_file_name("00000099.clicks")).expect("it is copied");
    let (shipper, _) = ship(&folder);
    assert_eq!((shipper.numbers(), shipper.lost), ((1..=CLICKS).collect(), 0));
}

#[test]
fn a_copy_that_is_cut_does_not_stand_in_for_its_segment() {
    let (folder, files) = stream();
    let (_, first) = records(&files[1]);
    let copy = files[1].with_file_name("00000099.clicks");
    fs::copy(&files[1], &copy).expect("it is copied");
    OpenOptions::new().write(true).open(&copy).expect("it is there").set_len(100_000).expect("it is cut");
    let spool = open(roomy(folder.path()));
    let mut shipper = Shipper::default();
    shipper.acked.insert(spool.streams().ids[0], first - 1);
    shipper.drain(&spool);
    assert_eq!((shipper.numbers(), shipper.lost), ((first..=CLICKS).collect(), 0));
}

#[test]
fn files_that_are_no_segments_of_the_stream_are_not_read() {
    let (folder, files) = stream();
    let (other, others) = stream();
    fs::copy(&others[1], files[0].with_file_name("00000090.clicks")).expect("it is copied");
    fs::write(files[0].with_file_name("00000091.clicks"), "").expect("it is written");
    fs::write(files[0].with_file_name("00000092.clicks"), "no segment").expect("it is written");
    fs::write(files[0].with_file_name("00000093.clicks"), vec![0; 100_000]).expect("it is written");
    let reports = inspect(folder.path()).expect("it is readable");
    assert_eq!((reports[0].clicks(), reports[0].unreadable()), (CLICKS + records(&others[1]).0, 1));
    let (shipper, _) = ship(&folder);
    assert_eq!((shipper.numbers(), shipper.lost), ((1..=CLICKS).collect(), 0));
    drop(other);
}

/// A record that no later one follows is known from the count in its segment.
#[test]
fn damage_at_the_end_of_a_stream_is_counted() {
    let (folder, files) = stream();
    let mut content = fs::read(&files[3]).expect("it is there");
    let end = content.iter().rposition(|&byte| byte != 0).expect("it is in use");
    content[end] ^= 1;
    fs::write(&files[3], &content).expect("it is written");
    let (shipper, _) = ship(&folder);
    assert_eq!((shipper.numbers(), shipper.lost), ((1..CLICKS).collect(), 1));
}
