//! Rebuilds the crate when a migration is added, which `embed_migrations!` alone does not notice.

#[expect(clippy::disallowed_macros, reason = "this is how a build script talks to cargo")]
fn main() {
    println!("cargo::rerun-if-changed=../../migrations/sqlite");
    println!("cargo::rerun-if-changed=../../migrations/sqlite-clicks");
}
