//! Targets: what is accepted is visible ASCII of a public web address, and reads back as itself.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::target(data));
