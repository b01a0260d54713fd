//! Adds counts of a day, and keeps the number of values bounded.

use std::cmp::Ordering;

use super::{DayCounts, DayValue, STORED};
use crate::click::{Dimension, KindCounts, OTHER};

impl<'a> DayCounts<'a> {
    /// These clicks and `more`. The values of these stay. Those that only `more` has count as [`OTHER`] beyond
    /// [`Dimension::MAX_VALUES`], the last in their order first.
    #[must_use]
    pub fn with(&self, more: &DayCounts<'a>) -> Self {
        let mut hours = self.hours;
        for (hour, clicks) in hours.iter_mut().zip(more.hours) {
            *hour += clicks;
        }
        let mut values = Vec::with_capacity(self.values.len() + more.values.len());
        let (mut ours, mut theirs) = (self.values.as_slice(), more.values.as_slice());
        while let (Some((one, our_rest)), Some((other, their_rest))) = (ours.split_first(), theirs.split_first()) {
            match one.key().cmp(&other.key()) {
                Ordering::Less => {
                    values.push(*one);
                    ours = our_rest;
                }
                Ordering::Greater => {
                    values.push(*other);
                    theirs = their_rest;
                }
                Ordering::Equal => {
                    let mut both = *one;
                    both.clicks += other.clicks;
                    values.push(both);
                    (ours, theirs) = (our_rest, their_rest);
                }
            }
        }
        values.extend_from_slice(ours);
        values.extend_from_slice(theirs);
        let mut sum = Self { hours, values };
        if sum.is_crowded() {
            sum.limit(|value| self.values.binary_search_by(|ours| ours.key().cmp(&value.key())).is_ok());
        }
        sum
    }

    /// Whether a dimension has more values than are kept.
    pub(super) fn is_crowded(&self) -> bool {
        self.values.len() > Dimension::MAX_VALUES
            && STORED.into_iter().any(|dimension| {
                let kept = |value: &&DayValue<'_>| value.dimension == dimension && value.value != OTHER;
                self.values.iter().filter(kept).count() > Dimension::MAX_VALUES
            })
    }

    /// Counts values beyond [`Dimension::MAX_VALUES`] as [`OTHER`], but none of which `is_stored` is true.
    pub(super) fn limit(&mut self, is_stored: impl Fn(&DayValue<'a>) -> bool) {
        let mut limited = Vec::with_capacity(self.values.len());
        for dimension in STORED {
            let of_it = || self.values.iter().filter(move |value| value.dimension == dimension);
            let stored = of_it().filter(|value| value.value != OTHER && is_stored(value)).count();
            let mut room = Dimension::MAX_VALUES.saturating_sub(stored);
            let (first, mut others) = (limited.len(), KindCounts::default());
            for value in of_it() {
                if value.value == OTHER {
                    others += value.clicks;
                } else if is_stored(value) {
                    limited.push(*value);
                } else if room > 0 {
                    room -= 1;
                    limited.push(*value);
                } else {
                    others += value.clicks;
                }
            }
            if others.total() > 0 {
                let place = first + limited[first..].partition_point(|value| value.value < OTHER);
                limited.insert(place, DayValue { dimension, value: OTHER, clicks: others });
            }
        }
        self.values = limited;
    }
}
