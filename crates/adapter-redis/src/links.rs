//! The repository with Redis: every change is written to Redis before it is acknowledged.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use domain::{
    address::Address,
    history::{LinkEvent, Provenance},
    idempotency::IdempotentRequest,
    lifecycle::{Candidate, Change, Claim},
    link::{Generation, Link},
    ports::{Applied, Claims, LinkRepository, ListQuery, RepositoryError},
};
use uuid::Uuid;

use crate::SharedMemory;

/// A repository that writes every link it changes to the shared cache.
pub struct SharedLinks {
    links: Arc<dyn LinkRepository>,
    shared: SharedMemory,
}

impl fmt::Debug for SharedLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedLinks").finish_non_exhaustive()
    }
}

impl SharedLinks {
    /// Writes to `shared` what `links` changes.
    pub fn new(links: Arc<dyn LinkRepository>, shared: SharedMemory) -> Self {
        Self { links, shared }
    }
}

#[async_trait]
impl LinkRepository for SharedLinks {
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError> {
        let claims = self.links.claim(candidates, once).await?;
        if let Claims::Settled(settled) = &claims {
            let reactivated: Vec<_> = settled
                .iter()
                .filter_map(|claim| match claim {
                    Claim::Reactivated(link) => Some(link),
                    // Redis holds no entry of a new link, and the other claims changed nothing.
                    Claim::Created(_) | Claim::Existing(_) | Claim::AliasTaken => None,
                })
                .collect();
            if !reactivated.is_empty() {
                self.shared.0.changed(&reactivated).await;
            }
        }
        Ok(claims)
    }

    async fn find(&self, address: &Address) -> Result<Option<Link>, RepositoryError> {
        self.links.find(address).await
    }

    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        let applied = self.links.apply(change, provenance, once).await?;
        if applied == Applied::Done {
            self.shared.0.changed(&[&change.after]).await;
        }
        Ok(applied)
    }

    async fn with_ids(&self, ids: &[Uuid]) -> Result<Vec<Link>, RepositoryError> {
        self.links.with_ids(ids).await
    }

    async fn list(&self, query: &ListQuery) -> Result<Vec<Link>, RepositoryError> {
        self.links.list(query).await
    }

    async fn history(
        &self,
        address: &Address,
        before: Option<Generation>,
        limit: u32,
    ) -> Result<Vec<LinkEvent>, RepositoryError> {
        self.links.history(address, before, limit).await
    }
}
