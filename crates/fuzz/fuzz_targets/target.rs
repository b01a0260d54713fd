//! Targets: what is accepted is visible ASCII of a public web address, and reads back as itself.

#![no_main]

use domain::{
    behaviour::Behaviour,
    target::{Target, TargetPolicy},
};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let policy = TargetPolicy::new(false, &["sho.rt".to_owned()]);
    let Ok(target) = Target::parse(text, &policy) else {
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
});
