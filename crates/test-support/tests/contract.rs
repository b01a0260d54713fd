//! Runs the contract suite over the in-memory store, because the other stores are compared with it.

use std::sync::Arc;

use test_support::MemoryStore;

async fn fresh() -> (Arc<MemoryStore>, ()) {
    (Arc::default(), ())
}

mod contract {
    test_support::contract_suite!(super::fresh);
}

/// The suite for a store without API keys and blocks.
mod links_alone {
    test_support::link_contract_suite!(super::fresh);
}

mod clicks {
    use std::sync::Arc;

    use test_support::MemoryStore;

    async fn fresh() -> (Arc<MemoryStore>, Arc<MemoryStore>, ()) {
        let store = Arc::<MemoryStore>::default();
        (store.clone(), store, ())
    }

    mod contract {
        test_support::click_contract_suite!(super::fresh);
    }
}
