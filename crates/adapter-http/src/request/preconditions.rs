//! Entity tags: the generation of a link, in `ETag`, `If-Match` and `If-None-Match` (RFC 9110 §8.8, §13).

use actix_web::http::header::{self, HeaderMap};
use domain::{link::Generation, service::Precondition};

/// The `ETag` of a link.
pub(crate) fn entity_tag(generation: Generation) -> String {
    format!("\"{generation}\"")
}

/// What `If-Match` asks for. A tag that is empty, unquoted or weak never matches (strong comparison).
pub(crate) fn if_match(headers: &HeaderMap) -> Precondition {
    let mut generations = Vec::new();
    let mut given = false;
    for tag in tags(headers, &header::IF_MATCH) {
        given = true;
        if tag == "*" {
            return Precondition::None;
        }
        generations.extend(strong_generation(tag));
    }
    if given { Precondition::Generations(generations) } else { Precondition::None }
}

/// Whether `If-None-Match` names this generation (weak comparison).
pub(crate) fn not_modified(headers: &HeaderMap, generation: Generation) -> bool {
    let current = Some(generation);
    tags(headers, &header::IF_NONE_MATCH)
        .any(|tag| tag == "*" || strong_generation(tag.strip_prefix("W/").unwrap_or(tag)) == current)
}

/// Whether `If-None-Match` names this tag (weak comparison).
pub(crate) fn names_tag(headers: &HeaderMap, current: &str) -> bool {
    tags(headers, &header::IF_NONE_MATCH).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == current)
}

fn tags<'a>(headers: &'a HeaderMap, name: &header::HeaderName) -> impl Iterator<Item = &'a str> {
    let lines = headers.get_all(name).map(|value| value.to_str().unwrap_or_default());
    lines.flat_map(|line| {
        // A comma between quotes is a part of a tag (RFC 9110 §8.8.3).
        let mut is_quoted = false;
        let is_between = move |character: char| {
            is_quoted ^= character == '"';
            character == ',' && !is_quoted
        };
        line.split(is_between).map(str::trim)
    })
}

/// The generation of a tag that is exactly the text of [`entity_tag`]: `"01"` is another tag than `"1"`.
fn strong_generation(tag: &str) -> Option<Generation> {
    let digits = tag.strip_prefix('"')?.strip_suffix('"')?;
    let generation = Generation::new(digits.parse().ok()?)?;
    (entity_tag(generation) == tag).then_some(generation)
}

#[cfg(test)]
mod tests {
    use actix_web::http::header::HeaderValue;

    use super::*;

    fn headers(name: header::HeaderName, value: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(name, HeaderValue::from_static(value));
        headers
    }

    fn generation(number: i64) -> Generation {
        Generation::new(number).expect("positive")
    }

    #[test]
    fn only_strong_quoted_tags_can_match() {
        let asked = |value| if_match(&headers(header::IF_MATCH, value));
        assert_eq!(if_match(&HeaderMap::new()), Precondition::None);
        assert_eq!(asked("*"), Precondition::None);
        assert_eq!(asked("\"3\""), Precondition::Generations(vec![generation(3)]));
        assert_eq!(asked("\"1\", \"2\""), Precondition::Generations(vec![generation(1), generation(2)]));
        for never in ["", "3", "W/\"3\"", "\"03\"", "\"+3\"", "\"\"", "\"x\"", "\"0\""] {
            assert_eq!(asked(never), Precondition::Generations(vec![]), "{never}");
        }
    }

    #[test]
    fn if_none_match_compares_weakly() {
        let known = |value| not_modified(&headers(header::IF_NONE_MATCH, value), generation(3));
        assert!(known("\"3\""));
        assert!(known("W/\"3\""));
        assert!(known("\"1\", \"3\""));
        assert!(known("*"));
        assert!(!known("\"2\""));
        assert!(!known("3"));
        assert!(!not_modified(&HeaderMap::new(), generation(3)));
    }
}
