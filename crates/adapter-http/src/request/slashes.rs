//! One slash too many at the beginning or the end of a path, as people and programs write it.

use actix_http::Request;
use actix_web::http::{Method, Uri, uri::PathAndQuery};

/// Removes one slash too many from the beginning or the end of the path of a `GET`, `HEAD` or `OPTIONS`. Leaves a path
/// with more than one too many as it is.
pub(crate) fn forgive_slash(request: &mut Request) {
    let path = request.path();
    if !matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS) {
        return;
    }
    let meant = path.strip_prefix("//").map(|rest| &path[path.len() - rest.len() - 1..]);
    let meant = meant.or_else(|| path.strip_suffix('/').filter(|rest| !rest.is_empty()));
    if let Some(meant) = meant.filter(|path| !path.ends_with('/') && !path.starts_with("//"))
        && let Some(uri) = with_path(request.uri(), meant)
    {
        request.head_mut().uri = uri;
    }
}

/// The same URI with another path; `None` if that is no valid URI.
fn with_path(uri: &Uri, path: &str) -> Option<Uri> {
    let meant = match uri.query() {
        Some(query) => PathAndQuery::try_from(format!("{path}?{query}")),
        None => PathAndQuery::try_from(path),
    };
    let mut parts = uri.clone().into_parts();
    parts.path_and_query = Some(meant.ok()?);
    Uri::from_parts(parts).ok()
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
            let mut request = TestRequest::with_uri(asked).to_request();
            forgive_slash(&mut request);
            assert_eq!(request.uri().to_string(), meant);
        }
        let mut post = TestRequest::post().uri("/abc/").to_request();
        forgive_slash(&mut post);
        assert_eq!(post.path(), "/abc/");
    }
}
