//! Counts of clicks in memory: the pure counting rules, without the month tier of the SQL stores.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    hash::Hash,
    ops::{AddAssign, Range},
    sync::MutexGuard,
};

use async_trait::async_trait;
use domain::{
    click::{
        ClickCounts, ClickKind, DailySalt, Day, DimensionCounts, DimensionKey, Hour, LinkTotal, OrphanReason,
        StoredValues, VisitorSketch, limit_values,
    },
    link::Owner,
    ports::{ClickBatch, ClickRepository, ClickTotals, Counted, RepositoryError, Shipped, StatisticsOf, ValueCount},
};
use uuid::Uuid;

use super::MemoryStore;

#[derive(Debug, Default)]
pub(super) struct ClickTables {
    streams: HashMap<Uuid, u64>,
    totals: BTreeMap<(Uuid, ClickKind), LinkTotal>,
    hours: BTreeMap<(Uuid, Hour, ClickKind), u64>,
    days: BTreeMap<(Uuid, Day, ClickKind), u64>,
    dimensions: DimensionCounts<Uuid>,
    visitors: BTreeMap<(Uuid, Day), VisitorSketch>,
    owner_hours: BTreeMap<(Owner, Hour, ClickKind), u64>,
    owner_dimensions: DimensionCounts<Owner>,
    salts: BTreeMap<Day, DailySalt>,
    orphans: BTreeMap<(Day, OrphanReason), u64>,
}

/// Most rows that one call of `forget` deletes.
const FORGOTTEN_AT_ONCE: usize = 20_000;

impl MemoryStore {
    fn clicks(&self) -> MutexGuard<'_, ClickTables> {
        self.clicks.lock().expect("no test panics while it holds the lock")
    }

    fn owners(&self) -> HashMap<Uuid, Owner> {
        self.tables().links.values().map(|link| (link.id, link.owner.clone())).collect()
    }
}

impl ClickTables {
    fn add(&mut self, mut counts: ClickCounts) {
        counts.dimensions = limit_values(counts.dimensions, stored_values(&self.dimensions));
        let owner_dimensions = limit_values(counts.owner_dimensions(), stored_values(&self.owner_dimensions));
        for (key, more) in counts.totals {
            match self.totals.get_mut(&key) {
                None => drop(self.totals.insert(key, more)),
                Some(total) => {
                    total.clicks += more.clicks;
                    total.last_at = total.last_at.max(more.last_at);
                }
            }
        }
        for (key, visitors) in counts.visitors {
            let sketch = self.visitors.entry(key).or_default();
            *sketch = sketch.union(&VisitorSketch::of(visitors));
        }
        add(&mut self.hours, counts.hours);
        add(&mut self.days, counts.days);
        add(&mut self.dimensions, counts.dimensions);
        add(&mut self.owner_hours, counts.owner_hours);
        add(&mut self.owner_dimensions, owner_dimensions);
    }
}

fn add<K: Ord>(counts: &mut BTreeMap<K, u64>, more: BTreeMap<K, u64>) {
    for (key, clicks) in more {
        counts.entry(key).or_default().add_assign(clicks);
    }
}

fn stored_values<S: Clone + Eq + Hash>(counts: &DimensionCounts<S>) -> StoredValues<S> {
    let mut values = StoredValues::new();
    for key in counts.keys() {
        let of_it: &mut HashSet<_> = values.entry((key.subject.clone(), key.day, key.dimension)).or_default();
        of_it.insert(key.value.clone());
    }
    values
}

/// Sums of counts, by time and kind.
fn counted<T: Copy + Ord>(counts: impl Iterator<Item = (T, ClickKind, u64)>, range: &Range<T>) -> Vec<Counted<T>> {
    let mut sums = BTreeMap::new();
    for (when, kind, clicks) in counts.filter(|(when, ..)| range.contains(when)) {
        *sums.entry((when, kind)).or_default() += clicks;
    }
    sums.into_iter().map(|((when, kind), clicks)| Counted { when, kind, clicks }).collect()
}

