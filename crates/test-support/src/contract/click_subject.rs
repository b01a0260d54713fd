//! The repository of clicks under test, with links to click, and helpers for the cases.

use std::{collections::BTreeMap, fmt, ops::Range, sync::Arc};

use domain::{
    click::{ClickKind, Counted, Day, DescribedClick, Dimension, Hour, Traits, UNKNOWN, ValueCount, VisitorHash},
    link::Link,
    ports::{ClickBatch, ClickRepository, ClickTotals, Shipped, StatisticsOf},
    time::Timestamp,
};
use uuid::Uuid;

use super::{
    LinkStore,
    subject::{Subject, a_link},
};

/// A repository of clicks under test, and the links that it counts clicks of. Its clones share all of it.
#[derive(Clone)]
pub struct ClickSubject {
    /// The links.
    pub subject: Subject,
    /// The repository of clicks.
    pub clicks: Arc<dyn ClickRepository>,
}

impl fmt::Debug for ClickSubject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClickSubject").field("subject", &self.subject).finish_non_exhaustive()
    }
}

/// Every day and every hour that tests use.
pub(super) const ALL_DAYS: Range<Day> = Day(0)..Day(40_000);
pub(super) const ALL_HOURS: Range<Hour> = Hour(0)..Hour(40_000 * 24);

impl ClickSubject {
    /// A subject over a store of links and the repository of their clicks, whose randomness follows from `seed`.
    pub fn over<L: LinkStore + 'static, C: ClickRepository + 'static>(
        links: Arc<L>,
        clicks: Arc<C>,
        seed: u64,
    ) -> Self {
        Self { subject: Subject::over_links(links, seed), clicks }
    }

    /// A new link.
    pub async fn link(&self) -> Link {
        self.link_of("default").await
    }

    /// A new link of this owner.
    pub async fn link_of(&self, owner: &str) -> Link {
        self.subject.given(&a_link().of(owner).separate()).await
    }

    /// So many new links of the default owner.
    pub async fn links(&self, count: usize) -> Vec<Link> {
        let mut links = Vec::new();
        for _ in 0..count {
            links.push(self.link().await);
        }
        links
    }

    /// A stream of which nothing is counted yet.
    pub fn stream(&self) -> Uuid {
        self.subject.draw_id()
    }

    /// A batch of a stream, one record for each click.
    pub fn batch(&self, stream: Uuid, after: u64, clicks: Vec<DescribedClick>) -> ClickBatch {
        let until = after + clicks.len() as u64;
        ClickBatch { stream, after, until, lost: 0, clicks, at: self.subject.now() }
    }

    /// Stores a batch and returns the bare outcome.
    pub async fn store(&self, batch: &ClickBatch) -> Shipped {
        self.clicks.store(batch).await.expect("the store works")
    }

    /// Stores clicks, as the first batch of a new stream.
    pub async fn given(&self, clicks: Vec<DescribedClick>) {
        let batch = self.batch(self.stream(), 0, clicks);
        assert_eq!(self.store(&batch).await, STORED);
    }

    /// The number up to which a stream is counted.
    pub async fn acked(&self, stream: Uuid) -> u64 {
        self.clicks.acked(&stream).await.expect("the store works")
    }

    /// The totals of a link, all 0 if it has none.
    pub async fn totals(&self, link: Uuid) -> ClickTotals {
        self.clicks.totals(&[link]).await.expect("the store works").remove(&link).unwrap_or_default()
    }

    /// Clicks by hour.
    pub async fn hours(&self, of: &StatisticsOf, range: Range<Hour>) -> Vec<Counted<Hour>> {
        self.clicks.hours(of, range).await.expect("the store works")
    }

    /// Clicks by day.
    pub async fn days(&self, of: &StatisticsOf, range: Range<Day>) -> Vec<Counted<Day>> {
        self.clicks.days(of, range).await.expect("the store works")
    }

