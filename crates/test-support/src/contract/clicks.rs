//! Clicks: what `ClickRepository` promises.
#![expect(missing_docs, reason = "the name of a case is its promise")]

use std::collections::{BTreeSet, HashMap};

use domain::{
    address::DomainId,
    click::{ClickKind, Counted, DailySalt, Day, DescribedClick, Dimension, Hour, OTHER, Orphan, OrphanReason},
    link::Link,
    ports::{ClickBatch, Shipped, StatisticsOf},
    time::Timestamp,
};
use uuid::Uuid;

use super::{
    click_subject::{ALL_DAYS, ALL_HOURS, ClickSubject, STORED, a_click, all_of, by_bot, by_visitor, from},
    subject::{at_once, end, moment, owner},
};

fn noon() -> Timestamp {
    moment("2026-01-15T12:00:00Z")
}

fn day(text: &str) -> Day {
    Day::of(moment(&format!("{text}T00:00:00Z")))
}

/// So many equal clicks.
fn many(count: usize, link: &Link) -> Vec<DescribedClick> {
    vec![a_click(link, noon()); count]
}

/// Clicks from so many hosts, one each, numbered from `first`.
fn from_hosts(link: &Link, first: usize, count: usize) -> Vec<DescribedClick> {
    (first..first + count).map(|host| from(&format!("{host:05}.example"), a_click(link, noon()))).collect()
}

// ---- Batches and their numbers ----------------------------------------------------------------

pub async fn of_a_new_stream_nothing_is_counted(subject: ClickSubject) {
    assert_eq!(subject.acked(subject.stream()).await, 0);
}

pub async fn a_click_is_in_every_count(subject: ClickSubject) {
    let link = subject.link().await;
    let at = moment("2026-01-31T23:59:59.999999Z");
    let click = by_visitor(1, from("example.com", a_click(&link, at)));
    let stream = subject.stream();
    assert_eq!(subject.store(&subject.batch(stream, 0, vec![click])).await, STORED);
    assert_eq!(subject.acked(stream).await, 1);
    let totals = subject.totals(link.id).await;
    assert_eq!((totals.humans, totals.bots, totals.last_at), (1, 0, Some(at)));
    let (kind, clicks) = (ClickKind::Human, 1);
    for of in [StatisticsOf::Link(link.id), StatisticsOf::Owner(link.owner.clone()), StatisticsOf::Everyone] {
        let hour = Counted { when: Hour::of(at), kind, clicks };
        assert_eq!(subject.hours(&of, ALL_HOURS).await, [hour]);
        assert_eq!(subject.days(&of, ALL_DAYS).await, [Counted { when: Day::of(at), kind, clicks }]);
        assert_eq!(subject.values(&of, Dimension::Referrer).await, [("example.com".to_owned(), 1)]);
        assert_eq!(subject.values(&of, Dimension::HourOfWeek).await, [("sat-23".to_owned(), 1)]);
        subject.assert_sums(&of, 1, 0).await;
    }
    assert_eq!(subject.visitors(link.id).await, [(Day::of(at), 1)]);
}

pub async fn people_and_bots_are_counted_apart(subject: ClickSubject) {
    let link = subject.link().await;
    let (early, late) = (moment("2026-01-01T10:00:00Z"), moment("2026-01-01T10:30:00Z"));
    subject.given(vec![a_click(&link, early), by_bot(by_visitor(1, a_click(&link, late)))]).await;
    subject.given(vec![by_bot(a_click(&link, early)), by_bot(a_click(&link, early))]).await;
    subject.assert_link(link.id, 1, 3).await;
    let totals = subject.totals(link.id).await;
    assert_eq!((totals.total(), totals.last_at), (4, Some(late)));
    assert_eq!(subject.visitors(link.id).await, [], "bots are no visitors");
}

pub async fn a_link_that_only_bots_follow_has_no_people(subject: ClickSubject) {
    let link = subject.link().await;
    subject.given(vec![by_bot(a_click(&link, noon()))]).await;
    subject.assert_link(link.id, 0, 1).await;
    assert_eq!(subject.totals(link.id).await.last_at, Some(noon()));
}

pub async fn a_batch_that_is_stored_again_is_counted_once(subject: ClickSubject) {
    let link = subject.link().await;
    let batch = subject.batch(subject.stream(), 0, many(3, &link));
    assert_eq!(subject.store(&batch).await, STORED);
    assert_eq!(subject.store(&batch).await, Shipped::Elsewhere { acked: 3 });
    let next = subject.batch(batch.stream, 3, many(2, &link));
    assert_eq!(subject.store(&next).await, STORED);
    assert_eq!(subject.store(&next).await, Shipped::Elsewhere { acked: 5 });
    assert_eq!(subject.store(&batch).await, Shipped::Elsewhere { acked: 5 });
    subject.assert_link(link.id, 5, 0).await;
}

