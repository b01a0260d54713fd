//! Guarantees that only a cache can break. The clock is tokio's, which stands still until a test advances it.

use std::{sync::Arc, time::Duration};

use adapter_cache::{CacheOptions, CachedResolver, WriteThroughLinks};
use domain::{
    history::EventKind,
    lifecycle::{Change, Resolution},
    link::{Generation, Link, LinkState},
    ports::{
        Applied, ChangeSubscriber, LinkRepository, LinkResolver, RepositoryError, RepositoryErrorKind, Resolved, Source,
    },
};
use tokio::{sync::mpsc, task::yield_now, time::advance};

use crate::{
    OPTIONS, cached,
    store::{AskedStore, Changing, Mood, a_caller, code, deleted, link, moment, reactivated},
};

type Questions = mpsc::UnboundedReceiver<domain::address::Address>;

/// A cache in front of a store that has one link, `known`.
fn around_one_link() -> (CachedResolver, Arc<AskedStore>, Questions) {
    let (store, questions) = AskedStore::new();
    store.put(&link("known"));
    (cached(store.clone(), OPTIONS), store, questions)
}

fn known(link: &Link, source: Source) -> Resolved {
    Resolved { resolution: Some(Arc::new(Resolution::from(link))), source }
}

const UNKNOWN: Resolved = Resolved { resolution: None, source: Source::Memory };

async fn resolve(resolver: &CachedResolver, text: &str) -> Result<Resolved, RepositoryErrorKind> {
    resolver.resolve(&code(text)).await.map_err(|error| error.kind())
}

/// This process changes a link to `after`.
async fn written(resolver: &CachedResolver, after: &Link) {
    let links = WriteThroughLinks::new(Arc::new(Changing::Done), resolver.clone());
    let change = Change { from: Generation::FIRST, after: after.clone(), kind: EventKind::Edited };
    let applied = links.apply(&change, &a_caller(), None).await.expect("the store works");
    assert_eq!(applied, Applied::Done);
}

/// Lets spawned tasks run until they wait.
async fn settle() {
    for _ in 0..20 {
        yield_now().await;
    }
}

// ---- Hits and their age ------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_link_is_looked_up_once_and_then_answered_from_the_cache() {
    let (resolver, store, _) = around_one_link();
    assert_eq!(resolver.resolve_at_once(&code("known")), None);
    assert_eq!(resolve(&resolver, "known").await, Ok(known(&link("known"), Source::Store)));
    assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&link("known"), Source::Memory)));
    assert_eq!(resolve(&resolver, "known").await, Ok(known(&link("known"), Source::Memory)));
    assert_eq!(store.times_asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn changes_of_others_are_missed_for_the_time_to_live_at_most() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    store.put(&deleted(&link("known")));
    advance(OPTIONS.ttl).await;
    assert_eq!(resolve(&resolver, "known").await, Ok(known(&deleted(&link("known")), Source::Store)));
}

#[tokio::test(start_paused = true)]
async fn a_link_in_use_is_refreshed_before_it_expires() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    advance(OPTIONS.ttl * 4 / 5).await;
    for _ in 0..10 {
        assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&link("known"), Source::Memory)));
    }
    settle().await;
    assert_eq!(store.times_asked(), 2);
    advance(OPTIONS.ttl / 2).await;
    assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&link("known"), Source::Memory)));
}

#[tokio::test(start_paused = true)]
async fn while_the_change_feed_is_in_sync_links_are_not_looked_up_again() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    for _ in 0..20 {
        advance(OPTIONS.ttl / 2).await;
        resolver.synced_until(Duration::from_secs(1));
        assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&link("known"), Source::Memory)));
        settle().await;
    }
    assert_eq!(store.times_asked(), 1);

    // The last confirmation was for all changes until a second before it. It holds for the time to live.
    store.put(&deleted(&link("known")));
    advance(OPTIONS.ttl.saturating_sub(Duration::from_secs(1))).await;
    assert_eq!(resolve(&resolver, "known").await, Ok(known(&deleted(&link("known")), Source::Store)));
}

