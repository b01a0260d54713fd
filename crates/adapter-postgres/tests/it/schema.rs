//! The database itself refuses what the rules forbid, whichever client asks.

use test_support::TestDatabase;

use crate::{empty_database, fresh, options, store};

/// A valid link.
const GOOD: [(&str, &str); 18] = [
    ("id", "gen_random_uuid()"),
    ("code", "'abcdef'"),
    ("owner_id", "'default'"),
    ("target", "'https://example.com/'"),
    ("redirect", "302"),
    ("forward_query", "false"),
    ("expires_at", "NULL"),
    ("title", "NULL"),
    ("tags", "'{}'"),
    ("state", "'active'"),
    ("deduplicated", "true"),
    ("dedup_key", "decode(repeat('00', 32), 'hex')"),
    ("activation_id", "gen_random_uuid()"),
    ("generation", "1"),
    ("created_at", "'2026-01-01T00:00:00Z'"),
    ("updated_at", "'2026-01-01T00:00:00Z'"),
    ("deleted_at", "NULL"),
    ("reactivated_at", "NULL"),
];

/// Inserts the valid link with some columns changed.
fn insert(database: &TestDatabase, changes: &[(&str, &str)]) -> Result<String, String> {
    let value = |(name, good): &(&str, &'static str)| {
        let changed = changes.iter().find(|(changed, _)| changed == name);
        changed.map_or((*good).to_owned(), |(_, value)| (*value).to_owned())
    };
    let names: Vec<_> = GOOD.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = GOOD.iter().map(value).collect();
    database.sql(&format!("INSERT INTO links ({}) VALUES ({})", names.join(", "), values.join(", ")))
}