pub async fn a_batch_from_another_number_changes_nothing_and_tells_the_number(subject: ClickSubject) {
    let link = subject.link().await;
    let stream = subject.stream();
    let ahead = subject.batch(stream, 7, many(2, &link));
    assert_eq!(subject.store(&ahead).await, Shipped::Elsewhere { acked: 0 });
    assert_eq!(subject.acked(stream).await, 0);
    assert_eq!(subject.store(&subject.batch(stream, 0, many(4, &link))).await, STORED);
    for after in [1, 3, 5, 7] {
        let batch = subject.batch(stream, after, many(2, &link));
        assert_eq!(subject.store(&batch).await, Shipped::Elsewhere { acked: 4 }, "{after}");
    }
    assert_eq!(subject.acked(stream).await, 4);
    subject.assert_link(link.id, 4, 0).await;
}

pub async fn streams_are_counted_apart(subject: ClickSubject) {
    let link = subject.link().await;
    let (one, other) = (subject.stream(), subject.stream());
    assert_eq!(subject.store(&subject.batch(one, 0, many(2, &link))).await, STORED);
    assert_eq!(subject.store(&subject.batch(other, 0, many(3, &link))).await, STORED);
    assert_eq!((subject.acked(one).await, subject.acked(other).await), (2, 3));
    subject.assert_link(link.id, 5, 0).await;
}

pub async fn a_batch_without_clicks_moves_the_number(subject: ClickSubject) {
    let link = subject.link().await;
    let batch = ClickBatch { until: 9, lost: 4, ..subject.batch(subject.stream(), 0, Vec::new()) };
    assert_eq!(subject.store(&batch).await, STORED);
    assert_eq!(subject.acked(batch.stream).await, 9);
    let next = ClickBatch { until: 20, lost: 1, ..subject.batch(batch.stream, 9, many(2, &link)) };
    assert_eq!(subject.store(&next).await, STORED);
    assert_eq!(subject.acked(batch.stream).await, 20);
    subject.assert_link(link.id, 2, 0).await;
}

pub async fn clicks_of_missing_links_are_left_out_and_told(subject: ClickSubject) {
    let link = subject.link().await;
    let missing = Link { id: subject.stream(), ..link.clone() };
    let clicks = [many(2, &link), many(3, &missing)].concat();
    let batch = subject.batch(subject.stream(), 0, clicks);
    assert_eq!(subject.store(&batch).await, Shipped::Stored { of_missing_links: 3 });
    assert_eq!(subject.acked(batch.stream).await, 5);
    subject.assert_link(link.id, 2, 0).await;
    subject.assert_link(missing.id, 0, 0).await;
    subject.assert_sums(&StatisticsOf::Everyone, 2, 0).await;
    let alone = subject.batch(batch.stream, 5, many(1, &missing));
    assert_eq!(subject.store(&alone).await, Shipped::Stored { of_missing_links: 1 });
    assert_eq!(subject.acked(batch.stream).await, 6);
}

pub async fn clicks_of_a_deleted_link_are_counted(subject: ClickSubject) {
    let link = subject.link().await;
    subject.subject.delete(&link).await;
    subject.given(many(2, &link)).await;
    subject.assert_link(link.id, 2, 0).await;
}

pub async fn a_forgotten_stream_is_counted_up_to_nothing(subject: ClickSubject) {
    let link = subject.link().await;
    let (gone, other) = (subject.stream(), subject.stream());
    for stream in [gone, other] {
        assert_eq!(subject.store(&subject.batch(stream, 0, many(2, &link))).await, STORED);
    }
    for _ in 0..2 {
        subject.clicks.forget_stream(&gone).await.expect("the store works");
        assert_eq!((subject.acked(gone).await, subject.acked(other).await), (0, 2));
    }
    subject.assert_link(link.id, 4, 0).await;
}

pub async fn five_thousand_clicks_are_counted_in_one_batch(subject: ClickSubject) {
    let links = subject.links(50).await;
    let click = |number: usize| {
        let at = noon().plus_seconds(i64::try_from(number).expect("few") * 60).expect("the year 2026");
        let click = from(&format!("{}.example", number % 400), a_click(&links[number % 50], at));
        let click = by_visitor(number as u64 % 1_000, click);
        if number.is_multiple_of(10) { by_bot(click) } else { click }
    };
    let batch = subject.batch(subject.stream(), 0, (0..5_000).map(click).collect());
    assert_eq!(subject.store(&batch).await, STORED);
    subject.assert_sums(&all_of(&links), 4_500, 500).await;
    subject.assert_link(links[1].id, 100, 0).await;
    subject.assert_link(links[10].id, 0, 100).await;
}

// ---- Concurrency ------------------------------------------------------------------------------

