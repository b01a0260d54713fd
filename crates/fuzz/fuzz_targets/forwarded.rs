//! `X-Forwarded-For` and `Forwarded`: only a trusted peer is believed, and the result is always an address.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::forwarded(data));
