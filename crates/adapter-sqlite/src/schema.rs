//! The tables, as the migrations make them.

diesel::table! {
    links (id) {
        id -> Binary,
        domain_id -> SmallInt,
        code -> Text,
        owner_id -> Text,
        target -> Text,
        redirect -> Integer,
        forward_query -> Bool,
        expires_at -> Nullable<BigInt>,
        title -> Nullable<Text>,
        tags -> Text,
        state -> Text,
        deduplicated -> Bool,
        dedup_key -> Binary,
        generation -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
        deleted_at -> Nullable<BigInt>,
        reactivated_at -> Nullable<BigInt>,
    }
}

diesel::table! {
    link_events (seq) {
        seq -> BigInt,
        link_id -> Binary,
        domain_id -> SmallInt,
        code -> Text,
        generation -> BigInt,
        kind -> Text,
        actor -> Text,
        request_id -> Text,
        at -> BigInt,
    }
}

diesel::table! {
    idempotency_keys (actor, key) {
        actor -> Text,
        key -> Text,
        fingerprint -> Binary,
        answer -> Text,
        recorded_at -> BigInt,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Text,
        name -> Text,
        owner_id -> Text,
        scopes -> Text,
        domains -> Text,
        digest -> Binary,
        created_at -> BigInt,
        expires_at -> Nullable<BigInt>,
        last_used_at -> Nullable<BigInt>,
        revoked_at -> Nullable<BigInt>,
        created_by -> Text,
        revoked_by -> Nullable<Text>,
    }
}

diesel::table! {
    blocks (id) {
        id -> Binary,
        kind -> Text,
        value -> Text,
        reason -> Text,
        created_at -> BigInt,
        created_by -> Text,
        lifted_at -> Nullable<BigInt>,
        lifted_by -> Nullable<Text>,
    }
}

diesel::table! {
    blocks_revision (single) {
        single -> BigInt,
        number -> BigInt,
        id -> Binary,
    }
}

diesel::table! {
    unfinished_upgrades (name) {
        name -> Text,
        after -> Nullable<Binary>,
    }
}

diesel::table! {
    short_domains (id) {
        id -> SmallInt,
        host -> Nullable<Text>,
        landing_url -> Nullable<Text>,
        not_found_url -> Nullable<Text>,
        gone_url -> Nullable<Text>,
        blocked_url -> Nullable<Text>,
        redirect -> Nullable<Integer>,
        robots -> Text,
        accepts_links -> Bool,
        generation -> BigInt,
        created_at -> BigInt,
        updated_at -> BigInt,
    }
}

diesel::joinable!(link_events -> links (link_id));
diesel::allow_tables_to_appear_in_same_query!(links, link_events);
