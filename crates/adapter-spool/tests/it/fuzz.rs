//! Replays the corpus of the fuzz target `spool`.

use std::{fs, panic::catch_unwind, path::Path};

#[expect(unreachable_pub, reason = "it is part of the crate of the fuzzer")]
#[path = "../../../fuzz/src/spool.rs"]
mod target;

#[test]
fn no_segment_of_the_corpus_shows_a_defect() {
    let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus/spool");
    let mut replayed = 0;
    for seed in fs::read_dir(seeds).expect("there are seeds") {
        let file = seed.expect("it is listed").path();
        let bytes = fs::read(&file).expect("it can be read");
        catch_unwind(|| target::spool(&bytes)).unwrap_or_else(|_| panic!("{} shows one", file.display()));
        replayed += 1;
    }
    assert!(replayed > 2, "{replayed}");
}
