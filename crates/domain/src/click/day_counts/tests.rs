//! Counts of a day as bytes, added up, and limited.

use std::{collections::HashMap, sync::Arc};

use proptest::prelude::*;
use uuid::Uuid;

use super::*;
use crate::{
    click::{ClickCounts, ClickKind, DescribedClick, Hour, LinkOwner, OTHER, Traits},
    link::Owner,
};

fn value(dimension: Dimension, value: &str, humans: u64, bots: u64) -> DayValue<'_> {
    DayValue { dimension, value, clicks: KindCounts { humans, bots } }
}

/// Counts with these values; the hours tell as many clicks as the first dimension.
fn counts(values: Vec<DayValue<'_>>) -> DayCounts<'_> {
    let mut hours = [KindCounts::default(); 24];
    values.iter().filter(|value| value.dimension == Dimension::Referrer).for_each(|value| hours[23] += value.clicks);
    DayCounts { hours, values }
}

fn hosts(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{number:05}.example")).collect()
}

fn from_hosts(hosts: &[String]) -> DayCounts<'_> {
    counts(hosts.iter().map(|host| value(Dimension::Referrer, host, 1, 0)).collect())
}

#[test]
fn counts_are_read_back() {
    for values in [
        vec![],
        vec![value(Dimension::Referrer, "", 1, 0)],
        vec![value(Dimension::Language, "de", 0, u64::MAX)],
        vec![
            value(Dimension::Referrer, "(direct)", 127, 128),
            value(Dimension::Referrer, "é.example", 1 << 62, 0),
            value(Dimension::Country, "DE", 16_384, 3),
            value(Dimension::Os, "Windows", 1, 1),
        ],
    ] {
        let counts = counts(values);
        let bytes = counts.to_bytes();
        assert_eq!(DayCounts::from_bytes(&bytes), Ok(counts));
    }
}

#[test]
fn a_click_takes_a_few_bytes_beside_its_values() {
    let texts = ["(direct)", "DE", "Chrome", "Windows", "desktop", "de"];
    let mut one = DayCounts {
        values: STORED.into_iter().zip(texts).map(|(dimension, text)| value(dimension, text, 1, 0)).collect(),
        ..DayCounts::default()
    };
    one.hours[7].humans = 1;
    let text: usize = texts.iter().map(|text| text.len()).sum();
    assert_eq!(one.to_bytes().len(), text + 22);
}

#[test]
fn other_bytes_are_no_counts() {
    let good = counts(vec![value(Dimension::Referrer, "a", 1, 0), value(Dimension::Referrer, "b", 1, 2)]).to_bytes();
    assert!(DayCounts::from_bytes(&good).is_ok());
    for end in 0..good.len() {
        assert_eq!(DayCounts::from_bytes(&good[..end]), Err(InvalidCounts), "{end}");
    }
    let version_2 = [&[2], &good[1..]].concat();
    let too_long = [&good[..], &[0]].concat();
    let swapped = counts(vec![value(Dimension::Referrer, "b", 1, 0), value(Dimension::Referrer, "a", 1, 0)]).to_bytes();
    let twice = counts(vec![value(Dimension::Os, "a", 1, 0), value(Dimension::Os, "a", 1, 0)]).to_bytes();
    let hour_24 = vec![1, 1, 48, 1, 0, 0, 0, 0, 0, 0];
    let no_clicks = vec![1, 1, 0, 0, 0, 0, 0, 0, 0, 0];
    let of_no_kind = vec![1, 0, 1, 0b100, b'a', 0, 0, 0, 0, 0];
    let not_utf_8 = vec![1, 0, 1, 0b101, 0xff, 1, 0, 0, 0, 0, 0];
    let number_in_two_ways = vec![1, 0x80, 0, 0, 0, 0, 0, 0, 0];
    let beyond_64_bits = [&[1, 1, 0][..], &[0xff; 9], &[2, 0, 0, 0, 0, 0, 0]].concat();
    let huge_text = [&[1, 0, 1][..], &[0xff; 9], &[1]].concat();
    for bytes in [
        version_2,
        too_long,
        swapped,
        twice,
        hour_24,
        no_clicks,
        of_no_kind,
        not_utf_8,
        number_in_two_ways,
        beyond_64_bits,
        huge_text,
    ] {
        assert_eq!(DayCounts::from_bytes(&bytes), Err(InvalidCounts), "{bytes:?}");
    }
}

#[test]
fn clicks_are_added_hour_by_hour_and_value_by_value() {
    let one = counts(vec![value(Dimension::Referrer, "a", 1, 0), value(Dimension::Referrer, "c", 2, 1)]);
    let other = counts(vec![value(Dimension::Referrer, "b", 0, 4), value(Dimension::Referrer, "c", 3, 0)]);
    let expected = counts(vec![
        value(Dimension::Referrer, "a", 1, 0),
        value(Dimension::Referrer, "b", 0, 4),
        value(Dimension::Referrer, "c", 5, 1),
    ]);
    assert_eq!(one.with(&other), expected);
    assert_eq!(other.with(&one), expected);
    assert_eq!(expected.hours[23], KindCounts { humans: 6, bots: 5 });
}

