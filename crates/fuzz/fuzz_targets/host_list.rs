//! Lists of hosts: any input can be read, and covers no host by accident.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::host_list(data));
