//! Codes that were given before their word became a path of ours, and slashes too many.
//!
//! A link keeps its address for ever, so on the bare path the link wins. What the word means by now is one slash away,
//! as every page is.

use std::sync::{Arc, OnceLock};

use actix_web::{
    dev::ServiceRequest,
    http::{
        Method, Uri,
        uri::{InvalidUri, PathAndQuery},
    },
};
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

/// Takes one slash too many from the beginning or the end of what is only read, if there is one.
pub(crate) fn forgive_slash(request: &mut ServiceRequest) {
    let path = request.path();
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        return;
    }
    let meant = path.strip_prefix("//").map(|rest| &path[path.len() - rest.len() - 1..]);
    let meant = meant.or_else(|| path.strip_suffix('/').filter(|rest| !rest.is_empty()));
    if let Some(meant) = meant.filter(|path| !path.ends_with('/') && !path.starts_with("//"))
        && let Ok(uri) = with_path(request.uri(), meant)
    {
        request.match_info_mut().get_mut().update(&uri);
        request.head_mut().uri = uri;
    }
}

fn with_path(uri: &Uri, path: &str) -> Result<Uri, InvalidUri> {
    let meant = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}"))?,
        None => PathAndQuery::try_from(path)?,
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(meant);
    Ok(Uri::from_parts(parts).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn one_slash_too_many_is_forgiven_and_two_are_not() {
        for (asked, meant) in [
            ("/abc/", "/abc"),
            ("//abc", "/abc"),
            ("/abc/?a=1&b=%2F", "/abc?a=1&b=%2F"),
            ("/api/v1/links/", "/api/v1/links"),
            ("/", "/"),
            ("//", "//"),
            ("/abc//", "/abc//"),
            ("///abc", "///abc"),
            ("//abc/", "//abc/"),
            ("/a//b", "/a//b"),
        ] {
            let mut request = TestRequest::with_uri(asked).to_srv_request();
            forgive_slash(&mut request);
            assert_eq!(request.uri().to_string(), meant);
            assert_eq!(request.match_info().as_str(), meant.split('?').next().expect("a path"));
        }
        let mut post = TestRequest::post().uri("/abc/").to_srv_request();
        forgive_slash(&mut post);
        assert_eq!(post.path(), "/abc/");
    }

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
