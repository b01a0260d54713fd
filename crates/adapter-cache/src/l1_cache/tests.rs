//! The moments at which a cached link becomes due for refresh, stale and missing, to the millisecond.

use domain::{
    behaviour::Behaviour,
    link::Owner,
    target::{Target, TargetPolicy},
};
use tokio::time::advance;
use uuid::Uuid;

use super::*;

const OPTIONS: CacheOptions = CacheOptions {
    capacity: 100,
    ttl: Duration::from_secs(10),
    stale_for: Duration::from_mins(10),
    negative_ttl: Duration::from_secs(5),
    known_codes: 0,
    timeout: Duration::from_secs(1),
};

fn code() -> Address {
    "known".parse().expect("a code")
}

fn target(length: usize) -> Resolution {
    let url = format!("https://example.com/{}", "a".repeat(length - "https://example.com/".len()));
    Resolution {
        id: Uuid::from_u128(1),
        owner: Owner::default(),
        behaviour: Behaviour::to(Target::parse(&url, &TargetPolicy::default()).expect("valid")),
        state: LinkState::Active,
        generation: Generation::FIRST,
    }
}

fn of_generation(number: i64) -> Arc<Resolution> {
    Arc::new(Resolution { generation: Generation::new(number).expect("positive"), ..target(30) })
}

/// A cache that holds one link of that generation, as of now.
fn knowing(number: i64) -> L1Cache {
    let cache = L1Cache::new(OPTIONS);
    cache.keep(&code(), of_generation(number), cache.asked());
    cache
}

/// The cached generation, fresh or stale.
fn recalled(cache: &L1Cache) -> Option<i64> {
    match cache.look_up(&code()) {
        Lookup::Fresh(known) | Lookup::RefreshDue(known) | Lookup::Stale(known) => {
            known.resolution.map(|resolution| resolution.generation.get())
        }
        Lookup::Miss => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_is_refreshed_after_four_fifths_of_its_ttl_then_stale_then_missing() {
    let cache = knowing(1);
    let learnt = Instant::now();
    cache.assure(learnt);
    let at = |moment: Duration| advance((learnt + moment).duration_since(Instant::now()));
    let millisecond = Duration::from_millis(1);
    let (aging, stale, forgotten) = (OPTIONS.ttl * 4 / 5, OPTIONS.ttl, OPTIONS.ttl + OPTIONS.stale_for);

    at(aging.saturating_sub(millisecond)).await;
    assert!(matches!(cache.look_up(&code()), Lookup::Fresh(_)));
    at(aging).await;
    assert!(matches!(cache.look_up(&code()), Lookup::RefreshDue(_)));
    at(stale.saturating_sub(millisecond)).await;
    assert!(matches!(cache.look_up(&code()), Lookup::RefreshDue(_)));
    at(stale).await;
    assert!(matches!(cache.look_up(&code()), Lookup::Stale(_)));
    at(forgotten.saturating_sub(millisecond)).await;
    assert!(matches!(cache.look_up(&code()), Lookup::Stale(_)));
    at(forgotten).await;
    assert_eq!(cache.look_up(&code()), Lookup::Miss);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_as_old_as_its_lookup() {
    let cache = L1Cache::new(OPTIONS);
    advance(OPTIONS.ttl).await;
    cache.keep(&code(), of_generation(1), cache.asked().ago(OPTIONS.ttl));
    assert!(matches!(cache.look_up(&code()), Lookup::Stale(_)));
}

#[tokio::test(start_paused = true)]
async fn a_doubted_link_is_stale_at_once() {
    let cache = knowing(1);
    cache.doubt(&code());
    assert!(matches!(cache.look_up(&code()), Lookup::Stale(_)));
    advance(OPTIONS.stale_for).await;
    assert_eq!(cache.look_up(&code()), Lookup::Miss);
}

#[tokio::test(start_paused = true)]
async fn an_older_generation_replaces_a_newer_one_only_after_a_gap() {
    let cache = knowing(3);
    cache.keep(&code(), of_generation(2), cache.asked());
    assert_eq!(recalled(&cache), Some(3));
    cache.keep(&code(), of_generation(4), cache.asked());
    assert_eq!(recalled(&cache), Some(4));
    cache.invalidate_all();
    cache.keep(&code(), of_generation(2), cache.asked());
    assert_eq!(recalled(&cache), Some(2));
}

#[tokio::test(start_paused = true)]
async fn a_refresh_to_the_same_generation_renews_the_time_to_live() {
    let cache = knowing(3);
    advance(OPTIONS.ttl / 2).await;
    cache.keep(&code(), of_generation(3), cache.asked());
    advance(OPTIONS.ttl / 2).await;
    assert!(matches!(cache.look_up(&code()), Lookup::Fresh(_)));
}

#[tokio::test(start_paused = true)]
async fn remove_older_keeps_the_same_generation() {
    let cache = knowing(3);
    cache.remove_older(&code(), Generation::new(3).expect("positive"));
    assert_eq!(recalled(&cache), Some(3));
    cache.remove_older(&code(), Generation::new(4).expect("positive"));
    assert_eq!(recalled(&cache), None);
}

/// The slots in which confirmations are kept are used again.
#[tokio::test(start_paused = true)]
async fn a_reused_slot_does_not_confirm_links_from_before_its_gaps() {
    let cache = knowing(1);
    for _ in 0..L1Cache::GAPS {
        cache.invalidate_all();
    }
    advance(OPTIONS.ttl + OPTIONS.stale_for).await;
    cache.assure(Instant::now());
    assert_eq!(cache.look_up(&code()), Lookup::Miss);
}

#[tokio::test(start_paused = true)]
async fn gaps_are_counted() {
    let cache = L1Cache::new(OPTIONS);
    for gaps in 0..3 {
        assert_eq!(cache.asked().epoch(), gaps);
        cache.invalidate_all();
    }
}

#[test]
fn the_weight_of_a_link_is_one_plus_the_kibibytes_of_its_target() {
    let weight = |length| {
        let resolution = Arc::new(target(length));
        ByLength.weight(&code(), &Known { resolution, until: 0, epoch: 0, doubted: false })
    };
    assert_eq!([30, 1_023, 1_024, 2_100, 8_192].map(weight), [1, 1, 2, 3, 9]);
}

#[test]
fn too_many_milliseconds_saturate_and_do_not_overflow() {
    assert!(milliseconds(Duration::MAX) > u64::MAX / 4);
    assert!(milliseconds(Duration::MAX).checked_add(milliseconds(OPTIONS.stale_for)).is_some());
}
