//! Small pages for people: their frame, what a browser may do with them, and text that is safe to stand in them.

use actix_web::{
    HttpResponse,
    http::header::{self, ContentType, HeaderName, HeaderValue},
};

/// No script, nothing from elsewhere, nobody's frame.
const CONTENT_SECURITY_POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The text of a small page for people.
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

/// Such a page, made for this request.
pub(crate) fn html(title: &str, body: &str) -> HttpResponse {
    let page = HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::VARY, "accept"))
        .body(page(title, body));
    guarded(page)
}

/// What a browser may do with such a page.
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

/// Text as it may stand in HTML, attributes included.
pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// Text as it stands in our own tables, with what is between backticks as code.
pub(crate) fn with_code(text: &str) -> String {
    let parts = escaped(text);
    let parts = parts.split('`').enumerate();
    parts.map(|(place, part)| if place % 2 == 1 { format!("<code>{part}</code>") } else { part.to_owned() }).collect()
}
