//! Cursors: only cursors that this process sealed open.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::cursor(data));
