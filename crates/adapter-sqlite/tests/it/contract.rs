//! The contract of all stores.

test_support::contract_suite!(crate::fresh);

mod clicks {
    test_support::click_contract_suite!(crate::clicks::fresh);
}