    /// Clicks by dimension and value, in their order.
    pub async fn dimensions(&self, of: &StatisticsOf, range: Range<Day>) -> Vec<ValueCount> {
        let mut counts = self.clicks.dimensions(of, range).await.expect("the store works");
        counts.sort_by(|one, other| {
            (one.dimension, &one.value, one.kind).cmp(&(other.dimension, &other.value, other.kind))
        });
        counts
    }

    /// Values of a dimension with their clicks of both kinds, in the order of the values.
    pub async fn values(&self, of: &StatisticsOf, dimension: Dimension) -> Vec<(String, u64)> {
        let mut values = BTreeMap::new();
        for count in self.dimensions(of, ALL_DAYS).await {
            if count.dimension == dimension {
                *values.entry(count.value).or_insert(0) += count.clicks;
            }
        }
        values.into_iter().collect()
    }

    /// Visitors of a link by day.
    pub async fn visitors(&self, link: Uuid) -> Vec<(Day, u64)> {
        let days = self.clicks.visitors(&link, ALL_DAYS).await.expect("the store works");
        days.into_iter().map(|(day, sketch)| (day, sketch.count())).collect()
    }

    /// Asserts that days, hours and each dimension add up to these clicks of people and of bots.
    pub async fn assert_sums(&self, of: &StatisticsOf, humans: u64, bots: u64) {
        let expected = [(ClickKind::Human, humans), (ClickKind::Bot, bots)];
        let (hours, days) = (self.hours(of, ALL_HOURS).await, self.days(of, ALL_DAYS).await);
        let values = self.dimensions(of, ALL_DAYS).await;
        for (kind, clicks) in expected {
            let by_hour = hours.iter().filter(|count| count.kind == kind).map(|count| count.clicks).sum::<u64>();
            let by_day = days.iter().filter(|count| count.kind == kind).map(|count| count.clicks).sum::<u64>();
            assert_eq!((by_hour, by_day), (clicks, clicks), "{of:?} {kind:?}");
            for dimension in Dimension::ALL {
                let of_it = values.iter().filter(|count| count.kind == kind && count.dimension == dimension);
                assert_eq!(of_it.map(|count| count.clicks).sum::<u64>(), clicks, "{of:?} {kind:?} {dimension:?}");
            }
        }
    }

    /// Asserts that a link has these clicks of people and of bots, in its totals and in everything else.
    pub async fn assert_link(&self, link: Uuid, humans: u64, bots: u64) {
        let totals = self.totals(link).await;
        assert_eq!((totals.humans, totals.bots), (humans, bots));
        self.assert_sums(&StatisticsOf::Link(link), humans, bots).await;
    }
}

/// The outcome for a batch that is counted, with no clicks of links that do not exist.
pub(super) const STORED: Shipped = Shipped::Stored { of_missing_links: 0 };

/// A click of a person of whom nothing is known.
pub(super) fn a_click(link: &Link, at: Timestamp) -> DescribedClick {
    let unknown: Arc<str> = UNKNOWN.into();
    let traits = Traits {
        kind: ClickKind::Human,
        referrer: "(direct)".into(),
        country: unknown.clone(),
        browser: unknown.clone(),
        os: unknown.clone(),
        device: unknown.clone(),
        language: unknown,
    };
    DescribedClick { at, link: link.id, visitor: None, traits }
}

/// The same click, by a bot.
pub(super) fn by_bot(mut click: DescribedClick) -> DescribedClick {
    click.traits.kind = ClickKind::Bot;
    click
}

/// The same click, from a page on this host.
pub(super) fn from(referrer: &str, mut click: DescribedClick) -> DescribedClick {
    click.traits.referrer = referrer.into();
    click
}

/// The same click, by this visitor.
pub(super) fn by_visitor(visitor: u64, mut click: DescribedClick) -> DescribedClick {
    // Neighbouring numbers are no hashes: a sketch would take them for few.
    click.visitor = Some(VisitorHash(visitor.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    click
}

/// These links.
pub(super) fn all_of(links: &[Link]) -> StatisticsOf {
    StatisticsOf::Links(links.iter().map(|link| link.id).collect())
}
