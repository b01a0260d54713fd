//! Bodies of answers, and QR codes as answers.

pub(crate) mod body;
pub(crate) mod fixed;
pub(crate) mod picture;
