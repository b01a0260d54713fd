//! Bodies of claims: whatever is sent, they are read or every wrong field is named.

#![no_main]

use adapter_http::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Some(problems) = fuzzing::claim_body(body) {
        assert!(problems > 0);
    }
});
