//! Targets: an accepted one is visible ASCII of a public web address, and parses to itself.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::target(data));
