//! Codes that were given to links before they became reserved words.
//!
//! A link keeps its address permanently, so the link wins on the bare path. The page with that name is reached with a
//! slash at the end, as every page is (`slashes.rs`).

use std::sync::{Arc, OnceLock};

use domain::{
    address::{Address, DomainId},
    code::Code,
};

/// The addresses of links whose codes are reserved words by now. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct InheritedCodes(Arc<OnceLock<Vec<Address>>>);

impl InheritedCodes {
    /// Sets all of them. Only the first call has an effect.
    pub fn learn(&self, addresses: Vec<Address>) {
        let _first_counts = self.0.set(addresses);
    }

    /// The code `word`, if a link of that short domain has it although it is reserved.
    pub(crate) fn get(&self, word: &str, domain: impl FnOnce() -> Option<DomainId>) -> Option<Code> {
        let all = self.0.get()?;
        // Nearly always there are none, and no short domain has to be looked up.
        let on = |wanted| all.iter().find(|address| address.domain == wanted && address.code.as_str() == word);
        if all.is_empty() { None } else { domain().and_then(on).map(|address| address.code.clone()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_learned_once_and_belong_to_one_short_domain() {
        let codes = InheritedCodes::default();
        let get = |word, domain| codes.get(word, || DomainId::new(domain)).map(|code| code.to_string());
        assert_eq!(get("docs", 0), None);
        codes.learn(vec!["docs".parse().expect("an address"), "7/health".parse().expect("an address")]);
        codes.learn(Vec::new());
        assert_eq!((get("docs", 0).as_deref(), get("health", 7).as_deref()), (Some("docs"), Some("health")));
        assert_eq!((get("docs", 7), get("health", 0), get("readyz", 0)), (None, None, None));
    }
}
