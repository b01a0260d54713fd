//! Many clicks as counts, in the order in which stores write them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    hash::Hash,
    sync::Arc,
};

use uuid::Uuid;

use super::{ClickKind, Day, DescribedClick, Dimension, Hour, OTHER, VisitorHash};
use crate::{link::Owner, time::Timestamp};

/// Counts of clicks by everything they are stored by. The maps are sorted, so that two processes that store counts of
/// the same links lock rows in the same order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClickCounts {
    /// Of each link, since ever.
    pub totals: BTreeMap<(Uuid, ClickKind), LinkTotal>,
    /// Of each link and hour.
    pub hours: BTreeMap<(Uuid, Hour, ClickKind), u64>,
    /// Of each link and day.
    pub days: BTreeMap<(Uuid, Day, ClickKind), u64>,
    /// Of each link and day, by the value of each dimension.
    pub dimensions: DimensionCounts<Uuid>,
    /// Of all links of each owner, by hour.
    pub owner_hours: BTreeMap<(Owner, Hour, ClickKind), u64>,
    /// The visitors of each link and day. Bots are no visitors.
    pub visitors: BTreeMap<(Uuid, Day), BTreeSet<VisitorHash>>,
    /// Clicks of links that do not exist, for example after a backup was restored. They are in none of the others.
    pub of_missing_links: u64,
}

/// What clicks add to the totals of a link.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LinkTotal {
    /// Whose link it is.
    pub owner: Owner,
    /// How many clicks.
    pub clicks: u64,
    /// When the last one was.
    pub last_at: Timestamp,
}

/// Counts by the value of each dimension, of links or of all links of an owner.
pub type DimensionCounts<S> = BTreeMap<DimensionKey<S>, u64>;

/// What a count of a dimension belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DimensionKey<S> {
    /// The link, or the owner.
    pub subject: S,
    /// The day.
    pub day: Day,
    /// The dimension.
    pub dimension: Dimension,
    /// The value.
    pub value: Arc<str>,
    /// The kind of click.
    pub kind: ClickKind,
}

/// The values that are stored already, by subject, day and dimension.
pub type StoredValues<S> = HashMap<(S, Day, Dimension), HashSet<Arc<str>>>;

/// Counts values beyond [`Dimension::MAX_VALUES`] as [`OTHER`], which is not one of them. Values that are `stored` come
/// first.
pub fn limit_values<S: Clone + Ord + Hash>(
    counts: DimensionCounts<S>,
    mut stored: StoredValues<S>,
) -> DimensionCounts<S> {
    let mut limited = BTreeMap::new();
    for (key, count) in counts {
        let values = stored.entry((key.subject.clone(), key.day, key.dimension)).or_default();
        // What was limited before takes none of the room.
        values.remove(OTHER);
        if &*key.value == OTHER {
            *limited.entry(key).or_default() += count;
            continue;
        }
        let fits = values.contains(&key.value) || values.len() < Dimension::MAX_VALUES;
        let key = if fits {
            values.insert(key.value.clone());
            key
        } else {
            DimensionKey { value: OTHER.into(), ..key }
        };
        *limited.entry(key).or_default() += count;
    }
    limited
}

/// How many values `counts` has of each subject, day and [open](Dimension::is_open) dimension. Only where this and the
/// number of stored values exceed [`Dimension::MAX_VALUES`], [`limit_values`] needs to know the stored ones.
pub fn open_values<S: Clone + Ord>(counts: &DimensionCounts<S>) -> BTreeMap<(S, Day, Dimension), usize> {
    let mut values: BTreeMap<_, HashSet<&str>> = BTreeMap::new();
    for key in counts.keys().filter(|key| key.dimension.is_open() && &*key.value != OTHER) {
        values.entry((key.subject.clone(), key.day, key.dimension)).or_default().insert(&key.value);
    }
    values.into_iter().map(|(subject, values)| (subject, values.len())).collect()
}

impl ClickCounts {
    /// Counts `clicks`; `owners` says whose link each is, and which links exist.
    pub fn of(clicks: &[DescribedClick], owners: &HashMap<Uuid, Owner>) -> Self {
        let mut counts = Self::default();
        for click in clicks {
            match owners.get(&click.link) {
                Some(owner) => counts.add(click, owner),
                None => counts.of_missing_links += 1,
            }
        }
        counts
    }

