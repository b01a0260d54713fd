//! Counts of many days, added up for statistics.

use std::collections::{BTreeMap, HashMap};

use super::{ClickKind, Day, DayCounts, Dimension, Hour, KindCounts, described::hour_of_week};

/// Clicks of one kind in an hour or on a day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counted<T> {
    /// The hour or the day.
    pub when: T,
    /// Their kind.
    pub kind: ClickKind,
    /// How many.
    pub clicks: u64,
}

/// Clicks of one kind with one value of a dimension.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ValueCount {
    /// The dimension.
    pub dimension: Dimension,
    /// The value.
    pub value: String,
    /// Their kind.
    pub kind: ClickKind,
    /// How many.
    pub clicks: u64,
}

/// Clicks by hour.
#[derive(Clone, Debug, Default)]
pub struct HourSums(BTreeMap<Hour, KindCounts>);

impl HourSums {
    /// Adds the hours of a day.
    pub fn add(&mut self, day: Day, counts: &DayCounts<'_>) {
        for (hour, clicks) in (day.first_hour().0..).zip(&counts.hours) {
            if *clicks != KindCounts::default() {
                *self.0.entry(Hour(hour)).or_default() += *clicks;
            }
        }
    }

    /// The hours from `first` until before `end`, in ascending order, without hours and kinds that have no click.
    pub fn between(&self, first: Hour, end: Hour) -> Vec<Counted<Hour>> {
        if first >= end {
            return Vec::new();
        }
        let counted = |(when, clicks): (&Hour, &KindCounts)| {
            let when = *when;
            clicks.by_kind().map(move |(kind, clicks)| Counted { when, kind, clicks })
        };
        self.0.range(first..end).flat_map(counted).collect()
    }
}

/// Clicks by dimension and value.
#[derive(Clone, Debug, Default)]
pub struct ValueSums {
    /// By the place of the dimension.
    values: [HashMap<Box<str>, KindCounts>; Dimension::ALL.len()],
}

impl ValueSums {
    /// Adds the values of a day.
    pub fn add(&mut self, day: Day, counts: &DayCounts<'_>) {
        for value in &counts.values {
            self.add_value(value.dimension, value.value, value.clicks);
        }
        for (hour, clicks) in (day.first_hour().0..).zip(&counts.hours) {
            if *clicks != KindCounts::default() {
                self.add_value(Dimension::HourOfWeek, &hour_of_week(Hour(hour)), *clicks);
            }
        }
    }

    fn add_value(&mut self, dimension: Dimension, value: &str, clicks: KindCounts) {
        let sums = &mut self.values[dimension.place()];
        match sums.get_mut(value) {
            Some(sum) => *sum += clicks,
            None => drop(sums.insert(value.into(), clicks)),
        }
    }

    /// All of them, by dimension, value and kind, in ascending order.
    pub fn into_counts(self) -> Vec<ValueCount> {
        let mut counts = Vec::new();
        for (dimension, sums) in Dimension::ALL.into_iter().zip(self.values) {
            let mut sums: Vec<_> = sums.into_iter().collect();
            sums.sort_unstable_by(|(one, _), (other, _)| one.cmp(other));
            for (value, sum) in sums {
                let count =
                    |(kind, clicks): (ClickKind, u64)| ValueCount { dimension, value: value.to_string(), kind, clicks };
                counts.extend(sum.by_kind().map(count));
            }
        }
        counts
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::click::DayValue;

    fn a_day() -> DayCounts<'static> {
        let clicks = KindCounts { humans: 2, bots: 1 };
        let mut hours = [KindCounts::default(); 24];
        (hours[0], hours[23]) = (KindCounts { humans: 2, bots: 0 }, KindCounts { humans: 0, bots: 1 });
        let values = vec![DayValue { dimension: Dimension::Country, value: "DE", clicks }];
        DayCounts { hours, values }
    }

    #[test]
    fn hours_are_those_of_the_range() {
        let mut sums = HourSums::default();
        sums.add(Day(1), &a_day());
        sums.add(Day(1), &a_day());
        sums.add(Day(2), &a_day());
        let shown = |first, end| -> Vec<_> {
            let hours = sums.between(Hour(first), Hour(end));
            hours.into_iter().map(|count| (count.when.0, count.kind, count.clicks)).collect()
        };
        assert_eq!(shown(24, 48), [(24, ClickKind::Human, 4), (47, ClickKind::Bot, 2)]);
        assert_eq!(shown(47, 49), [(47, ClickKind::Bot, 2), (48, ClickKind::Human, 2)]);
        assert_eq!(shown(49, 20), []);
    }

    #[test]
    fn values_and_hours_of_the_week_are_added_up() {
        let mut sums = ValueSums::default();
        // 1970-01-02 was a Friday.
        sums.add(Day(1), &a_day());
        sums.add(Day(8), &a_day());
        let counts = sums.into_counts();
        let shown: Vec<_> = counts.iter().map(|count| (&*count.value, count.kind, count.clicks)).collect();
        assert_eq!(
            shown,
            [
                ("DE", ClickKind::Human, 4),
                ("DE", ClickKind::Bot, 2),
                ("fri-00", ClickKind::Human, 4),
                ("fri-23", ClickKind::Bot, 2)
            ]
        );
    }
}
