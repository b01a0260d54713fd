//! The shape of the runbook: an index that leads to every section, sections of the same five parts, commands that parse,
//! and names that exist.

use std::{
    collections::BTreeSet,
    process::{Command, Stdio},
};

use crate::documents::{blocks, read};

/// The parts of each section, in this order.
const PARTS: [&str; 5] = ["**Means**", "**Hit**", "**Check**", "**Do**", "**Over when**"];

/// Sections that describe no trouble.
const WITHOUT_PARTS: [&str; 3] = ["commands", "look-first", "index"];

/// The text without its blocks.
fn prose(page: &str) -> String {
    page.split("```").step_by(2).collect()
}

/// What stands between `start` and `end`, each time.
fn between<'a>(text: &'a str, start: &'a str, end: char) -> impl Iterator<Item = &'a str> {
    text.split(start).skip(1).map(move |rest| rest.split(end).next().unwrap_or_default())
}

/// What is in code spans.
fn spans(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

/// The index, from its heading to the first section behind it.
fn index(page: &str) -> &str {
    let from = page.split_once("<a id=\"index\"></a>").expect("there is an index").1;
    from.split_once("\n## ").map_or(from, |(index, _)| index)
}

#[test]
fn every_link_leads_to_an_anchor() {
    let page = prose(&read("RUNBOOK.md"));
    let anchors: BTreeSet<_> = between(&page, "<a id=\"", '"').collect();
    for link in between(&page, "](#", ')') {
        assert!(anchors.contains(link), "{link}");
    }
    let linked: BTreeSet<_> = between(index(&page), "](#", ')').collect();
    let sections = page.split("\n## <a id=\"").skip(1).filter_map(|section| section.split('"').next());
    for section in sections.filter(|section| !WITHOUT_PARTS.contains(section)) {
        assert!(linked.contains(section), "the index does not lead to {section}");
    }
}

#[test]
fn every_section_has_the_same_parts() {
    let page = prose(&read("RUNBOOK.md"));
    for section in page.split("\n## <a id=\"").skip(1) {
        let name = section.split('"').next().unwrap_or_default();
        if WITHOUT_PARTS.contains(&name) {
            continue;
        }
        let mut rest = section;
        for part in PARTS {
            let found = rest.split_once(&format!("\n{part}"));
            rest = found.unwrap_or_else(|| panic!("{name} lacks {part}, or has it in another order")).1;
        }
    }
}

#[test]
fn every_block_parses() {
    for block in blocks(&read("RUNBOOK.md")) {
        assert_eq!(block.language, "sh", "{}", block.text);
        let mut shell = Command::new("bash");
        let shell = shell.arg("-n").arg("-c").arg(block.text).stdin(Stdio::null()).output().expect("bash is there");
        assert!(
            shell.status.success() && shell.stderr.is_empty(),
            "{}\n{}",
            block.text,
            String::from_utf8_lossy(&shell.stderr)
        );
    }
}

#[test]
fn the_index_has_a_row_for_every_warning_and_every_failure_of_the_service() {
    let (page, log, errors) = (read("RUNBOOK.md"), read("docs/LOGGING.md"), read("docs/ERRORS.md"));
    let known: BTreeSet<_> = spans(index(&page)).collect();
    let events = log.split_once("## Events").expect("events are listed").1;
    for row in events.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.split('|').skip(1);
        let (names, level) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        if level.contains("warning") || level.contains("error") {
            for name in spans(names) {
                assert!(known.contains(name), "the index lacks the event {name}");
            }
        }
    }
    for row in errors.lines().filter(|line| line.starts_with("| `")) {
        let mut cells = row.split('|').skip(1).map(str::trim);
        let (code, status) = (cells.next().unwrap_or_default(), cells.next().unwrap_or_default());
        if status.starts_with('5') || status == "429" {
            let words = format!("{status} {code}");
            assert!(index(&page).contains(&words), "the index lacks {words}");
        }
    }
}

/// An event or a setting is a word with a dot and no other sign. What looks like one and is none is listed.
#[test]
fn every_event_and_setting_that_is_named_exists() {
    const OTHERS: [&str; 15] = [
        "admin.key",
        "compose.yaml",
        "signpost.db",
        "signpost.log",
        "signpost.toml",
        "robots.txt",
        "http.route",
        "error.type",
        "error.message",
        "event.name",
        "row.id",
        "lines.unread",
        "postgresql.conf",
        "down.sql",
        "limits.claim",
    ];
    let (page, log, config) = (read("RUNBOOK.md"), read("docs/LOGGING.md"), read("docs/CONFIG.md"));
    let known: BTreeSet<_> = spans(&log).chain(spans(&config)).collect();
    let is_name = |word: &&str| {
        word.contains('.')
            && !word.starts_with('.')
            && word.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'.' || byte == b'_')
    };
    let text = prose(&page);
    let missing: Vec<_> =
        spans(&text).filter(is_name).filter(|name| !known.contains(name) && !OTHERS.contains(name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
    for name in between(&page, ".\"event.name\" == \"", '"') {
        assert!(known.contains(name), "{name}");
    }
}
