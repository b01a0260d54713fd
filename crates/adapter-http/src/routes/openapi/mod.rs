//! The OpenAPI document, made from the handlers, and what is derived from it.
//!
//! | file    | holds                                                 |
//! |---------|-------------------------------------------------------|
//! | `mod`   | the document, made from the routes                    |
//! | `shape` | what generated clients need beyond that               |
//! | `older` | the same as OpenAPI 3.0                               |

mod older;
mod shape;

use actix_web::{App, http::Method};
use utoipa::{
    OpenApi,
    openapi::{
        Components, Content, HttpMethod, OpenApi as Document, PathItem, Ref, RefOr, Response,
        path::Operation,
        security::{ApiKey, ApiKeyValue, HttpAuthScheme, HttpBuilder, SecurityScheme},
    },
};
use utoipa_actix_web::AppExt;

use super::routes;
use crate::{
    api::{
        links::list::{SortSchema, StateSchema},
        stats::question::{BotsSchema, CompareSchema, IntervalSchema},
    },
    problem::{PROBLEM_JSON, ProblemBody, ProblemKind},
    request::methods::{PICTURE, RouteTable},
};

#[derive(OpenApi)]
#[openapi(
    info(
        title = "Signpost",
        description = "A URL shortener that manages a link's whole life: the same URL gives the same link, a deleted link is brought back, a code is never given to another link.",
        license(name = "GPL-3.0-or-later", identifier = "GPL-3.0-or-later"),
        contact(name = "Signpost", url = "https://github.com/signpost-shortener/signpost")
    ),
    tags(
        (name = "links", description = "Claim, read, list, edit, delete, reactivate"),
        (name = "statistics", description = "Clicks, over time and by what they tell (scope `stats:read`)"),
        (name = "keys", description = "API keys (scope `admin`)"),
        (name = "blocks", description = "Takedowns (scope `admin`)"),
        (name = "redirects", description = "What visitors see"),
        (name = "health", description = "For probes and people on call"),
        (name = "pages", description = "Documentation and files that are not links")
    ),
    components(schemas(ProblemBody, StateSchema, SortSchema, IntervalSchema, BotsSchema, CompareSchema))
)]
struct Base;

/// The document.
pub(crate) fn document() -> Document {
    let (_, mut document) = App::new().into_utoipa_app().openapi(Base::openapi()).configure(routes).split_for_parts();
    // The server that the document came from, so that a reader of it calls that server.
    document.servers = Some(vec![utoipa::openapi::Server::new("/")]);
    let components = document.components.get_or_insert_with(Components::new);
    let bearer = HttpBuilder::new().scheme(HttpAuthScheme::Bearer).bearer_format("sgn_…").build();
    components.add_security_scheme("bearer", SecurityScheme::Http(bearer));
    let header = ApiKey::Header(ApiKeyValue::new("X-API-Key"));
    components.add_security_scheme("header", SecurityScheme::ApiKey(header));
    for (path, item) in &mut document.paths.paths {
        for (method, operation) in operations(item) {
            add_problems(path, &method, operation);
            if method == HttpMethod::Head {
                operation.operation_id = operation.operation_id.take().map(|id| format!("{id}_head"));
                // The same head, without a body.
                for response in operation.responses.responses.values_mut() {
                    if let RefOr::T(response) = response {
                        response.content.clear();
                    }
                }
            }
        }
    }
    document
}

/// A version of OpenAPI.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OpenApiVersion {
    /// 3.1
    #[default]
    V3_1,
    /// 3.0
    V3_0,
}

/// The document as JSON.
pub fn openapi_json(version: OpenApiVersion) -> String {
    let mut json = shaped(&document());
    if version == OpenApiVersion::V3_0 {
        older::rewrite(&mut json);
    }
    to_text(&json)
}

/// The document as JSON, as it is served.
pub(crate) fn written(document: &Document) -> String {
    to_text(&shaped(document))
}

/// The document with all that generated clients and people need.
pub(crate) fn shaped(document: &Document) -> serde_json::Value {
    let mut json = serde_json::to_value(document).expect("an OpenAPI document is JSON");
    shape::add_to(&mut json);
    json
}

fn to_text(json: &serde_json::Value) -> String {
    serde_json::to_string_pretty(json).expect("JSON can be written")
}

fn operations(item: &mut PathItem) -> Vec<(HttpMethod, &mut Operation)> {
    let methods = [
        (HttpMethod::Get, &mut item.get),
        (HttpMethod::Head, &mut item.head),
        (HttpMethod::Post, &mut item.post),
        (HttpMethod::Patch, &mut item.patch),
        (HttpMethod::Delete, &mut item.delete),
    ];
    methods.into_iter().filter_map(|(method, operation)| Some((method, operation.as_mut()?))).collect()
}