#[tokio::test(start_paused = true)]
async fn a_gap_ends_the_confirmation_of_cached_links() {
    let (resolver, _, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    resolver.synced_until(Duration::ZERO);
    resolver.gap();
    assert_eq!(resolver.resolve_at_once(&code("known")), None);
}

/// The missed change may be a deletion: no change that is reported after the gap extends the stale time.
#[tokio::test(start_paused = true)]
async fn changes_reported_after_a_gap_do_not_extend_the_stale_time() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    advance(OPTIONS.ttl * 10).await;
    resolver.synced_until(Duration::ZERO);
    resolver.gap();
    store.be(Mood::Failing(RepositoryErrorKind::Unavailable));
    for _ in 0..10 {
        // The link was confirmed until just before the gap. It may redirect for its stale time.
        assert_eq!(resolve(&resolver, "known").await, Ok(known(&link("known"), Source::StaleMemory)));
        advance(OPTIONS.stale_for / 10).await;
        resolver.synced_until(Duration::ZERO);
    }
    advance(OPTIONS.ttl).await;
    resolver.synced_until(Duration::ZERO);
    assert_eq!(resolve(&resolver, "known").await, Err(RepositoryErrorKind::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn an_unknown_code_is_cached_for_its_own_time_to_live() {
    let (resolver, store, _) = around_one_link();
    assert_eq!(resolve(&resolver, "new").await, Ok(Resolved { source: Source::Store, ..UNKNOWN }));
    assert_eq!(resolver.resolve_at_once(&code("new")), Some(UNKNOWN));
    store.put(&link("new"));
    advance(OPTIONS.negative_ttl).await;
    assert_eq!(resolve(&resolver, "new").await, Ok(known(&link("new"), Source::Store)));
}

#[tokio::test(start_paused = true)]
async fn unknown_codes_evict_no_link() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    for number in 0..5 * OPTIONS.capacity {
        resolve(&resolver, &format!("guess-{number}")).await.expect("the store answers");
    }
    let asked = store.times_asked();
    assert!(resolver.resolve_at_once(&code("known")).is_some());
    let remembered = (0..5 * OPTIONS.capacity)
        .filter(|number| resolver.resolve_at_once(&code(&format!("guess-{number}"))).is_some())
        .count();
    assert!(remembered <= OPTIONS.capacity / 10, "{remembered}");
    assert_eq!(store.times_asked(), asked);
}

#[tokio::test(start_paused = true)]
async fn no_more_links_are_cached_than_the_capacity() {
    let (store, _questions) = AskedStore::new();
    let resolver = cached(store.clone(), CacheOptions { capacity: 100, ..OPTIONS });
    for number in 0..1_000 {
        let link = link(&format!("link-{number}"));
        store.put(&link);
        resolve(&resolver, &format!("link-{number}")).await.expect("the store answers");
    }
    let remembered =
        (0..1_000).filter(|number| resolver.resolve_at_once(&code(&format!("link-{number}"))).is_some()).count();
    assert!(remembered <= 100, "{remembered}");
}

// ---- Single-flight -----------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_thousand_lookups_of_one_code_ask_the_store_once() {
    let (resolver, store, mut questions) = around_one_link();
    store.hold();
    let store_client: Vec<_> = (0..1_000)
        .map(|_| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolve(&resolver, "known").await })
        })
        .collect();
    questions.recv().await.expect("it is asked");
    settle().await;
    store.release(1);
    for answer in store_client {
        assert_eq!(answer.await.expect("no panic"), Ok(known(&link("known"), Source::Store)));
    }
    assert_eq!(store.times_asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_lookup_outlives_the_caller_that_started_it() {
    let (resolver, store, mut questions) = around_one_link();
    store.hold();
    let first = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolve(&resolver, "known").await }
    });
    questions.recv().await.expect("it is asked");
    let second = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolve(&resolver, "known").await }
    });
    settle().await;
    first.abort();
    store.release(1);
    assert_eq!(second.await.expect("no panic"), Ok(known(&link("known"), Source::Store)));
    assert_eq!(store.times_asked(), 1);
}

// ---- Generations -------------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn an_answer_in_flight_during_a_deletion_does_not_bring_the_link_back() {
    let (resolver, store, mut questions) = around_one_link();
    let gone = deleted(&link("known"));
    store.hold();
    let store_client = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolve(&resolver, "known").await }
    });
    // The store has read the link, still active, and its answer is in flight.
    questions.recv().await.expect("it is asked");
    store.put(&gone);
    written(&resolver, &gone).await;
    store.release(1);
    assert_eq!(store_client.await.expect("no panic"), Ok(known(&gone, Source::Memory)));
    assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&gone, Source::Memory)));
}

