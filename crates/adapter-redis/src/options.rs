//! Options of the wiring.

use std::time::Duration;

/// Which Redis, and how long things may take.
#[derive(Clone)]
pub struct RedisOptions {
    /// `redis://`, `rediss://` (TLS) or `unix://`, with whatever credentials it needs; or with sentinels
    /// `redis+sentinel://[USER:PASSWORD@]HOST[:PORT],…/PRIMARY[/DATABASE]`, `rediss+` for TLS to all of them. The
    /// credentials are those of the servers.
    pub url: String,
    /// What sentinels want to know from whoever asks them.
    pub sentinel_password: Option<String>,
    /// Bound of one command. What takes longer is done without Redis.
    pub timeout: Duration,
    /// How long an entry is kept.
    pub ttl: Duration,
}

/// Without the passwords.
impl std::fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RedisOptions").field("timeout", &self.timeout).field("ttl", &self.ttl).finish_non_exhaustive()
    }
}
