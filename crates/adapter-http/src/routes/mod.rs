//! The one table of routes, and the OpenAPI document that is made from it.

pub(crate) mod openapi;

use actix_web::web;
use utoipa_actix_web::{scope, service_config::ServiceConfig};

use crate::{
    api::{blocks, domains, keys, links, stats},
    ops::health,
    redirect::{follow, preview, qr},
    request::methods::nothing_there,
    site::{docs, front},
};

/// Every route there is. The three that take any code come last.
pub(crate) fn routes(config: &mut ServiceConfig<'_>) {
    config
        .service(
            scope("/api/v1")
                .service(links::claim::claim)
                .service(links::batch::claim_batch)
                // No link can have the code `batch`, so the other methods of a link have nothing to do here.
                .route("/links/batch", web::to(nothing_there))
                .service(links::list::list)
                .service(links::read::read)
                .service(links::edit::edit)
                .service(links::delete::delete)
                .service(links::reactivate::reactivate)
                .service(links::history::history)
                .service(stats::of_link)
                .service(stats::of_all)
                .service(stats::top)
                .service(stats::orphans)
                .service(links::qr::show)
                .service(domains::add)
                .service(domains::list)
                .service(domains::read)
                .service(domains::edit)
                .service(domains::remove)
                .service(keys::create)
                .service(keys::list)
                .service(keys::read)
                .service(keys::revoke)
                .service(blocks::create)
                .service(blocks::list)
                .service(blocks::lift),
        )
        .service(health::livez)
        .service(health::readyz)
        .service(health::health)
        .service(docs::document)
        .service(docs::errors)
        .service(docs::asset)
        .service(docs::reader)
        .service(front::front)
        .service(front::robots)
        .service(front::favicon)
        .service(front::well_known)
        .service(preview::show)
        .service(qr::show)
        .service(follow::follow);
}
