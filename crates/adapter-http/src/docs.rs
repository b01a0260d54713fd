//! The contract for people: the OpenAPI document, an offline reader, and the page that problems point to.

use std::sync::Arc;

use actix_web::{
    HttpResponse, Responder,
    http::header::{self, ContentType},
    route, web,
};
use utoipa_swagger_ui::{Config, serve};

use crate::{
    pages::{escaped, html},
    problem::{Problem, ProblemEntry, ProblemKind},
    state::State,
};

/// The OpenAPI document.
#[utoipa::path(method(get, head), path = "/openapi.json", tag = "pages", operation_id = "openapi",
    responses((status = 200, description = "This document", body = Object, content_type = "application/json")))]
#[route("/openapi.json", method = "GET", method = "HEAD")]
pub(crate) async fn document(state: web::Data<State>) -> impl Responder {
    HttpResponse::Ok().content_type(ContentType::json()).body(state.openapi.clone())
}

/// The reader's page: its scripts and styles come from here, none from elsewhere.
const READER: &str = r#"<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>API – Signpost</title>
<link rel="stylesheet" href="/docs/assets/swagger-ui.css">
</head>
<body>
<div id="swagger-ui"></div>
<script src="/docs/assets/swagger-ui-bundle.js"></script>
<script src="/docs/assets/start.js"></script>
</body>
</html>
"#;

const START: &str = r##"window.ui = SwaggerUIBundle({ url: "/openapi.json", dom_id: "#swagger-ui", deepLinking: true });
"##;

/// The document for people, offline.
#[utoipa::path(method(get, head), path = "/docs", tag = "pages", operation_id = "docs",
    responses((status = 200, description = "The reader", body = String, content_type = "text/html")))]
#[route("/docs", method = "GET", method = "HEAD")]
pub(crate) async fn reader() -> impl Responder {
    HttpResponse::Ok()
        .content_type(ContentType::html())
        .insert_header((
            header::CONTENT_SECURITY_POLICY,
            "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; frame-ancestors 'none'",
        ))
        .body(READER)
}

/// The reader's scripts and styles.
#[utoipa::path(method(get, head), path = "/docs/assets/{file}", tag = "pages", operation_id = "docs_asset",
    params(("file" = String, Path, description = "Name of a file of the reader", example = "start.js")),
    responses((status = 200, description = "The file", body = String, content_type = "*/*")))]
#[route("/docs/assets/{file}", method = "GET", method = "HEAD")]
pub(crate) async fn asset(file: web::Path<String>) -> Result<HttpResponse, Problem> {
    if *file == "start.js" {
        return Ok(HttpResponse::Ok().content_type("text/javascript").body(START));
    }
    let known = serve(&file, Arc::new(Config::from("/openapi.json"))).ok().flatten();
    let asset = known.ok_or_else(|| Problem::new(ProblemKind::NotFound))?;
    Ok(HttpResponse::Ok().content_type(asset.content_type).body(asset.bytes.into_owned()))
}

/// Every problem this API answers with; the `type` of each leads here.
#[utoipa::path(method(get, head), path = "/docs/errors", tag = "pages", operation_id = "errors",
    responses((status = 200, description = "All problems", body = String, content_type = "text/html")))]
#[route("/docs/errors", method = "GET", method = "HEAD")]
pub(crate) async fn errors() -> impl Responder {
    let mut body = String::from(
        "<h1>Errors</h1>\n<p>Every answer with a status of 400 or more is a problem (RFC 9457). Its <code>type</code> leads here.</p>\n",
    );
    for kind in ProblemKind::ALL {
        let ProblemEntry { code, status, title, meaning } = kind.entry();
        let meaning = escaped(meaning);
        body.push_str(&format!(
            "<h2 id=\"{code}\">{title}</h2>\n<p><code>{code}</code>, status {status}. {meaning}</p>\n"
        ));
    }
    html("Errors", &body)
}
