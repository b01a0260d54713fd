//! What clicks tell: bot or human, browser, system, device, country, referrer and language.
//!
//! [`Describer`] is a [`ClickDescriber`](domain::ports::ClickDescriber). [`Lists`] is a handle to the operator's files
//! behind it, for the task that reads them again when they change.
//!
//! | file        | holds                                                            |
//! |-------------|------------------------------------------------------------------|
//! | `describer` | the port, and the memos by user agent, network and referrer      |
//! | `agents`    | what a user agent tells, from the lists in `data`                |
//! | `bots`      | the list of bots, and what this project adds to it               |
//! | `device`    | desktop, mobile or tablet                                        |
//! | `own_bots`  | the operator's list of bots                                      |
//! | `countries` | countries of networks, from the operator's database              |
//! | `referrer`  | hosts of referring pages                                         |
//! | `language`  | language subtags                                                 |
//! | `lists`     | the operator's files together, and what can be wrong with them   |
//! | `watched`   | a file that is read when it is needed, and again when it changes |
//! | `value`     | values of dimensions: short, and without control characters      |
//!
//! What it promises:
//!
//! - The lists are loaded at the first click, so a process without clicks does not hold them. The operator's files are
//!   checked at construction, and released again.
//! - A file that became unreadable is an error of [`Lists::refresh`]. Until it is mended, what was read last is used.
//! - All memory is bounded: the memos hold some thousand entries each.
//!
//! The lists and their licences are described in `data/README.md`.

mod agents;
mod bots;
mod countries;
mod describer;
mod device;
mod language;
mod lists;
mod own_bots;
mod referrer;
mod value;
mod watched;

pub use describer::{Describer, DescriberOptions};
pub use lists::{ListError, Lists, Reread};
pub use own_bots::{BadLine, BadPattern};
