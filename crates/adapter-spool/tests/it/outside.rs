//! A spool seen from outside.

use adapter_spool::{Survey, inspect};

use crate::support::{open, record, recorder, roomy};

#[test]
fn a_running_process_is_inspected_without_being_disturbed() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(roomy(folder.path()));
    let recorder = recorder(&spool);
    record(&spool, &*recorder, 1..=20_000);
    let report = inspect(folder.path()).expect("it is readable").pop().expect("there is a stream");
    assert_eq!((report.id, report.is_locked), (spool.streams().ids[0], true));
    assert_eq!((report.clicks(), report.unknown(), report.damaged(), report.unreadable()), (20_000, 0, 0, 0));
    assert!(report.segments.iter().all(|segment| segment.bytes == 1 << 20));
    let firsts: Vec<_> = report.segments.iter().map(|segment| segment.survey).collect();
    assert!(
        matches!(firsts[..2], [Survey::Segment { first: 1, .. }, Survey::Segment { first: 2.., .. }]),
        "{firsts:?}"
    );
    record(&spool, &*recorder, 20_001..=20_100);
    drop((recorder, spool));
    let report = inspect(folder.path()).expect("it is readable").pop().expect("there is a stream");
    assert_eq!((report.is_locked, report.clicks()), (false, 20_100));
}

#[test]
fn a_folder_without_streams_has_nothing_to_tell() {
    let folder = tempfile::tempdir().expect("a folder");
    assert!(inspect(folder.path()).expect("it is readable").is_empty());
    inspect(&folder.path().join("missing")).expect_err("it is not there");
}
