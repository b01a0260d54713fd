//! Upgrades of databases of earlier releases.

use std::{sync::Arc, time::Duration};

use diesel::{
    Connection, RunQueryDsl, SqliteConnection, connection::SimpleConnection, dsl::sql, select, sql_types::BigInt,
};
use domain::lifecycle::Claim;
use test_support::contract::{Subject, a_link};

use crate::{migrated_file, path};

/// The key that earlier releases computed for `https://example.com/#A`, with or without percent-escapes in the
/// fragment.
const KEY_OF_DECODED_FRAGMENT: &str = "5ed9d030f1f4c79be5e59e0971cdbe33c6a81ca1bd6aacd63b8a0eb646ae333b";

#[tokio::test(flavor = "multi_thread")]
async fn links_whose_keys_were_computed_otherwise_are_found_after_the_upgrade() {
    let (file, folder) = migrated_file();
    while !file.revert().expect("down.sql works").expect("the migration was applied").ends_with("fragment_keys") {}
    let open = || Subject::over(Arc::new(file.open(Duration::from_secs(20)).expect("the store opens")), 7);
    let (escaped, plain) = (a_link().to("https://example.com/#%41"), a_link().to("https://example.com/#A"));
    let mut raw = SqliteConnection::establish(path(&folder).to_str().expect("UTF-8")).expect("the file opens");
    // Enough links for more than two steps. Links to recompute are in the first step and in the last.
    let old = format!(
        "INSERT INTO links VALUES (randomblob(16), 'shared', 'default', 'https://example.com/#%41', 302, 0, NULL, NULL,
            '[]', 'active', 1, x'{KEY_OF_DECODED_FRAGMENT}', 1, 1, 1, NULL, NULL);
         WITH RECURSIVE numbers(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < 2500)
         INSERT INTO links SELECT randomblob(16), 'many-' || n, owner_id, 'https://example.com/' || n || '#x', redirect,
            forward_query, expires_at, title, tags, state, 0, dedup_key, 1, created_at, updated_at, NULL, NULL
         FROM links, numbers;
         INSERT INTO links SELECT unhex(replace(hex(zeroblob(16)), '00', 'ff')), 'chosen', owner_id,
            'https://example.com/#%42', redirect, forward_query, expires_at, title, tags, state, 0, zeroblob(32), 1,
            created_at, updated_at, NULL, NULL
         FROM links WHERE code = 'shared'"
    );
    raw.batch_execute(&old).expect("the test owns the file");

    file.migrate().expect("the upgrade succeeds");
    let subject = open();
    let Claim::Existing(shared) = subject.claim(&escaped).await else { panic!("the old link is not found") };
    assert_eq!(shared.code.as_str(), "shared");
    assert!(matches!(subject.claim(&plain).await, Claim::Created(_)), "scripts see another fragment");
    let old = "(SELECT count(*) FROM links WHERE dedup_key = zeroblob(32))";
    let left: i64 = select(sql::<BigInt>(old)).get_result(&mut raw).expect("the test owns the file");
    assert_eq!(left, 0, "the last step was taken too");
}
