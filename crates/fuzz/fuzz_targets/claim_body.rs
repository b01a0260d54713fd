//! Bodies of claims: any input is accepted, or at least one wrong field is named.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::claim_body(data));