#[tokio::test(start_paused = true)]
async fn an_answer_in_flight_while_another_process_deletes_does_not_bring_the_link_back() {
    let (resolver, store, mut questions) = around_one_link();
    let gone = deleted(&link("known"));
    store.hold();
    let store_client = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolve(&resolver, "known").await }
    });
    questions.recv().await.expect("it is asked");
    store.put(&gone);
    resolver.changed(&gone.address(), gone.generation);
    store.release(2);
    assert_eq!(store_client.await.expect("no panic"), Ok(known(&gone, Source::Store)));
    assert_eq!(store.times_asked(), 2, "the overtaken answer was thrown away");
}

#[tokio::test(start_paused = true)]
async fn a_code_that_is_claimed_during_its_lookup_is_found() {
    let (resolver, store, mut questions) = around_one_link();
    store.hold();
    let store_client = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolve(&resolver, "new").await }
    });
    questions.recv().await.expect("it is asked");
    store.put(&link("new"));
    written(&resolver, &link("new")).await;
    store.release(1);
    assert_eq!(store_client.await.expect("no panic"), Ok(known(&link("new"), Source::Memory)));
}

#[tokio::test(start_paused = true)]
async fn an_older_generation_never_replaces_a_newer_one() {
    let (resolver, store, _) = around_one_link();
    let gone = deleted(&link("known"));
    let back = reactivated(&gone);
    written(&resolver, &back).await;
    for older in [&gone, &link("known")] {
        written(&resolver, older).await;
        resolver.changed(&older.address(), older.generation);
        assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&back, Source::Memory)));
    }
    assert_eq!(store.times_asked(), 0);
    let newer = deleted(&back);
    resolver.changed(&newer.address(), newer.generation);
    assert_eq!(resolver.resolve_at_once(&code("known")), None, "it is asked for again");
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_every_code_is_looked_up_again() {
    let (resolver, store, mut questions) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    resolve(&resolver, "new").await.expect("the store answers");
    resolver.gap();
    assert_eq!(resolver.resolve_at_once(&code("known")), None);
    assert_eq!(resolver.resolve_at_once(&code("new")), None);
    assert_eq!(resolve(&resolver, "known").await, Ok(known(&link("known"), Source::Store)));
    assert!(resolver.resolve_at_once(&code("known")).is_some());

    // An answer that was in flight during the gap is not cached either.
    store.hold();
    while questions.try_recv().is_ok() {}
    resolver.gap();
    let store_client = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolve(&resolver, "known").await }
    });
    questions.recv().await.expect("it is asked");
    resolver.gap();
    store.release(1);
    store_client.await.expect("no panic").expect("the store answers");
    assert_eq!(resolver.resolve_at_once(&code("known")), None);
}

// ---- Without the store -------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn an_active_link_is_served_stale_while_the_store_is_unavailable() {
    for mood in [Mood::Frozen, Mood::Failing(RepositoryErrorKind::Unavailable)] {
        let (resolver, store, _) = around_one_link();
        resolve(&resolver, "known").await.expect("the store answers");
        store.be(mood);
        advance(OPTIONS.ttl).await;
        assert_eq!(resolve(&resolver, "known").await, Ok(known(&link("known"), Source::StaleMemory)), "{mood:?}");
        advance(OPTIONS.stale_for.saturating_sub(Duration::from_secs(5))).await;
        assert_eq!(resolve(&resolver, "known").await, Ok(known(&link("known"), Source::StaleMemory)), "{mood:?}");
        advance(Duration::from_secs(5)).await;
        assert_eq!(resolve(&resolver, "known").await, Err(RepositoryErrorKind::Unavailable), "{mood:?}");
    }
}

/// From the last sync on, while the store is frozen for a minute.
#[tokio::test(start_paused = true)]
async fn a_link_in_use_never_waits_for_a_frozen_store() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    advance(OPTIONS.ttl * 10).await;
    resolver.synced_until(Duration::ZERO);
    store.be(Mood::Frozen);
    for tick in 0..600 {
        assert!(resolver.resolve_at_once(&code("known")).is_some(), "at {tick}");
        settle().await;
        advance(Duration::from_millis(100)).await;
    }
    assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&link("known"), Source::StaleMemory)));
}