pub async fn two_shippers_of_one_stream_count_it_once(subject: ClickSubject) {
    let link = subject.link().await;
    let (stream, rounds) = (subject.stream(), 50);
    let stored = at_once(2, |_| {
        let (subject, link) = (subject.clone(), link.clone());
        async move {
            let mut stored = 0;
            let mut after = 0;
            while after < rounds * 3 {
                match subject.store(&subject.batch(stream, after, many(3, &link))).await {
                    Shipped::Stored { .. } => {
                        stored += 1;
                        after += 3;
                    }
                    Shipped::Elsewhere { acked } => {
                        assert!(acked > after, "the other one moved it");
                        after = acked;
                    }
                }
            }
            stored
        }
    })
    .await;
    assert_eq!(stored.iter().sum::<u64>(), rounds);
    subject.assert_link(link.id, rounds * 3, 0).await;
}

pub async fn shippers_of_the_same_links_at_once_add_up(subject: ClickSubject) {
    const ROUNDS: u64 = 25;
    let mut links = subject.links(8).await;
    links.push(subject.link_of("another").await);
    at_once(4, |index| {
        let (subject, links, stream) = (subject.clone(), links.clone(), subject.stream());
        async move {
            for round in 0..ROUNDS {
                let clicks = (0..links.len() * 2).map(|number| {
                    // Each shipper begins with another link and with other values.
                    let link = &links[(number + index * 3) % links.len()];
                    let at = noon().plus_seconds(3_600 * i64::from(index % 2 == 0)).expect("the year 2026");
                    let click = from(&format!("{}.example", (number * 7 + index) % 11), a_click(link, at));
                    let click = by_visitor(number as u64, click);
                    if number % 2 == 0 { by_bot(click) } else { click }
                });
                let clicks: Vec<_> = clicks.collect();
                let after = round * clicks.len() as u64;
                assert_eq!(subject.store(&subject.batch(stream, after, clicks)).await, STORED);
            }
        }
    })
    .await;
    // 18 clicks a round: each of the 9 links once by a person and once by a bot.
    for link in &links {
        subject.assert_link(link.id, 4 * ROUNDS, 4 * ROUNDS).await;
        assert!(subject.visitors(link.id).await.iter().all(|(_, visitors)| (1..=4).contains(visitors)));
    }
    subject.assert_sums(&StatisticsOf::Owner(links[0].owner.clone()), 32 * ROUNDS, 32 * ROUNDS).await;
    subject.assert_sums(&StatisticsOf::Owner(owner("another")), 4 * ROUNDS, 4 * ROUNDS).await;
    subject.assert_sums(&StatisticsOf::Everyone, 36 * ROUNDS, 36 * ROUNDS).await;
}

pub async fn a_dropped_batch_happened_completely_or_not_at_all(subject: ClickSubject) {
    let link = subject.link().await;
    let stream = subject.stream();
    for _ in 0..20 {
        let after = subject.acked(stream).await;
        let batch = subject.batch(stream, after, many(5, &link));
        let storing = {
            let (subject, batch) = (subject.clone(), batch.clone());
            tokio::spawn(async move { subject.store(&batch).await })
        };
        tokio::task::yield_now().await;
        let _unknown = end(storing).await;
        let outcome = subject.store(&batch).await;
        assert!(outcome == STORED || outcome == Shipped::Elsewhere { acked: after + 5 }, "{outcome:?}");
        subject.assert_link(link.id, after + 5, 0).await;
    }
}

// ---- Dimensions and their limit ---------------------------------------------------------------

pub async fn values_beyond_the_limit_count_as_other(subject: ClickSubject) {
    let link = subject.link().await;
    let most = Dimension::MAX_VALUES;
    subject.given(from_hosts(&link, 0, most - 1)).await;
    // One more fits, then known ones still count as themselves.
    subject.given(from_hosts(&link, most - 2, 4)).await;
    subject.given(from_hosts(&link, most - 1, 2).into_iter().map(by_bot).collect()).await;
    let all = most as u64 + 3;
    for of in [StatisticsOf::Link(link.id), StatisticsOf::Owner(link.owner.clone()), StatisticsOf::Everyone] {
        let values = subject.values(&of, Dimension::Referrer).await;
        assert_eq!(values.len(), most + 1, "{of:?}");
        assert_eq!(values[0], (OTHER.to_owned(), 3));
        assert_eq!(values[most - 1..], [(host(most - 2), 2), (host(most - 1), 2)]);
        subject.assert_sums(&of, all, 2).await;
    }
    // The limit is for a day: the next day has room again.
    let tomorrow = noon().plus_seconds(86_400).expect("the year 2026");
    subject.given(vec![from(&host(most + 1), a_click(&link, tomorrow))]).await;
    let on = StatisticsOf::Link(link.id);
    let new = subject.dimensions(&on, Day::of(tomorrow)..Day::of(tomorrow).next()).await;
    assert!(new.iter().any(|count| count.value == host(most + 1)));
    subject.assert_link(link.id, all + 1, 2).await;
}

