//! Segments of the click spool: any bytes can be read, and hold no more records than fit into them.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::spool::spool(data));
