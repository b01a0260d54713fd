//! The stream guard: it judges every byte of a connection before the HTTP library may see it.
//!
//! The library accepts heads that other servers read differently. What the library refuses, it answers by itself, with
//! an empty body and no request id. So [`GuardedStream`] stands in front of it. A head that the guard refuses never
//! reaches the library. A well-formed request for [`REJECTED_PATH`](rejection::REJECTED_PATH) takes its place, and the
//! ordinary pipeline answers that one, in order, with everything our answers carry. [`REJECTED_HEADER`] holds the
//! reason.
//!
//! | file      | knows                                                       |
//! |-----------|-------------------------------------------------------------|
//! | `stream`  | the socket, the timers, the order of requests and answers   |
//! | `flow`    | how far a body may pass before it is read                   |
//! | `limits`  | how much, and how slowly, a peer may send                   |
//! | `rejection` | the requests that stand in for refused ones               |
//! | `framing` | where requests begin and end; no socket, no clock           |
//! | `head`    | which heads are acceptable                                  |
//! | `tally`   | what became of connections, counted                         |
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
mod tally;

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
    tally::ConnectionTally,
};