fn host(number: usize) -> String {
    format!("{number:05}.example")
}

pub async fn stored_values_are_kept_before_new_ones_over_many_batches(subject: ClickSubject) {
    let link = subject.link().await;
    let most = Dimension::MAX_VALUES;
    // The last host comes first, then all others in pieces: its place is never taken.
    subject.given(from_hosts(&link, 999, 1)).await;
    for first in (0..1_000).step_by(100) {
        subject.given(from_hosts(&link, first, 100)).await;
    }
    let owner = StatisticsOf::Owner(link.owner.clone());
    for of in [StatisticsOf::Link(link.id), owner, StatisticsOf::Everyone] {
        let values = subject.values(&of, Dimension::Referrer).await;
        assert_eq!(values.len(), most + 1);
        assert_eq!(values[0], (OTHER.to_owned(), 1_000 - most as u64));
        assert_eq!(values[1..most], (0..most - 1).map(|number| (host(number), 1)).collect::<Vec<_>>());
        assert_eq!(values[most], (host(999), 2));
        subject.assert_sums(&of, 1_001, 0).await;
    }
}

/// Not a case of the suite: `damage` makes the counts and the visitors of all days unreadable.
pub async fn unreadable_days_begin_anew(subject: ClickSubject, damage: impl FnOnce()) {
    let link = subject.link().await;
    let stream = subject.stream();
    let clicks = vec![by_visitor(1, a_click(&link, noon())), by_bot(a_click(&link, noon()))];
    assert_eq!(subject.store(&subject.batch(stream, 0, clicks.clone())).await, STORED);
    damage();
    for after in [2, 4] {
        assert_eq!(subject.store(&subject.batch(stream, after, clicks.clone())).await, STORED);
    }
    let totals = subject.totals(link.id).await;
    assert_eq!((totals.humans, totals.bots), (3, 3));
    assert_eq!(subject.visitors(link.id).await, [(Day::of(noon()), 1)]);
    for of in [StatisticsOf::Link(link.id), StatisticsOf::Owner(link.owner.clone())] {
        let days = subject.days(&of, ALL_DAYS).await;
        assert_eq!(days.iter().map(|count| count.clicks).collect::<Vec<_>>(), [3, 3], "{of:?}");
        // What was counted before the damage is lost, and the rest still adds up.
        let hours = subject.hours(&of, ALL_HOURS).await;
        assert_eq!(hours.iter().map(|count| count.clicks).collect::<Vec<_>>(), [2, 2], "{of:?}");
        assert_eq!(subject.values(&of, Dimension::Referrer).await, [("(direct)".to_owned(), 4)]);
    }
}

pub async fn one_batch_with_too_many_values_keeps_the_limit(subject: ClickSubject) {
    let link = subject.link().await;
    subject.given(from_hosts(&link, 0, 1_000)).await;
    let values = subject.values(&StatisticsOf::Link(link.id), Dimension::Referrer).await;
    assert_eq!((values.len(), &values[0]), (Dimension::MAX_VALUES + 1, &(OTHER.to_owned(), 700)));
    subject.assert_link(link.id, 1_000, 0).await;
}

pub async fn shippers_that_reach_the_limit_at_once_keep_it(subject: ClickSubject) {
    for round in 0..8 {
        let of = format!("team-{round}");
        let links = [subject.link_of(&of).await, subject.link_of(&of).await];
        at_once(4, |index| {
            let (subject, link, stream) = (subject.clone(), links[index % 2].clone(), subject.stream());
            async move {
                let clicks = from_hosts(&link, index * 1_000, 200);
                // Half of the shippers bring bots only, which lock no row that people are counted in.
                let clicks = if index < 2 { clicks } else { clicks.into_iter().map(by_bot).collect() };
                assert_eq!(subject.store(&subject.batch(stream, 0, clicks)).await, STORED);
            }
        })
        .await;
        for link in &links {
            subject.assert_link(link.id, 200, 200).await;
            let values = subject.values(&StatisticsOf::Link(link.id), Dimension::Referrer).await;
            assert_eq!(values.len(), Dimension::MAX_VALUES + 1);
        }
        let of = StatisticsOf::Owner(owner(&of));
        assert_eq!(subject.values(&of, Dimension::Referrer).await.len(), Dimension::MAX_VALUES + 1);
        subject.assert_sums(&of, 400, 400).await;
    }
}

