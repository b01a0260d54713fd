//! Cursors: none opens that was not made here.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::cursor(data));
