//! Clicks as a busy installation has them: few links get most of them (Zipf), from few countries and browsers.

use std::{fs, sync::Arc};

use domain::{
    click::{ClickKind, DescribedClick, Traits, UNKNOWN, VisitorHash},
    link::Link,
    ports::Entropy,
    time::Timestamp,
};
use uuid::Uuid;

use super::{
    click_subject::ClickSubject,
    subject::{a_link, at_once},
};

/// Browser, system and kind of device of people; the first are the most frequent.
const CLIENTS: [(&str, &str, &str); 14] = [
    ("Chrome Mobile", "Android", "mobile"),
    ("Mobile Safari", "iOS", "mobile"),
    ("Chrome", "Windows", "desktop"),
    ("Safari", "Mac OS X", "desktop"),
    ("Chrome", "Mac OS X", "desktop"),
    ("Edge", "Windows", "desktop"),
    ("Samsung Internet", "Android", "mobile"),
    ("Firefox", "Windows", "desktop"),
    ("Instagram", "iOS", "mobile"),
    ("Chrome", "Linux", "desktop"),
    ("Firefox", "Ubuntu", "desktop"),
    ("Facebook", "Android", "mobile"),
    ("Opera", "Windows", "desktop"),
    ("Mobile Safari", "iOS", "tablet"),
];
const BOTS: [&str; 6] = ["Googlebot", "bingbot", "facebookexternalhit", "Slackbot-LinkExpanding", "Twitterbot", "curl"];
const COUNTRIES: [&str; 24] = [
    "US", "IN", "DE", "GB", "FR", "BR", "JP", "CA", "ES", "IT", "NL", "AU", "PL", "MX", "SE", "CH", "AT", "ID", "TR",
    "KR", "ZA", "AR", "BE", "PT",
];
const LANGUAGES: [&str; 12] = ["en", "de", "es", "fr", "pt", "hi", "ja", "it", "nl", "pl", "tr", "ko"];
/// Hosts of referring pages. Half of the clicks come from none.
const HOSTS: usize = 400;
/// One click of so many is by a bot.
const BOT_OF: usize = 12;

/// Draws clicks on some links.
pub(super) struct ClickLoad {
    subject: ClickSubject,
    links: Vec<Uuid>,
    of_links: Zipf,
    traits: Vec<(Arc<str>, Arc<str>, Arc<str>)>,
    of_clients: Zipf,
    bots: Vec<Arc<str>>,
    countries: Vec<Arc<str>>,
    of_countries: Zipf,
    languages: Vec<Arc<str>>,
    of_languages: Zipf,
    hosts: Vec<Arc<str>>,
    of_hosts: Zipf,
    direct: Arc<str>,
    unknown: Arc<str>,
}

impl std::fmt::Debug for ClickLoad {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ClickLoad").field("links", &self.links.len()).finish_non_exhaustive()
    }
}

impl ClickLoad {
    /// Clicks on these links. The first of them get the most.
    pub(super) fn over(subject: &ClickSubject, links: Vec<Uuid>) -> Self {
        let shared = |values: &[&str]| -> Vec<Arc<str>> { values.iter().map(|value| (*value).into()).collect() };
        Self {
            of_links: Zipf::new(links.len()),
            traits: CLIENTS
                .iter()
                .map(|(browser, os, device)| ((*browser).into(), (*os).into(), (*device).into()))
                .collect(),
            of_clients: Zipf::new(CLIENTS.len()),
            bots: shared(&BOTS),
            countries: shared(&COUNTRIES),
            of_countries: Zipf::new(COUNTRIES.len()),
            languages: shared(&LANGUAGES),
            of_languages: Zipf::new(LANGUAGES.len()),
            hosts: (0..HOSTS).map(|host| format!("site-{host}.example").into()).collect(),
            of_hosts: Zipf::new(HOSTS),
            direct: "(direct)".into(),
            unknown: UNKNOWN.into(),
            subject: subject.clone(),
            links,
        }
    }

    /// A click at that moment.
    pub(super) fn click(&self, at: Timestamp) -> DescribedClick {
        let link = self.links[self.of_links.draw(&self.subject)];
        let referrer =
            if draw(&self.subject, 2) == 0 { &self.direct } else { &self.hosts[self.of_hosts.draw(&self.subject)] };
        let country = self.countries[self.of_countries.draw(&self.subject)].clone();
        if draw(&self.subject, BOT_OF) == 0 {
            let traits = Traits {
                kind: ClickKind::Bot,
                referrer: self.direct.clone(),
                country,
                browser: self.bots[draw(&self.subject, BOTS.len())].clone(),
                os: self.unknown.clone(),
                device: self.unknown.clone(),
                language: self.unknown.clone(),
            };
            return DescribedClick { at, link, visitor: None, traits };
        }
        let (browser, os, device) = self.traits[self.of_clients.draw(&self.subject)].clone();
        let traits = Traits {
            kind: ClickKind::Human,
            referrer: referrer.clone(),
            country,
            browser,
            os,
            device,
            language: self.languages[self.of_languages.draw(&self.subject)].clone(),
        };
        let mut visitor = [0; 8];
        self.subject.subject.entropy.fill(&mut visitor);
        DescribedClick { at, link, visitor: Some(VisitorHash(u64::from_le_bytes(visitor))), traits }
    }
}

/// So many new links, claimed by many callers at once.
pub(super) async fn many_links(subject: &ClickSubject, count: usize) -> Vec<Uuid> {
    const CALLERS: usize = 64;
    let claimed = at_once(CALLERS, |_| {
        let subject = subject.clone();
        async move {
            let mut links: Vec<Link> = Vec::new();
            for _ in 0..count.div_ceil(CALLERS) {
                links.push(subject.subject.given(&a_link().separate()).await);
            }
            links
        }
    })
    .await;
    let mut links: Vec<_> = claimed.into_iter().flatten().map(|link| link.id).collect();
    links.truncate(count);
    links
}

/// Draws numbers, of which each is as much rarer than the first as it is greater (exponent 1.0).
struct Zipf {
    sums: Vec<f64>,
}

impl Zipf {
    #[expect(clippy::cast_precision_loss, reason = "few numbers")]
    fn new(count: usize) -> Self {
        let mut sum = 0.0;
        let sums = (1..=count).map(|rank| {
            sum += 1.0 / rank as f64;
            sum
        });
        Self { sums: sums.collect() }
    }

    fn draw(&self, subject: &ClickSubject) -> usize {
        let mut bytes = [0; 4];
        subject.subject.entropy.fill(&mut bytes);
        let part = f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX) * self.sums[self.sums.len() - 1];
        self.sums.partition_point(|sum| *sum < part).min(self.sums.len() - 1)
    }
}

fn draw(subject: &ClickSubject, below: usize) -> usize {
    let mut bytes = [0; 4];
    subject.subject.entropy.fill(&mut bytes);
    u32::from_le_bytes(bytes) as usize % below
}

/// Nanoseconds of processor time that the threads of this process have used.
pub(super) fn own_processor_time() -> u64 {
    let threads = fs::read_dir("/proc/self/task").expect("a process sees its threads").flatten();
    let times = threads.filter_map(|thread| {
        let text = fs::read_to_string(thread.path().join("schedstat")).ok()?;
        text.split(' ').next()?.parse::<u64>().ok()
    });
    times.sum()
}
