//! The repository as callers use it: every change that is made here is remembered here at once.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use domain::{
    code::Code,
    history::{LinkEvent, Provenance},
    idempotency::IdempotentRequest,
    lifecycle::{Candidate, Change, Claim},
    link::{Generation, Link},
    ports::{Applied, Claims, LinkRepository, LinkWatcher, ListQuery, RepositoryError},
};

/// A repository that tells a watcher of every link it creates, finds or changes.
pub struct WatchedLinks {
    links: Arc<dyn LinkRepository>,
    watcher: Arc<dyn LinkWatcher>,
}

impl fmt::Debug for WatchedLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WatchedLinks").finish_non_exhaustive()
    }
}

impl WatchedLinks {
    /// Tells `watcher` what `links` does.
    pub fn new(links: Arc<dyn LinkRepository>, watcher: Arc<dyn LinkWatcher>) -> Self {
        Self { links, watcher }
    }
}

#[async_trait]
impl LinkRepository for WatchedLinks {
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError> {
        let claims = self.links.claim(candidates, once).await?;
        if let Claims::Settled(settled) = &claims {
            for claim in settled {
                match claim {
                    Claim::Created(link) | Claim::Reactivated(link) => self.watcher.saw(link),
                    // Read, not changed: a newer change may have been heard of before this answer came.
                    Claim::Existing(link) => self.watcher.heard_of(&link.code, link.generation),
                    Claim::AliasTaken => {}
                }
            }
        }
        Ok(claims)
    }

    async fn find(&self, code: &Code) -> Result<Option<Link>, RepositoryError> {
        self.links.find(code).await
    }

    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        let applied = self.links.apply(change, provenance, once).await?;
        if applied == Applied::Done {
            self.watcher.saw(&change.after);
        }
        Ok(applied)
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        self.links.list(query).await
    }

    async fn history(
        &self,
        code: &Code,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        self.links.history(code, before, limit).await
    }
}
