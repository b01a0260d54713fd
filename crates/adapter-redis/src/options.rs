//! Options of the connection to Redis, and of the entries in it.

use std::time::Duration;

/// The address of Redis, and timeouts.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://`, `rediss://` (TLS) or `unix://`, with credentials if Redis needs them. With sentinels:
    /// `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/PRIMARY[/DATABASE]`, or `rediss+sentinel://` for TLS to
    /// sentinels and servers. The credentials are those of the servers.
    pub url: String,
    /// The password of the sentinels.
    pub sentinel_password: Option<String>,
    /// Timeout of one command. A command that takes longer is given up, and the request goes on without Redis.
    pub timeout: Duration,
    /// Time to live of an entry.
    pub ttl: Duration,
}

/// Leaves out the URL and the password of the sentinels.
impl std::fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisOptions").field("timeout", &self.timeout).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}