#[tokio::test(start_paused = true)]
async fn a_link_cached_as_deleted_is_never_served_stale() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    written(&resolver, &deleted(&link("known"))).await;
    store.be(Mood::Frozen);
    let at_once = resolver.resolve_at_once(&code("known")).expect("it is known");
    assert!(matches!(at_once.resolution.expect("it is known").state, LinkState::Deleted { .. }));
    advance(OPTIONS.ttl).await;
    assert_eq!(resolve(&resolver, "known").await, Err(RepositoryErrorKind::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_link_reported_as_changed_is_not_served_stale() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    store.be(Mood::Failing(RepositoryErrorKind::Unavailable));
    resolver.changed(&code("known"), Generation::FIRST.next());
    assert_eq!(resolve(&resolver, "known").await, Err(RepositoryErrorKind::Unavailable));
}

#[tokio::test(start_paused = true)]
async fn a_store_that_keeps_failing_opens_the_breaker_and_is_tried_once_a_second() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    advance(OPTIONS.ttl).await;
    store.be(Mood::Frozen);
    for number in 0..5 {
        assert_eq!(resolve(&resolver, &format!("other-{number}")).await, Err(RepositoryErrorKind::Unavailable));
    }
    let asked = store.times_asked();
    for number in 0..100 {
        let refused = resolve(&resolver, &format!("other-{number}")).await;
        assert_eq!(refused, Err(RepositoryErrorKind::Unavailable));
        // No lookup waits while the circuit breaker is open.
        assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&link("known"), Source::StaleMemory)));
    }
    assert_eq!(store.times_asked(), asked);
    for second in 1..=3 {
        advance(Duration::from_secs(1)).await;
        for _ in 0..100 {
            assert!(resolver.resolve_at_once(&code("known")).is_some());
        }
        settle().await;
        assert_eq!(store.times_asked(), asked + second, "one try a second");
        advance(OPTIONS.timeout).await;
        settle().await;
    }
    store.be(Mood::Well);
    advance(Duration::from_secs(1)).await;
    assert!(resolver.resolve_at_once(&code("known")).is_some());
    settle().await;
    assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&link("known"), Source::Memory)));
}

#[tokio::test(start_paused = true)]
async fn while_everything_fails_retries_add_a_tenth_at_most() {
    let (resolver, store, _) = around_one_link();
    for number in 0..2_000 {
        resolve(&resolver, &format!("warm-{number}")).await.expect("the store answers");
    }
    let before = store.times_asked();
    store.be(Mood::Failing(RepositoryErrorKind::Unavailable));
    let mut wanted = 0;
    for number in 0..400 {
        // Each in a second of its own, so that the breaker allows every one of them.
        advance(Duration::from_secs(1)).await;
        resolve(&resolver, &format!("cold-{number}")).await.expect_err("the store fails");
        wanted += 1;
    }
    let asked = store.times_asked() - before;
    assert!(asked >= wanted && asked <= wanted + wanted / 10, "{asked} questions for {wanted} wanted");
}

