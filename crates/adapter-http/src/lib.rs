//! Signpost's HTTP face: the REST API, redirects and previews, health, and the contract that describes them.
//!
//! Data flows one way: bytes are judged by the stream guard (`wire`), every request gets its names, its time
//! budget and its log line at the door (`door`) or in the outermost middleware (`observe`), is counted (`client`,
//! `limits`), a handler reads it into domain types, calls one service and maps the answer. Every failure is a
//! [`problem::ProblemKind`].
//!
//! To add an endpoint: 1. one file under `api/` with its types and its handler, described by
//! `utoipa::path`; 2. one line in `openapi::routes`; 3. if it can fail in a new way, one entry in the table of
//! `problem/kind.rs`.

mod accept;
mod access_log;
mod answer;
mod api;
mod auth;
mod body;
mod budget;
mod client;
mod context;
mod cors;
mod cursor;
mod docs;
mod door;
mod experience;
mod fixed;
#[cfg(any(fuzzing, test))]
pub mod fuzzing;
mod gate;
mod health;
mod inherited;
mod json;
mod limits;
mod observe;
mod openapi;
mod pages;
mod preconditions;
mod preview;
pub mod problem;
mod redirect;
mod server;
mod slashes;
mod state;
mod unread;
mod wire;

// The bodies of the fuzz targets name this crate; its own tests replay the corpus through them.
#[cfg(test)]
extern crate self as adapter_http;

pub use access_log::REQUEST_TAG;
pub use client::{ForwardingField, TrustedProxies};
pub use cors::Origins;
pub use health::{TaskState, Tasks};
pub use inherited::InheritedCodes;
pub use limits::{Quota, Quotas};
pub use openapi::{OpenApiVersion, PATH_WORDS, openapi_json};
pub use pages::WellKnown;
pub use server::{ServerOptions, serve};
pub use state::{CurrentPolicy, OwnPages, Phase, Services, Settings};