/// Sums of counts, by value and kind.
fn by_value<'a, S: 'a>(
    counts: impl Iterator<Item = (&'a DimensionKey<S>, &'a u64)>,
    range: &Range<Day>,
) -> Vec<ValueCount> {
    let mut sums = BTreeMap::new();
    for (key, clicks) in counts.filter(|(key, _)| range.contains(&key.day)) {
        *sums.entry((key.dimension, key.value.to_string(), key.kind)).or_default() += *clicks;
    }
    let count = |((dimension, value, kind), clicks)| ValueCount { dimension, value, kind, clicks };
    sums.into_iter().map(count).collect()
}

/// Whether a link is asked about; `None` if owners are.
fn is_link_of(of: &StatisticsOf) -> Option<impl Fn(Uuid) -> bool> {
    let links = match of {
        StatisticsOf::Link(link) => HashSet::from([*link]),
        StatisticsOf::Links(links) => links.iter().copied().collect(),
        StatisticsOf::Owner(_) | StatisticsOf::Everyone => return None,
    };
    Some(move |link| links.contains(&link))
}

/// Whether an owner is asked about, if owners are.
fn is_owner_of(of: &StatisticsOf, owner: &Owner) -> bool {
    match of {
        StatisticsOf::Owner(wanted) => owner == wanted,
        StatisticsOf::Everyone => true,
        StatisticsOf::Link(_) | StatisticsOf::Links(_) => false,
    }
}

#[async_trait]
impl ClickRepository for MemoryStore {
    async fn store(&self, batch: &ClickBatch) -> Result<Shipped, RepositoryError> {
        let counts = ClickCounts::of(&batch.clicks, &self.owners());
        let mut clicks = self.clicks();
        let acked = clicks.streams.get(&batch.stream).copied().unwrap_or(0);
        if acked != batch.after {
            return Ok(Shipped::Elsewhere { acked });
        }
        clicks.streams.insert(batch.stream, batch.until);
        let of_missing_links = counts.of_missing_links;
        clicks.add(counts);
        Ok(Shipped::Stored { of_missing_links })
    }

    async fn acked(&self, stream: &Uuid) -> Result<u64, RepositoryError> {
        Ok(self.clicks().streams.get(stream).copied().unwrap_or(0))
    }

    async fn forget_stream(&self, stream: &Uuid) -> Result<(), RepositoryError> {
        self.clicks().streams.remove(stream);
        Ok(())
    }

    async fn add_orphans(&self, orphans: &HashMap<(Day, OrphanReason), u64>) -> Result<(), RepositoryError> {
        add(&mut self.clicks().orphans, orphans.iter().map(|(key, count)| (*key, *count)).collect());
        Ok(())
    }

    async fn salt(&self, fresh: &DailySalt) -> Result<DailySalt, RepositoryError> {
        Ok(*self.clicks().salts.entry(fresh.day()).or_insert(*fresh))
    }

    async fn forget(&self, salts: Day, hours: Hour) -> Result<bool, RepositoryError> {
        let mut clicks = self.clicks();
        clicks.salts.retain(|day, _| *day >= salts);
        let mut forgotten = 0;
        let mut stays = |hour: Hour| {
            let goes = hour < hours && forgotten < FORGOTTEN_AT_ONCE;
            forgotten += usize::from(goes);
            !goes
        };
        clicks.hours.retain(|(_, hour, _), _| stays(*hour));
        clicks.owner_hours.retain(|(_, hour, _), _| stays(*hour));
        let left = clicks.hours.keys().map(|(_, hour, _)| *hour);
        let more = left.chain(clicks.owner_hours.keys().map(|(_, hour, _)| *hour)).any(|hour| hour < hours);
        Ok(more)
    }

    async fn erase(&self, link: &Uuid) -> Result<(), RepositoryError> {
        let mut clicks = self.clicks();
        clicks.totals.retain(|(of, _), _| of != link);
        clicks.hours.retain(|(of, ..), _| of != link);
        clicks.days.retain(|(of, ..), _| of != link);
        clicks.dimensions.retain(|key, _| key.subject != *link);
        clicks.visitors.retain(|(of, _), _| of != link);
        Ok(())
    }

