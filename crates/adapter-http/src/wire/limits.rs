//! The bounds of a connection.

use std::time::Duration;

/// How much, and how slowly, a peer may send before it is refused.
#[derive(Clone, Copy, Debug)]
pub(crate) struct WireLimits {
    /// Most bytes of a head, request line and final empty line included.
    pub(crate) head_bytes: usize,
    /// Most header fields of a head, and never more than 100.
    pub(crate) headers: usize,
    /// From the opening of the connection, or the first byte of a later head, to the end of that head.
    pub(crate) head_timeout: Duration,
    /// From the end of a head to the end of its body, read or not.
    pub(crate) body_timeout: Duration,
    /// How long a peer may take for each 16 KiB of an answer.
    pub(crate) answer_timeout: Duration,
}
