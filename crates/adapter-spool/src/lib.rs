//! Signpost's click spool: clicks on disk, between the redirect that was followed and the store that counts it.
//!
//! Each worker writes a stream of its own ([`ClickRecorders`](domain::ports::ClickRecorders)), into segments that are
//! mapped files: a click costs neither a system call nor a lock, and is in the page cache before its redirect is
//! answered. One caller ships what was recorded: it takes the [`streams`](Spool::streams), [reads](Spool::read) pieces of
//! them, stores those, and [tells](Spool::acknowledged) how far the store has counted. That number lives in the store
//! alone.
//!
//! | file                            | holds                                                                  |
//! |---------------------------------|------------------------------------------------------------------------|
//! | `spool`                         | [`Spool`]: what the process sees                                       |
//! | `recorder`                      | the hot path                                                           |
//! | `format`                        | segments, headers and records as bytes; [`survey`] reads them          |
//! | `live_segment`, `map`, `worker` | what the hot path shares with the threads; the only `unsafe` code      |
//! | `threads`, `supply`, `sync`     | spare segments and prefaulted pages; writing through to the disk       |
//! | `shared`, `stream`, `ledger`    | all streams, one stream, and what became of its numbers                |
//! | `reader`                        | pieces of a stream, around damage                                      |
//! | `room`                          | what is removed: acknowledged segments, and the oldest at the limit    |
//! | `adoption`, `folder`            | streams of processes that have ended; names, files and locks           |
//! | `medium`                        | whether a file system can be trusted with a mapping                    |
//! | `inspect`                       | a spool seen from outside                                              |
//! | `accounting`, `click`, `options`, `error` | the other types of the interface                             |
//!
//! What it promises:
//!
//! - A click that was recorded survives the death of the process; at most the last 0.4 seconds are lost if the power
//!   fails, and on an idle stream nothing.
//! - No record is read twice or out of order from one stream, and a stream has one reader: the process that writes it,
//!   or the one that has adopted it.
//! - Damage costs the damaged records only, and they are counted.
//! - At every moment each click is in exactly one place of the [`Accounting`].
//!
//! To add a kind of record: give it a number in `format/record`. An older release skips it and counts it as unknown.

mod accounting;
mod adoption;
mod click;
mod error;
mod folder;
mod format;
mod inspect;
mod ledger;
mod live_segment;
mod map;
mod medium;
mod options;
mod reader;
mod recorder;
mod room;
mod shared;
mod spool;
mod stream;
mod supply;
mod sync;
mod threads;
mod worker;

pub use accounting::Accounting;
pub use click::{OwnedClick, Piece};
pub use error::SpoolError;
pub use format::{Survey, survey};
pub use inspect::{SegmentReport, StreamReport, inspect};
pub use options::{SpoolMode, SpoolOptions};
pub use spool::{Spool, Streams};