/// Adds the problems of an operation. They follow from what it has: a key, a body, a parameter in its path, a store.
fn add_problems(path: &str, method: &HttpMethod, operation: &mut Operation) {
    use ProblemKind as Kind;
    let mut kinds =
        vec![Kind::MalformedRequest, Kind::HeadersTooLarge, Kind::RequestTimeout, Kind::Internal, Kind::Unavailable];
    if !["/livez", "/readyz", "/health"].contains(&path) {
        kinds.push(Kind::QuotaExceeded);
    }
    if operation.security.is_some() {
        kinds.extend([Kind::Unauthenticated, Kind::Forbidden]);
    }
    if operation.request_body.is_some() {
        kinds.extend([Kind::PayloadTooLarge, Kind::UnsupportedMediaType]);
    }
    if path.ends_with(PICTURE) {
        kinds.push(Kind::ValidationFailed);
    }
    if operation.security.is_some() {
        kinds.push(Kind::ValidationFailed);
        if !matches!(method, HttpMethod::Get | HttpMethod::Head) {
            kinds.push(Kind::StorageFull);
        }
    }
    if path.contains('{') {
        kinds.push(Kind::NotFound);
    }
    if path.ends_with('+') {
        kinds.push(Kind::NotAcceptable);
    }
    for kind in kinds {
        let entry = kind.entry();
        let reference = RefOr::Ref(Ref::from_schema_name("Problem"));
        let content = Content::builder().schema(Some(reference)).build();
        let response = Response::builder().description(entry.title).content(PROBLEM_JSON, content).build();
        operation.responses.responses.entry(entry.status.to_string()).or_insert(RefOr::T(response));
    }
}

/// The words that are paths of their own, in the place of a code.
pub const PATH_WORDS: [&str; 7] = ["docs", "favicon.ico", "health", "livez", "openapi.json", "readyz", "robots.txt"];

/// The methods of each path, taken from the document.
pub(crate) fn route_table(document: &mut Document) -> RouteTable {
    let method = |method| match method {
        HttpMethod::Get => Method::GET,
        HttpMethod::Head => Method::HEAD,
        HttpMethod::Post => Method::POST,
        HttpMethod::Patch => Method::PATCH,
        _ => Method::DELETE,
    };
    RouteTable::new(
        document
            .paths
            .paths
            .iter_mut()
            .map(|(path, item)| (path.clone(), operations(item).into_iter().map(|(name, _)| method(name)).collect())),
    )
}

#[cfg(test)]
mod tests {
    use domain::code::is_reserved;

    use super::*;

    #[test]
    fn every_word_that_a_route_uses_is_reserved() {
        for path in document().paths.paths.keys() {
            let word = path.split('/').nth(1).unwrap_or_default();
            let could_be_a_code = domain::code::Code::parse_alias(word).is_ok();
            assert!(!could_be_a_code || is_reserved(word), "{path}");
        }
        let planned = ["console", "live", "logs", "events", "metrics", "yourls-api"];
        for word in PATH_WORDS.into_iter().chain(["api"]).chain(planned) {
            assert!(is_reserved(word), "{word}");
        }
    }

    #[test]
    fn the_table_knows_the_methods_of_each_path() {
        let table = route_table(&mut document());
        for (path, methods) in [
            ("/api/v1/links", Some("GET, HEAD, POST, OPTIONS")),
            ("/api/v1/links/batch", Some("POST, OPTIONS")),
            ("/api/v1/links/abc", Some("GET, HEAD, PATCH, DELETE, OPTIONS")),
            ("/api/v1/links/abc/reactivate", Some("POST, OPTIONS")),
            ("/api/v1/keys/abc", Some("GET, HEAD, DELETE, OPTIONS")),
            ("/abc", Some("GET, HEAD, OPTIONS")),
            ("/abc+", Some("GET, HEAD, OPTIONS")),
            ("/abc.qr", Some("GET, HEAD, OPTIONS")),
            ("/api/v1/links/abc/qr", Some("GET, HEAD, OPTIONS")),
            ("/livez", Some("GET, HEAD, OPTIONS")),
            ("/", Some("GET, HEAD, OPTIONS")),
            ("*", Some("GET, HEAD, POST, PATCH, DELETE, OPTIONS")),
            ("/a/b", None),
            ("/api/v1/links/", None),
        ] {
            assert_eq!(table.allowed(path).as_deref(), methods, "{path}");
        }
        let words = table.templates().filter_map(|template| match template {
            [_, word] if !word.is_empty() && !word.starts_with('{') => Some(word.as_str()),
            _ => None,
        });
        let mut words: Vec<_> = words.collect();
        words.sort_unstable();
        assert_eq!(words, PATH_WORDS);
    }
}
