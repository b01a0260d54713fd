//! Following a link: all that the redirect path does.

use std::{fmt, sync::Arc};

use crate::{
    code::Code,
    lifecycle::{Gone, Resolution},
    ports::{Clock, LinkResolver, RepositoryError},
    time::Timestamp,
};

/// What following a code leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Followed {
    /// A redirect.
    Redirect {
        /// The status to answer with.
        status: u16,
        /// Where to, byte for byte.
        location: String,
        /// For how many seconds the answer may be reused.
        max_age: u64,
    },
    /// A link that leads nowhere any more.
    Gone(Gone),
    /// No link has that code.
    Unknown,
}

/// Follows links.
#[derive(Clone)]
pub struct ResolveService {
    resolver: Arc<dyn LinkResolver>,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for ResolveService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ResolveService").finish_non_exhaustive()
    }
}

impl ResolveService {
    /// Longest time in seconds that an answer may be reused: a deleted link must stop redirecting within
    /// the staleness bound of ten seconds, whoever remembers it.
    pub const MAX_AGE_SECONDS: u64 = 10;

    /// Over these ports.
    pub fn new(resolver: Arc<dyn LinkResolver>, clock: Arc<dyn Clock>) -> Self {
        Self { resolver, clock }
    }

    /// Follows `code`; `query` is that of the request.
    pub async fn follow(&self, code: &Code, query: &str) -> Result<Followed, RepositoryError> {
        let Some(resolution) = self.resolver.resolve(code).await? else {
            return Ok(Followed::Unknown);
        };
        Ok(match resolution.follow(self.clock.now()) {
            Err(gone) => Followed::Gone(gone),
            Ok(link) => Followed::Redirect {
                status: link.status(),
                location: link.location(query),
                max_age: link.max_age(Self::MAX_AGE_SECONDS),
            },
        })
    }

    /// What is known of `code`, without following it, and the moment it was known.
    pub async fn preview(&self, code: &Code) -> Result<Option<(Resolution, Timestamp)>, RepositoryError> {
        let resolution = self.resolver.resolve(code).await?;
        Ok(resolution.map(|resolution| (resolution, self.clock.now())))
    }
}
