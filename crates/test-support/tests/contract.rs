//! The in-memory store keeps the contract: what the other stores are compared with is proven itself.

use std::sync::Arc;

use test_support::MemoryStore;

async fn fresh() -> (Arc<MemoryStore>, ()) {
    (Arc::default(), ())
}

mod contract {
    test_support::contract_suite!(super::fresh);
}

/// As a store goes under it that keeps no API keys and no blocks.
mod links_alone {
    test_support::link_contract_suite!(super::fresh);
}
