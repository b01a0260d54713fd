//! Redirects: the only path most visitors ever touch.
//!
//! | file      | holds                                                     |
//! |-----------|-----------------------------------------------------------|
//! | `follow`  | following a code, at once if the cache knows it           |
//! | `preview` | where a link leads, without going there                   |
//! | `charge`  | the charge for a code that no link may have               |

mod charge;
pub(crate) mod follow;
pub(crate) mod preview;
