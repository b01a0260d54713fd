//! Clicks: the spool that redirects write to, the shipper that brings it to the store, and the salts of visitors.
//!
//! | file       | holds                                                          |
//! |------------|----------------------------------------------------------------|
//! | `parts`    | what a process needs of clicks, put together                   |
//! | `shipper`  | the way of clicks from the spool to the store                  |
//! | `shipped`  | what was shipped                                               |
//! | `progress` | how far the clicks of this process are counted                 |
//! | `salts`    | the salts of today and tomorrow                                |
//! | `losses`   | what is logged of clicks that are not counted                  |
//! | `tasks`    | the background tasks of clicks                                 |

mod losses;
mod parts;
mod progress;
mod salts;
mod shipped;
mod shipper;
mod tasks;

pub(crate) use self::{
    parts::{Clicks, describer, folder, new_stream_id, spool_options},
    salts::refresh as refresh_salts,
    shipped::ShippedTotals,
    shipper::Shipper,
    tasks::{NAMES as TASK_NAMES, ship_the_last, watch_over},
};
