//! Runs the test cases of the [WHATWG URL standard](https://url.spec.whatwg.org/) that ship with the crate `url`. A
//! target is the URL that a browser would open, byte for byte, or it is rejected.

use std::{collections::BTreeSet, fs, path::PathBuf, process::Command};

use domain::target::{InvalidTarget, Target, TargetPolicy};
use serde_json::Value;

/// The directory where cargo keeps the tests of the crate `url` that this crate is built with.
fn tests_of_url() -> PathBuf {
    let cargo = |arguments: &[&str]| {
        let told = Command::new(env!("CARGO")).args(arguments).current_dir(env!("CARGO_MANIFEST_DIR")).output();
        let told = told.expect("cargo runs");
        assert!(told.status.success(), "{}", String::from_utf8_lossy(&told.stderr));
        String::from_utf8(told.stdout).expect("cargo writes text")
    };
    // Limited to this platform: the packages of other platforms were never downloaded.
    let about = cargo(&["--version", "--verbose"]);
    let host = about.lines().find_map(|line| line.strip_prefix("host: ")).expect("cargo prints its host");
    let metadata = cargo(&["metadata", "--format-version", "1", "--filter-platform", host]);
    let metadata: Value = serde_json::from_str(&metadata).expect("cargo writes JSON");
    let packages = metadata["packages"].as_array().expect("packages are listed");
    let url = packages.iter().find(|package| package["name"] == "url").expect("the domain depends on `url`");
    PathBuf::from(url["manifest_path"].as_str().expect("a path")).with_file_name("tests")
}

#[test]
fn a_target_is_what_a_browser_opens_or_is_refused() {
    let tests = tests_of_url();
    let cases = fs::read_to_string(tests.join("urltestdata.json")).expect("the file ships with `url`");
    let cases: Vec<Value> = serde_json::from_str(&cases).expect("it is JSON");
    // Cases in which the crate is known to differ from the standard.
    let differing = fs::read_to_string(tests.join("expected_failures.txt")).expect("the file ships with `url`");
    let differing: BTreeSet<_> = differing.lines().collect();

    let any_host = TargetPolicy::new(true, &[]).with_max_length(Target::MAX_LENGTH);
    let (mut taken, mut refused) = (0, 0);
    // Comments are strings. URLs relative to a base are not targets.
    for case in cases.iter().filter(|case| case.is_object() && case["base"].is_null()) {
        let input = case["input"].as_str().expect("a text");
        if differing.contains(format!("<{}>", input.escape_default()).as_str()) {
            continue;
        }
        let browser = case["href"].as_str();
        let web = ["http:", "https:"].iter().any(|scheme| case["protocol"] == *scheme);
        let named = case["username"] != "" || case["password"] != "";
        match Target::parse(input, &any_host) {
            Ok(target) => {
                assert!(web && !named, "{case}");
                assert_eq!(Some(target.as_str()), browser, "{case}");
                assert_eq!(Target::from_stored(target.to_string()).as_ref(), Ok(&target), "{case}");
                taken += 1;
            }
            // Targets are stricter than browsers, which drop tabs, line breaks and an empty user name.
            Err(InvalidTarget::Control) => assert!(input.contains(char::is_control), "{case}"),
            Err(InvalidTarget::UserInfo) => assert!(input.contains('@'), "{case}"),
            Err(error) => {
                assert!(browser.is_none() || !web || named, "{error}: {case}");
                refused += 1;
            }
        }
    }
    assert!(taken > 70 && refused > 250, "{taken} were taken, {refused} refused");
}

/// Private addresses are rejected in every spelling that a browser resolves to them.
#[test]
fn every_case_with_a_private_address_is_rejected() {
    let cases = fs::read_to_string(tests_of_url().join("urltestdata.json")).expect("the file ships with `url`");
    let cases: Vec<Value> = serde_json::from_str(&cases).expect("it is JSON");
    let inside = ["127.", "10.", "192.168.", "0.", "[::1", "[::ffff:", "localhost"];
    let mut refused = 0;
    for case in cases.iter().filter(|case| case.is_object() && case["base"].is_null()) {
        let host = case["hostname"].as_str().unwrap_or_default();
        if inside.iter().any(|beginning| host.starts_with(beginning)) {
            let input = case["input"].as_str().expect("a text");
            assert!(Target::parse(input, &TargetPolicy::default()).is_err(), "{case}");
            refused += 1;
        }
    }
    assert!(refused > 5, "{refused}");
}
