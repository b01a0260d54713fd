//! How long a store takes to count clicks and to answer statistics. Tests do not run this; the examples of the stores
//! print it.

use std::time::{Duration, Instant};

use domain::{
    click::{Day, DescribedClick, Hour},
    link::Link,
    ports::{Entropy, StatisticsOf},
    time::Timestamp,
};

use super::{
    click_load::{ClickLoad, many_links, own_processor_time},
    click_subject::{ClickSubject, STORED, a_click, by_bot, by_visitor, from},
    subject::moment,
};

/// Clicks and links of one measurement of counting.
const CLICKS: usize = 10_000;
const LINKS: usize = 1_000;
/// Clicks of each hour of the year of the link whose statistics are measured: some 10,000,000 in all.
const CLICKS_OF_AN_HOUR: usize = 1_142;
/// Most repetitions of a question. The median counts.
const QUESTIONS: usize = 9;

/// What was measured, and how long it took.
pub type Figure = (String, Duration);

/// Measures counting 10,000 clicks of 1,000 links in batches of several sizes, then the statistics of one link with
/// 10,000,000 clicks in a year, from some hundred hosts each day.
pub async fn click_figures(subject: ClickSubject) -> Vec<Figure> {
    let mut figures = Vec::new();
    let links = subject.links(LINKS).await;
    for size in [300, 1_000, 5_000] {
        for round in ["first", "second"] {
            let (total, longest) = count_clicks(&subject, &links, size).await;
            figures.push((format!("{CLICKS} clicks of {LINKS} links in batches of {size}, {round} time"), total));
            figures.push(("- the longest batch".to_owned(), longest));
        }
    }
    let link = subject.link().await;
    fill_a_year(&subject, &link).await;
    figures.extend(ask(&subject, &link).await);
    figures
}

/// Links of the load, and clicks of one measurement of it.
const LOAD_LINKS: usize = 100_000;
const LOAD_CLICKS: usize = 400_000;

/// Measures what counting a click takes of time and of this process' processor time, with clicks on 100,000 links
/// (Zipf), in batches of these sizes. Each size counts on the rows of the sizes before it.
pub async fn click_load_figures(subject: ClickSubject, sizes: &[usize]) -> Vec<Figure> {
    let load = ClickLoad::over(&subject, many_links(&subject, LOAD_LINKS).await);
    let at = moment("2026-01-15T12:00:00Z");
    let stream = subject.stream();
    let (mut after, mut figures) = (0, Vec::new());
    for (round, size) in sizes.iter().enumerate() {
        let (mut time, mut processor, mut longest, mut count) = (Duration::ZERO, 0, Duration::ZERO, 0);
        while count < LOAD_CLICKS {
            let clicks =
                (0..*size).map(|_| load.click(at.plus_seconds(seconds(round * 3_600)).expect("the year 2026")));
            let batch = subject.batch(stream, after, clicks.collect());
            let (begun, used) = (Instant::now(), own_processor_time());
            assert_eq!(subject.store(&batch).await, STORED);
            let taken = begun.elapsed();
            processor += own_processor_time() - used;
            (after, time, longest, count) = (batch.until, time + taken, longest.max(taken), count + size);
        }
        let each = |nanos: u64| Duration::from_nanos(nanos / count as u64);
        let nanos = u64::try_from(time.as_nanos()).expect("a short time");
        figures.push((format!("a click in batches of {size}"), each(nanos)));
        figures.push(("- processor time of this process".to_owned(), each(processor)));
        figures.push(("- the longest batch".to_owned(), longest));
    }
    figures
}

/// The time of all batches, and of the longest one.
async fn count_clicks(subject: &ClickSubject, links: &[Link], size: usize) -> (Duration, Duration) {
    let at = |number: usize| moment("2026-01-15T12:00:00Z").plus_seconds(seconds(number / 20)).expect("the year 2026");
    let clicks: Vec<_> =
        (0..CLICKS).map(|number| random_click(subject, &links[draw(subject, LINKS)], at(number))).collect();
    let stream = subject.stream();
    let (mut after, mut total, mut longest) = (0, Duration::ZERO, Duration::ZERO);
    for some in clicks.chunks(size) {
        let batch = subject.batch(stream, after, some.to_vec());
        let begun = Instant::now();
        assert_eq!(subject.store(&batch).await, STORED);
        let taken = begun.elapsed();
        (after, total, longest) = (batch.until, total + taken, longest.max(taken));
    }
    (total, longest)
}

