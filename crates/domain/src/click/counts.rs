//! Many clicks as counts, in the order in which stores write them.

use std::collections::HashMap;

use uuid::Uuid;

use super::{
    ClickKind, Day, DescribedClick, FreshCounts, Hour, KindCounts, VisitorHash,
    values::{Tally, Values},
};
use crate::{address::DomainId, link::Owner, time::Timestamp};

/// Counts of clicks by everything they are stored by. All lists are sorted by their keys, each key once, so that two
/// processes that store counts of the same links lock rows in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClickCounts {
    /// Of each link.
    pub links: Vec<LinkTotal>,
    /// Of each link and day, the days of a link together.
    pub days: Vec<LinkDay>,
    /// Of all links of each owner on each short domain, by day.
    pub owners: Vec<OwnerDay>,
    /// Clicks of links that do not exist, for example after a backup was restored. They are in none of the others.
    pub of_missing_links: u64,
}

/// Where the clicks of a link are added up with those of other links.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkOwner {
    /// Whose link it is.
    pub owner: Owner,
    /// The short domain it lives on.
    pub domain: DomainId,
}

/// What clicks add to the totals of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTotal {
    /// The link.
    pub link: Uuid,
    /// Whose link it is.
    pub owner: LinkOwner,
    /// How many clicks.
    pub clicks: KindCounts,
    /// When the last one was.
    pub last_at: Timestamp,
}

/// What clicks add to a day of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkDay {
    /// The link.
    pub link: Uuid,
    /// The day.
    pub day: Day,
    /// How many clicks.
    pub clicks: KindCounts,
    /// The same by hour and value.
    pub counts: FreshCounts,
    /// The visitors, each once. Bots are no visitors.
    pub visitors: Vec<VisitorHash>,
}

/// What clicks add to a day of an owner on a short domain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnerDay {
    /// The owner and the short domain.
    pub owner: LinkOwner,
    /// The day.
    pub day: Day,
    /// How many clicks.
    pub clicks: KindCounts,
    /// The same by hour and value.
    pub counts: FreshCounts,
}

