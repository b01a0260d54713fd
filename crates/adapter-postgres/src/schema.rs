//! The tables, as the migrations make them.

diesel::table! {
    links (id) {
        id -> Uuid,
        domain_id -> SmallInt,
        code -> Text,
        owner_id -> Text,
        target -> Text,
        redirect -> SmallInt,
        forward_query -> Bool,
        expires_at -> Nullable<Timestamptz>,
        title -> Nullable<Text>,
        tags -> Array<Text>,
        state -> Text,
        deduplicated -> Bool,
        dedup_key -> Binary,
        activation_id -> Uuid,
        generation -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
        deleted_at -> Nullable<Timestamptz>,
        reactivated_at -> Nullable<Timestamptz>,
    }
}

diesel::table! {
    link_events (link_id, generation) {
        link_id -> Uuid,
        domain_id -> SmallInt,
        code -> Text,
        generation -> BigInt,
        kind -> Text,
        actor -> Text,
        request_id -> Text,
        at -> Timestamptz,
    }
}

diesel::table! {
    idempotency_keys (actor, key) {
        actor -> Text,
        key -> Text,
        fingerprint -> Binary,
        answer -> Text,
        recorded_at -> Timestamptz,
    }
}

diesel::table! {
    api_keys (id) {
        id -> Text,
        name -> Text,
        owner_id -> Text,
        scopes -> Array<Text>,
        domains -> Array<SmallInt>,
        digest -> Binary,
        created_at -> Timestamptz,
        expires_at -> Nullable<Timestamptz>,
        last_used_at -> Nullable<Timestamptz>,
        revoked_at -> Nullable<Timestamptz>,
        created_by -> Text,
        revoked_by -> Nullable<Text>,
    }
}

diesel::table! {
    blocks (id) {
        id -> Uuid,
        kind -> Text,
        value -> Text,
        reason -> Text,
        created_at -> Timestamptz,
        created_by -> Text,
        lifted_at -> Nullable<Timestamptz>,
        lifted_by -> Nullable<Text>,
    }
}

diesel::table! {
    blocks_revision (single) {
        single -> Bool,
        number -> BigInt,
        id -> Uuid,
    }
}

diesel::table! {
    unfinished_upgrades (name) {
        name -> Text,
        after -> Nullable<Uuid>,
    }
}

diesel::table! {
    click_streams (id) {
        id -> Uuid,
        acked -> BigInt,
        dropped -> BigInt,
        updated_at -> Timestamptz,
    }
}

diesel::table! {
    link_totals (link_id) {
        link_id -> Uuid,
        owner -> Text,
        humans -> BigInt,
        bots -> BigInt,
        last_at -> Timestamptz,
    }
}

diesel::table! {
    link_days (link_id, day) {
        link_id -> Uuid,
        day -> Integer,
        humans -> BigInt,
        bots -> BigInt,
        counts -> Binary,
        visitors -> Nullable<Binary>,
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
        redirect -> Nullable<SmallInt>,
        robots -> Text,
        accepts_links -> Bool,
        generation -> BigInt,
        created_at -> Timestamptz,
        updated_at -> Timestamptz,
    }
}

diesel::joinable!(link_events -> links (link_id));
diesel::allow_tables_to_appear_in_same_query!(links, link_events);
