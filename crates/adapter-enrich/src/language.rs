//! Language subtags.

use std::{collections::HashMap, sync::Arc};

use isolang::Language;

/// The languages that were told so far, so that each value is held once. Their number is bounded by ISO 639.
#[derive(Debug, Default)]
pub(crate) struct Languages(HashMap<Box<str>, Arc<str>>);

impl Languages {
    /// The language of a tag such as `de` or `de-AT` (RFC 5646): its primary subtag in lower case, two letters where
    /// there are two. `None` if ISO 639 has no such language.
    pub(crate) fn language(&mut self, tag: &str) -> Option<Arc<str>> {
        if let Some(known) = self.0.get(tag) {
            return Some(known.clone());
        }
        let subtag = tag.split(['-', '_']).next().unwrap_or_default().to_ascii_lowercase();
        let language = match subtag.len() {
            2 => Language::from_639_1(&subtag),
            3 => Language::from_639_3(&subtag),
            _ => None,
        }?;
        // Codes for "no language" and the like.
        if ["mis", "mul", "und", "zxx"].contains(&language.to_639_3()) {
            return None;
        }
        let name: Arc<str> = language.to_639_1().unwrap_or(language.to_639_3()).into();
        if *name == *tag {
            self.0.insert(tag.into(), name.clone());
        }
        Some(name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_language_is_its_shortest_subtag() {
        let mut languages = Languages::default();
        for (tag, language) in [
            ("de", "de"),
            ("DE", "de"),
            ("de-AT", "de"),
            ("deu", "de"),
            ("fil", "fil"),
            ("zh_Hant", "zh"),
            ("de", "de"),
        ] {
            assert_eq!(languages.language(tag).as_deref(), Some(language), "{tag}");
        }
        for tag in ["", "*", "xx", "qqq", "und", "mul", "english", "d", "d\u{e9}", "-de"] {
            assert_eq!(languages.language(tag), None, "{tag}");
        }
    }
}
