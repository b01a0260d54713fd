//! Clicks outlive a process that is killed.

use std::{
    env,
    io::{Read as _, Write as _},
    path::PathBuf,
    process::{Command, Stdio},
};

use adapter_spool::{SpoolMode, SpoolOptions};

use crate::support::{Shipper, a_click, balance, open, recorder, roomy};

/// Clicks that a victim records before it tells how many there are.
const BATCH: u64 = 64;

/// The test starts itself again as the process to kill. An environment variable marks that process.
#[test]
fn what_was_recorded_survives_a_kill() {
    const VICTIM: &str = "SIGNPOST_TEST_SPOOL_VICTIM";
    if let Some(folder) = env::var_os(VICTIM) {
        be_killed(folder.into());
    }
    for mode in [SpoolMode::Mmap, SpoolMode::Write] {
        for round in 0..5 {
            let folder = tempfile::tempdir().expect("a folder");
            let mut victim = Command::new(env::current_exe().expect("this process runs from a file"))
                .args(["--exact", "--nocapture", "crash::what_was_recorded_survives_a_kill"])
                .env(VICTIM, folder.path().join(format!("{mode:?}")))
                .stdout(Stdio::null())
                .stderr(Stdio::piped())
                .spawn()
                .expect("this test can be started again");
            // Another moment in each round.
            let mut told = victim.stderr.take().expect("it is piped");
            let mut batches = vec![0; 10 + 200 * round];
            told.read_exact(&mut batches).expect("the victim records");
            victim.kill().expect("it can be killed");
            told.read_to_end(&mut batches).expect("the pipe ends with the victim");
            victim.wait().expect("it is our child");
            let told = batches.len() as u64 * BATCH;

            let clicks = folder.path().join(format!("{mode:?}"));
            let spool = open(SpoolOptions { mode, ..roomy(&clicks) });
            let mut shipper = Shipper::default();
            shipper.drain(&spool);
            shipper.assert_genuine();
            let recorded = shipper.clicks.len() as u64;
            assert!(recorded >= told, "{recorded} of {told} are left");
            assert_eq!(shipper.numbers(), (1..=recorded).collect::<Vec<_>>());
            assert_eq!((balance(&spool).damaged, shipper.lost), (0, 0));
        }
    }
}

/// Records clicks for ever. After each batch it writes one byte.
fn be_killed(folder: PathBuf) -> ! {
    let mode = if folder.ends_with("Mmap") { SpoolMode::Mmap } else { SpoolMode::Write };
    let spool = open(SpoolOptions { mode, ..SpoolOptions::new(folder) });
    let recorder = recorder(&spool);
    for number in 1_u64.. {
        let mut dropped = spool.accounting().no_space;
        recorder.record(&a_click(number).as_click());
        while spool.accounting().no_space > dropped {
            dropped = spool.accounting().no_space;
            recorder.record(&a_click(number).as_click());
        }
        if number.is_multiple_of(BATCH) {
            std::io::stderr().write_all(b".").expect("the parent reads");
        }
    }
    unreachable!("numbers do not end");
}
