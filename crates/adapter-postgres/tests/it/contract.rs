//! The contract of all stores.

test_support::contract_suite!(crate::fresh);
