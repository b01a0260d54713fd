//! `X-Forwarded-For` and `Forwarded`: only a trusted peer is believed, and only addresses come out.

#![no_main]

use adapter_http::fuzzing;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let (plain, rich) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    assert_eq!(fuzzing::client("198.51.100.1", plain, rich), "198.51.100.1");
    let told = fuzzing::client("10.0.0.1", plain, rich);
    assert!(told.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical() == address));
});