pub async fn values_are_told_apart_byte_by_byte(subject: ClickSubject) {
    let link = subject.link().await;
    let hosts = ["a.example", "A.example", "ä.example", "a.example ", "", "'; DROP TABLE links; --"];
    subject.given(hosts.iter().map(|host| from(host, a_click(&link, noon()))).collect()).await;
    let values = subject.values(&StatisticsOf::Link(link.id), Dimension::Referrer).await;
    let names: BTreeSet<_> = values.iter().map(|(value, _)| value.as_str()).collect();
    assert_eq!(names, hosts.into_iter().collect());
}

// ---- Ranges and subjects ----------------------------------------------------------------------

pub async fn breakdowns_agree_with_days_wherever_a_range_begins_and_ends(subject: ClickSubject) {
    let link = subject.link().await;
    let first = day("2025-12-28");
    let mut clicks = Vec::new();
    for number in 0..100 {
        let at = Day(first.0 + number).begin();
        // As many clicks as no other day nearby has.
        let day = (0..=number % 7).map(|_| from(&format!("{}.example", number % 3), a_click(&link, at)));
        clicks.extend(day);
        clicks.push(by_bot(a_click(&link, at.plus_seconds(86_399).expect("the year 2026"))));
    }
    subject.given(clicks).await;
    let of_owner = StatisticsOf::Owner(link.owner.clone());
    for of in [StatisticsOf::Link(link.id), all_of(std::slice::from_ref(&link)), of_owner] {
        let days = subject.days(&of, ALL_DAYS).await;
        for (start, length) in (-2..40).step_by(3).flat_map(|start| (0..110).step_by(7).map(move |to| (start, to))) {
            let range = Day(first.0 + start)..Day(first.0 + start + length);
            let asked = subject.days(&of, range.clone()).await;
            assert_eq!(asked, days.iter().copied().filter(|c| range.contains(&c.when)).collect::<Vec<_>>());
            let expected: u64 = asked.iter().map(|count| count.clicks).sum();
            let values = subject.dimensions(&of, range.clone()).await;
            for dimension in Dimension::ALL {
                let of_it = values.iter().filter(|count| count.dimension == dimension);
                assert_eq!(of_it.map(|count| count.clicks).sum::<u64>(), expected, "{of:?} {range:?} {dimension:?}");
            }
        }
    }
}

pub async fn hours_and_days_are_those_of_the_range_in_order(subject: ClickSubject) {
    let link = subject.link().await;
    let at = |hour: i32| Hour(Hour::of(noon()).0 + hour).begin();
    let clicks = [30, 3, 1, 2, 1].map(|hour| by_visitor(1, a_click(&link, at(hour))));
    subject.given(clicks.into_iter().chain([by_bot(a_click(&link, at(2)))]).collect()).await;
    let first = Hour::of(at(0));
    for of in [StatisticsOf::Link(link.id), StatisticsOf::Owner(link.owner.clone()), StatisticsOf::Everyone] {
        let hours = subject.hours(&of, Hour(first.0 + 1)..Hour(first.0 + 3)).await;
        let shown: Vec<_> = hours.iter().map(|count| (count.when.0 - first.0, count.kind, count.clicks)).collect();
        assert_eq!(shown, [(1, ClickKind::Human, 2), (2, ClickKind::Human, 1), (2, ClickKind::Bot, 1)]);
        assert_eq!(subject.hours(&of, first..first).await, []);
        let days = subject.days(&of, first.day().next()..first.day().next().next()).await;
        assert_eq!(days, [Counted { when: first.day().next(), kind: ClickKind::Human, clicks: 1 }]);
        assert_eq!(subject.days(&of, ALL_DAYS).await.len(), 3);
        // Ranges without clicks, before the first and behind the last.
        for empty in [Day(first.day().0 - 9)..first.day(), Day(first.day().0 + 5)..Day(first.day().0 + 9)] {
            assert_eq!(subject.days(&of, empty.clone()).await, [], "{of:?} {empty:?}");
            assert_eq!(subject.dimensions(&of, empty.clone()).await, [], "{of:?} {empty:?}");
            assert_eq!(subject.hours(&of, empty.start.first_hour()..empty.end.first_hour()).await, []);
            let visitors = subject.clicks.visitors(&link.id, empty.clone()).await.expect("the store works");
            assert!(visitors.is_empty(), "{empty:?}");
            for owner in [None, Some(&link.owner)] {
                let top = subject.clicks.top(owner, &ClickKind::ALL, empty.clone(), 9).await.expect("the store works");
                assert_eq!(top, [], "{empty:?}");
            }
        }
    }
}

pub async fn clicks_of_another_owner_are_not_in_those_of_an_owner(subject: ClickSubject) {
    let (ours, theirs) = (subject.link_of("team-a").await, subject.link_of("team-b").await);
    let prefix = subject.link_of("team").await;
    subject.given([many(2, &ours), many(3, &theirs), many(4, &prefix)].concat()).await;
    for (name, clicks) in [("team-a", 2), ("team-b", 3), ("team", 4), ("team-c", 0)] {
        subject.assert_sums(&StatisticsOf::Owner(owner(name)), clicks, 0).await;
    }
    subject.assert_sums(&StatisticsOf::Everyone, 9, 0).await;
    subject.assert_link(ours.id, 2, 0).await;
}

