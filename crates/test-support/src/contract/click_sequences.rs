//! Random batches: what is stored must equal what the clicks count to directly.

use std::collections::HashMap;

use domain::{
    click::{ClickCounts, ClickKind, DescribedClick},
    link::Link,
    ports::{ClickTotals, Counted, Entropy, Shipped, StatisticsOf, ValueCount},
};
use uuid::Uuid;

use super::{
    click_subject::{ALL_DAYS, ALL_HOURS, ClickSubject, a_click, by_bot, by_visitor, from},
    subject::moment,
};

/// Rounds of one case. Each stores one batch of each stream, or repeats an old one.
const ROUNDS: usize = 60;
const STREAMS: usize = 4;

/// The clicks of a stream that is shipped in batches of any size, and how far its shipper has come.
struct Stream {
    id: Uuid,
    clicks: Vec<DescribedClick>,
    /// What the shipper believes. It may be behind what is stored.
    position: usize,
}

/// Ships random clicks of several streams, in random batches, with repetitions and with shippers that begin again where
/// they were before. Then each click is counted exactly once.
pub async fn random_batches_are_counted_like_their_clicks(subject: ClickSubject) {
    let links = random_links(&subject).await;
    let mut streams: Vec<_> =
        (0..STREAMS).map(|_| Stream { id: subject.stream(), clicks: Vec::new(), position: 0 }).collect();
    let (mut stored, mut refused) = (0, 0);
    for _ in 0..ROUNDS {
        let stream = &mut streams[draw(&subject, STREAMS)];
        let fresh = draw(&subject, 40);
        stream.clicks.extend((0..fresh).map(|_| random_click(&subject, &links)));
        if draw(&subject, 4) == 0 {
            // A restart at any place before, as after a reply that was lost.
            stream.position = draw(&subject, stream.position + 1);
        }
        let until = stream.position + draw(&subject, stream.clicks.len() - stream.position + 1);
        let clicks = stream.clicks[stream.position..until].to_vec();
        match subject.store(&subject.batch(stream.id, stream.position as u64, clicks)).await {
            Shipped::Stored { of_missing_links } => {
                assert_eq!(of_missing_links, 0);
                stream.position = until;
                stored += 1;
            }
            Shipped::Elsewhere { acked } => {
                stream.position = usize::try_from(acked).expect("a short stream");
                refused += 1;
            }
        }
    }
    assert!(stored > 10 && refused > 2, "{stored} {refused}");
    for stream in &mut streams {
        let acked = subject.acked(stream.id).await;
        stream.clicks.truncate(usize::try_from(acked).expect("a short stream"));
    }
    let clicks: Vec<_> = streams.into_iter().flat_map(|stream| stream.clicks).collect();
    assert_counted(&subject, &links, &clicks).await;
}

async fn random_links(subject: &ClickSubject) -> Vec<Link> {
    let mut links = subject.links(3).await;
    links.push(subject.link_of("another").await);
    links
}

fn random_click(subject: &ClickSubject, links: &[Link]) -> DescribedClick {
    let seconds = i64::try_from(draw(subject, 40 * 86_400)).expect("few");
    let at = moment("2026-01-20T00:00:00Z").plus_seconds(seconds).expect("the year 2026");
    let click = a_click(&links[draw(subject, links.len())], at);
    let click = from(["a.example", "b.example", "(direct)"][draw(subject, 3)], click);
    let mut click = by_visitor(draw(subject, 20) as u64, click);
    click.traits.country = ["DE", "FR", "(unknown)"][draw(subject, 3)].into();
    if draw(subject, 3) == 0 { by_bot(click) } else { click }
}

fn draw(subject: &ClickSubject, below: usize) -> usize {
    let mut bytes = [0; 4];
    subject.subject.entropy.fill(&mut bytes);
    u32::from_le_bytes(bytes) as usize % below
}

/// Everything that can be asked equals what the clicks count to directly. Their values stay below the limit.
async fn assert_counted(subject: &ClickSubject, links: &[Link], clicks: &[DescribedClick]) {
    let owners: HashMap<_, _> = links.iter().map(|link| (link.id, link.owner.clone())).collect();
    for link in links {
        let of_link: Vec<_> = clicks.iter().filter(|click| click.link == link.id).cloned().collect();
        assert_statistics(subject, &StatisticsOf::Link(link.id), &ClickCounts::of(&of_link, &owners)).await;
        assert_eq!(subject.totals(link.id).await, totals(&of_link));
        let visitors = ClickCounts::of(&of_link, &owners).visitors;
        let visitors: Vec<_> = visitors.iter().map(|((_, day), visitors)| (*day, visitors.len() as u64)).collect();
        assert_eq!(subject.visitors(link.id).await, visitors);
    }
    for of in links.iter().map(|link| &link.owner) {
        let of_owner: Vec<_> = clicks.iter().filter(|click| owners[&click.link] == *of).cloned().collect();
        assert_statistics(subject, &StatisticsOf::Owner(of.clone()), &ClickCounts::of(&of_owner, &owners)).await;
    }
    assert_statistics(subject, &StatisticsOf::Everyone, &ClickCounts::of(clicks, &owners)).await;
}

async fn assert_statistics(subject: &ClickSubject, of: &StatisticsOf, counts: &ClickCounts) {
    assert_eq!(
        subject.hours(of, ALL_HOURS).await,
        summed(counts.hours.iter().map(|((_, hour, kind), n)| (*hour, *kind, *n)))
    );
    assert_eq!(
        subject.days(of, ALL_DAYS).await,
        summed(counts.days.iter().map(|((_, day, kind), n)| (*day, *kind, *n)))
    );
    let mut values = std::collections::BTreeMap::new();
    for (key, clicks) in &counts.dimensions {
        *values.entry((key.dimension, key.value.to_string(), key.kind)).or_insert(0) += clicks;
    }
    let count = |((dimension, value, kind), clicks)| ValueCount { dimension, value, kind, clicks };
    let values: Vec<_> = values.into_iter().map(count).collect();
    assert_eq!(subject.dimensions(of, ALL_DAYS).await, values);
}

fn summed<T: Copy + Ord>(counts: impl Iterator<Item = (T, ClickKind, u64)>) -> Vec<Counted<T>> {
    let mut sums = std::collections::BTreeMap::new();
    for (when, kind, clicks) in counts {
        *sums.entry((when, kind)).or_insert(0) += clicks;
    }
    sums.into_iter().map(|((when, kind), clicks)| Counted { when, kind, clicks }).collect()
}

fn totals(clicks: &[DescribedClick]) -> ClickTotals {
    let bots = clicks.iter().filter(|click| click.traits.kind == ClickKind::Bot).count() as u64;
    let last_at = clicks.iter().map(|click| click.at).max();
    ClickTotals { humans: clicks.len() as u64 - bots, bots, last_at }
}
