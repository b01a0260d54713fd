//! Access: whose links a caller may see and change.

use crate::link::Owner;

/// Whose links a caller may see and change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Access {
    /// Those of one owner.
    Owner(Owner),
    /// Those of all owners.
    All,
}

impl Access {
    /// Whether the links of `owner` are included.
    pub fn includes(&self, owner: &Owner) -> bool {
        match self {
            Self::Owner(own) => own == owner,
            Self::All => true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_owner_sees_their_own_links_and_an_administrator_all() {
        let [one, other] = ["one", "other"].map(|name| name.parse::<Owner>().expect("a plain name"));
        assert!(Access::Owner(one.clone()).includes(&one) && !Access::Owner(one).includes(&other));
        assert!(Access::All.includes(&other));
    }
}
