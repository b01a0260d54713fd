//! Reading typed values out of the settings, without stopping at the first bad one.

use std::collections::BTreeSet;

use super::{Problems, Settings, Source};

/// Reads typed values. One that does not parse becomes a problem and is replaced by its default, so that all others are
/// checked too.
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
        parse(entry.key.default).expect("a test parses every default")
    }

    /// An empty text is `None`.
    pub(super) fn optional<T>(&mut self, path: &'static str, parse: impl Fn(&str) -> Option<T>) -> Option<T> {
        self.value(path, |text| match text {
            "" => Some(None),
            text => parse(text).map(Some),
        })
    }

    /// Whether any source has set it.
    pub(super) fn is_set(&self, path: &'static str) -> bool {
        self.settings.get(path).source != Source::Default
    }

    pub(super) fn list<T>(&mut self, path: &'static str, parse: impl Fn(&str) -> Option<T>) -> Vec<T> {
        let items = self.settings.get(path).value.items();
        let parsed: Option<Vec<T>> = items.into_iter().map(parse).collect();
        parsed.unwrap_or_else(|| {
            self.refuse(path);
            Vec::new()
        })
    }

    /// Adds the problem that two valid values do not go together. Adds none if one was refused already: its default is
    /// not what the operator wrote.
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