#[tokio::test(flavor = "multi_thread")]
async fn every_broken_link_is_refused_by_a_named_constraint() {
    let (_store, database) = fresh().await;
    for (changes, constraint) in [
        (&[("code", "''")][..], "links_code_check"),
        (&[("code", "'.ab'")], "links_code_check"),
        (&[("code", "'ab.'")], "links_code_check"),
        (&[("code", "'a..b'")], "links_code_check"),
        (&[("code", "repeat('a', 65)")], "links_code_check"),
        (&[("code", "'a b c'")], "links_code_check"),
        (&[("code", "E'abc\\n'")], "links_code_check"),
        (&[("owner_id", "'Upper'")], "links_owner_check"),
        (&[("target", "'https://example.com/' || repeat('a', 32749)")], "links_target_check"),
        (&[("target", "'ftp://example.com/'")], "links_target_check"),
        (&[("target", "'https://exa mple.com/'")], "links_target_check"),
        (&[("redirect", "303")], "links_redirect_check"),
        (&[("title", "''")], "links_title_check"),
        (&[("tags", "array_fill('x'::text, ARRAY[21])")], "links_tags_check"),
        (&[("state", "'expired'")], "links_state_check"),
        (&[("state", "'deleted'")], "links_deleted_at_check"),
        (&[("deleted_at", "'2026-01-01T00:00:00Z'")], "links_deleted_at_check"),
        (&[("dedup_key", "'\\x00'")], "links_dedup_key_check"),
        (&[("generation", "0")], "links_generation_check"),
    ] {
        let refused = insert(&database, changes).expect_err(constraint);
        assert!(refused.contains(constraint), "{changes:?}: {refused}");
    }
    insert(&database, &[]).expect("the valid link is accepted");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_code_and_a_behaviour_are_given_once_deleted_or_not() {
    let (_store, database) = fresh().await;
    let deleted = [("state", "'deleted'"), ("deleted_at", "'2026-01-01T00:00:00Z'")];
    insert(&database, &deleted).expect("the first link");
    let same_code = insert(&database, &[("dedup_key", "decode(repeat('01', 32), 'hex')")]).expect_err("taken");
    assert!(same_code.contains("links_code_key"), "{same_code}");
    let same_key = insert(&database, &[("code", "'another'")]).expect_err("taken");
    assert!(same_key.contains("links_dedup_key"), "{same_key}");
    insert(&database, &[("code", "'another'"), ("deduplicated", "false")]).expect("deduplication is off");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_never_changes_cannot_be_changed() {
    let (_store, database) = fresh().await;
    insert(&database, &[("generation", "2"), ("deduplicated", "false")]).expect("a link");
    let event = "INSERT INTO link_events SELECT id, 2, 'edited', 'system', 'r', now(), code FROM links";
    database.sql(event).expect("an event");
    for forbidden in [
        "UPDATE links SET code = 'another'",
        "UPDATE links SET domain_id = 1",
        "UPDATE links SET owner_id = 'another'",
        "UPDATE links SET generation = 1",
        "UPDATE links SET deduplicated = true",
        "DELETE FROM links",
        "UPDATE link_events SET actor = 'anonymous'",
        "DELETE FROM link_events",
        "INSERT INTO link_events SELECT id, 2, 'edited', 'system', 'r', now(), code FROM links",
        "INSERT INTO link_events SELECT id, 1, 'edited', 'system', 'r', now(), code FROM links",
        "TRUNCATE links, link_events",
        "TRUNCATE links CASCADE",
        "TRUNCATE link_events",
    ] {
        database.sql(forbidden).expect_err(forbidden);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn blocks_are_whole_lifted_once_and_never_removed() {
    let (_store, database) = fresh().await;
    let block = |columns: &str| {
        let [kind, value, reason, lifted_at, lifted_by] = columns.split('|').collect::<Vec<_>>()[..] else {
            panic!("five")
        };
        format!(
            "INSERT INTO blocks VALUES (gen_random_uuid(), {kind}, {value}, {reason}, now(), 'system', {lifted_at}, {lifted_by})"
        )
    };
    for broken in [
        "'link'|'abc'|'why'|NULL|NULL",
        "'code'|''|'why'|NULL|NULL",
        "'code'|'abc'|''|NULL|NULL",
        "'code'|'abc'|'why'|now()|NULL",
        "'code'|'abc'|'why'|NULL|'system'",
    ] {
        database.sql(&block(broken)).expect_err(broken);
    }
    database.sql(&block("'code'|'abc'|'why'|NULL|NULL")).expect("a block");
    for forbidden in [
        block("'code'|'abc'|'again'|NULL|NULL").as_str(),
        "UPDATE blocks SET value = 'xyz'",
        "UPDATE blocks SET reason = 'another'",
        "DELETE FROM blocks",
        "TRUNCATE blocks",
        "INSERT INTO blocks_revision VALUES (true, 7, gen_random_uuid())",
    ] {
        database.sql(forbidden).expect_err(forbidden);
    }
    database.sql("UPDATE blocks SET lifted_at = now(), lifted_by = 'system'").expect("it is lifted");
    database.sql("UPDATE blocks SET lifted_at = NULL, lifted_by = NULL").expect_err("it stays lifted");
    database.sql(&block("'code'|'abc'|'again'|NULL|NULL")).expect("it can be blocked again");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_migration_can_be_taken_back_and_applied_again() {
    let database = empty_database();
    let store = store(&options(&database.url()));
    let names = store.migrate().await.expect("an empty database takes every migration");
    for name in names.iter().rev() {
        assert_eq!(store.revert().await.expect("down.sql works").as_ref(), Some(name));
    }
    assert_eq!(store.revert().await.expect("nothing to do"), None);
    assert!(store.migrations().await.expect("readable").iter().all(|status| !status.applied));
    assert_eq!(store.migrate().await.expect("up.sql works again"), names);
    assert!(store.migrations().await.expect("readable").iter().all(|status| status.applied));
}

#[tokio::test(flavor = "multi_thread")]
async fn two_that_migrate_at_once_both_succeed_and_one_applies() {
    let database = empty_database();
    let (one, other) = (store(&options(&database.url())), store(&options(&database.url())));
    let (one, other) = tokio::join!(
        tokio::spawn(async move { one.migrate().await }),
        tokio::spawn(async move { other.migrate().await })
    );
    let applied = |outcome: Result<Result<Vec<_>, _>, _>| outcome.expect("no panic").expect("migrating succeeds").len();
    let mut applied = [applied(one), applied(other)];
    applied.sort_unstable();
    let known = store(&options(&database.url())).migrations().await.expect("they are known");
    assert_eq!(applied, [0, known.len()]);
}
