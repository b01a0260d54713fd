//! What statistics answer.

use std::collections::BTreeMap;

use super::{Bots, StatisticsService};
use crate::{
    click::{Day, Dimension, KindCounts, OTHER, ValueCount},
    time::Timestamp,
};

/// Statistics of links.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statistics {
    /// When they begin.
    pub from: Timestamp,
    /// When they end.
    pub to: Timestamp,
    /// All clicks in that time: the sum of the series.
    pub totals: KindCounts,
    /// All clicks in the time of the same length before; `None` if that was not asked.
    pub previous: Option<KindCounts>,
    /// Visitors of each UTC day, added up; `None` unless it is about one link. A person who comes on two days counts
    /// twice.
    pub daily_visitors: Option<u64>,
    /// Clicks by time, without holes.
    pub series: Vec<(Timestamp, KindCounts)>,
    /// Clicks by what they tell.
    pub breakdowns: Breakdowns,
    /// Clicks until then are counted, as far as this process knows.
    pub as_of: Timestamp,
}

/// Clicks by the value of each dimension, over whole UTC days.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Breakdowns {
    /// The first day.
    pub first_day: Day,
    /// The day behind the last.
    pub end_day: Day,
    /// All clicks of these days: the sum of each breakdown.
    pub total: u64,
    /// The most frequent values of each dimension, most frequent first. All others are one value, the last.
    pub by: Vec<(Dimension, Vec<(String, u64)>)>,
}

impl Breakdowns {
    pub(super) fn of(first_day: Day, end_day: Day, values: Vec<ValueCount>, bots: Bots) -> Self {
        let mut all: BTreeMap<Dimension, BTreeMap<String, u64>> = BTreeMap::new();
        for ValueCount { dimension, value, kind, clicks } in values {
            if bots.counts(kind) {
                *all.entry(dimension).or_default().entry(value).or_default() += clicks;
            }
        }
        let total = all.values().next().map_or(0, |values| values.values().sum());
        let by = Dimension::ALL.into_iter().map(|dimension| {
            let mut values = all.remove(&dimension).unwrap_or_default();
            let mut others = values.remove(OTHER).unwrap_or_default();
            let mut values: Vec<_> = values.into_iter().collect();
            // Values with as many clicks stay in the order of their names.
            values.sort_by_key(|(_, clicks)| std::cmp::Reverse(*clicks));
            others +=
                values.drain(StatisticsService::MAX_VALUES.min(values.len())..).map(|(_, clicks)| clicks).sum::<u64>();
            if others > 0 {
                values.push((OTHER.to_owned(), others));
            }
            (dimension, values)
        });
        Self { first_day, end_day, total, by: by.collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::click::ClickKind;

    #[test]
    fn a_breakdown_adds_up_although_rare_values_are_one() {
        let count = |value: String, kind, clicks| ValueCount { dimension: Dimension::Referrer, value, kind, clicks };
        let mut values: Vec<_> =
            (0..60).map(|number| count(format!("{number:02}.example"), ClickKind::Human, number + 1)).collect();
        values.push(count(OTHER.to_owned(), ClickKind::Human, 5));
        values.push(count("59.example".to_owned(), ClickKind::Bot, 1_000));
        let breakdowns = Breakdowns::of(Day(0), Day(1), values, Bots::Exclude);
        let (dimension, referrers) = &breakdowns.by[0];
        assert_eq!((*dimension, breakdowns.total), (Dimension::Referrer, (1..=60).sum::<u64>() + 5));
        assert_eq!(referrers.iter().map(|(_, clicks)| clicks).sum::<u64>(), breakdowns.total);
        assert_eq!(referrers.len(), StatisticsService::MAX_VALUES + 1);
        assert_eq!(referrers[0], ("59.example".to_owned(), 60));
        assert_eq!(referrers[50], (OTHER.to_owned(), (1..=10).sum::<u64>() + 5));
    }
}
