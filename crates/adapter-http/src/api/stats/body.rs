//! Statistics as JSON.

use domain::{
    click::{Day, Dimension, KindCounts, Orphan},
    link::Link,
    service::{self, StatisticsQuery},
    time::Timestamp,
};
use serde::Serialize;
use utoipa::ToSchema;

use crate::request::domains::Bases;

/// Clicks over time, and by what they tell.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Statistics {
    /// When they begin: the begin of the first part of the series.
    #[schema(value_type = String, format = DateTime)]
    pub(super) from: Timestamp,
    /// When they end: the end of the last part of the series.
    #[schema(value_type = String, format = DateTime)]
    pub(super) to: Timestamp,
    /// Length of the parts of the series.
    #[schema(example = "day")]
    pub(super) interval: &'static str,
    /// Time zone of the series.
    #[schema(example = "UTC")]
    pub(super) time_zone: &'static str,
    /// Whether `clicks` counts those of bots: `exclude`, `only` or `include`.
    #[schema(example = "exclude")]
    pub(super) bots: &'static str,
    /// Clicks until then are counted, as far as the answering process knows.
    #[schema(value_type = String, format = DateTime)]
    pub(super) as_of: Timestamp,
    pub(super) totals: Clicks,
    /// Visitors of each UTC day, added up; `null` unless the statistics are of one link. A person who comes on two days
    /// counts twice.
    #[schema(required = true)]
    pub(super) daily_visitors: Option<u64>,
    /// The totals of the time of the same length before, if that was asked for.
    #[schema(required = true)]
    pub(super) previous: Option<Clicks>,
    /// The parts of the time, without holes.
    pub(super) series: Vec<Part>,
    pub(super) breakdowns: Breakdowns,
}

/// Clicks of people and of bots.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Clicks {
    /// Those that `bots` asks for.
    pub(super) clicks: u64,
    /// Those of people.
    pub(super) humans: u64,
    /// Those of bots.
    pub(super) bots: u64,
}

/// A part of the time.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = StatisticsPart)]
pub(crate) struct Part {
    /// When it begins.
    #[schema(value_type = String, format = DateTime)]
    pub(super) start: Timestamp,
    #[serde(flatten)]
    pub(super) counts: Clicks,
}

/// Clicks by what they tell, over whole UTC days. Each breakdown adds up to `total`.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Breakdowns {
    /// The first day.
    #[schema(format = Date, example = "2026-11-01")]
    pub(super) first_day: String,
    /// The last day.
    #[schema(format = Date, example = "2026-11-30")]
    pub(super) last_day: String,
    /// All clicks of these days.
    pub(super) total: u64,
    /// By host of the referring page.
    pub(super) referrer: Vec<Value>,
    /// By country, as ISO 3166-1 code.
    pub(super) country: Vec<Value>,
    /// By browser, or by name of the bot.
    pub(super) browser: Vec<Value>,
    /// By operating system.
    pub(super) os: Vec<Value>,
    /// By kind of device: `desktop`, `mobile` or `tablet`.
    pub(super) device: Vec<Value>,
    /// By language, as subtag of BCP 47.
    pub(super) language: Vec<Value>,
    /// By day of the week and hour in UTC: `mon-00` to `sun-23`.
    pub(super) hour_of_week: Vec<Value>,
}

/// Clicks with one value.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = BreakdownValue)]
pub(crate) struct Value {
    /// The value. `(direct)`, `(unknown)`, `(not recorded)` and `(other)` stand for what their words say.
    pub(super) value: String,
    pub(super) clicks: u64,
}

impl Statistics {
    pub(crate) fn of(found: &service::Statistics, query: &StatisticsQuery) -> Self {
        let clicks =
            |counts: KindCounts| Clicks { clicks: counts.of(query.bots), humans: counts.humans, bots: counts.bots };
        Self {
            from: found.from,
            to: found.to,
            interval: query.interval.name(),
            time_zone: query.zone.name(),
            bots: query.bots.name(),
            as_of: found.as_of,
            totals: clicks(found.totals),
            daily_visitors: found.daily_visitors,
            previous: found.previous.map(clicks),
            series: found
                .series
                .iter()
                .map(|(start, counts)| Part { start: *start, counts: clicks(*counts) })
                .collect(),
            breakdowns: Breakdowns::of(&found.breakdowns),
        }
    }
}

impl Breakdowns {
    fn of(found: &service::Breakdowns) -> Self {
        let values = |wanted: Dimension| {
            let values = found.by.iter().filter(|(dimension, _)| *dimension == wanted).flat_map(|(_, values)| values);
            values.map(|(value, clicks)| Value { value: value.clone(), clicks: *clicks }).collect()
        };
        Self {
            first_day: found.first_day.date().to_string(),
            last_day: Day(found.end_day.0 - 1).date().to_string(),
            total: found.total,
            referrer: values(Dimension::Referrer),
            country: values(Dimension::Country),
            browser: values(Dimension::Browser),
            os: values(Dimension::Os),
            device: values(Dimension::Device),
            language: values(Dimension::Language),
            hour_of_week: values(Dimension::HourOfWeek),
        }
    }

    /// The breakdowns by their names.
    pub(super) fn by_name(&self) -> [(&'static str, &[Value]); Dimension::ALL.len()] {
        Dimension::ALL.map(|dimension| {
            let values = match dimension {
                Dimension::Referrer => &self.referrer,
                Dimension::Country => &self.country,
                Dimension::Browser => &self.browser,
                Dimension::Os => &self.os,
                Dimension::Device => &self.device,
                Dimension::Language => &self.language,
                Dimension::HourOfWeek => &self.hour_of_week,
            };
            (dimension.name(), values.as_slice())
        })
    }
}

/// The links with most clicks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopLinks {
    pub(super) items: Vec<TopLink>,
}

/// A link and its clicks.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TopLink {
    /// The host of its short domain.
    domain: String,
    /// The path segment that names it.
    #[schema(example = "h7RkQ2mX")]
    code: String,
    /// The short address.
    #[schema(format = Uri, example = "http://127.0.0.1:8080/h7RkQ2mX")]
    short_url: String,
    /// Where it leads.
    #[schema(format = Uri, example = "https://example.com/a?b=1")]
    url: String,
    /// Its title, for people.
    #[schema(required = true)]
    title: Option<String>,
    clicks: u64,
}

impl TopLink {
    pub(crate) fn of(link: &Link, clicks: u64, bases: &Bases<'_>) -> Self {
        Self {
            domain: bases.host(link.domain).into_owned(),
            code: link.code.to_string(),
            short_url: bases.short_url(link),
            url: link.behaviour.target.to_string(),
            title: link.title.as_ref().map(|title| title.as_str().to_owned()),
            clicks,
        }
    }
}

/// Visits that led nowhere.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Orphans {
    pub(super) items: Vec<OrphanDay>,
}

/// Visits of one day on one short domain that led nowhere for one reason.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OrphanDay {
    /// The UTC day.
    #[schema(format = Date, example = "2026-11-30")]
    day: String,
    /// The host of the short domain.
    #[schema(example = "127.0.0.1")]
    domain: String,
    /// `unknown`, `gone`, `blocked` or `bare`: the address without a code.
    #[schema(example = "unknown")]
    reason: &'static str,
    visits: u64,
}

impl OrphanDay {
    pub(crate) fn of(orphan: Orphan, visits: u64, bases: &Bases<'_>) -> Self {
        let domain = bases.host(orphan.domain).into_owned();
        Self { day: orphan.day.date().to_string(), domain, reason: orphan.reason.name(), visits }
    }
}
