//! What the connection pools are doing, for metrics.

use domain::ports::DurationCounts;

/// A connection pool at one moment.
#[derive(Clone, Debug)]
pub struct PoolStatus {
    /// Its name.
    pub name: &'static str,
    /// Most connections.
    pub max: usize,
    /// Connections that are open.
    pub size: usize,
    /// Open connections that no call uses.
    pub idle: usize,
    /// Calls that wait for a connection.
    pub waiting: usize,
    /// Calls that got no connection in time, since the start.
    pub timeouts: u64,
    /// How long calls waited for a connection, with or without success.
    pub waits: DurationCounts,
    /// How long calls used their connection: the time of their statements.
    pub uses: DurationCounts,
}
