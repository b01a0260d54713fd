//! The least that a claim over HTTP can do: insert the row of a link into the same table of SQLite, over one
//! connection, in a transaction and with a sync of its own. No keys, limits, history or log. `just bench` measures
//! against it.
//!
//!     bare_claims ADDRESS:PORT FILE

#![expect(clippy::disallowed_methods, reason = "a side of a benchmark has no ports, so it reads the system clock")]

use std::{
    env::args,
    sync::Mutex,
    time::{SystemTime, UNIX_EPOCH},
};

use actix_web::{App, HttpResponse, HttpServer, http::header, web};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use uuid::Builder;

const SCHEMA: &str = include_str!("../../../migrations/sqlite/2026-11-24-000001_links/up.sql");
const INSERT: &str = "INSERT INTO links (id, code, owner_id, target, redirect, forward_query, tags, state, deduplicated, \
                      dedup_key, generation, created_at, updated_at) \
                      VALUES (?1, ?2, 'default', ?3, 302, 0, '[]', 'active', 1, ?4, 1, ?5, ?5)";

#[derive(Deserialize)]
struct Claim {
    url: String,
}

#[derive(Serialize)]
struct Link {
    code: String,
    url: String,
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let [address, file] = args().skip(1).collect::<Vec<_>>().try_into().expect("two arguments");
    let connection = Connection::open(file).expect("a file that can be made");
    connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL").expect("settings of SQLite");
    connection.execute_batch(SCHEMA).expect("a new file");
    let links = web::Data::new(Mutex::new(connection));
    HttpServer::new(move || App::new().app_data(links.clone()).default_service(web::post().to(claim)))
        .workers(1)
        .bind(address)?
        .run()
        .await
}

/// Blocks its worker: handing the row to another thread would only cost more.
async fn claim(links: web::Data<Mutex<Connection>>, claim: web::Json<Claim>) -> HttpResponse {
    let url = claim.into_inner().url;
    let digest = Sha256::digest(&url);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).expect("after 1970");
    let drawn = digest[..10].try_into().expect("ten of 32 bytes");
    let id =
        Builder::from_unix_timestamp_millis(u64::try_from(now.as_millis()).expect("before 2554"), &drawn).into_uuid();
    let code = URL_SAFE_NO_PAD.encode(&digest[10..16]);
    let micros = i64::try_from(now.as_micros()).expect("before 2262");
    let links = links.lock().expect("nothing panics while it is held");
    let mut insert = links.prepare_cached(INSERT).expect("the schema is there");
    insert.execute((id.as_bytes(), &code, &url, digest.as_slice(), micros)).expect("a new row");
    HttpResponse::Created().insert_header((header::LOCATION, format!("/{code}"))).json(Link { code, url })
}
