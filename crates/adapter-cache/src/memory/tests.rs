//! The moments at which what is known changes its worth, to the millisecond.

use domain::{
    behaviour::Behaviour,
    link::Owner,
    target::{Target, TargetPolicy},
};
use tokio::time::advance;

use super::*;

const OPTIONS: CacheOptions = CacheOptions {
    capacity: 100,
    ttl: Duration::from_secs(10),
    stale_for: Duration::from_mins(10),
    negative_ttl: Duration::from_secs(5),
    known_codes: 0,
    patience: Duration::from_secs(1),
};

fn code() -> Code {
    "known".parse().expect("a code")
}

fn target(length: usize) -> Resolution {
    let url = format!("https://example.com/{}", "a".repeat(length - "https://example.com/".len()));
    Resolution {
        owner: Owner::default(),
        behaviour: Behaviour::to(Target::parse(&url, &TargetPolicy::default()).expect("valid")),
        state: LinkState::Active,
        generation: Generation::FIRST,
    }
}

fn of_generation(number: i64) -> Arc<Resolution> {
    Arc::new(Resolution { generation: Generation::new(number).expect("positive"), ..target(30) })
}

/// A memory that knows one link of that generation, since now.
fn knowing(number: i64) -> Memory {
    let memory = Memory::new(OPTIONS);
    memory.keep(&code(), of_generation(number), memory.asked());
    memory
}

/// The generation that is recalled, whatever it is good for.
fn recalled(memory: &Memory) -> Option<i64> {
    match memory.recall(&code()) {
        Recall::Good(known) | Recall::Aging(known) | Recall::Stale(known) => {
            known.resolution.map(|resolution| resolution.generation.get())
        }
        Recall::Nothing => None,
    }
}

#[tokio::test(start_paused = true)]
async fn a_link_ages_at_four_fifths_is_stale_after_all_of_it_and_then_forgotten() {
    let memory = knowing(1);
    let learnt = Instant::now();
    memory.assure(learnt);
    let at = |moment: Duration| advance((learnt + moment).duration_since(Instant::now()));
    let millisecond = Duration::from_millis(1);
    let (aging, stale, forgotten) = (OPTIONS.ttl * 4 / 5, OPTIONS.ttl, OPTIONS.ttl + OPTIONS.stale_for);

    at(aging.saturating_sub(millisecond)).await;
    assert!(matches!(memory.recall(&code()), Recall::Good(_)));
    at(aging).await;
    assert!(matches!(memory.recall(&code()), Recall::Aging(_)));
    at(stale.saturating_sub(millisecond)).await;
    assert!(matches!(memory.recall(&code()), Recall::Aging(_)));
    at(stale).await;
    assert!(matches!(memory.recall(&code()), Recall::Stale(_)));
    at(forgotten.saturating_sub(millisecond)).await;
    assert!(matches!(memory.recall(&code()), Recall::Stale(_)));
    at(forgotten).await;
    assert_eq!(memory.recall(&code()), Recall::Nothing);
}

#[tokio::test(start_paused = true)]
async fn what_was_asked_earlier_is_older() {
    let memory = Memory::new(OPTIONS);
    advance(OPTIONS.ttl).await;
    memory.keep(&code(), of_generation(1), memory.asked().ago(OPTIONS.ttl));
    assert!(matches!(memory.recall(&code()), Recall::Stale(_)));
}

#[tokio::test(start_paused = true)]
async fn a_doubted_link_is_stale_from_then_on() {
    let memory = knowing(1);
    memory.doubt(&code());
    assert!(matches!(memory.recall(&code()), Recall::Stale(_)));
    advance(OPTIONS.stale_for).await;
    assert_eq!(memory.recall(&code()), Recall::Nothing);
}

#[tokio::test(start_paused = true)]
async fn nothing_older_replaces_what_is_newer_but_after_a_gap() {
    let memory = knowing(3);
    memory.keep(&code(), of_generation(2), memory.asked());
    assert_eq!(recalled(&memory), Some(3));
    memory.keep(&code(), of_generation(4), memory.asked());
    assert_eq!(recalled(&memory), Some(4));
    memory.distrust();
    memory.keep(&code(), of_generation(2), memory.asked());
    assert_eq!(recalled(&memory), Some(2));
}

#[tokio::test(start_paused = true)]
async fn the_same_generation_is_younger_when_it_was_asked_for_again() {
    let memory = knowing(3);
    advance(OPTIONS.ttl / 2).await;
    memory.keep(&code(), of_generation(3), memory.asked());
    advance(OPTIONS.ttl / 2).await;
    assert!(matches!(memory.recall(&code()), Recall::Good(_)));
}

#[tokio::test(start_paused = true)]
async fn only_what_is_older_is_forgotten() {
    let memory = knowing(3);
    memory.forget_before(&code(), Generation::new(3).expect("positive"));
    assert_eq!(recalled(&memory), Some(3));
    memory.forget_before(&code(), Generation::new(4).expect("positive"));
    assert_eq!(recalled(&memory), None);
}

/// The places where it is kept since when changes are heard of are used again.
#[tokio::test(start_paused = true)]
async fn what_is_assured_after_so_many_gaps_says_nothing_of_what_was_known_before_them() {
    let memory = knowing(1);
    for _ in 0..Memory::GAPS {
        memory.distrust();
    }
    advance(OPTIONS.ttl + OPTIONS.stale_for).await;
    memory.assure(Instant::now());
    assert_eq!(memory.recall(&code()), Recall::Nothing);
}

#[tokio::test(start_paused = true)]
async fn gaps_are_counted() {
    let memory = Memory::new(OPTIONS);
    for gaps in 0..3 {
        assert_eq!(memory.asked().epoch(), gaps);
        memory.distrust();
    }
}

#[test]
fn a_link_counts_as_many_as_its_target_has_kibibytes_and_one() {
    let weight = |length| {
        let resolution = Arc::new(target(length));
        ByLength.weight(&code(), &Known { resolution, until: 0, epoch: 0, doubted: false })
    };
    assert_eq!([30, 1_023, 1_024, 2_100, 8_192].map(weight), [1, 1, 2, 3, 9]);
}

#[test]
fn more_milliseconds_than_a_number_holds_are_for_ever() {
    assert!(milliseconds(Duration::MAX) > u64::MAX / 4);
    assert!(milliseconds(Duration::MAX).checked_add(milliseconds(OPTIONS.stale_for)).is_some());
}
