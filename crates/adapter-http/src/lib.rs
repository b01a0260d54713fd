//! Signpost's HTTP adapter: the REST API, redirects and previews, health, and the OpenAPI document that describes them.
//!
//! Modules, from the top down. None imports from one above it, which `crates/app/tests/rooms.rs` checks:
//!
//! | module                             | holds                                                              |
//! |------------------------------------|--------------------------------------------------------------------|
//! | `server`                           | listener and workers, and the pipeline of every request            |
//! | `routes`                           | the table of routes, and the OpenAPI document made from it         |
//! | `api`, `redirect`, `site`, `ops`   | the handlers                                                       |
//! | `metrics`                          | what is counted of requests                                        |
//! | `response`                         | bodies of answers                                                  |
//! | `request`                          | what a handler works with                                          |
//! | `limits`                           | quotas, concurrency, memory                                        |
//! | `problem`                          | every way a request can fail                                       |
//! | `wire`, `html`, `qr`               | the stream guard in front of the HTTP library; HTML pages; QR codes |
//!
//! To add an endpoint:
//!
//! 1. Add one file under `api/` with its types and its handler, described by `utoipa::path`.
//! 2. Add one line in `routes`.
//! 3. If it can fail in a new way, add one entry to the table of `problem/kind.rs`.

mod api;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod html;
mod limits;
pub mod metrics;
mod ops;
pub mod problem;
mod qr;
mod redirect;
mod request;
mod response;
mod routes;
mod server;
mod site;
mod wire;

// The bodies of the fuzz targets name this crate; its own tests replay the corpus through them.
#[cfg(test)]
extern crate self as adapter_http;

pub use actix_server::ServerHandle;
pub use limits::{ForwardingField, Quota, Quotas, TrustedProxies};
pub use qr::{InvalidLogo, Logo};
pub use request::cors::Origins;
pub use request::inherited_codes::InheritedCodes;
pub use request::state::{
    ClickServices, ClickSettings, CurrentPolicy, OwnPages, Phase, Services, Settings, TaskState, Tasks, UnknownHost,
};
pub use routes::openapi::{OpenApiVersion, PATH_WORDS, openapi_json};
pub use server::access_log::REQUEST_TAG;
pub use server::{
    ConcurrencyStatus, ConnectionStatus, FailedShares, Scrape, ScrapeFormat, ServerOptions, ServerStatus, serve,
    serve_ops,
};
