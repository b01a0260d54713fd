//! Codes: an accepted one equals its input, and needs no encoding in a path.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::code(data));
