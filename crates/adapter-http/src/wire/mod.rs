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
//! | `limits`  | how much, and how slowly, a peer may send                   |
//! | `rejection` | the requests that stand in for refused ones               |
//! | `framing` | where requests begin and end; no socket, no clock            |
//! | `head`    | which heads are acceptable                                  |
//! | `body`    | what is left of a body                                      |
//! | `chunked` | where a chunked body ends                                   |

mod body;
mod chunked;
mod flow;
mod framing;
mod head;
mod limits;
mod rejection;
mod stream;

#[cfg(test)]
mod dispatcher_tests;
#[cfg(test)]
mod framing_tests;
#[cfg(test)]
mod stream_tests;

pub(crate) use self::{
    flow::Flow,
    limits::WireLimits,
    rejection::{REJECTED_HEADER, Rejection},
    stream::{GuardedStream, LINGER},
};
