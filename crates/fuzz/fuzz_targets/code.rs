//! Codes: what is accepted is what it was, and fits into a path as it is.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::code(data));