    fn add(&mut self, click: &DescribedClick, owner: &Owner) {
        let (link, kind, hour) = (click.link, click.traits.kind, Hour::of(click.at));
        let day = hour.day();
        let total = self.totals.entry((link, kind)).or_insert_with(|| LinkTotal {
            owner: owner.clone(),
            clicks: 0,
            last_at: click.at,
        });
        total.clicks += 1;
        total.last_at = total.last_at.max(click.at);
        *self.hours.entry((link, hour, kind)).or_default() += 1;
        *self.days.entry((link, day, kind)).or_default() += 1;
        *self.owner_hours.entry((owner.clone(), hour, kind)).or_default() += 1;
        for (dimension, value) in click.values() {
            let key = DimensionKey { subject: link, day, dimension, value, kind };
            *self.dimensions.entry(key).or_default() += 1;
        }
        if let (Some(visitor), ClickKind::Human) = (click.visitor, kind) {
            self.visitors.entry((link, day)).or_default().insert(visitor);
        }
    }

    /// The counts of all links of each owner, by day and value.
    pub fn owner_dimensions(&self) -> DimensionCounts<Owner> {
        let mut counts = DimensionCounts::new();
        for (key, count) in &self.dimensions {
            if let Some(owner) = self.owner(key.subject) {
                let DimensionKey { day, dimension, ref value, kind, .. } = *key;
                let key = DimensionKey { subject: owner.clone(), day, dimension, value: value.clone(), kind };
                *counts.entry(key).or_default() += count;
            }
        }
        counts
    }

    /// The links that are counted, each once, in ascending order.
    pub fn links(&self) -> Vec<Uuid> {
        let mut links: Vec<_> = self.totals.keys().map(|(link, _)| *link).collect();
        links.dedup();
        links
    }

