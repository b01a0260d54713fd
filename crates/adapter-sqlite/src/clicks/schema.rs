//! The tables that the query builder knows, as the migrations make them.

diesel::table! {
    click_streams (id) {
        id -> Binary,
        acked -> BigInt,
        dropped -> BigInt,
        updated_at -> BigInt,
    }
}
