//! What became of every click.

/// What became of every click since this process has opened the spool. At every moment
/// `accepted + adopted = acknowledged + spooled + no_space + over_limit + damaged`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Accounting {
    /// Clicks that the recorders of this process were given.
    pub accepted: u64,
    /// Clicks of adopted streams that the store had not acknowledged when it was first asked; and those that are read
    /// again because the store went back, as one that was restored from a backup.
    pub adopted: u64,
    /// Clicks that the store has acknowledged to this process.
    pub acknowledged: u64,
    /// Clicks that wait for the store.
    pub spooled: u64,
    /// Clicks that were not recorded, because no segment was ready for them: the disk is full, or hangs.
    pub no_space: u64,
    /// Clicks that were dropped with the oldest segment, because the spool had reached its limit.
    pub over_limit: u64,
    /// Clicks whose records cannot be read.
    pub damaged: u64,
    /// Clicks found in adopted streams of which the store has not yet said how many it counted. They are in none of the
    /// numbers above.
    pub unclaimed: u64,
    /// Size of all segments of this process, those that are kept or empty included.
    pub bytes: u64,
    /// How often writing through to the disk has failed.
    pub sync_failures: u64,
}
