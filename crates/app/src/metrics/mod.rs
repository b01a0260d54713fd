//! Metrics: what the process tells of itself at `/metrics`.
//!
//! A scrape gathers everything into one [`Snapshot`](sources::Snapshot), and the table turns it into samples. What is
//! counted elsewhere, as for `/health` or the log, is read there and not counted twice.
//!
//! | file        | holds                                                             |
//! |-------------|-------------------------------------------------------------------|
//! | `table`     | every metric: name, labels, meaning, and how it is read           |
//! | `sources`   | where the numbers come from                                       |
//! | `samples`   | the samples of one metric                                         |
//! | `render`    | the samples as text                                               |
//! | `process`   | what the operating system knows of the process                    |
//! | `reference` | the table as docs/METRICS.md has it                               |
//!
//! To add a metric: a row in a file of `table`, if need be a field of the snapshot, and docs/METRICS.md, which a test
//! compares.

mod process;
#[cfg(test)]
mod reference;
mod render;
mod samples;
mod sources;
mod table;

pub(crate) use self::{render::Metrics, sources::Sources};
