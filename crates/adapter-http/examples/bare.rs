//! The least that this HTTP library can do: one constant redirect, without routes, request ids, log or store.
//! `just bench` measures against it.
//!
//!     bare ADDRESS:PORT WORKERS

use std::env::args;

use actix_web::{App, HttpResponse, HttpServer, http::header, web};

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let mut arguments = args().skip(1);
    let address = arguments.next().expect("an address");
    let workers = arguments.next().and_then(|text| text.parse().ok()).expect("a number of workers");
    let redirect = || async {
        HttpResponse::Found()
            .insert_header((
                header::LOCATION,
                "https://example.com/a/target/that/is/as/long/as/targets/usually/are?a=1&b=2",
            ))
            .insert_header((header::CACHE_CONTROL, "private, max-age=10"))
            .finish()
    };
    HttpServer::new(move || App::new().default_service(web::to(redirect))).workers(workers).bind(address)?.run().await
}
