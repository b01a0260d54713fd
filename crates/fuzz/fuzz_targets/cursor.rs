//! Cursors: none opens that was not made here.

#![no_main]

use adapter_http::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| assert!(!fuzzing::cursor_opens(text)));
