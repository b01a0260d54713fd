//! Counts of clicks in memory: the rows of the SQL stores, without their limits of time and size.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    ops::Range,
    sync::MutexGuard,
};

use async_trait::async_trait;
use domain::{
    click::{
        ClickCounts, ClickKind, Counted, DailySalt, Day, DayCounts, FreshCounts, Hour, HourSums, KindCounts, LinkOwner,
        Orphan, ValueCount, ValueSums, VisitorSketch,
    },
    link::Owner,
    ports::{ClickBatch, ClickRepository, ClickTotals, RepositoryError, Shipped, StatisticsOf},
    time::Timestamp,
};
use uuid::Uuid;

use super::MemoryStore;

#[derive(Debug, Default)]
pub(super) struct ClickTables {
    streams: HashMap<Uuid, u64>,
    totals: BTreeMap<Uuid, Total>,
    days: BTreeMap<(Uuid, Day), DayRow>,
    owner_days: BTreeMap<(LinkOwner, Day), DayRow>,
    visitors: BTreeMap<(Uuid, Day), VisitorSketch>,
    /// Hours before this one are forgotten.
    first_hour: Option<Hour>,
    salts: BTreeMap<Day, DailySalt>,
    orphans: BTreeMap<Orphan, u64>,
}

#[derive(Debug)]
struct Total {
    owner: Owner,
    clicks: KindCounts,
    last_at: Timestamp,
}

#[derive(Debug, Default)]
struct DayRow {
    clicks: KindCounts,
    counts: Option<Vec<u8>>,
}

impl DayRow {
    fn add(&mut self, clicks: KindCounts, fresh: &FreshCounts) {
        self.clicks += clicks;
        self.counts = Some(match &self.counts {
            Some(stored) => fresh.added_to(stored).expect("memory is not damaged"),
            None => fresh.to_stored(),
        });
    }

    fn read(&self) -> DayCounts<'_> {
        let counts = self.counts.as_ref().expect("a row is made with its counts");
        DayCounts::from_bytes(counts).expect("memory is not damaged")
    }
}

impl MemoryStore {
    fn clicks(&self) -> MutexGuard<'_, ClickTables> {
        self.clicks.lock().expect("no test panics while it holds the lock")
    }

    fn owners(&self) -> HashMap<Uuid, LinkOwner> {
        let links = self.tables();
        links
            .links
            .values()
            .map(|link| (link.id, LinkOwner { owner: link.owner.clone(), domain: link.domain }))
            .collect()
    }
}

impl ClickTables {
    fn add(&mut self, counts: ClickCounts) {
        for more in counts.links {
            let total = self.totals.entry(more.link).or_insert_with(|| Total {
                owner: more.owner.owner,
                clicks: KindCounts::default(),
                last_at: more.last_at,
            });
            total.clicks += more.clicks;
            total.last_at = total.last_at.max(more.last_at);
        }
        for more in counts.days {
            self.days.entry((more.link, more.day)).or_default().add(more.clicks, &more.counts);
            if !more.visitors.is_empty() {
                self.visitors.entry((more.link, more.day)).or_default().add(more.visitors);
            }
        }
        for more in counts.owners {
            self.owner_days.entry((more.owner, more.day)).or_default().add(more.clicks, &more.counts);
        }
    }

