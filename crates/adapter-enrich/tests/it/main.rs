//! What clicks tell, from outside.

mod agents;
mod clicks;
mod files;
mod mmdb;
mod support;
