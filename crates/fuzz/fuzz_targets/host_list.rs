//! Lists of hosts: whatever they hold, they are read, and cover nobody by accident.

#![no_main]

use domain::hosts::HostList;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let (list, unread) = HostList::read(text.lines());
    assert!(unread <= text.lines().count());
    // Nobody lists a part of that name by accident.
    assert!(text.to_ascii_lowercase().contains("zzqqx") || !list.covers("innocent.zzqqx"));
});
