//! The contract of every store.

test_support::contract_suite!(super::fresh);
