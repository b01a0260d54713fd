//! The values of a batch of clicks as numbers, so that counting compares numbers and not texts.

use std::{collections::HashMap, sync::Arc};

use super::{ClickKind, DayCounts, DayValue, DescribedClick, Dimension, Hour, KindCounts};

/// Dimensions whose values are texts.
const TEXTS: usize = Dimension::ALL.len() - 1;

/// The values of some clicks.
pub(super) struct Values<'a> {
    /// All values, in ascending order.
    texts: Vec<&'a str>,
    /// Those of each click, by their places among all, in the order of [`Dimension::ALL`].
    of_clicks: Vec<[u32; TEXTS]>,
}

impl<'a> Values<'a> {
    pub(super) fn of(clicks: &'a [DescribedClick]) -> Self {
        let mut known = Known::default();
        let mut of_clicks: Vec<[u32; TEXTS]> =
            clicks.iter().map(|click| click.texts().map(|text| known.number(text))).collect();
        let mut order: Vec<_> = known.texts.iter().copied().zip(0_usize..).collect();
        order.sort_unstable();
        let mut places = vec![0; order.len()];
        for (place, (_, number)) in (0..).zip(&order) {
            places[*number] = place;
        }
        for number in of_clicks.as_flattened_mut() {
            *number = places[*number as usize];
        }
        Self { texts: order.into_iter().map(|(text, _)| text).collect(), of_clicks }
    }

    /// The values of a click, by its place in the batch.
    pub(super) fn of_click(&self, place: usize) -> &[u32; TEXTS] {
        &self.of_clicks[place]
    }
}

/// Numbers the values that were seen. The same memory is the same value, which is quicker to see than the same text.
#[derive(Default)]
struct Known<'a> {
    by_address: HashMap<*const u8, u32>,
    by_text: HashMap<&'a str, u32>,
    texts: Vec<&'a str>,
}

impl<'a> Known<'a> {
    fn number(&mut self, text: &'a Arc<str>) -> u32 {
        if let Some(number) = self.by_address.get(&text.as_ptr()) {
            return *number;
        }
        let texts = &mut self.texts;
        let number = *self.by_text.entry(text).or_insert_with(|| {
            texts.push(text);
            u32::try_from(texts.len() - 1).expect("a batch has fewer than 2^32 values")
        });
        self.by_address.insert(text.as_ptr(), number);
        number
    }
}

/// What is counted: an hour, or a value of a dimension.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Item {
    /// 0 for hours, then the place of the dimension plus 1.
    part: u8,
    /// The hour, or the place of the value.
    place: u32,
}

/// Counts of one day that grow.
#[derive(Default)]
pub(super) struct Tally(Vec<(Item, KindCounts)>);

impl Tally {
    /// Adds one click.
    pub(super) fn add(&mut self, hour: Hour, kind: ClickKind, values: &[u32; TEXTS]) {
        let one = KindCounts::of_kind(kind, 1);
        let hour = u32::try_from(hour.of_day()).expect("the hour of a day is not negative");
        self.0.push((Item { part: 0, place: hour }, one));
        self.0.extend((1..).zip(values).map(|(part, place)| (Item { part, place: *place }, one)));
    }

    /// Adds everything of `other`.
    pub(super) fn add_all(&mut self, other: &Self) {
        self.0.extend_from_slice(&other.0);
    }

    /// Counts each item once, in ascending order.
    pub(super) fn sum_up(&mut self) {
        self.0.sort_unstable_by_key(|(item, _)| *item);
        self.0.dedup_by(|(item, more), (kept, sum)| {
            let is_same = item == kept;
            if is_same {
                *sum += *more;
            }
            is_same
        });
    }

    /// How many clicks, once they are summed up.
    pub(super) fn clicks(&self) -> KindCounts {
        let mut sum = KindCounts::default();
        self.0.iter().take_while(|(item, _)| item.part == 0).for_each(|(_, clicks)| sum += *clicks);
        sum
    }

    /// The counts, once they are summed up.
    pub(super) fn counts<'a>(&self, values: &Values<'a>) -> DayCounts<'a> {
        let hours = self.0.partition_point(|(item, _)| item.part == 0);
        let (of_hours, of_values) = self.0.split_at(hours);
        let mut counts = DayCounts::default();
        for (item, clicks) in of_hours {
            counts.hours[item.place as usize] = *clicks;
        }
        counts.values = of_values
            .iter()
            .map(|(item, clicks)| DayValue {
                dimension: Dimension::ALL[usize::from(item.part) - 1],
                value: values.texts[item.place as usize],
                clicks: *clicks,
            })
            .collect();
        counts
    }
}
