//! Bodies of answers.

pub(crate) mod body;
pub(crate) mod fixed;