#[test]
fn values_beyond_the_limit_count_as_other_and_stored_ones_stay() {
    let most = Dimension::MAX_VALUES;
    let (early, late) = (hosts(0..most), hosts(most..most + 2));
    let late_ones = from_hosts(&late);
    let early_ones = from_hosts(&early);
    let sum = late_ones.with(&early_ones);
    assert_eq!(sum.hours[23].humans, most as u64 + 2);
    assert_eq!(sum.values.len(), most + 1);
    // "(other)" comes before what begins with a digit.
    assert_eq!(sum.values[0], value(Dimension::Referrer, OTHER, 2, 0));
    assert_eq!(sum.values[most - 1..].iter().map(|value| value.value).collect::<Vec<_>>(), late);
    let again = sum.with(&early_ones);
    assert_eq!((again.values.len(), again.values[0].clicks.humans), (most + 1, 4));
    assert_eq!(again.values[1].clicks.humans, 2);
}

#[test]
fn fresh_counts_are_limited_when_they_are_stored_and_not_before() {
    let most = Dimension::MAX_VALUES;
    let hosts = hosts(0..most + 5);
    let all = from_hosts(&hosts);
    let fresh = FreshCounts::of(&all);
    assert_eq!(fresh.read(), all);
    let stored = fresh.to_stored();
    let limited = DayCounts::from_bytes(&stored).expect("it was just written");
    assert_eq!(limited.values[0], value(Dimension::Referrer, OTHER, 5, 0));
    // The last value is stored, so it is kept before those that are new.
    let last = from_hosts(&hosts[most + 4..]).to_bytes();
    let sum = fresh.added_to(&last).expect("it was just written");
    let sum = DayCounts::from_bytes(&sum).expect("it was just written");
    assert_eq!(sum.values.last(), Some(&value(Dimension::Referrer, &hosts[most + 4], 2, 0)));
    assert_eq!((sum.values.len(), sum.values[0]), (most + 1, value(Dimension::Referrer, OTHER, 5, 0)));
    assert_eq!(fresh.added_to(b"junk"), Err(InvalidCounts));
}

#[test]
fn what_is_other_already_takes_no_room() {
    let most = Dimension::MAX_VALUES;
    let hosts = hosts(0..most);
    let mut full = from_hosts(&hosts);
    full.values.insert(0, value(Dimension::Referrer, OTHER, 9, 1));
    assert!(!full.is_crowded());
    let sum = full.with(&counts(vec![value(Dimension::Referrer, OTHER, 1, 0)]));
    assert_eq!((sum.values.len(), sum.values[0].clicks), (most + 1, KindCounts { humans: 10, bots: 1 }));
}

#[test]
fn dimensions_are_limited_apart() {
    let hosts = hosts(0..Dimension::MAX_VALUES);
    let values = [Dimension::Referrer, Dimension::Browser].map(|dimension| {
        hosts.iter().map(move |host| DayValue {
            dimension,
            value: host,
            clicks: KindCounts::of_kind(ClickKind::Bot, 1),
        })
    });
    let both = counts(values.into_iter().flatten().collect());
    assert_eq!(both.with(&both).values.len(), 2 * Dimension::MAX_VALUES);
}

prop_compose! {
    /// A click on the first day of 1970, with few values.
    fn a_click()(
        hour in 0..24,
        kind in prop::sample::select(ClickKind::ALL.to_vec()),
        values in prop::array::uniform6(prop::sample::select(vec!["(direct)", "a", "ab", "b", "é", OTHER])),
    ) -> DescribedClick {
        let [referrer, country, browser, os, device, language] = values.map(Arc::from);
        let traits = Traits { kind, referrer, country, browser, os, device, language };
        DescribedClick { at: Hour(hour).begin(), link: Uuid::nil(), visitor: None, traits }
    }
}

/// The counts of clicks on one day.
fn counted(clicks: &[DescribedClick]) -> Vec<u8> {
    let owners = HashMap::from([(
        Uuid::nil(),
        LinkOwner { owner: Owner::default(), domain: crate::address::DomainId::DEFAULT },
    )]);
    let counts = ClickCounts::of(clicks, &owners);
    counts.days.first().map_or_else(|| DayCounts::default().to_bytes(), |day| day.counts.to_stored())
}

proptest! {
    #[test]
    fn clicks_in_two_batches_are_counted_as_in_one(
        clicks in prop::collection::vec(a_click(), 0..40),
        cut in any::<prop::sample::Index>(),
    ) {
        let (one, other) = clicks.split_at(cut.index(clicks.len() + 1));
        let (one, other) = (counted(one), counted(other));
        let sum = DayCounts::from_bytes(&one).expect("valid").with(&DayCounts::from_bytes(&other).expect("valid"));
        prop_assert_eq!(sum.to_bytes(), counted(&clicks));
    }

    #[test]
    fn any_bytes_are_refused_or_have_exactly_one_meaning(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
        let bytes = [&[1], &bytes[..]].concat();
        if let Ok(counts) = DayCounts::from_bytes(&bytes) {
            prop_assert_eq!(counts.to_bytes(), bytes);
        }
    }

    #[test]
    fn damaged_counts_are_refused_or_have_exactly_one_meaning(
        clicks in prop::collection::vec(a_click(), 1..20),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = counted(&clicks);
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(counts) = DayCounts::from_bytes(&bytes) {
            prop_assert_eq!(counts.to_bytes(), bytes);
        }
    }
}
