//! Upgrades of databases of earlier releases.

use domain::lifecycle::Claim;
use test_support::contract::{Subject, a_link};

use crate::fresh;

/// The key that earlier releases computed for `https://example.com/#A`, with or without percent-escapes in the
/// fragment.
const KEY_OF_DECODED_FRAGMENT: &str = "5ed9d030f1f4c79be5e59e0971cdbe33c6a81ca1bd6aacd63b8a0eb646ae333b";

#[tokio::test(flavor = "multi_thread")]
async fn links_whose_keys_were_computed_otherwise_are_found_after_the_upgrade() {
    let (store, database) = fresh().await;
    while !store.revert().await.expect("down.sql works").expect("the migration was applied").ends_with("fragment_keys")
    {
    }
    let subject = Subject::over(store.clone(), 7);
    let (escaped, plain) = (a_link().to("https://example.com/#%41"), a_link().to("https://example.com/#A"));
    // Enough links for more than two steps. Links to recompute are in the first step and in the last.
    let columns = "redirect, forward_query, expires_at, title, tags, state, false";
    let rest = "gen_random_uuid(), 1, created_at, updated_at, NULL, NULL FROM links";
    let old = format!(
        "INSERT INTO links VALUES (gen_random_uuid(), 'shared', 'default', 'https://example.com/#%41', 302, false, NULL,
            NULL, '{{}}', 'active', true, '\\x{KEY_OF_DECODED_FRAGMENT}', gen_random_uuid(), 1, now(), now(), NULL, NULL);
         INSERT INTO links SELECT gen_random_uuid(), 'many-' || n, owner_id, 'https://example.com/' || n || '#x',
            {columns}, dedup_key, {rest}, generate_series(1, 2500) n;
         INSERT INTO links SELECT 'ffffffff-ffff-ffff-ffff-ffffffffffff', 'chosen', owner_id,
            'https://example.com/#%42', {columns}, decode(repeat('00', 32), 'hex'), {rest} WHERE code = 'shared'"
    );
    database.sql(&old).expect("the test owns the database");

    store.migrate().await.expect("the upgrade succeeds");
    let Claim::Existing(shared) = subject.claim(&escaped).await else { panic!("the old link is not found") };
    assert_eq!(shared.code.as_str(), "shared");
    assert!(matches!(subject.claim(&plain).await, Claim::Created(_)), "scripts see another fragment");
    let chosen = subject.claim(&a_link().to("https://example.com/#%42").alias("chosen")).await;
    assert!(matches!(chosen, Claim::Existing(_)), "the last step was taken too: {chosen:?}");
}
