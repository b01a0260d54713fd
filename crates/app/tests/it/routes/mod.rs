//! Every route, as its clients see it.

mod batch;
mod blocks;
mod bodies;
mod claim;
mod delete;
mod docs;
mod domains;
mod edit;
mod errors;
mod health;
mod history;
mod keys;
mod list;
mod methods;
mod preview;
mod reactivate;
mod read;
mod redirect;
mod stats;