    async fn totals(&self, links: &[Uuid]) -> Result<HashMap<Uuid, ClickTotals>, RepositoryError> {
        let clicks = self.clicks();
        let mut totals = HashMap::<Uuid, ClickTotals>::new();
        for ((link, kind), stored) in clicks.totals.iter().filter(|((link, _), _)| links.contains(link)) {
            let total = totals.entry(*link).or_default();
            match kind {
                ClickKind::Human => total.humans = stored.clicks,
                ClickKind::Bot => total.bots = stored.clicks,
            }
            total.last_at = total.last_at.max(Some(stored.last_at));
        }
        Ok(totals)
    }

    async fn hours(&self, of: &StatisticsOf, range: Range<Hour>) -> Result<Vec<Counted<Hour>>, RepositoryError> {
        let clicks = self.clicks();
        Ok(if let Some(is_asked) = is_link_of(of) {
            let hours = clicks.hours.iter().filter(|((link, ..), _)| is_asked(*link));
            counted(hours.map(|((_, hour, kind), count)| (*hour, *kind, *count)), &range)
        } else {
            let hours = clicks.owner_hours.iter().filter(|((owner, ..), _)| is_owner_of(of, owner));
            counted(hours.map(|((_, hour, kind), count)| (*hour, *kind, *count)), &range)
        })
    }

    async fn days(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<Counted<Day>>, RepositoryError> {
        let clicks = self.clicks();
        Ok(if let Some(is_asked) = is_link_of(of) {
            let days = clicks.days.iter().filter(|((link, ..), _)| is_asked(*link));
            counted(days.map(|((_, day, kind), count)| (*day, *kind, *count)), &range)
        } else {
            let days = clicks.owner_dimensions.iter().filter(|(key, _)| is_owner_of(of, &key.subject));
            let device = days.filter(|(key, _)| key.dimension == domain::click::Dimension::Device);
            counted(device.map(|(key, count)| (key.day, key.kind, *count)), &range)
        })
    }

    async fn dimensions(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<ValueCount>, RepositoryError> {
        let clicks = self.clicks();
        Ok(if let Some(is_asked) = is_link_of(of) {
            by_value(clicks.dimensions.iter().filter(|(key, _)| is_asked(key.subject)), &range)
        } else {
            let of_them = clicks.owner_dimensions.iter().filter(|(key, _)| is_owner_of(of, &key.subject));
            by_value(of_them, &range)
        })
    }

    async fn visitors(&self, link: &Uuid, range: Range<Day>) -> Result<Vec<(Day, VisitorSketch)>, RepositoryError> {
        let clicks = self.clicks();
        let of_link = clicks.visitors.iter().filter(|((of, day), _)| of == link && range.contains(day));
        Ok(of_link.map(|((_, day), sketch)| (*day, sketch.clone())).collect())
    }

    async fn top(
        &self,
        owner: Option<&Owner>,
        kinds: &[ClickKind],
        range: Range<Day>,
        limit: u32,
    ) -> Result<Vec<(Uuid, u64)>, RepositoryError> {
        let clicks = self.clicks();
        let is_owners = |link: Uuid| {
            let mut totals = clicks.totals.range((link, ClickKind::Human)..=(link, ClickKind::Bot));
            owner.is_none_or(|owner| totals.any(|(_, total)| total.owner == *owner))
        };
        let mut sums = BTreeMap::<Uuid, u64>::new();
        for ((link, day, kind), count) in &clicks.days {
            if range.contains(day) && kinds.contains(kind) && is_owners(*link) {
                *sums.entry(*link).or_default() += count;
            }
        }
        let mut top: Vec<_> = sums.into_iter().collect();
        top.sort_by_key(|(link, clicks)| (std::cmp::Reverse(*clicks), *link));
        top.truncate(limit as usize);
        Ok(top)
    }

    async fn orphans(&self, range: Range<Day>) -> Result<Vec<(Day, OrphanReason, u64)>, RepositoryError> {
        let clicks = self.clicks();
        let in_range = clicks.orphans.iter().filter(|((day, _), _)| range.contains(day));
        Ok(in_range.map(|((day, reason), count)| (*day, *reason, *count)).collect())
    }
}
