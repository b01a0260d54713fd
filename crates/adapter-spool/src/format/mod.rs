//! The format of a segment: a pure function of bytes in both directions.
//!
//! | offset | holds                                                              |
//! |--------|--------------------------------------------------------------------|
//! | 0      | header                                                             |
//! | 4,096  | number of records so far, with a check                             |
//! | 4,160  | the header again                                                   |
//! | 8,192  | records, each at a multiple of 8; what follows the last one is zero |
//!
//! All numbers are little-endian. Between two records there may be zeros, to the end of a page.

mod header;
mod record;
mod scan;
mod survey;
mod user_agent;

pub(crate) use header::{COPY_AT, Header, HeaderState, RECORDS_AT, TALLY_AT, tallied, tally_word};
pub(crate) use record::Encoder;
pub(crate) use scan::Scan;
pub use survey::{Survey, survey};
