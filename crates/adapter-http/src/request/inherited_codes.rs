//! Codes that were given to links before they became reserved words.
//!
//! A link keeps its address permanently, so the link wins on the bare path. The page with that name is reached with a
//! slash at the end, as every page is (`slashes.rs`).

use std::sync::{Arc, OnceLock};

use domain::code::Code;

/// The codes of links that are reserved words by now. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct InheritedCodes(Arc<OnceLock<Vec<Code>>>);

impl InheritedCodes {
    /// Sets all of them. Only the first call has an effect.
    pub fn learn(&self, codes: Vec<Code>) {
        let _first_counts = self.0.set(codes);
    }

    /// The code `word`, if a link has it although it is reserved.
    pub(crate) fn get(&self, word: &str) -> Option<Code> {
        self.0.get()?.iter().find(|code| code.as_str() == word).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_learned_once() {
        let codes = InheritedCodes::default();
        assert_eq!(codes.get("docs"), None);
        codes.learn(vec![Code::from_stored("docs").expect("a code")]);
        codes.learn(Vec::new());
        assert_eq!(codes.get("docs").as_ref().map(Code::as_str), Some("docs"));
        assert_eq!(codes.get("health"), None);
    }
}
