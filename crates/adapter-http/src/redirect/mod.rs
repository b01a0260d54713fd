//! Redirects: the only requests that most visitors ever make.
//!
//! | file      | holds                                                     |
//! |-----------|-----------------------------------------------------------|
//! | `follow`  | following a code, at once if it is cached                 |
//! | `click`   | recording a click                                         |
//! | `preview` | where a link leads, without going there                   |
//! | `qr`      | the address of a link as a QR code                        |
//! | `charge`  | the charge for a code that no link may have               |

mod charge;
mod click;
pub(crate) mod follow;
pub(crate) mod preview;
pub(crate) mod qr;
