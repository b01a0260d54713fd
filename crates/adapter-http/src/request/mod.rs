//! What a handler works with: the state of the process, the context of one request, and what the request says.
//!
//! | file              | holds                                                                 |
//! |-------------------|-----------------------------------------------------------------------|
//! | `state`           | services, settings, and the phase of the process                      |
//! | `context`         | one request: its ids, its time budget, its notes for the log line     |
//! | `trace`, `notes`  | its ids, what handlers note about it                                  |
//! | `caller`          | the API key it presents, and what that allows                         |
//! | `body`, `json`    | its body, and the fields in that; `body_room` bounds all bodies       |
//! | `unread`          | what a handler leaves unread of a body                                |
//! | `query`           | its query string                                                      |
//! | `accept`, `cors`, `preconditions` | its other header fields                               |
//! | `domains`, `public_url` | the short domain it is for, and where short addresses begin     |
//! | `domain_reads`    | reads of the short domains that callers cause                         |
//! | `methods`         | which methods a path has                                              |
//! | `slashes`, `inherited_codes` | paths with one slash too many, reserved words that are codes |
//! | `store_outcomes`  | how recent calls to the store ended                                   |

pub(crate) mod accept;
pub(crate) mod body;
pub(crate) mod body_room;
pub(crate) mod caller;
pub(crate) mod context;
pub(crate) mod cors;
pub(crate) mod domain_reads;
pub(crate) mod domains;
pub(crate) mod inherited_codes;
pub(crate) mod json;
pub(crate) mod methods;
pub(crate) mod notes;
pub(crate) mod preconditions;
pub(crate) mod public_url;
pub(crate) mod query;
pub(crate) mod slashes;
pub(crate) mod state;
pub(crate) mod store_outcomes;
pub(crate) mod trace;
pub(crate) mod unread;
