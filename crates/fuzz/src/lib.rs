//! Properties that hold for every input, one function for each fuzz target. The fuzzer tries inputs of its own against
//! them; the tests of `adapter-http` replay the corpus on any compiler, those of `adapter-spool` that of `spool`.
//!
//! To add a target: a function here and in `TARGETS`, a file in `fuzz_targets/`, a `[[bin]]`, and a folder of seeds in
//! `corpus/`.

#[cfg(fuzzing)]
pub mod spool;

use std::net::IpAddr;

use adapter_http::fuzzing;
use domain::{
    behaviour::Behaviour,
    code::Code,
    hosts::HostList,
    target::{Target, TargetPolicy},
};

/// Panics if the input shows a defect.
pub type Body = fn(&[u8]);

/// Every target, by name.
pub const TARGETS: [(&str, Body); 6] = [
    ("target", target),
    ("code", code),
    ("host_list", host_list),
    ("forwarded", forwarded),
    ("cursor", cursor),
    ("claim_body", claim_body),
];

/// Targets: an accepted one is visible ASCII of a public web address, and parses to itself.
pub fn target(data: &[u8]) {
    let policy = TargetPolicy::new(false, &["sho.rt".to_owned()]);
    let Some(Ok(target)) = text(data).map(|text| Target::parse(text, &policy)) else {
        return;
    };
    let kept = target.as_str();
    assert!(kept.len() <= Target::MAX_LENGTH && kept.bytes().all(|byte| (0x21..=0x7e).contains(&byte)));
    assert!(kept.starts_with("http://") || kept.starts_with("https://"));
    assert_eq!(Target::parse(kept, &policy).as_ref(), Ok(&target));
    assert!(!target.host().is_empty() && target.host() != "sho.rt");
    let (same, again) = (Behaviour::to(target.clone()).dedup_key(), Behaviour::to(target.clone()).dedup_key());
    assert_eq!(same, again);
    assert!(target.with_query("a=1&b=\u{fc}").is_ascii());
}

/// Codes: an accepted one equals its input, and needs no encoding in a path.
pub fn code(data: &[u8]) {
    let Some(text) = text(data) else { return };
    if let Ok(code) = Code::parse_alias(text) {
        assert_eq!(code.as_str(), text);
        assert!((1..=64).contains(&text.len()));
        assert!(text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte)));
        assert!(!text.starts_with('.') && !text.ends_with('.') && !text.contains(".."));
    }
}

/// Lists of hosts: any input can be read, and covers no host by accident.
pub fn host_list(data: &[u8]) {
    let Some(text) = text(data) else { return };
    let (list, unread) = HostList::read(text.lines());
    assert!(unread <= text.lines().count());
    // No part of that name occurs in a list by accident.
    assert!(text.to_ascii_lowercase().contains("zzqqx") || !list.covers("innocent.zzqqx"));
}

/// `X-Forwarded-For` and `Forwarded`: only a trusted peer is believed, and the result is always an address.
pub fn forwarded(data: &[u8]) {
    let (plain, rich) = data.split_at(data.iter().position(|byte| *byte == b'\n').unwrap_or(data.len()));
    assert_eq!(fuzzing::client("198.51.100.1", plain, rich), "198.51.100.1");
    let told = fuzzing::client("10.0.0.1", plain, rich);
    assert!(told.parse::<IpAddr>().is_ok_and(|address| address.to_canonical() == address));
}

/// Cursors: only cursors that this process sealed open.
pub fn cursor(data: &[u8]) {
    assert!(!text(data).is_some_and(fuzzing::cursor_opens));
}

/// Bodies of claims: any input is accepted, or at least one wrong field is named.
pub fn claim_body(data: &[u8]) {
    if let Some(problems) = fuzzing::claim_body(data) {
        assert!(problems > 0);
    }
}

fn text(data: &[u8]) -> Option<&str> {
    str::from_utf8(data).ok()
}
