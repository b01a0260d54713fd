//! What is left of a body, by the framing that its head announced.

use super::chunked::ChunkedBody;

/// The rest of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Body {
    /// Ends after so many bytes.
    Sized { left: u64 },
    /// Ends where its chunks say.
    Chunked(ChunkedBody),
}
