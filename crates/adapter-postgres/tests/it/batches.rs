//! Concurrent batches on the connections of two stores, as of two processes.

use std::sync::Arc;

use domain::{
    lifecycle::Claim,
    ports::{Claims, Entropy, LinkRepository},
};
use test_support::{
    SeededEntropy,
    contract::{LinkDraft, Subject, a_link},
};

use crate::{fresh, options, store};

/// Half of the drafts, in a random order.
fn shuffled(drafts: &[LinkDraft], entropy: &SeededEntropy) -> Vec<LinkDraft> {
    let mut keyed: Vec<_> = drafts
        .iter()
        .map(|draft| {
            let mut key = [0; 8];
            entropy.fill(&mut key);
            (key, draft.clone())
        })
        .collect();
    keyed.sort_by_key(|(key, _)| *key);
    // Half of them, so that batches overlap in many ways.
    keyed.into_iter().map(|(_, draft)| draft).take(drafts.len() / 2).collect()
}

/// One batch finds a link by its behaviour, another by its code. No order of batches may make them wait for each other.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn concurrent_batches_of_any_mix_never_deadlock() {
    let (one, database) = fresh().await;
    let other = Arc::new(store(&options(&database.socket_url())));
    let subject = Subject::over(one.clone(), 7);
    let entropy = SeededEntropy::new(8);
    let target = |number: usize| format!("https://example.com/{number}");
    let mut drafts = Vec::new();
    for number in 0..8 {
        let alias = format!("alias-{number}");
        subject.given(&a_link().to(&target(number)).drawing(&alias)).await;
        drafts.push(a_link().to(&target(number)));
        drafts.push(a_link().to(&target(number)).alias(&alias));
        drafts.push(a_link().to(&target(100 + number)).alias(&format!("new-{number}")));
        drafts.push(a_link().to(&target(number)).separate());
        drafts.push(a_link().to(&target(number)).of("another").alias(&alias));
    }
    let all_deleted = "UPDATE links SET state = 'deleted', deleted_at = now(), generation = generation + 1
                       WHERE state = 'active'";
    for round in 0..40 {
        database.sql(all_deleted).expect("the test owns the database");
        let batches: Vec<_> = (0..6)
            .map(|number| {
                let drafts = shuffled(&drafts, &entropy);
                let candidates: Vec<_> = drafts.iter().map(|draft| subject.candidate(draft)).collect();
                let store = if number % 2 == 0 { one.clone() } else { other.clone() };
                tokio::spawn(async move { store.claim(&candidates, None).await })
            })
            .collect();
        for batch in batches {
            match batch.await.expect("no panic") {
                Ok(Claims::Settled(claims)) => assert!(claims.iter().any(|claim| *claim != Claim::AliasTaken)),
                refused => panic!("in round {round}: {refused:?}"),
            }
        }
    }
    let deadlocks = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()";
    assert_eq!(database.sql(deadlocks).expect("the server counts deadlocks").trim(), "0");
}