pub async fn clicks_of_some_links_are_added_up(subject: ClickSubject) {
    let links = subject.links(3).await;
    for (number, link) in links.iter().enumerate() {
        subject.given(many(number + 1, link)).await;
    }
    subject.assert_sums(&all_of(&links[..2]), 3, 0).await;
    subject.assert_sums(&all_of(&[]), 0, 0).await;
    // As many as a tag may have, most of them never clicked.
    let mut ids: Vec<_> = (0..9_997).map(|number| Uuid::from_u128(number + 1)).collect();
    ids.extend(links.iter().map(|link| link.id));
    subject.assert_sums(&StatisticsOf::Links(ids.clone()), 6, 0).await;
    assert_eq!(subject.clicks.totals(&ids).await.expect("the store works").len(), 3);
}

pub async fn links_without_a_click_have_no_totals(subject: ClickSubject) {
    let (clicked, other) = (subject.link().await, subject.link().await);
    subject.given(many(1, &clicked)).await;
    let totals = subject.clicks.totals(&[clicked.id, other.id]).await.expect("the store works");
    assert_eq!(totals.keys().collect::<Vec<_>>(), [&clicked.id]);
    assert!(subject.clicks.totals(&[]).await.expect("the store works").is_empty());
}

pub async fn late_clicks_count_on_their_day(subject: ClickSubject) {
    let link = subject.link().await;
    let late = noon().plus_seconds(-40 * 86_400).expect("the year 2025");
    subject.given(from_hosts(&link, 0, 3)).await;
    subject.given(vec![by_visitor(1, from("late.example", a_click(&link, late)))]).await;
    subject.given(vec![by_visitor(2, from("late.example", a_click(&link, late))), a_click(&link, noon())]).await;
    let owner = StatisticsOf::Owner(link.owner.clone());
    for of in [StatisticsOf::Link(link.id), owner, StatisticsOf::Everyone] {
        let days = subject.days(&of, ALL_DAYS).await;
        let shown: Vec<_> = days.iter().map(|count| (count.when, count.clicks)).collect();
        assert_eq!(shown, [(Day::of(late), 2), (Day::of(noon()), 4)]);
        let of_day = subject.dimensions(&of, Day::of(late)..Day::of(late).next()).await;
        assert!(of_day.iter().any(|count| count.value == "late.example" && count.clicks == 2));
        subject.assert_sums(&of, 6, 0).await;
    }
    assert_eq!(subject.visitors(link.id).await, [(Day::of(late), 2)]);
    assert_eq!(subject.totals(link.id).await.last_at, Some(noon()));
}

pub async fn the_last_click_is_the_latest_whatever_the_order(subject: ClickSubject) {
    let link = subject.link().await;
    for at in ["2026-01-02T00:00:00Z", "2026-01-03T00:00:00.000001Z", "2026-01-01T00:00:00Z"] {
        subject.given(vec![a_click(&link, moment(at))]).await;
    }
    assert_eq!(subject.totals(link.id).await.last_at, Some(moment("2026-01-03T00:00:00.000001Z")));
}

// ---- Visitors and salts -----------------------------------------------------------------------

pub async fn a_visitor_counts_once_a_day_over_all_batches(subject: ClickSubject) {
    let (link, other) = (subject.link().await, subject.link().await);
    let tomorrow = noon().plus_seconds(86_400).expect("the year 2026");
    let visits = |link: &Link, at, visitors: std::ops::Range<u64>| {
        visitors.map(|visitor| by_visitor(visitor, a_click(link, at))).collect::<Vec<_>>()
    };
    subject.given([visits(&link, noon(), 0..3), visits(&link, noon(), 1..3)].concat()).await;
    subject.given([visits(&link, noon(), 2..5), visits(&link, tomorrow, 0..1)].concat()).await;
    subject.given([visits(&other, noon(), 4..5), many(2, &other)].concat()).await;
    let today = Day::of(noon());
    assert_eq!(subject.visitors(link.id).await, [(today, 5), (today.next(), 1)]);
    assert_eq!(subject.visitors(other.id).await, [(today, 1)]);
    let only_today = subject.clicks.visitors(&link.id, today..today.next()).await.expect("the store works");
    assert_eq!(only_today.iter().map(|(day, sketch)| (*day, sketch.count())).collect::<Vec<_>>(), [(today, 5)]);
}

