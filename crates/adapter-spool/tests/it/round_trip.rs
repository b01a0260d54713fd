//! What is recorded is read, whole and in order.

use std::{
    fs,
    os::unix::fs::PermissionsExt as _,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use adapter_spool::{SpoolError, SpoolMode, SpoolOptions};
use domain::click::Click;

use crate::support::{Shipper, a_click, balance, eventually, open, record, recorder, roomy, segments, small};

const MODES: [SpoolMode; 3] = [SpoolMode::Auto, SpoolMode::Mmap, SpoolMode::Write];

#[test]
fn clicks_are_read_as_they_were_recorded_in_every_mode() {
    for mode in MODES {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = open(SpoolOptions { mode, ..roomy(folder.path()) });
        assert_eq!(spool.is_mapped(), mode != SpoolMode::Write);
        let recorder = recorder(&spool);
        let mut shipper = Shipper::default();
        record(&spool, &*recorder, 1..=10);
        shipper.drain(&spool);
        record(&spool, &*recorder, 11..=20_000);
        let accounting = balance(&spool);
        assert_eq!(
            (accounting.accepted, accounting.acknowledged, accounting.spooled),
            (20_000, 10, 19_990),
            "{mode:?}"
        );
        assert!(segments(folder.path()).len() > 2, "it has gone through several segments");
        shipper.drain(&spool);
        shipper.assert_genuine();
        assert_eq!(shipper.numbers(), (1..=20_000).collect::<Vec<_>>(), "{mode:?}");
        assert_eq!((shipper.lost, shipper.unknown), (0, 0));
    }
}

#[test]
fn a_piece_has_at_most_as_many_clicks_as_asked_for() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(roomy(folder.path()));
    let recorder = recorder(&spool);
    record(&spool, &*recorder, 1..=100);
    let stream = spool.streams().ids[0];
    for after in [0, 30, 0] {
        let piece = spool.read(&stream, after, 30).expect("it can be read");
        let numbers: Vec<_> = piece.clicks.iter().map(|(number, _)| *number).collect();
        assert_eq!((numbers, piece.until), ((after + 1..=after + 30).collect(), after + 30));
    }
    assert!(spool.read(&stream, 100, 30).expect("it can be read").is_empty());
}

#[test]
fn reading_beside_a_recorder_misses_nothing_and_sees_nothing_unfinished() {
    for mode in MODES {
        let folder = tempfile::tempdir().expect("a folder");
        let spool = open(SpoolOptions { mode, ..small(folder.path()) });
        let is_done = AtomicBool::new(false);
        let mut shipper = Shipper::default();
        let recorded = thread::scope(|scope| {
            let recording = scope.spawn(|| {
                let recorder = recorder(&spool);
                // The number of a dropped click goes to the next one.
                let mut number = 1;
                while number <= 50_000 {
                    let before = spool.accounting().no_space;
                    recorder.record(&a_click(number).as_click());
                    number += u64::from(spool.accounting().no_space == before);
                }
                is_done.store(true, Ordering::Release);
                number - 1
            });
            while !is_done.load(Ordering::Acquire) {
                shipper.ship(&spool, 500);
            }
            recording.join().expect("it ends")
        });
        shipper.drain(&spool);
        shipper.assert_genuine();
        let accounting = balance(&spool);
        assert_eq!(shipper.clicks.len() as u64 + accounting.over_limit, recorded);
        assert_eq!(shipper.lost, accounting.over_limit);
        assert_eq!((accounting.acknowledged, accounting.spooled), (shipper.clicks.len() as u64, 0));
    }
}

#[test]
fn each_recorder_has_a_stream_of_its_own() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(roomy(folder.path()));
    let recorders = [recorder(&spool), recorder(&spool)];
    for number in 1..=10 {
        for recorder in &recorders {
            recorder.record(&a_click(number).as_click());
        }
    }
    let mut shipper = Shipper::default();
    shipper.drain(&spool);
    shipper.assert_genuine();
    assert_eq!((shipper.acked.len(), shipper.clicks.len()), (2, 20));
}

#[test]
fn a_stream_whose_recorder_is_gone_is_removed_once_all_of_it_is_acknowledged() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(roomy(folder.path()));
    let recorder = recorder(&spool);
    record(&spool, &*recorder, 1..=5_000);
    let stream = spool.streams().ids[0];
    let mut shipper = Shipper::default();
    shipper.ship(&spool, 100);
    assert!(shipper.removed.is_empty());
    drop(recorder);
    eventually("the removal", || {
        shipper.drain(&spool);
        !shipper.removed.is_empty()
    });
    assert_eq!((shipper.removed, shipper.clicks.len()), (vec![stream], 5_000));
    assert!(spool.streams().ids.is_empty() && !folder.path().join(stream.to_string()).exists());
    let accounting = balance(&spool);
    assert_eq!((accounting.accepted, accounting.acknowledged, accounting.bytes), (5_000, 5_000, 0));
}

#[test]
fn real_user_agents_take_at_most_192_bytes_a_click() {
    // Of the most common ones, in October 2026; the bot is long.
    let user_agents = [
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 \
         Mobile/15E148 Safari/604.1",
        "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36",
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10.15; rv:143.0) Gecko/20100101 Firefox/143.0",
        "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
         Mobile/22G100 Instagram 401.0.0.29.77 (iPhone14,5; iOS 18_6_2; de_DE; de; scale=3.00; 1170x2532; IABMV/1)",
        "Mozilla/5.0 AppleWebKit/537.36 (KHTML, like Gecko; compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm) \
         Chrome/116.0.1938.76 Safari/537.36",
    ];
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(SpoolOptions { mode: SpoolMode::Write, ..roomy(folder.path()) });
    let recorder = recorder(&spool);
    let mut bytes = 0;
    for (number, user_agent) in (1..).zip(user_agents) {
        let click = a_click(number);
        recorder.record(&Click { referrer: "www.instagram.com", user_agent, ..click.as_click() });
        let segment = fs::read(&segments(folder.path())[0]).expect("it is there");
        bytes = segment.iter().rposition(|&byte| byte != 0).expect("it is in use") - 8_192;
    }
    let each = bytes / user_agents.len();
    assert!(each <= 192, "{each} bytes");
}

#[test]
fn no_other_user_can_read_it() {
    let folder = tempfile::tempdir().expect("a folder");
    let spool = open(roomy(&folder.path().join("clicks")));
    let _recorder = recorder(&spool);
    let mode = |path: &std::path::Path| fs::metadata(path).expect("it is there").permissions().mode() & 0o777;
    let stream = folder.path().join("clicks").join(spool.streams().ids[0].to_string());
    assert_eq!((mode(&folder.path().join("clicks")), mode(&stream)), (0o700, 0o700));
    for entry in fs::read_dir(&stream).expect("it is there") {
        assert_eq!(mode(&entry.expect("it is listed").path()), 0o600);
    }
}

#[test]
fn a_folder_that_cannot_be_made_is_an_error_that_names_it() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let error = adapter_spool::Spool::open(roomy(file.path()), uuid::Uuid::nil).expect_err("it is no folder");
    assert!(matches!(error, SpoolError::Folder { .. }), "{error:?}");
    assert!(error.to_string().contains(&*file.path().to_string_lossy()));
}
