//! Redirects: the only requests that most visitors ever make.
//!
//! | file      | holds                                                     |
//! |-----------|-----------------------------------------------------------|
//! | `follow`  | following a code, at once if it is cached                 |
//! | `preview` | where a link leads, without going there                   |
//! | `charge`  | the charge for a code that no link may have               |

mod charge;
pub(crate) mod follow;
pub(crate) mod preview;