pub async fn visitors_of_shippers_at_once_are_all_counted(subject: ClickSubject) {
    let link = subject.link().await;
    at_once(4, |index| {
        let (subject, link, stream) = (subject.clone(), link.clone(), subject.stream());
        async move {
            for round in 0..5_u64 {
                let first = index as u64 * 50 + round * 10;
                let clicks = (first..first + 10).map(|visitor| by_visitor(visitor, a_click(&link, noon())));
                let batch = subject.batch(stream, round * 10, clicks.collect());
                assert_eq!(subject.store(&batch).await, STORED);
            }
        }
    })
    .await;
    assert_eq!(subject.visitors(link.id).await, [(Day::of(noon()), 200)]);
}

pub async fn every_caller_gets_the_first_salt_of_a_day(subject: ClickSubject) {
    let salt = |day: i32, byte: u8| DailySalt::new(Day(day), [byte; DailySalt::BYTES]);
    for today in 20_000..20_010 {
        let salts = at_once(8, |index| {
            let clicks = subject.clicks.clone();
            async move { clicks.salt(&salt(today, u8::try_from(index).expect("few"))).await.expect("the store works") }
        })
        .await;
        let first = salts[0];
        assert!(salts.iter().all(|salt| *salt == first) && first.day() == Day(today), "{today}");
        assert_eq!(subject.clicks.salt(&salt(today, 99)).await.expect("the store works"), first);
    }
    let another = subject.clicks.salt(&salt(20_010, 77)).await.expect("the store works");
    assert_eq!(another, salt(20_010, 77), "each day has its own");
}

pub async fn old_salts_are_deleted_and_no_others(subject: ClickSubject) {
    let salt = |day: i32, byte: u8| DailySalt::new(Day(day), [byte; DailySalt::BYTES]);
    for day in 20_000..20_005 {
        subject.clicks.salt(&salt(day, 1)).await.expect("the store works");
    }
    subject.clicks.forget(Day(20_003), Hour(0)).await.expect("the store works");
    for day in 20_000..20_005 {
        let now = subject.clicks.salt(&salt(day, 2)).await.expect("the store works");
        assert_eq!(now, salt(day, if day < 20_003 { 2 } else { 1 }), "{day}");
    }
}

// ---- Forgetting -------------------------------------------------------------------------------

async fn forget_hours(subject: &ClickSubject, before: Hour) {
    subject.clicks.forget(Day(0), before).await.expect("the store works");
}

pub async fn forgotten_hours_stay_in_days_and_totals(subject: ClickSubject) {
    let link = subject.link().await;
    let (old, new) = (moment("2025-11-02T10:59:59Z"), moment("2026-01-02T11:00:00Z"));
    let clicks = [a_click(&link, old), by_bot(a_click(&link, old)), a_click(&link, new)];
    subject.given(clicks.to_vec()).await;
    let subjects = [StatisticsOf::Link(link.id), StatisticsOf::Owner(link.owner.clone()), StatisticsOf::Everyone];
    let mut before = Vec::new();
    for of in &subjects {
        before.push((subject.days(of, ALL_DAYS).await, subject.dimensions(of, ALL_DAYS).await));
    }
    forget_hours(&subject, Hour::of(new)).await;
    for (of, before) in subjects.iter().zip(before) {
        let hours = subject.hours(of, ALL_HOURS).await;
        assert_eq!(hours, [Counted { when: Hour::of(new), kind: ClickKind::Human, clicks: 1 }], "{of:?}");
        assert_eq!((subject.days(of, ALL_DAYS).await, subject.dimensions(of, ALL_DAYS).await), before);
    }
    let totals = subject.totals(link.id).await;
    assert_eq!((totals.humans, totals.bots), (2, 1));
    // A late click of a forgotten hour still counts, and brings no hour back. Nor does a call with an earlier hour.
    subject.given(vec![a_click(&link, old)]).await;
    assert_eq!(subject.totals(link.id).await.humans, 3);
    forget_hours(&subject, Hour::of(old)).await;
    for of in &subjects {
        let hours = subject.hours(of, ALL_HOURS).await;
        assert_eq!(hours, [Counted { when: Hour::of(new), kind: ClickKind::Human, clicks: 1 }], "{of:?}");
        let days = subject.days(of, ALL_DAYS).await;
        assert_eq!(days.iter().map(|count| count.clicks).sum::<u64>(), 4);
    }
}

pub async fn many_hours_are_forgotten(subject: ClickSubject) {
    let link = subject.link().await;
    let now = Hour::of(noon());
    for batch in 0..9 {
        let hours = (batch * 2_500..(batch + 1) * 2_500).map(|hour| a_click(&link, Hour(now.0 - hour).begin()));
        subject.given(hours.collect()).await;
    }
    forget_hours(&subject, now).await;
    let left = [Counted { when: now, kind: ClickKind::Human, clicks: 1 }];
    assert_eq!(subject.hours(&StatisticsOf::Link(link.id), Hour(0)..ALL_HOURS.end).await, left);
    assert_eq!(subject.hours(&StatisticsOf::Everyone, Hour(0)..ALL_HOURS.end).await, left);
    assert_eq!(subject.totals(link.id).await.humans, 22_500);
}

