//! The samples of one metric.

/// The samples of one metric, each with the values of its labels in the order of the table.
#[derive(Debug, Default)]
pub(super) struct Samples(pub(super) Vec<Sample>);

#[derive(Debug)]
pub(super) struct Sample {
    pub(super) labels: Vec<&'static str>,
    pub(super) value: Value,
}

#[derive(Debug)]
pub(super) enum Value {
    Whole(u64),
    Real(f64),
    Histogram {
        sum: f64,
        /// The upper bound of each bucket, and how many values are in it alone.
        buckets: Vec<(f64, u64)>,
    },
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Whole(number)
    }
}

impl From<u32> for Value {
    fn from(number: u32) -> Self {
        Self::Whole(number.into())
    }
}

impl From<usize> for Value {
    fn from(number: usize) -> Self {
        Self::Whole(number as u64)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Whole(is_so.into())
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Real(number)
    }
}

impl Samples {
    /// A sample without labels.
    pub(super) fn one(&mut self, value: impl Into<Value>) {
        self.with([], value);
    }

    /// A sample without labels, if there is a value.
    pub(super) fn maybe(&mut self, value: Option<impl Into<Value>>) {
        if let Some(value) = value {
            self.one(value);
        }
    }

    /// A sample with the values of the labels.
    pub(super) fn with<const N: usize>(&mut self, labels: [&'static str; N], value: impl Into<Value>) {
        self.0.push(Sample { labels: labels.to_vec(), value: value.into() });
    }

    /// A sample for each value of the only label.
    pub(super) fn each<V: Into<Value>>(&mut self, values: impl IntoIterator<Item = (&'static str, V)>) {
        values.into_iter().for_each(|(label, value)| self.with([label], value));
    }

    /// A histogram, of the bounds of its buckets and how many values are in each alone.
    pub(super) fn histogram<const N: usize>(
        &mut self,
        labels: [&'static str; N],
        sum: f64,
        buckets: impl Iterator<Item = (f64, u64)>,
    ) {
        self.with(labels, Value::Histogram { sum, buckets: buckets.collect() });
    }
}
