//! The database itself refuses what the rules forbid, whichever client asks.

use diesel::{Connection, SqliteConnection, connection::SimpleConnection};
use tempfile::TempDir;

use crate::{migrated_file, path};

/// A valid link.
const GOOD: [(&str, &str); 17] = [
    ("id", "randomblob(16)"),
    ("code", "'abcdef'"),
    ("owner_id", "'default'"),
    ("target", "'https://example.com/'"),
    ("redirect", "302"),
    ("forward_query", "0"),
    ("expires_at", "NULL"),
    ("title", "NULL"),
    ("tags", "'[]'"),
    ("state", "'active'"),
    ("deduplicated", "1"),
    ("dedup_key", "zeroblob(32)"),
    ("generation", "1"),
    ("created_at", "1"),
    ("updated_at", "1"),
    ("deleted_at", "NULL"),
    ("reactivated_at", "NULL"),
];

fn database() -> (SqliteConnection, TempDir) {
    let (_, folder) = migrated_file();
    let file = path(&folder);
    let connection = SqliteConnection::establish(file.to_str().expect("UTF-8")).expect("the file opens");
    (connection, folder)
}

/// Inserts the valid link with some columns changed.
fn insert(connection: &mut SqliteConnection, changes: &[(&str, &str)]) -> Result<(), String> {
    let value = |(name, good): &(&str, &'static str)| {
        let changed = changes.iter().find(|(changed, _)| changed == name);
        changed.map_or((*good).to_owned(), |(_, value)| (*value).to_owned())
    };
    let names: Vec<_> = GOOD.iter().map(|(name, _)| *name).collect();
    let values: Vec<_> = GOOD.iter().map(value).collect();
    let sql = format!("INSERT INTO links ({}) VALUES ({})", names.join(", "), values.join(", "));
    connection.batch_execute(&sql).map_err(|error| error.to_string())
}

#[test]
fn every_broken_link_is_refused_by_a_named_constraint() {
    let (mut connection, _folder) = database();
    for (changes, constraint) in [
        (&[("code", "''")][..], "links_code_check"),
        (&[("code", "'.ab'")], "links_code_check"),
        (&[("code", "'ab.'")], "links_code_check"),
        (&[("code", "'a..b'")], "links_code_check"),
        (&[("code", "hex(zeroblob(33))")], "links_code_check"),
        (&[("code", "'a b c'")], "links_code_check"),
        (&[("owner_id", "'Upper'")], "links_owner_check"),
        (&[("target", "'https://example.com/' || hex(zeroblob(16375))")], "links_target_check"),
        (&[("target", "'ftp://example.com/'")], "links_target_check"),
        (&[("target", "'https://exa mple.com/'")], "links_target_check"),
        (&[("redirect", "303")], "links_redirect_check"),
        (&[("title", "''")], "links_title_check"),
        (&[("tags", "'{}'")], "links_tags_check"),
        (&[("state", "'expired'")], "links_state_check"),
        (&[("state", "'deleted'")], "links_deleted_at_check"),
        (&[("deleted_at", "5")], "links_deleted_at_check"),
        (&[("dedup_key", "zeroblob(31)")], "links_dedup_key_check"),
        (&[("generation", "0")], "links_generation_check"),
        (&[("id", "zeroblob(15)")], "links_id_check"),
    ] {
        let refused = insert(&mut connection, changes).expect_err(constraint);
        assert!(refused.contains(constraint), "{changes:?}: {refused}");
    }
    insert(&mut connection, &[]).expect("the valid link is accepted");
}

#[test]
fn a_code_and_a_behaviour_are_given_once_deleted_or_not() {
    let (mut connection, _folder) = database();
    insert(&mut connection, &[("state", "'deleted'"), ("deleted_at", "5")]).expect("the first link");
    let same_code = insert(&mut connection, &[("dedup_key", "randomblob(32)")]).expect_err("the code is taken");
    assert!(same_code.contains("links.code"), "{same_code}");
    let same_key = insert(&mut connection, &[("code", "'another'")]).expect_err("the behaviour is taken");
    assert!(same_key.contains("links.dedup_key"), "{same_key}");
    insert(&mut connection, &[("code", "'another'"), ("deduplicated", "0")]).expect("deduplication is off");
}

#[test]
fn what_never_changes_cannot_be_changed() {
    let (mut connection, _folder) = database();
    insert(&mut connection, &[("generation", "2"), ("deduplicated", "0")]).expect("a link");
    let event = "INSERT INTO link_events SELECT NULL, id, code, 2, 'edited', 'system', 'r', 1, 0 FROM links";
    connection.batch_execute(event).expect("an event");
    for forbidden in [
        "UPDATE links SET code = 'another'",
        "UPDATE links SET domain_id = 1",
        "UPDATE links SET owner_id = 'another'",
        "UPDATE links SET generation = 1",
        "UPDATE links SET deduplicated = 1",
        "DELETE FROM links",
        "UPDATE link_events SET actor = 'anonymous'",
        "DELETE FROM link_events",
        "INSERT INTO link_events SELECT NULL, id, code, 2, 'edited', 'system', 'r', 1, 0 FROM links",
        "INSERT INTO link_events SELECT NULL, id, code, 1, 'edited', 'system', 'r', 1, 0 FROM links",
        // These would delete the rows that they conflict with, without firing a delete trigger.
        "REPLACE INTO links SELECT * FROM links",
        "INSERT OR REPLACE INTO links SELECT randomblob(16), code, owner_id, target, redirect, forward_query, expires_at,
            title, tags, state, deduplicated, dedup_key, 1, 1, 1, NULL, NULL, domain_id FROM links",
        "INSERT OR REPLACE INTO links SELECT id, 'another', owner_id, target, redirect, forward_query, expires_at,
            title, tags, state, deduplicated, dedup_key, 1, 1, 1, NULL, NULL, domain_id FROM links",
        "REPLACE INTO link_events SELECT * FROM link_events",
        "REPLACE INTO link_events SELECT NULL, link_id, code, generation, 'deleted', 'anonymous', 'r', 1, 0 FROM link_events",
    ] {
        connection.batch_execute(forbidden).expect_err(forbidden);
    }
}

