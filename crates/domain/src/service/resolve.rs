//! Following a link: the logic of the redirect path.

use std::{fmt, sync::Arc};

use super::Blocked;
use crate::{
    address::Address,
    lifecycle::{Gone, Resolution},
    ports::{Clock, Existence, LinkResolver, RepositoryError, RepositoryErrorKind, Resolved, Source},
    time::Timestamp,
};

/// What following a code leads to, and where the answer comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Follow {
    /// What it leads to.
    pub followed: Followed,
    /// Where the answer comes from.
    pub source: Source,
}

/// What following a code leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// A redirect.
    Redirect {
        /// The status to answer with.
        status: u16,
        /// The location to answer with, byte for byte.
        location: String,
        /// How many seconds the answer may be cached; 0 if it is stale.
        max_age: u64,
        /// The link that is followed.
        link: Arc<Resolution>,
        /// When it is followed.
        at: Timestamp,
    },
    /// A link that was taken down.
    Blocked,
    /// A link that is deleted or expired.
    Gone(Gone),
    /// No link has that address.
    Unknown,
}

/// What following a code would lead to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Previewed {
    /// A redirect to the target of this link.
    Leads(Arc<Resolution>),
    /// A link that was taken down.
    Blocked,
    /// A link that is deleted or expired.
    Gone(Gone),
    /// No link has that address.
    Unknown,
}

/// Follows links.
#[derive(Clone)]
pub struct ResolveService {
    resolver: Arc<dyn LinkResolver>,
    blocked: Blocked,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for ResolveService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveService").finish_non_exhaustive()
    }
}

impl ResolveService {
    /// Maximum time in seconds that an answer may be cached. A deleted link must stop redirecting within the staleness
    /// bound of ten seconds, in every cache.
    pub const MAX_AGE_SECONDS: u64 = 10;

    /// A service over these ports.
    pub fn new(resolver: Arc<dyn LinkResolver>, blocked: Blocked, clock: Arc<dyn Clock>) -> Self {
        Self { resolver, blocked, clock }
    }

    /// Follows the link at `address` if that needs no waiting; `query` is that of the request.
    pub fn follow_at_once(&self, address: &Address, query: &str) -> Option<Follow> {
        // No link is followed before the first read of the blocklist.
        let known = if self.blocked.is_unread() { None } else { self.resolver.resolve_at_once(address) };
        known.map(|resolved| self.followed(address, resolved, query))
    }

    /// Whether a link may have that address, without asking the store.
    pub fn existence(&self, address: &Address) -> Existence {
        self.resolver.existence(address)
    }

    /// Follows the link at `address`; `query` is that of the request.
    pub async fn follow(&self, address: &Address, query: &str) -> Result<Follow, RepositoryError> {
        self.must_know_blocks()?;
        let resolved = self.resolver.resolve(address).await?;
        Ok(self.followed(address, resolved, query))
    }

    fn followed(&self, address: &Address, Resolved { resolution, source }: Resolved, query: &str) -> Follow {
        let Some(resolution) = resolution else {
            return Follow { followed: Followed::Unknown, source };
        };
        if self.is_blocked(address, &resolution) {
            return Follow { followed: Followed::Blocked, source };
        }
        let most = match source {
            Source::Store | Source::SharedMemory { .. } | Source::Memory => Self::MAX_AGE_SECONDS,
            Source::StaleMemory => 0,
        };
        let at = self.clock.now();
        let found = resolution.follow(at).map(|link| (link.status(), link.location(query), link.max_age(most)));
        let followed = match found {
            Err(gone) => Followed::Gone(gone),
            Ok((status, location, max_age)) => Followed::Redirect { status, location, max_age, link: resolution, at },
        };
        Follow { followed, source }
    }

    fn must_know_blocks(&self) -> Result<(), RepositoryError> {
        let unread = || RepositoryError::new(RepositoryErrorKind::Unavailable, "following a link");
        if self.blocked.is_unread() { Err(unread().caused_by("what is blocked is not known yet")) } else { Ok(()) }
    }

    /// Whether a link was taken down.
    fn is_blocked(&self, address: &Address, resolution: &Resolution) -> bool {
        self.blocked.in_force().is_some_and(|blocked| blocked.block(address, resolution))
    }

    /// What following the link at `address` would lead to, without following it.
    pub async fn preview(&self, address: &Address) -> Result<Previewed, RepositoryError> {
        self.must_know_blocks()?;
        let Some(resolution) = self.resolver.resolve(address).await?.resolution else {
            return Ok(Previewed::Unknown);
        };
        if self.is_blocked(address, &resolution) {
            return Ok(Previewed::Blocked);
        }
        match resolution.follow(self.clock.now()) {
            Ok(_) => Ok(Previewed::Leads(Arc::clone(&resolution))),
            Err(gone) => Ok(Previewed::Gone(gone)),
        }
    }
}
