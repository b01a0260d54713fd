//! Scopes: what a key may do.

use std::{collections::BTreeSet, str::FromStr};

use serde::{Deserialize, Serialize};

/// One thing a key may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Read and list links and their history.
    LinksRead,
    /// Claim links, and nothing else.
    LinksCreate,
    /// Claim, edit, delete and reactivate links.
    LinksWrite,
    /// Read statistics.
    StatsRead,
    /// Everything, for every owner, and manage keys.
    Admin,
}

impl Scope {
    /// Every one of them.
    pub const ALL: [Self; 5] = [Self::LinksRead, Self::LinksCreate, Self::LinksWrite, Self::StatsRead, Self::Admin];

    /// The name stores and callers use.
    pub fn name(self) -> &'static str {
        match self {
            Self::LinksRead => "links:read",
            Self::LinksCreate => "links:create",
            Self::LinksWrite => "links:write",
            Self::StatsRead => "stats:read",
            Self::Admin => "admin",
        }
    }
}

impl FromStr for Scope {
    type Err = InvalidScopes;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL.into_iter().find(|scope| scope.name() == name).ok_or(InvalidScopes::Unknown)
    }
}

/// What a key may do: at least one scope.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "Vec<String>", try_from = "Vec<String>")]
pub struct Scopes(BTreeSet<Scope>);

impl Scopes {
    /// `None` when empty: such a key would be of no use.
    pub fn new(scopes: impl IntoIterator<Item = Scope>) -> Option<Self> {
        let scopes: BTreeSet<_> = scopes.into_iter().collect();
        (!scopes.is_empty()).then_some(Self(scopes))
    }

    /// Everything.
    pub fn admin() -> Self {
        Self(BTreeSet::from([Scope::Admin]))
    }

    /// Whether they include `scope`; `admin` includes every other, and `links:write` includes `links:create`.
    pub fn allow(&self, scope: Scope) -> bool {
        let wider = scope == Scope::LinksCreate && self.0.contains(&Scope::LinksWrite);
        wider || self.0.contains(&scope) || self.0.contains(&Scope::Admin)
    }

    /// Their names, sorted.
    pub fn names(&self) -> Vec<&'static str> {
        self.0.iter().map(|scope| scope.name()).collect()
    }
}

impl From<Scopes> for Vec<String> {
    fn from(scopes: Scopes) -> Self {
        scopes.names().into_iter().map(str::to_owned).collect()
    }
}

impl TryFrom<Vec<String>> for Scopes {
    type Error = InvalidScopes;

    fn try_from(names: Vec<String>) -> Result<Self, Self::Error> {
        let scopes = names.iter().map(|name| name.parse()).collect::<Result<Vec<_>, _>>()?;
        Self::new(scopes).ok_or(InvalidScopes::None)
    }
}

/// Why a list of names is not a valid set of scopes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidScopes {
    /// A name that is not a scope.
    #[error("must be links:read, links:create, links:write, stats:read or admin")]
    Unknown,
    /// No name at all.
    #[error("must name at least one scope")]
    None,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scopes_are_known_names_and_at_least_one() {
        assert_eq!(Scopes::try_from(vec![]), Err(InvalidScopes::None));
        assert_eq!(Scopes::try_from(vec!["root".to_owned()]), Err(InvalidScopes::Unknown));
        let names = vec!["links:write".to_owned(), "links:read".to_owned(), "links:read".to_owned()];
        assert_eq!(Scopes::try_from(names).map(|scopes| scopes.names()), Ok(vec!["links:read", "links:write"]));
    }
}
