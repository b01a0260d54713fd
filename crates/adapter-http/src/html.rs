//! Small HTML pages for people: their layout, the header fields that restrict browsers, and the escaping of text.

use actix_web::{
    HttpResponse,
    http::header::{self, ContentType, HeaderName, HeaderValue},
};

/// No scripts, nothing from other origins, no framing.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The HTML of a small page for people.
pub(crate) fn page(title: &str, body: &str) -> String {
    format!(
        "<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n<title>{title} – Signpost</title>\n\
         <style>body{{font:1rem/1.5 system-ui,sans-serif;max-width:44rem;margin:3rem auto;padding:0 1rem;color:#222;background:#fff}}\
         code{{background:#eee;padding:.1em .3em}}a{{color:#05c;overflow-wrap:anywhere}}td,th{{text-align:left;vertical-align:top;padding:.3rem .6rem .3rem 0}}\
         @media(prefers-color-scheme:dark){{body{{color:#ddd;background:#181818}}code{{background:#333}}a{{color:#8bf}}}}</style>\n\
         </head>\n<body>\n<main>\n{body}</main>\n</body>\n</html>\n"
    )
}

/// The answer with such a page, made for one request and not to be cached.
pub(crate) fn html(title: &str, body: &str) -> HttpResponse {
    let page = HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::VARY, "accept"))
        .body(page(title, body));
    guarded(page)
}

/// Adds the header fields that restrict what a browser may do with such a page.
pub(crate) fn guarded(mut page: HttpResponse) -> HttpResponse {
    for (name, value) in [
        (header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("x-robots-tag"), "noindex"),
    ] {
        page.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    page
}

/// Text that is escaped for HTML, attributes included.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Text of our own tables, escaped for HTML. What is between backticks becomes code.
pub(crate) fn with_code(text: &str) -> String {
    let parts = escaped(text);
    let parts = parts.split('`').enumerate();
    parts.map(|(place, part)| if place % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}
