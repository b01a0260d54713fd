//! Links, one operation a file.

pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod claim;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod fields;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod reactivate;
pub(crate) mod read;

use domain::code::Code;

use crate::problem::{Problem, ProblemKind};

/// The code in a path. What cannot be a code names no link.
pub(crate) fn code_in_path(text: &str) -> Result<Code, Problem> {
    text.parse().map_err(|_| Problem::new(ProblemKind::NotFound))
}