pub async fn an_erased_link_has_no_counts_and_its_owner_keeps_them(subject: ClickSubject) {
    let (link, other) = (subject.link().await, subject.link().await);
    let click = by_visitor(1, a_click(&link, noon()));
    subject.given(vec![click.clone(), by_bot(click), a_click(&other, noon())]).await;
    for _ in 0..2 {
        subject.clicks.erase(&link.id).await.expect("the store works");
        subject.assert_link(link.id, 0, 0).await;
        assert_eq!(subject.visitors(link.id).await, []);
        assert_eq!(subject.totals(link.id).await.last_at, None);
    }
    subject.assert_link(other.id, 1, 0).await;
    subject.assert_sums(&StatisticsOf::Owner(link.owner.clone()), 2, 1).await;
    subject.given(many(2, &link)).await;
    subject.assert_link(link.id, 2, 0).await;
}

// ---- The most clicked, and orphans ------------------------------------------------------------

pub async fn the_most_clicked_links_come_first(subject: ClickSubject) {
    let links = subject.links(4).await;
    let theirs = subject.link_of("another").await;
    let yesterday = noon().plus_seconds(-86_400).expect("the year 2026");
    let mut clicks = [many(2, &links[0]), many(5, &links[1]), many(1, &links[2]), many(9, &theirs)].concat();
    clicks.extend(many(7, &links[2]).into_iter().map(by_bot));
    clicks.extend((0..20).map(|_| a_click(&links[3], yesterday)));
    subject.given(clicks).await;
    let today = Day::of(noon())..Day::of(noon()).next();
    let (people, bots) = (&[ClickKind::Human][..], &[ClickKind::Bot][..]);
    let ours = links[0].owner.clone();
    let [first, second, third, fourth] = [0, 1, 2, 3].map(|number: usize| links[number].id);
    for (of, kinds, range, limit, expected) in [
        (Some(&ours), people, today.clone(), 10, vec![(second, 5), (first, 2), (third, 1)]),
        (Some(&ours), people, today.clone(), 2, vec![(second, 5), (first, 2)]),
        (Some(&ours), bots, today.clone(), 10, vec![(third, 7)]),
        (Some(&ours), &ClickKind::ALL, today.clone(), 1, vec![(third, 8)]),
        (Some(&ours), people, ALL_DAYS, 1, vec![(fourth, 20)]),
        (None, people, today.clone(), 2, vec![(theirs.id, 9), (second, 5)]),
        (Some(&owner("third")), people, ALL_DAYS, 10, vec![]),
        (None, &[], ALL_DAYS, 10, vec![]),
    ] {
        let top = subject.clicks.top(of, kinds, range.clone(), limit).await.expect("the store works");
        assert_eq!(top, expected, "{of:?} {kinds:?} {range:?} {limit}");
    }
}

pub async fn visits_that_led_nowhere_are_added_up_by_day_short_domain_and_reason(subject: ClickSubject) {
    let today = Day::of(noon());
    let on = |domain, day, reason| Orphan { day, domain, reason };
    let here = |day, reason| on(DomainId::DEFAULT, day, reason);
    let there = on(DomainId::new(7).expect("in range"), today, OrphanReason::Gone);
    let add = |counts: &[(Orphan, u64)]| {
        let (clicks, counts) = (subject.clicks.clone(), counts.iter().copied().collect::<HashMap<_, _>>());
        async move { clicks.add_orphans(&counts).await.expect("the store works") }
    };
    let (gone, bare) = (here(today, OrphanReason::Gone), here(today.next(), OrphanReason::Bare));
    let (unknown, blocked) = (here(today, OrphanReason::Unknown), here(today, OrphanReason::Blocked));
    add(&[]).await;
    add(&[(gone, 2), (bare, 1), (there, 7)]).await;
    add(&[(unknown, 4), (gone, 3), (blocked, 0)]).await;
    let orphans = subject.clicks.orphans(ALL_DAYS).await.expect("the store works");
    let shown: Vec<_> = orphans.into_iter().filter(|(.., count)| *count > 0).collect();
    assert_eq!(shown, [(unknown, 4), (gone, 5), (there, 7), (bare, 1)]);
    let later = subject.clicks.orphans(today.next()..ALL_DAYS.end).await.expect("the store works");
    assert_eq!(later, [(bare, 1)]);
    at_once(8, |_| add(&[(unknown, 1), (gone, 1), (there, 1)])).await;
    let orphans = subject.clicks.orphans(today..today.next()).await.expect("the store works");
    assert!([(unknown, 12), (gone, 13), (there, 15)].iter().all(|one| orphans.contains(one)), "{orphans:?}");
}
