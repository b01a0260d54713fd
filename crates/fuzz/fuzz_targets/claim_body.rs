//! Bodies of claims: whatever is sent, they are read or every wrong field is named.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::claim_body(data));
