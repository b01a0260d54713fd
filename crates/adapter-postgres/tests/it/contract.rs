//! The contract of all stores.

use std::sync::Arc;

use adapter_postgres::PostgresStore;
use test_support::TestDatabase;

test_support::contract_suite!(crate::fresh);

mod clicks {
    test_support::click_contract_suite!(super::fresh_for_clicks);
}

async fn fresh_for_clicks() -> (Arc<PostgresStore>, Arc<PostgresStore>, TestDatabase) {
    let (store, database) = crate::fresh().await;
    (store.clone(), store, database)
}
