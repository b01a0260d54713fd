//! Codes: what is accepted is what it was, and fits into a path as it is.

#![no_main]

use domain::code::Code;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(code) = Code::parse_alias(text) {
        assert_eq!(code.as_str(), text);
        assert!((3..=64).contains(&text.len()));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_".contains(&byte)));
    }
});
