//! The JSON API.

pub(crate) mod blocks;
mod common_fields;
pub(crate) mod contract;
pub(crate) mod cursor;
pub(crate) mod domains;
pub(crate) mod keys;
pub(crate) mod links;
mod paging;
pub(crate) mod stats;
