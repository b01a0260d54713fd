//! Statistics over the in-memory store: ranges that meet add up, also where only days are kept.

use std::sync::Arc;

use domain::{
    click::{ClickKind, Day, DescribedClick, Traits, UNKNOWN},
    ports::{ClickBatch, ClickProgress, ClickRepository, Clock, StatisticsOf},
    service::{Bots, Interval, StatisticsQuery, StatisticsService, Zone},
    time::Timestamp,
};
use test_support::{ManualClock, MemoryStore};
use uuid::Uuid;

struct AllCounted;

impl ClickProgress for AllCounted {
    fn counted_until(&self) -> Timestamp {
        Timestamp::from_unix_micros(0).expect("1970 is in range")
    }
}

fn click(link: Uuid, at: Timestamp) -> DescribedClick {
    let unknown: Arc<str> = UNKNOWN.into();
    let [referrer, country, browser, os, device] = std::array::from_fn(|_| unknown.clone());
    let traits = Traits { kind: ClickKind::Human, referrer, country, browser, os, device, language: unknown };
    DescribedClick { at, link, visitor: None, traits }
}

#[tokio::test]
async fn months_that_follow_each_other_add_up_although_only_days_are_kept() {
    let (store, clock) = (Arc::new(MemoryStore::default()), Arc::new(ManualClock::default()));
    let subject = test_support::contract::Subject::over(store.clone(), 1);
    let link = subject.given(&test_support::contract::a_link()).await;
    let first = Day::of(clock.now());
    let at = |day: i32| Day(first.0 + day).begin().plus_seconds(3_600).expect("a moment");
    let clicks: Vec<_> = (0..70).map(|day| click(link.id, at(day))).collect();
    let batch = ClickBatch { stream: Uuid::from_u128(1), after: 0, until: 70, lost: 0, clicks, at: at(0) };
    let _stored = store.store(&batch).await.expect("memory does not fail");
    // Long after the hours are forgotten.
    clock.advance_micros(500 * 86_400 * 1_000_000);
    let service = StatisticsService::new(store, Arc::new(AllCounted), clock, 400);
    for zone in ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata"] {
        let zone: Zone = zone.parse().expect("a zone");
        let count = async |from: i32, to: i32| {
            let query = StatisticsQuery {
                of: StatisticsOf::Link(link.id),
                from: at(from),
                to: at(to),
                interval: Interval::Month,
                zone,
                bots: Bots::Exclude,
                compare: false,
            };
            service.statistics(&query).await.expect("memory does not fail").expect("a valid question")
        };
        let all = count(-40, 110).await;
        assert_eq!(all.totals.humans, 70, "{zone:?}");
        let mut sum = 0;
        for (start, counts) in &all.series {
            let query = StatisticsQuery {
                of: StatisticsOf::Link(link.id),
                from: start.plus_seconds(86_400).expect("a moment"),
                to: start.plus_seconds(2 * 86_400).expect("a moment"),
                interval: Interval::Month,
                zone,
                bots: Bots::Exclude,
                compare: false,
            };
            let alone = service.statistics(&query).await.expect("memory does not fail").expect("a valid question");
            assert_eq!(alone.totals, *counts, "{zone:?} {start}");
            sum += alone.totals.humans;
        }
        assert_eq!(sum, 70, "{zone:?}");
    }
}
