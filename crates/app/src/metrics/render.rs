//! The samples as text, in the formats of Prometheus.

use std::{collections::HashMap, fmt};

use adapter_http::ScrapeFormat;
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, NoLabelSet, prometheus_text, text},
    metrics::{MetricType, exemplar::Exemplar},
    registry::Registry,
};

use super::{
    samples::{Samples, Value},
    sources::Sources,
    table::{self, Kind, Metric},
};

/// The metrics of the process.
#[derive(Debug)]
pub(crate) struct Metrics(Registry);

impl Metrics {
    pub(crate) fn new(sources: Sources) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Table(sources)));
        Self(registry)
    }

    /// All metrics at this moment.
    pub(crate) fn scrape(&self, format: ScrapeFormat) -> String {
        let mut out = String::new();
        let written = match format {
            ScrapeFormat::OpenMetrics => text::encode(&mut out, &self.0),
            ScrapeFormat::PrometheusText => prometheus_text::encode(&mut out, &self.0),
        };
        written.expect("writing to a string does not fail");
        out
    }
}

/// Encodes the rows of the table.
struct Table(Sources);

impl fmt::Debug for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Table").finish_non_exhaustive()
    }
}

impl Collector for Table {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let snapshot = self.0.snapshot();
        for metric in table::all() {
            let mut samples = Samples::default();
            (metric.read)(&snapshot, &mut samples);
            if !samples.0.is_empty() {
                encode(&mut encoder, metric, &samples)?;
            }
        }
        Ok(())
    }
}

fn encode(encoder: &mut DescriptorEncoder<'_>, metric: &Metric, samples: &Samples) -> fmt::Result {
    let (name, unit) = metric.name_and_unit();
    let kind = match metric.kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
        Kind::Histogram => MetricType::Histogram,
    };
    let mut family = encoder.encode_descriptor(name, metric.help, unit.as_ref(), kind)?;
    for sample in &samples.0 {
        let names = metric.labels.iter().map(|label| label.name);
        let labels: Vec<_> = names.zip(sample.labels.iter().copied()).collect();
        let mut one = family.encode_family(&labels)?;
        match (&sample.value, metric.kind) {
            (Value::Whole(number), Kind::Counter) => {
                one.encode_counter(number, None::<&Exemplar<NoLabelSet, f64>>)?;
            }
            (Value::Real(number), Kind::Counter) => {
                one.encode_counter(number, None::<&Exemplar<NoLabelSet, f64>>)?;
            }
            (Value::Whole(number), _) => one.encode_gauge(number)?,
            (Value::Real(number), _) => one.encode_gauge(number)?,
            (Value::Histogram { sum, buckets }, _) => {
                let count = buckets.iter().map(|(_, count)| count).sum();
                let exemplars = None::<&HashMap<usize, Exemplar<NoLabelSet, f64>>>;
                one.encode_histogram(*sum, count, buckets, exemplars)?;
            }
        }
    }
    Ok(())
}