async fn fill_a_year(subject: &ClickSubject, link: &Link) {
    let first = Day::of(moment("2025-01-15T00:00:00Z"));
    let load = ClickLoad::over(subject, vec![link.id]);
    let (stream, mut after) = (subject.stream(), 0);
    for day in 0..365 {
        let hours = (0..24).map(|hour| Hour(Day(first.0 + day).first_hour().0 + hour).begin());
        let clicks = hours.flat_map(|at| std::iter::repeat_n(at, CLICKS_OF_AN_HOUR));
        let batch = subject.batch(stream, after, clicks.map(|at| load.click(at)).collect());
        assert_eq!(subject.store(&batch).await, STORED);
        after = batch.until;
    }
}

async fn ask(subject: &ClickSubject, link: &Link) -> Vec<Figure> {
    let days = Day::of(moment("2025-01-15T00:00:00Z"))..Day::of(moment("2026-01-15T00:00:00Z"));
    let hours = days.start.first_hour()..days.end.first_hour();
    let (of, of_owner) = (StatisticsOf::Link(link.id), StatisticsOf::Owner(link.owner.clone()));
    let mut figures = Vec::new();
    for (of, name) in [(&of, "a link"), (&of_owner, "an owner")] {
        let times = repeated(async || drop(subject.hours(of, hours.clone()).await)).await;
        figures.push((format!("the hours of a year of {name}"), times));
        let times = repeated(async || drop(subject.days(of, days.clone()).await)).await;
        figures.push((format!("the days of a year of {name}"), times));
        let times = repeated(async || drop(subject.dimensions(of, days.clone()).await)).await;
        figures.push((format!("the breakdowns of a year of {name}"), times));
    }
    let visitors = async || drop(subject.clicks.visitors(&link.id, days.clone()).await.expect("the store works"));
    figures.push(("the visitors of a year of a link".to_owned(), repeated(visitors).await));
    let totals = async || assert!(subject.totals(link.id).await.total() > 0);
    figures.push(("the totals of a link".to_owned(), repeated(totals).await));
    let kinds = &domain::click::ClickKind::ALL;
    let top = async || {
        drop(subject.clicks.top(Some(&link.owner), kinds, days.clone(), 10).await.expect("the store works"));
    };
    figures.push(("the most clicked links of a year of an owner".to_owned(), repeated(top).await));
    figures
}

/// The median time of a question.
async fn repeated(question: impl AsyncFn()) -> Duration {
    let mut times = Vec::new();
    for _ in 0..QUESTIONS {
        let begun = Instant::now();
        question().await;
        times.push(begun.elapsed());
    }
    times.sort_unstable();
    times[QUESTIONS / 2]
}

fn random_click(subject: &ClickSubject, link: &Link, at: Timestamp) -> DescribedClick {
    let value = |prefix: &str, values: usize| -> String { format!("{prefix}{}", draw(subject, values)) };
    let click = from(&value("referrer-", 50), a_click(link, at));
    let mut click = by_visitor(draw(subject, 5_000) as u64, click);
    click.traits.country = value("C", 20).into();
    click.traits.browser = value("browser-", 10).into();
    click.traits.os = value("os-", 6).into();
    click.traits.device = value("device-", 3).into();
    click.traits.language = value("l", 10).into();
    if draw(subject, 10) == 0 { by_bot(click) } else { click }
}

fn draw(subject: &ClickSubject, below: usize) -> usize {
    let mut bytes = [0; 4];
    subject.subject.entropy.fill(&mut bytes);
    u32::from_le_bytes(bytes) as usize % below
}

fn seconds(number: usize) -> i64 {
    i64::try_from(number).expect("few")
}
