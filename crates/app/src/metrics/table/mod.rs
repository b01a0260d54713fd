//! Every metric, in one table. Dashboards and alerts depend on the names: new ones are added, and none is changed.

mod cache;
mod clicks;
mod links;
mod process;
mod requests;
mod store;
mod tasks;

use prometheus_client::registry::Unit;

use super::{samples::Samples, sources::Snapshot};

/// One metric.
pub(super) struct Metric {
    pub(super) kind: Kind,
    /// The whole name, as Prometheus has it.
    pub(super) name: &'static str,
    pub(super) labels: &'static [Label],
    pub(super) help: &'static str,
    /// What an operator should look at, and which settings or pages belong to it.
    #[cfg_attr(not(test), expect(dead_code, reason = "only a test uses it, to compare docs/METRICS.md"))]
    pub(super) watch: &'static str,
    /// When it is there.
    #[cfg_attr(not(test), expect(dead_code, reason = "only a test uses it, to compare docs/METRICS.md"))]
    pub(super) when: When,
    pub(super) read: Read,
}

/// Adds the samples of a metric.
type Read = fn(&Snapshot, &mut Samples);

/// The type of a metric.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Only rises, from 0 at the start of the process.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How many values lie below each of several bounds.
    Histogram,
}

/// A label with all values that it can have.
pub(super) struct Label {
    pub(super) name: &'static str,
    #[cfg_attr(not(test), expect(dead_code, reason = "only a test uses it, to compare docs/METRICS.md"))]
    pub(super) values: fn() -> Vec<&'static str>,
}

/// When a metric is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum When {
    Always,
    Clicks,
    Sqlite,
    Postgres,
    Redis,
    Linux,
}

impl Metric {
    pub(super) const fn only(self, when: When) -> Self {
        Self { when, ..self }
    }

    /// The name without the suffixes that the format adds, and the unit.
    pub(super) fn name_and_unit(&self) -> (&'static str, Option<Unit>) {
        let name = self.name.strip_suffix("_total").unwrap_or(self.name);
        for unit in ["seconds", "bytes", "ratio"] {
            if let Some(stem) = name.strip_suffix(unit).and_then(|stem| stem.strip_suffix('_')) {
                return (stem, Some(Unit::Other(unit.to_owned())));
            }
        }
        (name, None)
    }
}

const fn counter(
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
    watch: &'static str,
    read: Read,
) -> Metric {
    Metric { kind: Kind::Counter, name, labels, help, watch, when: When::Always, read }
}

const fn gauge(
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
    watch: &'static str,
    read: Read,
) -> Metric {
    Metric { kind: Kind::Gauge, name, labels, help, watch, when: When::Always, read }
}

const fn histogram(
    name: &'static str,
    labels: &'static [Label],
    help: &'static str,
    watch: &'static str,
    read: Read,
) -> Metric {
    Metric { kind: Kind::Histogram, name, labels, help, watch, when: When::Always, read }
}

const fn label(name: &'static str, values: fn() -> Vec<&'static str>) -> Label {
    Label { name, values }
}

/// The parts of the table, each with its title in the documentation.
pub(super) static PARTS: &[(&str, &[Metric])] = &[
    ("Requests", requests::ROWS),
    ("Links", links::ROWS),
    ("The store", store::ROWS),
    ("Caches and the change feed", cache::ROWS),
    ("Clicks", clicks::ROWS),
    ("Background tasks and the log", tasks::ROWS),
    ("The process", process::ROWS),
];

/// All metrics, in the order of the documentation.
pub(super) fn all() -> impl Iterator<Item = &'static Metric> {
    PARTS.iter().flat_map(|(_, rows)| *rows)
}