    /// The days of a range, by everything that is asked about.
    fn rows(&self, of: &StatisticsOf, range: &Range<Day>) -> Vec<(Day, &DayRow)> {
        let links = match of {
            StatisticsOf::Link(link) => HashSet::from([*link]),
            StatisticsOf::Links(links) => links.iter().copied().collect(),
            StatisticsOf::Owner(_) | StatisticsOf::On { .. } | StatisticsOf::Everyone => HashSet::new(),
        };
        let of_links =
            self.days.iter().filter(|((link, _), _)| links.contains(link)).map(|((_, day), row)| (*day, row));
        let is_asked = |of_row: &LinkOwner| match of {
            StatisticsOf::Owner(wanted) => of_row.owner == *wanted,
            StatisticsOf::On { owner, domains } => {
                owner.as_ref().is_none_or(|wanted| of_row.owner == *wanted) && domains.contains(&of_row.domain)
            }
            StatisticsOf::Everyone => true,
            StatisticsOf::Link(_) | StatisticsOf::Links(_) => false,
        };
        let of_owners = self.owner_days.iter().filter(|((owner, _), _)| is_asked(owner));
        let all = of_links.chain(of_owners.map(|((_, day), row)| (*day, row)));
        all.filter(|(day, _)| range.contains(day)).collect()
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

    async fn add_orphans(&self, orphans: &HashMap<Orphan, u64>) -> Result<(), RepositoryError> {
        let mut clicks = self.clicks();
        for (key, count) in orphans {
            *clicks.orphans.entry(*key).or_default() += count;
        }
        Ok(())
    }

    async fn salt(&self, fresh: &DailySalt) -> Result<DailySalt, RepositoryError> {
        Ok(*self.clicks().salts.entry(fresh.day()).or_insert(*fresh))
    }

    async fn forget(&self, salts: Day, hours: Hour) -> Result<(), RepositoryError> {
        let mut clicks = self.clicks();
        clicks.salts.retain(|day, _| *day >= salts);
        clicks.first_hour = clicks.first_hour.max(Some(hours));
        Ok(())
    }

    async fn erase(&self, link: &Uuid) -> Result<(), RepositoryError> {
        let mut clicks = self.clicks();
        clicks.totals.remove(link);
        clicks.days.retain(|(of, _), _| of != link);
        clicks.visitors.retain(|(of, _), _| of != link);
        Ok(())
    }

    async fn totals(&self, links: &[Uuid]) -> Result<HashMap<Uuid, ClickTotals>, RepositoryError> {
        let clicks = self.clicks();
        let total = |link: &Uuid| {
            let Total { clicks: KindCounts { humans, bots }, last_at, .. } = *clicks.totals.get(link)?;
            Some((*link, ClickTotals { humans, bots, last_at: Some(last_at) }))
        };
        Ok(links.iter().filter_map(total).collect())
    }

    async fn hours(&self, of: &StatisticsOf, range: Range<Hour>) -> Result<Vec<Counted<Hour>>, RepositoryError> {
        let clicks = self.clicks();
        let mut sums = HourSums::default();
        for (day, row) in clicks.rows(of, &(range.start.day()..range.end.day().next())) {
            sums.add(day, &row.read());
        }
        Ok(sums.between(clicks.first_hour.map_or(range.start, |first| first.max(range.start)), range.end))
    }

    async fn days(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<Counted<Day>>, RepositoryError> {
        let clicks = self.clicks();
        let mut sums = BTreeMap::<Day, KindCounts>::new();
        for (day, row) in clicks.rows(of, &range) {
            *sums.entry(day).or_default() += row.clicks;
        }
        let counted = |(when, clicks): (Day, KindCounts)| {
            clicks.by_kind().map(move |(kind, clicks)| Counted { when, kind, clicks })
        };
        Ok(sums.into_iter().flat_map(counted).collect())
    }

    async fn dimensions(&self, of: &StatisticsOf, range: Range<Day>) -> Result<Vec<ValueCount>, RepositoryError> {
        let clicks = self.clicks();
        let mut sums = ValueSums::default();
        for (day, row) in clicks.rows(of, &range) {
            sums.add(day, &row.read());
        }
        Ok(sums.into_counts())
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
        let is_owners =
            |link: &Uuid| owner.is_none_or(|owner| clicks.totals.get(link).is_some_and(|total| total.owner == *owner));
        let mut sums = BTreeMap::<Uuid, u64>::new();
        for ((link, _), row) in clicks.days.iter().filter(|((link, day), _)| range.contains(day) && is_owners(link)) {
            *sums.entry(*link).or_default() += kinds.iter().map(|kind| row.clicks.kind(*kind)).sum::<u64>();
        }
        let mut top: Vec<_> = sums.into_iter().filter(|(_, clicks)| *clicks > 0).collect();
        top.sort_by_key(|(link, clicks)| (std::cmp::Reverse(*clicks), *link));
        top.truncate(limit as usize);
        Ok(top)
    }

    async fn orphans(&self, range: Range<Day>) -> Result<Vec<(Orphan, u64)>, RepositoryError> {
        let clicks = self.clicks();
        let in_range = clicks.orphans.iter().filter(|(orphan, _)| range.contains(&orphan.day));
        Ok(in_range.map(|(orphan, count)| (*orphan, *count)).collect())
    }
}
