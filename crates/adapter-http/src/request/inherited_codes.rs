//! Codes that were given before their word became a path of ours.
//!
//! A link keeps its address for ever, so on the bare path the link wins. What the word means by now is one slash away,
//! as every page is (`slashes.rs`).

use std::sync::{Arc, OnceLock};

use domain::code::Code;

/// The codes of links that are words of our paths by now. Its clones are one.
#[derive(Clone, Debug, Default)]
pub struct InheritedCodes(Arc<OnceLock<Vec<Code>>>);

impl InheritedCodes {
    /// These are all; the first call counts.
    pub fn learn(&self, codes: Vec<Code>) {
        let _first_counts = self.0.set(codes);
    }

    /// The code that `word` is, although it could not be given any more.
    pub(crate) fn get(&self, word: &str) -> Option<Code> {
        self.0.get()?.iter().find(|code| code.as_str() == word).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_inherited_before_it_is_known() {
        let codes = InheritedCodes::default();
        assert_eq!(codes.get("docs"), None);
        codes.learn(vec![Code::from_stored("docs").expect("a code")]);
        codes.learn(Vec::new());
        assert_eq!(codes.get("docs").as_ref().map(Code::as_str), Some("docs"));
        assert_eq!(codes.get("health"), None);
    }
}
