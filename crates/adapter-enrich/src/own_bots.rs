//! The operator's list of bots.

use regex::{RegexBuilder, RegexSet, RegexSetBuilder};

/// The patterns of the operator's list.
///
/// Each line is plain text that the user agent of a bot contains, in upper or lower case, or a regular expression
/// between slashes: `/^Monitor\/\d/`. The line is also the name of the bot. White space around it and empty lines do not count; `#` begins a comment at the
/// start of a line.
#[derive(Clone, Debug)]
pub(crate) struct OwnBots {
    patterns: RegexSet,
    /// What stands in the line of each pattern, without slashes.
    names: Vec<Box<str>>,
}

/// A line of the operator's list of bots that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("line {line} cannot be used")]
pub struct BadLine {
    /// Its number, from 1.
    pub line: usize,
    /// What is wrong with it.
    pub source: BadPattern,
}

/// Why a line of the operator's list of bots cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BadPattern {
    /// It is no valid regular expression, or it needs too much memory.
    #[error("it is no valid regular expression")]
    Invalid(#[from] regex::Error),
    /// All browsers would count as bots.
    #[error("it matches every browser")]
    MatchesAll,
}

/// Compiled size of all patterns in bytes. One pattern that needs more is refused.
const MAX_BYTES: usize = 4 * 1024 * 1024;

impl OwnBots {
    /// Reads the list.
    pub(crate) fn read(text: &str) -> Result<Self, BadLine> {
        let (mut patterns, mut names, mut last) = (Vec::new(), Vec::new(), 0);
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            last = index + 1;
            let expression = line.strip_prefix('/').and_then(|rest| rest.strip_suffix('/'));
            names.push(expression.unwrap_or(line).into());
            let pattern = expression.map_or_else(|| format!("(?i){}", regex::escape(line)), str::to_owned);
            check(&pattern).map_err(|source| BadLine { line: last, source })?;
            patterns.push(pattern);
        }
        // Each pattern is valid by itself, so only their size can be wrong: the last line makes it too much.
        let patterns = RegexSetBuilder::new(patterns).size_limit(MAX_BYTES).build();
        Ok(Self { patterns: patterns.map_err(|error| BadLine { line: last, source: error.into() })?, names })
    }

    /// The first line that matches.
    pub(crate) fn name(&self, user_agent: &str) -> Option<&str> {
        let first = self.patterns.matches(user_agent).iter().next()?;
        Some(&self.names[first])
    }
}

fn check(pattern: &str) -> Result<(), BadPattern> {
    let pattern = RegexBuilder::new(pattern).size_limit(MAX_BYTES).build()?;
    // Browsers begin so, without exception.
    if pattern.is_match("Mozilla/5.0") { Err(BadPattern::MatchesAll) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_plain_text_or_a_regular_expression() {
        let bots = OwnBots::read("# ours\n\n  Uptime (internal) \n/^Probe\\/\\d+$/\n").expect("a list");
        assert_eq!(bots.name("x UPTIME (INTERNAL) y"), Some("Uptime (internal)"));
        assert_eq!(bots.name("Probe/17"), Some(r"^Probe\/\d+$"));
        for user_agent in ["Uptime internal", "probe/17", "Probe/17 x", "# ours", ""] {
            assert_eq!(bots.name(user_agent), None, "{user_agent}");
        }
    }

    #[test]
    fn an_empty_list_matches_nothing() {
        assert_eq!(OwnBots::read("# none\n").expect("a list").name("Mozilla/5.0"), None);
    }

    #[test]
    fn a_bad_line_is_named() {
        let line = |text| OwnBots::read(text).expect_err("it is refused").line;
        assert_eq!(line("# ours\nfine (\n/(/\n"), 3);
        assert_eq!(line("/\\w{9999}{9999}/"), 1);
        for text in ["//", "/", "/.*/", "mozilla", "/^$|x/ \n /^M/"] {
            assert!(matches!(OwnBots::read(text), Err(BadLine { source: BadPattern::MatchesAll, .. })), "{text}");
        }
    }
}
