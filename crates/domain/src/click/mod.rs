//! Clicks: followed redirects, from the answer of the redirect path to the numbers of the statistics.
//!
//! A [`Click`] is recorded as it happens, with nothing looked up. Later it is described ([`DescribedClick`]), counted
//! with others ([`ClickCounts`]), and stored as counts only: of a link and day, packed into one row ([`DayCounts`]).

mod calendar;
mod counts;
mod day_counts;
mod described;
mod kind_counts;
mod network;
mod salts;
mod sums;
mod values;
mod visitor;

pub use calendar::{Day, Hour};
pub use counts::{ClickCounts, LinkDay, LinkOwner, LinkTotal, OwnerDay};
pub use day_counts::{DayCounts, DayValue, FreshCounts, InvalidCounts};
pub use described::{DescribedClick, Dimension, NOT_RECORDED, OTHER, Traits, UNKNOWN};
pub use kind_counts::KindCounts;
pub use network::ClientNetwork;
pub use salts::{DailySalts, Orphan, OrphanCounters};
pub use sums::{Counted, HourSums, ValueCount, ValueSums};
pub use visitor::{DailySalt, InvalidSketch, VisitorHash, VisitorSketch};

use uuid::Uuid;

use crate::time::Timestamp;

/// A `GET` that was answered with a redirect of a link, as the redirect path sees it. `HEAD`, previews and failures are
/// no clicks.
///
/// The client's address is not in it: only its [network](ClientNetwork), and a [hash](VisitorHash) that cannot be
/// undone once the salt of its day is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Click<'a> {
    /// When the redirect was answered.
    pub at: Timestamp,
    /// The id of the link.
    pub link: Uuid,
    /// Who it was; `None` if that is not recorded, or if the salt of the day is not known.
    pub visitor: Option<VisitorHash>,
    /// Where it came from; `None` if that is not recorded.
    pub network: Option<ClientNetwork>,
    /// The host of the referring page; empty if there is none, or if it is not recorded.
    pub referrer: &'a str,
    /// The user agent, [`MAX_USER_AGENT`](Self::MAX_USER_AGENT) bytes at most; empty if there is none.
    pub user_agent: &'a str,
    /// The first language that the client accepts, as a subtag such as `de`; empty if there is none, or if it is not
    /// recorded.
    pub language: &'a str,
    /// A browser fetched it ahead of a visit that may never come.
    pub is_prefetch: bool,
    /// The client asks not to be tracked: only totals count it.
    pub opted_out: bool,
}

impl Click<'_> {
    /// Maximum length in bytes of a recorded user agent. The rest is cut off.
    pub const MAX_USER_AGENT: usize = 256;
    /// Maximum length in bytes of a recorded host of a referring page, as of any host name (RFC 1035 §2.3.4). A longer
    /// one is not recorded.
    pub const MAX_REFERRER: usize = 253;
    /// Maximum length in bytes of a recorded language subtag (RFC 5646 §2.1).
    pub const MAX_LANGUAGE: usize = 8;
}

/// Who or what follows a link. Bots are counted, but apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClickKind {
    /// A person, as far as one can tell.
    Human,
    /// A crawler, a monitor, a program that unfurls links, or a prefetch.
    Bot,
}

impl ClickKind {
    /// Both kinds.
    pub const ALL: [Self; 2] = [Self::Human, Self::Bot];

    /// The number that stores use.
    pub fn number(self) -> i16 {
        match self {
            Self::Human => 0,
            Self::Bot => 1,
        }
    }

    /// The kind with this [number](Self::number).
    pub fn of_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

/// Why a visit led nowhere.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OrphanReason {
    /// No link has the code.
    Unknown,
    /// The link is deleted or expired.
    Gone,
    /// The link was taken down.
    Blocked,
    /// The bare short domain.
    Bare,
}

impl OrphanReason {
    /// All reasons, in the order of their [numbers](Self::number).
    pub const ALL: [Self; 4] = [Self::Unknown, Self::Gone, Self::Blocked, Self::Bare];

    /// The number that stores use.
    pub fn number(self) -> i16 {
        match self {
            Self::Unknown => 0,
            Self::Gone => 1,
            Self::Blocked => 2,
            Self::Bare => 3,
        }
    }

    /// The reason with this [number](Self::number).
    pub fn of_number(number: i16) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.number() == number)
    }

    /// The name callers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unknown => "unknown",
            Self::Gone => "gone",
            Self::Blocked => "blocked",
            Self::Bare => "bare",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_kinds_and_reasons_are_read_back() {
        for kind in ClickKind::ALL {
            assert_eq!(ClickKind::of_number(kind.number()), Some(kind));
        }
        for reason in OrphanReason::ALL {
            assert_eq!(OrphanReason::of_number(reason.number()), Some(reason));
        }
        assert_eq!((ClickKind::of_number(2), OrphanReason::of_number(4)), (None, None));
    }
}