    /// Whose link it is, if it is counted.
    pub fn owner(&self, link: Uuid) -> Option<&Owner> {
        self.totals.range((link, ClickKind::Human)..=(link, ClickKind::Bot)).next().map(|(_, total)| &total.owner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::click::{Traits, UNKNOWN};

    const LINK: Uuid = Uuid::from_u128(1);
    const OTHER_LINK: Uuid = Uuid::from_u128(2);
    const MISSING: Uuid = Uuid::from_u128(3);

    fn click(link: Uuid, at: &str, kind: ClickKind, visitor: u64) -> DescribedClick {
        let unknown: Arc<str> = UNKNOWN.into();
        let traits = Traits {
            kind,
            referrer: "example.com".into(),
            country: unknown.clone(),
            browser: unknown.clone(),
            os: unknown.clone(),
            device: unknown.clone(),
            language: unknown,
        };
        DescribedClick { at: at.parse().expect("a moment"), link, visitor: Some(VisitorHash(visitor)), traits }
    }

    fn counted() -> ClickCounts {
        let owners = HashMap::from([(LINK, Owner::default()), (OTHER_LINK, Owner::default())]);
        let clicks = [
            click(LINK, "2026-11-29T10:00:00Z", ClickKind::Human, 1),
            click(LINK, "2026-11-29T11:59:59Z", ClickKind::Human, 1),
            click(LINK, "2026-11-29T11:00:00Z", ClickKind::Bot, 2),
            click(LINK, "2026-11-30T00:00:00Z", ClickKind::Human, 3),
            click(OTHER_LINK, "2026-11-29T11:30:00Z", ClickKind::Human, 1),
            click(MISSING, "2026-11-29T11:30:00Z", ClickKind::Human, 1),
        ];
        ClickCounts::of(&clicks, &owners)
    }

    #[test]
    fn all_counts_of_a_link_add_up_to_its_total() {
        let counts = counted();
        let total: u64 = counts.totals.values().map(|total| total.clicks).sum();
        assert_eq!((total, counts.of_missing_links), (5, 1));
        assert_eq!(counts.hours.values().sum::<u64>(), total);
        assert_eq!(counts.days.values().sum::<u64>(), total);
        assert_eq!(counts.owner_hours.values().sum::<u64>(), total);
        for dimension in Dimension::ALL {
            let of_it = counts.dimensions.iter().filter(|(key, _)| key.dimension == dimension);
            assert_eq!(of_it.map(|(_, count)| count).sum::<u64>(), total, "{dimension:?}");
        }
    }

    #[test]
    fn the_last_click_of_a_kind_is_the_latest() {
        let last = |kind| counted().totals[&(LINK, kind)].last_at.to_string();
        assert_eq!(last(ClickKind::Human), "2026-11-30T00:00:00.000000Z");
        assert_eq!(last(ClickKind::Bot), "2026-11-29T11:00:00.000000Z");
    }

    #[test]
    fn a_visitor_counts_once_a_day_and_a_bot_never() {
        let visitors: Vec<_> = counted().visitors.into_values().map(|visitors| visitors.len()).collect();
        assert_eq!(visitors, [1, 1, 1]);
    }

    #[test]
    fn the_counts_of_an_owner_are_those_of_its_links() {
        let counts = counted();
        let of_owner = counts.owner_dimensions();
        assert_eq!(of_owner.values().sum::<u64>(), counts.dimensions.values().sum::<u64>());
        assert!(of_owner.len() < counts.dimensions.len());
    }

    #[test]
    fn values_beyond_the_limit_count_as_other() {
        let key = |number: usize| DimensionKey {
            subject: LINK,
            day: Day(0),
            dimension: Dimension::Referrer,
            value: format!("{number:04}.example").into(),
            kind: ClickKind::Human,
        };
        let counts: DimensionCounts<Uuid> = (0..Dimension::MAX_VALUES + 2).map(|number| (key(number), 1)).collect();
        let value_stored = key(Dimension::MAX_VALUES + 1).value;
        let stored = HashMap::from([((LINK, Day(0), Dimension::Referrer), HashSet::from([value_stored.clone()]))]);
        let limited = limit_values(counts, stored);
        assert_eq!(limited.values().sum::<u64>(), 302);
        let others: Vec<_> = limited.iter().filter(|(key, _)| &*key.value == OTHER).map(|(_, count)| *count).collect();
        assert_eq!((limited.len(), others), (Dimension::MAX_VALUES + 1, vec![2]));
        assert!(limited.keys().any(|key| key.value == value_stored));
    }

    #[test]
    fn what_is_limited_already_takes_no_room() {
        let key = |value: &str| DimensionKey {
            subject: LINK,
            day: day(),
            dimension: Dimension::Referrer,
            value: value.into(),
            kind: ClickKind::Human,
        };
        let known: HashSet<Arc<str>> = (1..Dimension::MAX_VALUES).map(|number| format!("{number}").into()).collect();
        for is_stored in [false, true] {
            let mut known = known.clone();
            known.extend(is_stored.then(|| OTHER.into()));
            let stored = HashMap::from([((LINK, day(), Dimension::Referrer), known)]);
            let counts = DimensionCounts::from([(key(OTHER), 2), (key("fits"), 1), (key("late"), 4)]);
            let limited = limit_values(counts, stored);
            assert_eq!(limited, DimensionCounts::from([(key(OTHER), 6), (key("fits"), 1)]), "{is_stored}");
        }
    }

    #[test]
    fn open_values_are_counted_once_for_both_kinds() {
        let mut counts = counted();
        let referrers = |counts: &ClickCounts| open_values(&counts.dimensions)[&(LINK, day(), Dimension::Referrer)];
        assert_eq!(referrers(&counts), 1);
        let another = DimensionKey {
            subject: LINK,
            day: day(),
            dimension: Dimension::Referrer,
            value: "example.org".into(),
            kind: ClickKind::Bot,
        };
        counts.dimensions.insert(another, 1);
        assert_eq!(referrers(&counts), 2);
        assert!(open_values(&counts.dimensions).keys().all(|(_, _, dimension)| *dimension != Dimension::HourOfWeek));
    }

    fn day() -> Day {
        Day::of("2026-11-29T00:00:00Z".parse().expect("a moment"))
    }

    #[test]
    fn links_and_their_owners_are_told() {
        let counts = counted();
        assert_eq!(counts.links(), [LINK, OTHER_LINK]);
        assert_eq!((counts.owner(LINK), counts.owner(MISSING)), (Some(&Owner::default()), None));
    }
}
