//! The wire: every byte of a connection is judged before the HTTP library may see it.
//!
//! The library behind accepts heads that other servers read differently, and what it refuses it answers by itself,
//! with an empty body and no request id. So [`GuardedStream`] stands in front of it. A head it refuses never gets
//! through: a well-formed request for [`REJECTED_PATH`] goes in its place, and the ordinary pipeline answers that
//! one, in order, with everything an answer of ours carries. The reason travels in [`REJECTED_HEADER`].
//!
//! | file      | knows                                                       |
//! |-----------|-------------------------------------------------------------|
//! | `stream`  | the socket, the clock, whose turn it is to speak             |
//! | `flow`    | how far a body may come before it is read                   |
//! | `framing` | where requests begin and end; no socket, no clock            |
//! | `head`    | which heads are acceptable                                  |
//! | `body`    | what is left of a body                                      |
//! | `chunked` | where a chunked body ends                                   |

mod body;
mod chunked;
mod flow;
mod framing;
mod head;
mod stream;

#[cfg(test)]
mod dispatcher_tests;
#[cfg(test)]
mod framing_tests;
#[cfg(test)]
mod stream_tests;

use std::time::Duration;

pub(crate) use self::{
    flow::Flow,
    stream::{GuardedStream, LINGER},
};

/// Carries the nonce of the process and the token of the [`Rejection`] in a request that replaces a refused one.
/// A head in which a peer sends it is malformed.
pub(crate) const REJECTED_HEADER: &str = "x-signpost-rejected";

/// Where replaced requests go. Strangers may ask for it too: only [`Rejection::from_header`] tells them apart.
pub(crate) const REJECTED_PATH: &str = "/.rejected";

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
    /// How long a peer may take for each 16 KiB of what it asked for.
    pub(crate) answer_timeout: Duration,
}

/// Why a head was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// Not HTTP/1.x, or HTTP/1.x that two readers could understand differently.
    Malformed,
    /// More bytes or more fields than [`WireLimits`] allow.
    HeadersTooLarge,
    /// Begun, but not finished in time.
    HeadTimeout,
}

impl Rejection {
    const ALL: [Self; 3] = [Self::Malformed, Self::HeadersTooLarge, Self::HeadTimeout];

    /// The rejection that a request for [`REJECTED_PATH`] stands for, if this process made that request.
    ///
    /// The nonce never leaves the process, so nobody outside can write a value that passes.
    pub(crate) fn from_header(nonce: &str, value: &[u8]) -> Option<Self> {
        let token = value.strip_prefix(nonce.as_bytes())?.strip_prefix(b" ")?;
        Self::ALL.into_iter().find(|rejection| rejection.token().as_bytes() == token)
    }

    /// The word for it in headers and logs.
    pub(crate) fn token(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::HeadersTooLarge => "headers-too-large",
            Self::HeadTimeout => "head-timeout",
        }
    }

    /// The request that takes the place of the refused one, and is the last of its connection.
    fn as_request(self, nonce: &str) -> String {
        let token = self.token();
        format!(
            "GET {REJECTED_PATH} HTTP/1.1\r\n\
             host: rejected.invalid\r\n\
             connection: close\r\n\
             {REJECTED_HEADER}: {nonce} {token}\r\n\
             \r\n"
        )
    }
}
