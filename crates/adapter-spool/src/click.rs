//! Clicks as they are read back.

use domain::{
    click::{Click, ClientNetwork, VisitorHash},
    time::Timestamp,
};
use uuid::Uuid;

/// A [`Click`] that owns its texts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OwnedClick {
    /// See [`Click::at`].
    pub at: Timestamp,
    /// See [`Click::link`].
    pub link: Uuid,
    /// See [`Click::visitor`].
    pub visitor: Option<VisitorHash>,
    /// See [`Click::network`].
    pub network: Option<ClientNetwork>,
    /// See [`Click::referrer`].
    pub referrer: Box<str>,
    /// See [`Click::user_agent`].
    pub user_agent: Box<str>,
    /// See [`Click::language`].
    pub language: Box<str>,
    /// See [`Click::is_prefetch`].
    pub is_prefetch: bool,
    /// See [`Click::opted_out`].
    pub opted_out: bool,
}

impl OwnedClick {
    /// The same click with borrowed texts.
    pub fn as_click(&self) -> Click<'_> {
        Click {
            at: self.at,
            link: self.link,
            visitor: self.visitor,
            network: self.network,
            referrer: &self.referrer,
            user_agent: &self.user_agent,
            language: &self.language,
            is_prefetch: self.is_prefetch,
            opted_out: self.opted_out,
        }
    }
}

/// A piece of a stream, in order. It is a [`ClickBatch`](domain::ports::ClickBatch) that is not described yet.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Piece {
    /// The number of the last record before the piece.
    pub after: u64,
    /// The number of its last record; that of `after` if there is nothing to read.
    pub until: u64,
    /// The clicks, each with its number.
    pub clicks: Vec<(u64, OwnedClick)>,
    /// Numbers between both without a record: dropped or damaged.
    pub lost: u64,
    /// Records that this release cannot read, because a later one has written them.
    pub unknown: u64,
}

impl Piece {
    /// Nothing is left to read.
    pub fn is_empty(&self) -> bool {
        self.until == self.after
    }
}
