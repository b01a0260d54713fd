//! Fields that several kinds of bodies have in common.

use domain::{link::InvalidText, time::Timestamp};

use crate::request::json::{Fault, Json, string};

/// A moment in the future.
pub(crate) fn expiry(json: Json, now: Timestamp) -> Result<Timestamp, Fault> {
    let moment: Timestamp = string(json)?.parse().map_err(|error| Fault::new("not-a-time", error))?;
    if moment > now { Ok(moment) } else { Err(Fault::new("not-in-future", "must be in the future")) }
}

pub(crate) fn text_fault(error: InvalidText) -> Fault {
    let code = match error {
        InvalidText::Empty => "empty",
        InvalidText::TooLong { .. } => "too-long",
        InvalidText::TooMany { .. } => "too-many",
        InvalidText::Character | InvalidText::NotPlain => "character",
    };
    Fault::new(code, error)
}
