//! Time and randomness under the control of a test.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};

use domain::{
    code::Code,
    ports::{Clock, CodeGenerator, Entropy},
    time::Timestamp,
};

/// A clock that stands still until it is moved. It begins at 2026-01-01T00:00:00Z.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl Default for ManualClock {
    fn default() -> Self {
        Self(AtomicI64::new(1_767_225_600_000_000))
    }
}

impl ManualClock {
    /// Moves it by whole seconds, forward or back.
    pub fn advance(&self, seconds: i64) {
        self.advance_micros(seconds * 1_000_000);
    }

    /// Moves it by microseconds, forward or back.
    pub fn advance_micros(&self, micros: i64) {
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        Timestamp::from_unix_micros(self.0.load(Ordering::SeqCst)).expect("tests stay in four-digit years")
    }
}

/// Bytes that follow from a seed: the same test draws the same ids and codes. The generator is `SplitMix64`. It is good
/// enough for everything but secrets.
#[derive(Debug)]
pub struct SeededEntropy(AtomicU64);

impl SeededEntropy {
    /// A generator that starts from this seed.
    pub fn new(seed: u64) -> Self {
        Self(AtomicU64::new(seed))
    }

    fn next(&self) -> u64 {
        let state = self.0.fetch_add(0x9e37_79b9_7f4a_7c15, Ordering::Relaxed);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Entropy for SeededEntropy {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let drawn = self.next().to_le_bytes();
            chunk.copy_from_slice(&drawn[..chunk.len()]);
        }
    }
}

/// Hands out the given codes in turn, over and over: a code space as small as a test needs.
#[derive(Debug)]
pub struct ScriptedCodes {
    codes: Vec<Code>,
    drawn: AtomicU64,
}

impl ScriptedCodes {
    /// These codes, in this order.
    pub fn new<'a>(codes: impl IntoIterator<Item = &'a str>) -> Self {
        let codes = codes.into_iter().map(|code| code.parse().expect("a test gives valid codes")).collect();
        Self { codes, drawn: AtomicU64::new(0) }
    }

    /// Number of codes drawn so far.
    pub fn drawn(&self) -> u64 {
        self.drawn.load(Ordering::SeqCst)
    }
}

impl CodeGenerator for ScriptedCodes {
    fn generate(&self) -> Code {
        let index = self.drawn.fetch_add(1, Ordering::SeqCst);
        let count = u64::try_from(self.codes.len()).expect("a handful of codes");
        self.codes[usize::try_from(index % count).expect("below the count")].clone()
    }
}
