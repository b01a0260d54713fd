//! Lists of hosts: whatever they hold, they are read, and cover no host by accident.

#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::host_list(data));
