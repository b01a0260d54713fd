//! Reading typed values out of the settings, without stopping at the first bad one.

use std::collections::BTreeSet;

use super::{Problems, Settings};

/// Whatever does not parse becomes a problem, and its default stands in, so that the rest is looked
/// at too.
pub(super) struct Reader<'a> {
    settings: &'a Settings,
    problems: &'a mut Problems,
    refused: BTreeSet<&'static str>,
}

impl<'a> Reader<'a> {
    pub(super) fn new(settings: &'a Settings, problems: &'a mut Problems) -> Self {
        Self { settings, problems, refused: BTreeSet::new() }
    }

    pub(super) fn value<T>(&mut self, path: &'static str, parse: impl Fn(&str) -> Option<T>) -> T {
        let entry = self.settings.get(path);
        if let Some(value) = entry.value.text().and_then(&parse) {
            return value;
        }
        self.refuse(path);
        parse(entry.key.default).expect("a test reads every default")
    }

    /// Empty is none.
    pub(super) fn optional<T>(&mut self, path: &'static str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.value(path, |text| match text {
            "" => Some(None),
            text => parse(text).map(Some),
        })
    }

    pub(super) fn list<T>(&mut self, path: &'static str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let items = self.settings.get(path).value.items();
        let parsed: Option<Vec<T>> = items.into_iter().map(parse).collect();
        parsed.unwrap_or_else(|| {
            self.refuse(path);
            Vec::new()
        })
    }

    /// Two sound values that do not go together. Silent if one is refused already: what stands in for
    /// it is not what the operator wrote.
    pub(super) fn refuse_both(&mut self, paths: [&'static str; 2], expected: &str) {
        if paths.iter().any(|path| self.refused.contains(path)) {
            return;
        }
        let [first, second] = paths.map(|path| self.settings.get(path));
        self.problems.add(format!("{first} and {second}: expected {expected}"));
    }

    pub(super) fn refuse(&mut self, path: &'static str) {
        let entry = self.settings.get(path);
        self.refused.insert(path);
        self.problems.add(format!("{entry}: expected {}", entry.key.expects));
    }
}
