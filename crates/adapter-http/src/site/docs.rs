//! The documentation: the OpenAPI document, an offline reader for people, and the page that problems point to.

use std::{
    borrow::Cow,
    collections::HashMap,
    path::Path,
    sync::{Arc, LazyLock, Mutex, PoisonError},
};

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    http::header::{self, HeaderValue},
    route, web,
};
use bytes::Bytes;
use serde_json::Value;
use utoipa_swagger_ui::{Config, SwaggerFile, serve};

use crate::{
    html::{escaped, guarded, page, with_code},
    problem::{Problem, ProblemEntry, ProblemKind},
    response::fixed::Fixed,
};

/// The OpenAPI document and the page that shows it to people, as they are served.
pub(crate) struct Documents {
    openapi: Fixed,
    reader: Fixed,
}

impl Documents {
    /// From the document as text and as JSON.
    pub(crate) fn new(text: String, contract: &Value) -> Self {
        let bytes = Bytes::from(text.into_bytes().into_boxed_slice());
        let openapi = Fixed::new(HeaderValue::from_static("application/json"), bytes);
        Self { openapi, reader: reader_page(contract) }
    }
}

/// The OpenAPI document.
#[utoipa::path(method(get, head), path = "/openapi.json", tag = "pages", operation_id = "openapi",
    responses((status = 200, description = "This document", body = Object, content_type = "application/json")))]
#[route("/openapi.json", method = "GET", method = "HEAD")]
pub(crate) async fn document(documents: web::Data<Documents>, request: HttpRequest) -> impl Responder {
    documents.openapi.answer(&request)
}

/// The reader's page. All its scripts and styles come from this process, none from elsewhere. Without scripts it lists
/// the operations.
fn reader_page(contract: &Value) -> Fixed {
    let mut list = String::new();
    for (path, item) in contract["paths"].as_object().into_iter().flatten() {
        for (method, operation) in item.as_object().into_iter().flatten().filter(|(method, _)| *method != "head") {
            let summary = operation["summary"].as_str().unwrap_or_default();
            let method = method.to_uppercase();
            list += &format!("<li><code>{method} {}</code> {}</li>\n", escaped(path), with_code(summary));
        }
    }
    let page = format!(
        r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<title>API – Signpost</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
<link rel="stylesheet" href="/docs/assets/start.css">
</head>
<body>
<main>
<div id="swagger-ui"></div>
<noscript>
<h1>Signpost</h1>
<p>With scripts this page is a reader of <a href="/openapi.json">the OpenAPI document</a>. <a href="/docs/errors">Errors</a> have a page of their own.</p>
<ul>
{list}</ul>
</noscript>
</main>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"#
    );
    Fixed::new(HeaderValue::from_static("text/html; charset=utf-8"), Bytes::from(page))
}

/// Our own files of the reader: the script that starts it, and the styles that override its own.
static OURS: LazyLock<[(&str, Fixed); 2]> = LazyLock::new(|| {
    let fixed = |media_type, text: &'static str| {
        Fixed::new(HeaderValue::from_static(media_type), Bytes::from_static(text.as_bytes()))
    };
    [
        ("start.js", fixed("text/javascript; charset=utf-8", include_str!("docs/start.js"))),
        ("start.css", fixed("text/css; charset=utf-8", include_str!("docs/start.css"))),
    ]
});

/// A reader of the OpenAPI document for people, which works offline.
#[utoipa::path(method(get, head), path = "/docs", tag = "pages", operation_id = "docs",
    responses((status = 200, description = "The reader", body = String, content_type = "text/html")))]
#[route("/docs", method = "GET", method = "HEAD")]
pub(crate) async fn reader(documents: web::Data<Documents>, request: HttpRequest) -> impl Responder {
    let mut page = documents.reader.answer(&request);
    page.headers_mut().insert(
        header::CONTENT_SECURITY_POLICY,
        HeaderValue::from_static(
            "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
        ),
    );
    page
}

/// The reader's scripts and styles.
#[utoipa::path(method(get, head), path = "/docs/assets/{file}", tag = "pages", operation_id = "docs_asset",
    params(("file" = String, Path, description = "Name of a file of the reader", example = "start.js")),
    responses((status = 200, description = "The file", content((String = "text/css"), (String = "text/javascript")))))]
#[route("/docs/assets/{file}", method = "GET", method = "HEAD")]
pub(crate) async fn asset(request: HttpRequest, file: web::Path<String>) -> Result<HttpResponse, Problem> {
    if let Some((_, asset)) = OURS.iter().find(|(name, _)| *name == *file) {
        return Ok(asset.answer(&request));
    }
    let asset = of_the_reader(&file).ok_or_else(|| Problem::new(ProblemKind::NotFound))?;
    asset.shrink_for(request.headers()).await;
    Ok(asset.answer(&request))
}

/// A file of the reader, held once for all requests. Only files of the reader are held, so their number is bounded.
fn of_the_reader(name: &str) -> Option<Arc<Fixed>> {
    static FILES: LazyLock<Mutex<HashMap<String, Arc<Fixed>>>> = LazyLock::new(Mutex::default);
    // The reader also brings pages of its own, which are not served.
    if !Path::new(name).extension().is_some_and(|ending| ending == "css" || ending == "js") {
        return None;
    }
    let mut files = FILES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(file) = files.get(name) {
        return Some(Arc::clone(file));
    }
    let file = serve(name, Arc::new(Config::from("/openapi.json"))).ok().flatten()?;
    let file = Arc::new(fixed(file)?);
    files.insert(name.to_owned(), Arc::clone(&file));
    Some(file)
}

fn fixed(file: SwaggerFile<'static>) -> Option<Fixed> {
    let SwaggerFile { bytes, content_type, gzpipped, .. } = file;
    let bytes = match bytes {
        Cow::Borrowed(bytes) => Bytes::from_static(bytes),
        Cow::Owned(bytes) => Bytes::from(bytes),
    };
    let content_type = HeaderValue::from_str(&content_type).ok()?;
    Some(if gzpipped { Fixed::compressed(content_type, bytes) } else { Fixed::new(content_type, bytes) })
}

/// Every problem this API answers with; the `type` of each leads here.
#[utoipa::path(method(get, head), path = "/docs/errors", tag = "pages", operation_id = "errors",
    responses((status = 200, description = "All problems", body = String, content_type = "text/html")))]
#[route("/docs/errors", method = "GET", method = "HEAD")]
pub(crate) async fn errors(request: HttpRequest) -> impl Responder {
    static PAGE: LazyLock<Fixed> = LazyLock::new(|| {
        let text = page("Errors", &errors_text());
        Fixed::new(HeaderValue::from_static("text/html; charset=utf-8"), Bytes::from(text))
    });
    guarded(PAGE.answer(&request))
}

fn errors_text() -> String {
    let mut body = String::from(
        "<h1>Errors</h1>\n<p>Every answer with a status of 400 or more is a problem (RFC 9457). Its <code>type</code> leads here.</p>\n",
    );
    for kind in ProblemKind::ALL {
        let ProblemEntry { code, status, title, meaning } = kind.entry();
        let meaning = with_code(meaning);
        body.push_str(&format!(
            "<h2 id=\"{code}\">{title}</h2>\n<p><code>{code}</code>, status {status}. {meaning}</p>\n"
        ));
    }
    body
}
