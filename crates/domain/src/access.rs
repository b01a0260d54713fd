//! Access: which links a caller may see and change.

use crate::{
    address::DomainId,
    link::{Link, Owner},
};

/// Which links a caller may see and change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Those of one owner.
    Owner(Owner),
    /// Those of one owner on these short domains.
    OwnerOn(Owner, Vec<DomainId>),
    /// Those of all owners.
    All,
}

impl Access {
    /// Whether a link is included.
    pub fn includes(&self, link: &Link) -> bool {
        self.owner().is_none_or(|owner| *owner == link.owner)
            && self.domains().is_none_or(|domains| domains.contains(&link.domain))
    }

    /// The owner, if it is only one.
    pub fn owner(&self) -> Option<&Owner> {
        match self {
            Self::Owner(owner) | Self::OwnerOn(owner, _) => Some(owner),
            Self::All => None,
        }
    }

    /// The short domains, if not all are included.
    pub fn domains(&self) -> Option<&[DomainId]> {
        match self {
            Self::OwnerOn(_, domains) => Some(domains),
            Self::Owner(_) | Self::All => None,
        }
    }
}
