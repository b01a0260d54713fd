//! Random batches: what is stored must equal what the clicks count to directly.

use std::collections::{BTreeMap, BTreeSet};

use domain::{
    click::{ClickKind, Counted, Day, DescribedClick, Dimension, Hour, ValueCount, VisitorHash},
    link::Link,
    ports::{ClickTotals, Entropy, Shipped, StatisticsOf},
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
    for link in links {
        let of_link: Vec<_> = clicks.iter().filter(|click| click.link == link.id).collect();
        assert_statistics(subject, &StatisticsOf::Link(link.id), &of_link).await;
        assert_eq!(subject.totals(link.id).await, totals(&of_link));
        let mut visitors = BTreeMap::<Day, BTreeSet<VisitorHash>>::new();
        for click in of_link.iter().filter(|click| click.traits.kind == ClickKind::Human) {
            visitors.entry(Day::of(click.at)).or_default().extend(click.visitor);
        }
        let visitors: Vec<_> = visitors.iter().map(|(day, visitors)| (*day, visitors.len() as u64)).collect();
        assert_eq!(subject.visitors(link.id).await, visitors);
    }
    for of in links.iter().map(|link| &link.owner) {
        let is_owners = |click: &&DescribedClick| links.iter().any(|link| link.id == click.link && link.owner == *of);
        let of_owner: Vec<_> = clicks.iter().filter(is_owners).collect();
        assert_statistics(subject, &StatisticsOf::Owner(of.clone()), &of_owner).await;
    }
    assert_statistics(subject, &StatisticsOf::Everyone, &clicks.iter().collect::<Vec<_>>()).await;
}

async fn assert_statistics(subject: &ClickSubject, of: &StatisticsOf, clicks: &[&DescribedClick]) {
    let (mut hours, mut days, mut values) = (BTreeMap::new(), BTreeMap::new(), BTreeMap::new());
    for click in clicks {
        let (kind, hour, traits) = (click.traits.kind, Hour::of(click.at), &click.traits);
        *hours.entry((hour, kind)).or_insert(0) += 1;
        *days.entry((hour.day(), kind)).or_insert(0) += 1;
        let names = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
        for (dimension, value) in [
            (Dimension::Referrer, &*traits.referrer),
            (Dimension::Country, &*traits.country),
            (Dimension::Browser, &*traits.browser),
            (Dimension::Os, &*traits.os),
            (Dimension::Device, &*traits.device),
            (Dimension::Language, &*traits.language),
            (Dimension::HourOfWeek, &format!("{}-{:02}", names[hour.day().of_week()], hour.of_day())),
        ] {
            *values.entry((dimension, value.to_owned(), kind)).or_insert(0) += 1;
        }
    }
    let count = |((dimension, value, kind), clicks)| ValueCount { dimension, value, kind, clicks };
    assert_eq!(subject.hours(of, ALL_HOURS).await, counted(hours));
    assert_eq!(subject.days(of, ALL_DAYS).await, counted(days));
    assert_eq!(subject.dimensions(of, ALL_DAYS).await, values.into_iter().map(count).collect::<Vec<_>>());
}

fn counted<T>(counts: BTreeMap<(T, ClickKind), u64>) -> Vec<Counted<T>> {
    counts.into_iter().map(|((when, kind), clicks)| Counted { when, kind, clicks }).collect()
}

fn totals(clicks: &[&DescribedClick]) -> ClickTotals {
    let bots = clicks.iter().filter(|click| click.traits.kind == ClickKind::Bot).count() as u64;
    let last_at = clicks.iter().map(|click| click.at).max();
    ClickTotals { humans: clicks.len() as u64 - bots, bots, last_at }
}
