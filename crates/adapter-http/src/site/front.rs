//! The few pages and files that are not links: the front page, robots, icon, and files of the operator's own.

use std::{collections::BTreeMap, path::Path, sync::Arc};

use actix_web::{
    HttpRequest, HttpResponse, Responder,
    http::header::{self, ContentType},
    route, web,
};
use bytes::Bytes;
use domain::{click::OrphanReason, short_domain::RobotsRule};
use serde::de::IgnoredAny;

use crate::{
    html::html,
    problem::{Problem, ProblemKind},
    request::{context::InContext, state::State},
    response::body::Shared,
};

/// A page that says what this service is and where its documentation is, or a redirect to the operator's own page.
#[utoipa::path(method(get, head), path = "/", tag = "pages", operation_id = "front_page",
    responses(
        (status = 200, description = "What this service is", body = String, content_type = "text/html"),
        (status = 302, description = "The operator's own page", headers(("Location" = String)))))]
#[route("/", method = "GET", method = "HEAD")]
pub(crate) async fn front(
    state: web::Data<State>,
    InContext(context): InContext,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let visited = context.visit(request.head())?;
    context.record_orphan(request.method(), OrphanReason::Bare);
    Ok(match visited.landing_url().or(state.settings.landing_url.as_deref()) {
        Some(url) => HttpResponse::Found().insert_header((header::LOCATION, url)).finish(),
        None => html(
            "URL shortener",
            "<h1>Signpost</h1>\n<p>This is a URL shortener. Add <code>+</code> to a short address to see where it leads.</p>\n\
             <p><a href=\"/docs\">API documentation</a> · <a href=\"/docs/errors\">Errors</a></p>\n",
        ),
    })
}

/// Rules for crawlers.
///
/// Crawlers may follow links unless the operator forbids it: where a link is shared, a crawler fetches its preview.
/// Search indexes should not contain links, which each redirect says itself (`X-Robots-Tag`).
#[utoipa::path(method(get, head), path = "/robots.txt", tag = "pages", operation_id = "robots",
    responses((status = 200, description = "Rules for crawlers", body = String, content_type = "text/plain")))]
#[route("/robots.txt", method = "GET", method = "HEAD")]
pub(crate) async fn robots(
    state: web::Data<State>,
    files: web::Data<WellKnown>,
    InContext(context): InContext,
    request: HttpRequest,
) -> Result<HttpResponse, Problem> {
    let rule = context.visit(request.head())?.robots();
    if let Some(file) = files.file("robots.txt") {
        return Ok(file);
    }
    let rules = if state.settings.crawlable && rule != RobotsRule::Disallow {
        "Disallow: /api/\nDisallow: /console$\nDisallow: /console/\n"
    } else {
        "Disallow: /\n"
    };
    Ok(HttpResponse::Ok()
        .content_type(ContentType::plaintext())
        .insert_header((header::CACHE_CONTROL, "public, max-age=3600"))
        .body(format!("User-agent: *\n{rules}")))
}

/// There is no icon; browsers ask anyway.
#[utoipa::path(method(get, head), path = "/favicon.ico", tag = "pages", operation_id = "favicon",
    responses((status = 204, description = "None")))]
#[route("/favicon.ico", method = "GET", method = "HEAD")]
pub(crate) async fn favicon() -> impl Responder {
    HttpResponse::NoContent().insert_header((header::CACHE_CONTROL, "public, max-age=86400")).finish()
}

/// A file of the operator's own under `/.well-known` (RFC 8615): `security.txt`, or what the operator's apps need.
#[utoipa::path(method(get, head), path = "/.well-known/{file}", tag = "pages", operation_id = "well_known",
    params(("file" = String, Path, description = "Name of the file", example = "security.txt")),
    responses((status = 200, description = "The file", content((String = "text/plain"), (serde_json::Value = "application/json")))))]
#[route("/.well-known/{file}", method = "GET", method = "HEAD")]
pub(crate) async fn well_known(files: web::Data<WellKnown>, file: web::Path<String>) -> Result<HttpResponse, Problem> {
    files.file(&file).ok_or_else(|| Problem::new(ProblemKind::NotFound))
}

/// Files of the operator's own, read at the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct WellKnown(Arc<BTreeMap<String, (ContentType, Bytes)>>);

impl WellKnown {
    /// These files, by their names.
    pub(crate) fn new(files: BTreeMap<String, Vec<u8>>) -> Self {
        let typed = |(name, bytes): (String, Vec<u8>)| {
            // `apple-app-site-association` is JSON by contract, but its name has no ending.
            let is_json = Path::new(&name).extension().is_some_and(|ending| ending == "json")
                || serde_json::from_slice::<IgnoredAny>(&bytes).is_ok();
            (name, (if is_json { ContentType::json() } else { ContentType::plaintext() }, bytes.into()))
        };
        Self(Arc::new(files.into_iter().map(typed).collect()))
    }

    fn file(&self, name: &str) -> Option<HttpResponse> {
        let (media_type, bytes) = self.0.get(name)?.clone();
        let mut answer = HttpResponse::Ok();
        answer.content_type(media_type).insert_header((header::CACHE_CONTROL, "public, max-age=3600"));
        Some(answer.body(Shared::new(bytes)))
    }
}
