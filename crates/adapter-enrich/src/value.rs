//! Values of dimensions: short, and without control characters.

use std::sync::Arc;

use domain::click::{NOT_RECORDED, UNKNOWN};

/// Maximum length of a value in characters. The rest is cut off.
const MAX_CHARACTERS: usize = 100;

/// `text` as a value; `None` if nothing of it is left.
pub(crate) fn value(text: &str) -> Option<Arc<str>> {
    let is_plain = text.len() <= MAX_CHARACTERS && !text.contains(char::is_control);
    let kept: Arc<str> = if is_plain {
        text.trim().into()
    } else {
        let kept: String = text.trim().chars().filter(|c| !c.is_control()).take(MAX_CHARACTERS).collect();
        Arc::from(kept.trim())
    };
    (!kept.is_empty()).then_some(kept)
}

/// The values that most clicks share.
#[derive(Clone, Debug)]
pub(crate) struct CommonValues {
    pub(crate) unknown: Arc<str>,
    pub(crate) not_recorded: Arc<str>,
    pub(crate) direct: Arc<str>,
}

impl CommonValues {
    pub(crate) fn new() -> Self {
        Self { unknown: UNKNOWN.into(), not_recorded: NOT_RECORDED.into(), direct: "(direct)".into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_short_and_has_no_control_characters() {
        assert_eq!(value(" Chrome ").as_deref(), Some("Chrome"));
        assert_eq!(value("a\u{7}b\r\nc\u{85}").as_deref(), Some("abc"));
        assert_eq!(value(&"é".repeat(300)), Some("é".repeat(100).into()));
        assert_eq!((value(""), value(" \n\u{0} ")), (None, None));
    }
}