#[tokio::test(start_paused = true)]
async fn a_transient_failure_is_retried_and_not_visible() {
    let (resolver, store, mut questions) = around_one_link();
    store.be(Mood::Failing(RepositoryErrorKind::Unavailable));
    let store_client = tokio::spawn({
        let resolver = resolver.clone();
        async move { resolve(&resolver, "known").await }
    });
    questions.recv().await.expect("it is asked");
    store.be(Mood::Well);
    assert_eq!(store_client.await.expect("no panic"), Ok(known(&link("known"), Source::Store)));
    assert_eq!(store.times_asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_permanent_failure_is_not_retried() {
    for kind in [RepositoryErrorKind::Corrupt, RepositoryErrorKind::Internal] {
        let (resolver, store, _) = around_one_link();
        store.be(Mood::Failing(kind));
        for asked in 1..=20 {
            assert_eq!(resolve(&resolver, "known").await, Err(kind));
            assert_eq!(store.times_asked(), asked);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn lookups_above_the_limit_are_rejected() {
    let (resolver, store, _) = around_one_link();
    store.be(Mood::Frozen);
    let store_client: Vec<_> = (0..5_000)
        .map(|number| {
            let resolver = resolver.clone();
            tokio::spawn(async move { resolve(&resolver, &format!("cold-{number}")).await })
        })
        .collect();
    for _ in 0..1_000 {
        settle().await;
    }
    assert_eq!(store.times_asked(), 4_096);
    assert_eq!(store_client.iter().filter(|answer| answer.is_finished()).count(), 5_000 - 4_096);
    for answer in store_client {
        assert_eq!(answer.await.expect("no panic"), Err(RepositoryErrorKind::Unavailable));
    }
}

#[tokio::test(start_paused = true)]
async fn after_a_gap_a_stale_link_is_looked_up_before_it_redirects() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    advance(OPTIONS.ttl).await;
    store.be(Mood::Frozen);
    assert_eq!(resolve(&resolver, "known").await, Ok(known(&link("known"), Source::StaleMemory)));
    assert_eq!(resolver.resolve_at_once(&code("known")), Some(known(&link("known"), Source::StaleMemory)));
    // Another process deleted it. That was not reported, and the link was not looked up since.
    store.put(&deleted(&link("known")));
    store.be(Mood::Well);
    resolver.gap();
    assert_eq!(resolver.resolve_at_once(&code("known")), None);
    assert_eq!(resolve(&resolver, "known").await, Ok(known(&deleted(&link("known")), Source::Store)));
}

#[tokio::test(start_paused = true)]
async fn repeated_gaps_do_not_end_the_stale_time_of_a_link() {
    let (resolver, store, _) = around_one_link();
    resolve(&resolver, "known").await.expect("the store answers");
    advance(OPTIONS.stale_for).await;
    resolver.synced_until(Duration::ZERO);
    store.be(Mood::Failing(RepositoryErrorKind::Unavailable));
    for _ in 0..5 {
        resolver.gap();
        resolver.synced_until(Duration::ZERO);
        advance(Duration::from_secs(1)).await;
    }
    assert_eq!(resolve(&resolver, "known").await, Ok(known(&link("known"), Source::StaleMemory)));
}

#[tokio::test(start_paused = true)]
async fn an_alias_whose_write_was_lost_is_looked_up_in_the_store() {
    let (resolver, store, _) = around_one_link();
    let links = WriteThroughLinks::new(Arc::new(Changing::Lost), resolver.clone());
    let change = Change { from: Generation::FIRST, after: link("lost"), kind: EventKind::Edited };
    let lost = links.apply(&change, &a_caller(), None).await.map_err(|error| error.kind());
    assert_eq!(lost, Err(RepositoryErrorKind::Indeterminate));
    assert_eq!(resolve(&resolver, "lost").await, Ok(Resolved { source: Source::Store, ..UNKNOWN }));
    store.put(&link("lost"));
    resolver.changed(&code("lost"), Generation::FIRST);
    assert_eq!(resolve(&resolver, "lost").await, Ok(known(&link("lost"), Source::Store)));
}

// ---- Write-through -----------------------------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn a_change_by_this_process_is_visible_at_once() {
    let cache = Arc::new(test_support::MemoryStore::default());
    let resolver = cached(cache.clone(), OPTIONS);
    let links = WriteThroughLinks::new(cache.clone(), resolver.clone());
    let subject = test_support::contract::Subject::over(cache, 7);
    let link = subject.given(&test_support::contract::a_link()).await;
    resolver.resolve(&link.address()).await.expect("the store answers");
    let gone = deleted(&link);
    let change = Change { from: link.generation, after: gone.clone(), kind: EventKind::Deleted };
    let applied = links.apply(&change, &a_caller(), None).await.expect("the store works");
    assert_eq!(applied, Applied::Done);
    assert_eq!(resolver.resolve_at_once(&link.address()), Some(known(&gone, Source::Memory)));
    assert_eq!(gone.deleted_at(), Some(moment()));

    // The same change again is stale, and changes nothing in the cache.
    let applied = links.apply(&change, &a_caller(), None).await.expect("the store works");
    assert_eq!(applied, Applied::Stale);
    let error: Result<_, RepositoryError> = resolver.resolve(&link.address()).await;
    assert_eq!(error.expect("it is known"), known(&gone, Source::Memory));
}
