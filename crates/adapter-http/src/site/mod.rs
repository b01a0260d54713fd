//! Pages and files that are not links.

pub(crate) mod docs;
pub(crate) mod front;
