//! Limits: how often one client and one API key may ask, how many calls may be in flight, how many bytes are held.
//!
//! The engine is the generic cell rate algorithm of `governor`, which `actix-governor` brings along. Its middleware is
//! not used: it cannot charge after the answer is known, nor by weight, and truncates `Retry-After` to zero.
//!
//! Several processes that have a [`SharedLimiter`](domain::ports::SharedLimiter) enforce each limit together. Calls of
//! the API ask it. Redirects never wait for it: what they were charged is recorded there afterwards, and the reply says
//! what other processes charged. While it is unavailable, each process allows its share.
//!
//! | file            | holds                                                          |
//! |-----------------|----------------------------------------------------------------|
//! | `charging`      | all of them, and how a request is charged                      |
//! | `policy`        | which requests are charged together, and how many there may be |
//! | `limiter`       | one limit, and how it is charged                               |
//! | `buckets`       | one state for each client, bounded and swept                   |
//! | `tally`         | what one request was charged                                   |
//! | `headers`       | the header fields about limits                                 |
//! | `client`        | the address that is charged, behind trusted proxies            |
//! | `unknown_codes` | the charge for codes that no link has                          |
//! | `concurrency`   | how many calls to the store may be in flight                   |
//! | `memory`        | how many bytes are held for clients                            |

mod buckets;
mod charging;
mod client;
pub(crate) mod concurrency;
mod headers;
mod limiter;
pub(crate) mod memory;
mod policy;
mod tally;
mod unknown_codes;

pub(crate) use self::{
    charging::Limits,
    client::{ClientAddress, network_text},
    headers::Standing,
    policy::Policy,
    tally::Tally,
    unknown_codes::UnknownCodeCharge,
};
pub use self::{
    client::{ForwardingField, TrustedProxies},
    policy::{Quota, Quotas},
};
