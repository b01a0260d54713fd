//! Health endpoints, for probes and for people on call.

pub(crate) mod health;
pub(crate) mod probe;
