//! How long counting clicks and their statistics take, on a server of its own with default durability. With any argument: only
//! counting.

use std::{sync::Arc, time::Duration};

use adapter_postgres::{PostgresOptions, PostgresStore, TlsPolicy};
use test_support::{
    PostgresServer, ServerOptions,
    contract::{ClickSubject, click_figures, click_load_figures},
};
use tokio::runtime::Handle;

#[tokio::main]
#[expect(clippy::disallowed_macros, clippy::print_stdout, reason = "the figures are the result")]
async fn main() {
    let server = PostgresServer::start(ServerOptions { durable: true, ..ServerOptions::default() });
    let database = server.create_database();
    let options = PostgresOptions {
        url: database.socket_url(),
        pool_size: 4,
        redirect_pool_size: 1,
        list_pool_size: 1,
        shipping_pool_size: PostgresOptions::SHIPPING_POOL_SIZE,
        statistics_pool_size: PostgresOptions::STATISTICS_POOL_SIZE,
        tls: TlsPolicy::OffHost,
        tls_ca_file: None,
        connect_timeout: Duration::from_secs(10),
        pool_timeout: Duration::from_secs(10),
        statement_timeout: Duration::from_mins(1),
    };
    let store = Arc::new(PostgresStore::new(&options, Handle::current()).expect("the options are valid"));
    store.migrate().await.expect("a new database takes every migration");
    let subject = ClickSubject::over(store.clone(), store, 7);
    let mut figures = click_load_figures(subject.clone(), &[5_000, 25_000, 50_000]).await;
    if std::env::args().len() == 1 {
        figures.extend(click_figures(subject).await);
    }
    for (what, time) in figures {
        println!("{:12.2} µs  {what}", time.as_secs_f64() * 1_000_000.0);
    }
}
