//! Links: one file for each operation.

pub(crate) mod batch;
pub(crate) mod body;
pub(crate) mod claim;
pub(crate) mod delete;
pub(crate) mod edit;
pub(crate) mod fields;
pub(crate) mod history;
pub(crate) mod list;
pub(crate) mod qr;
pub(crate) mod reactivate;
pub(crate) mod read;
