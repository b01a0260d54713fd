//! The PostgreSQL store keeps the contract of all stores.

mod common;

mod contract {
    test_support::contract_suite!(super::common::fresh);
}