#[test]
fn a_link_is_replaced_neither_by_its_behaviour_nor_by_an_update() {
    let (mut connection, _folder) = database();
    insert(&mut connection, &[]).expect("a link");
    insert(&mut connection, &[("code", "'another'"), ("dedup_key", "randomblob(32)")]).expect("another link");
    for forbidden in [
        "UPDATE OR REPLACE links SET dedup_key = zeroblob(32) WHERE code = 'another'",
        "UPDATE OR REPLACE links SET code = 'abcdef' WHERE code = 'another'",
        "REPLACE INTO links SELECT randomblob(16), 'third', owner_id, target, redirect, forward_query, expires_at,
            title, tags, state, deduplicated, dedup_key, 1, 1, 1, NULL, NULL FROM links WHERE code = 'another'",
    ] {
        connection.batch_execute(forbidden).expect_err(forbidden);
    }
    let free = "UPDATE links SET dedup_key = randomblob(32) WHERE code = 'another'";
    connection.batch_execute(free).expect("no other link has this key");
}

#[test]
fn blocks_are_whole_lifted_once_and_never_removed() {
    let (mut connection, _folder) = database();
    let block = |columns: &str| {
        let [kind, value, reason, lifted_at, lifted_by] = columns.split('|').collect::<Vec<_>>()[..] else {
            panic!("five")
        };
        format!(
            "INSERT INTO blocks VALUES (randomblob(16), {kind}, {value}, {reason}, 1, 'system', {lifted_at}, {lifted_by})"
        )
    };
    for broken in [
        "'link'|'abc'|'why'|NULL|NULL",
        "'code'|''|'why'|NULL|NULL",
        "'code'|'abc'|''|NULL|NULL",
        "'code'|'abc'|'why'|1|NULL",
        "'code'|'abc'|'why'|NULL|'system'",
    ] {
        connection.batch_execute(&block(broken)).expect_err(broken);
    }
    connection.batch_execute(&block("'code'|'abc'|'why'|NULL|NULL")).expect("a block");
    for forbidden in [
        block("'code'|'abc'|'again'|NULL|NULL").as_str(),
        "UPDATE blocks SET value = 'xyz'",
        "UPDATE blocks SET reason = 'another'",
        "DELETE FROM blocks",
        "INSERT INTO blocks_revision VALUES (1, 7, zeroblob(16))",
        "REPLACE INTO blocks SELECT id, kind, value, 'another', created_at, created_by, NULL, NULL FROM blocks",
        "REPLACE INTO blocks SELECT randomblob(16), kind, value, 'another', 1, 'system', NULL, NULL FROM blocks",
        "INSERT OR REPLACE INTO blocks (rowid, id, kind, value, reason, created_at, created_by)
            SELECT rowid, randomblob(16), 'code', 'xyz', 'another', 1, 'system' FROM blocks",
    ] {
        connection.batch_execute(forbidden).expect_err(forbidden);
    }
    connection.batch_execute("UPDATE blocks SET lifted_at = 1, lifted_by = 'system'").expect("it is lifted");
    connection.batch_execute("UPDATE blocks SET lifted_at = NULL, lifted_by = NULL").expect_err("it stays lifted");
    connection.batch_execute(&block("'code'|'abc'|'again'|NULL|NULL")).expect("it can be blocked again");
}

#[test]
fn every_migration_can_be_taken_back_and_applied_again() {
    let (file, _folder) = migrated_file();
    let names: Vec<_> = file.migrations().expect("readable").into_iter().map(|status| status.name).collect();
    for name in names.iter().rev() {
        assert_eq!(file.revert().expect("down.sql works").as_ref(), Some(name));
    }
    assert_eq!(file.revert().expect("nothing to do"), None);
    assert!(file.migrations().expect("readable").iter().all(|status| !status.applied));
    assert_eq!(file.migrate().expect("up.sql works again"), names);
    assert_eq!(file.migrate().expect("nothing to do"), Vec::<String>::new());
}

#[test]
fn two_that_migrate_at_once_both_succeed_and_one_applies() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = adapter_sqlite::SqliteFile::new(path(&folder));
    let migrating: Vec<_> = (0..2)
        .map(|_| {
            let file = file.clone();
            std::thread::spawn(move || file.migrate().expect("migrating succeeds").len())
        })
        .collect();
    let mut applied: Vec<_> = migrating.into_iter().map(|thread| thread.join().expect("no panic")).collect();
    applied.sort_unstable();
    assert_eq!(applied, [0, file.migrations().expect("they are known").len()]);
}