impl ClickCounts {
    /// Counts `clicks`; `owners` says whose link each is, and which links exist.
    pub fn of(clicks: &[DescribedClick], owners: &HashMap<Uuid, LinkOwner>) -> Self {
        let values = Values::of(clicks);
        let mut order: Vec<_> =
            clicks.iter().zip(0..).map(|(click, place)| (click.link, Day::of(click.at), place)).collect();
        order.sort_unstable();
        let mut counts = Self::default();
        let mut of_owners = HashMap::<(&LinkOwner, Day), Tally>::new();
        for of_link in order.chunk_by(|(one, ..), (other, ..)| one == other) {
            let link = of_link[0].0;
            let Some(owner) = owners.get(&link) else {
                counts.of_missing_links += of_link.len() as u64;
                continue;
            };
            let mut total = KindCounts::default();
            for of_day in of_link.chunk_by(|(_, one, _), (_, other, _)| one == other) {
                let day = of_day[0].1;
                let (mut tally, mut visitors) = (Tally::default(), Vec::new());
                for (.., place) in of_day {
                    let click: &DescribedClick = &clicks[*place];
                    tally.add(Hour::of(click.at), click.traits.kind, values.of_click(*place));
                    if let (Some(visitor), ClickKind::Human) = (click.visitor, click.traits.kind) {
                        visitors.push(visitor);
                    }
                }
                visitors.sort_unstable();
                visitors.dedup();
                tally.sum_up();
                total += tally.clicks();
                of_owners.entry((owner, day)).or_default().add_all(&tally);
                let counts_of_day = FreshCounts::of(&tally.counts(&values));
                counts.days.push(LinkDay { link, day, clicks: tally.clicks(), counts: counts_of_day, visitors });
            }
            let last_at = of_link.iter().map(|(.., place)| clicks[*place].at).max().expect("a group is not empty");
            counts.links.push(LinkTotal { link, owner: owner.clone(), clicks: total, last_at });
        }
        let mut of_owners: Vec<_> = of_owners.into_iter().collect();
        of_owners.sort_unstable_by_key(|(key, _)| *key);
        for ((owner, day), mut tally) in of_owners {
            tally.sum_up();
            let counts_of_day = FreshCounts::of(&tally.counts(&values));
            counts.owners.push(OwnerDay { owner: owner.clone(), day, clicks: tally.clicks(), counts: counts_of_day });
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::click::{DayCounts, DayValue, Dimension, Traits, UNKNOWN};

    const LINK: Uuid = Uuid::from_u128(1);
    const OTHER_LINK: Uuid = Uuid::from_u128(2);
    const MISSING: Uuid = Uuid::from_u128(3);

    fn click(link: Uuid, at: &str, kind: ClickKind, visitor: u64) -> DescribedClick {
        // Each click has texts of its own, as those of different user agents are.
        let unknown = || -> Arc<str> { UNKNOWN.into() };
        let traits = Traits {
            kind,
            referrer: if visitor == 3 { "a.example".into() } else { "example.com".into() },
            country: unknown(),
            browser: unknown(),
            os: unknown(),
            device: unknown(),
            language: unknown(),
        };
        DescribedClick { at: at.parse().expect("a moment"), link, visitor: Some(VisitorHash(visitor)), traits }
    }

    fn day(text: &str) -> Day {
        Day::of(format!("{text}T00:00:00Z").parse().expect("a moment"))
    }

    fn owner(name: &str) -> LinkOwner {
        LinkOwner { owner: name.parse().expect("an owner"), domain: DomainId::DEFAULT }
    }

    fn counted() -> ClickCounts {
        let owners = HashMap::from([(LINK, owner("ours")), (OTHER_LINK, owner("ours"))]);
        let clicks = [
            click(OTHER_LINK, "2026-11-29T11:30:00Z", ClickKind::Human, 1),
            click(LINK, "2026-11-30T00:00:00Z", ClickKind::Human, 3),
            click(LINK, "2026-11-29T10:00:00Z", ClickKind::Human, 1),
            click(LINK, "2026-11-29T11:59:59Z", ClickKind::Human, 1),
            click(MISSING, "2026-11-29T11:30:00Z", ClickKind::Human, 1),
            click(LINK, "2026-11-29T11:00:00Z", ClickKind::Bot, 2),
        ];
        ClickCounts::of(&clicks, &owners)
    }

    fn clicks(humans: u64, bots: u64) -> KindCounts {
        KindCounts { humans, bots }
    }

    /// The clicks of these counts by hour and by each dimension.
    fn sums(counts: &DayCounts<'_>) -> Vec<KindCounts> {
        let sum = |clicks: &mut dyn Iterator<Item = KindCounts>| {
            let mut sum = KindCounts::default();
            clicks.for_each(|clicks| sum += clicks);
            sum
        };
        let mut sums = vec![sum(&mut counts.hours.iter().copied())];
        for dimension in Dimension::ALL.into_iter().filter(|dimension| *dimension != Dimension::HourOfWeek) {
            let of_it = counts.values.iter().filter(|value| value.dimension == dimension);
            sums.push(sum(&mut of_it.map(|value| value.clicks)));
        }
        sums
    }

    #[test]
    fn each_click_is_in_the_total_in_a_day_and_in_each_dimension() {
        let counts = counted();
        assert_eq!(counts.of_missing_links, 1);
        let links: Vec<_> = counts.links.iter().map(|total| (total.link, total.clicks)).collect();
        assert_eq!(links, [(LINK, clicks(3, 1)), (OTHER_LINK, clicks(1, 0))]);
        let (first, second) = (day("2026-11-29"), day("2026-11-30"));
        let days: Vec<_> = counts.days.iter().map(|day| (day.link, day.day, day.clicks)).collect();
        let expected = [(LINK, first, clicks(2, 1)), (LINK, second, clicks(1, 0)), (OTHER_LINK, first, clicks(1, 0))];
        assert_eq!(days, expected);
        for day in &counts.days {
            assert_eq!(sums(&day.counts.read()), [day.clicks; 7]);
        }
        for day in &counts.owners {
            assert_eq!(sums(&day.counts.read()), [day.clicks; 7]);
        }
    }

    #[test]
    fn hours_are_those_of_the_clicks() {
        let counts = counted();
        let hours = counts.days[0].counts.read().hours;
        assert_eq!((hours[10], hours[11]), (clicks(1, 0), clicks(1, 1)));
        assert_eq!(counts.days[1].counts.read().hours[0], clicks(1, 0));
    }

    #[test]
    fn the_same_text_is_one_value_wherever_it_lies() {
        let counts = counted();
        let of_day = counts.owners[0].counts.read();
        let referrers: Vec<_> = of_day.values.iter().filter(|value| value.dimension == Dimension::Referrer).collect();
        let value = DayValue { dimension: Dimension::Referrer, value: "example.com", clicks: clicks(3, 1) };
        assert_eq!(referrers, [&value]);
    }

    #[test]
    fn the_last_click_is_the_latest_of_both_kinds() {
        let counts = counted();
        assert_eq!(counts.links[0].last_at.to_string(), "2026-11-30T00:00:00.000000Z");
        assert_eq!(counts.links[1].last_at.to_string(), "2026-11-29T11:30:00.000000Z");
    }

    #[test]
    fn a_visitor_counts_once_a_day_and_a_bot_never() {
        let counts = counted();
        let visitors: Vec<_> = counts.days.iter().map(|day| day.visitors.clone()).collect();
        assert_eq!(visitors, [vec![VisitorHash(1)], vec![VisitorHash(3)], vec![VisitorHash(1)]]);
    }

    #[test]
    fn the_counts_of_an_owner_are_those_of_its_links() {
        let counts = counted();
        let days: Vec<_> = counts.owners.iter().map(|day| (day.owner.clone(), day.day, day.clicks)).collect();
        let expected =
            [(owner("ours"), day("2026-11-29"), clicks(3, 1)), (owner("ours"), day("2026-11-30"), clicks(1, 0))];
        assert_eq!(days, expected);
        let mut links = DayCounts::default();
        for day in counts.days.iter().filter(|counts| counts.day == day("2026-11-29")) {
            links = links.with(&day.counts.read());
        }
        assert_eq!(counts.owners[0].counts.read(), links);
    }

    #[test]
    fn without_clicks_nothing_is_counted() {
        assert_eq!(ClickCounts::of(&[], &HashMap::new()), ClickCounts::default());
    }
}
