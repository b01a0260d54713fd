//! The repository with the cache: every change made here is cached here at once, even if its caller left before it was
//! done.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use domain::{
    address::Address,
    history::{LinkEvent, Provenance},
    idempotency::IdempotentRequest,
    lifecycle::{Candidate, Change, Claim, Naming},
    link::{Generation, Link},
    ports::{Applied, Claims, LinkRepository, ListQuery, RepositoryError, RepositoryErrorKind},
};
use uuid::Uuid;

use crate::{CachedResolver, run_to_end::RunToEnd};

/// A repository that reports every link it creates, finds or changes to the cache.
pub struct WriteThroughLinks {
    links: Arc<dyn LinkRepository>,
    cache: CachedResolver,
}

impl fmt::Debug for WriteThroughLinks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WriteThroughLinks").finish_non_exhaustive()
    }
}

impl WriteThroughLinks {
    /// Reports to `cache` what `links` does. Its futures must be polled and dropped inside a tokio runtime, which goes
    /// on with them when they are dropped.
    pub fn new(links: Arc<dyn LinkRepository>, cache: CachedResolver) -> Self {
        Self { links, cache }
    }
}

/// The address of an alias, which may be cached before the claim. An address that was drawn for the claim is not.
fn chosen_address(candidate: &Candidate) -> Option<Address> {
    match candidate.naming {
        Naming::Alias => Some(candidate.link.address()),
        Naming::Shared | Naming::Separate => None,
    }
}

/// Whether a failed call may have changed something.
fn may_have_happened(error: &RepositoryError) -> bool {
    match error.kind() {
        RepositoryErrorKind::Indeterminate | RepositoryErrorKind::Corrupt | RepositoryErrorKind::Internal => true,
        RepositoryErrorKind::Unavailable | RepositoryErrorKind::StorageFull => false,
    }
}

#[async_trait]
impl LinkRepository for WriteThroughLinks {
    /// If the outcome is unknown, the links whose addresses are known are doubted. A claim by target may also have
    /// reactivated a link under an address that only the store knows. That link answers 410 until the change feed reports
    /// it.
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError> {
        let (links, cache) = (Arc::clone(&self.links), self.cache.clone());
        let (candidates, once) = (candidates.to_vec(), once.cloned());
        RunToEnd::new(async move {
            let write = cache.begin_write(candidates.iter().filter_map(chosen_address).collect());
            let outcome = links.claim(&candidates, once.as_ref()).await;
            match &outcome {
                Ok(Claims::Settled(settled)) => {
                    for claim in settled {
                        match claim {
                            Claim::Created(link) | Claim::Reactivated(link) => write.written(link),
                            // The link was read, not changed: a newer change may have been reported before this answer
                            // came.
                            Claim::Existing(link) => cache.read(&link.address(), link.generation),
                            Claim::AliasTaken => {}
                        }
                    }
                    write.settle();
                }
                Err(error) if may_have_happened(error) => drop(write),
                Ok(Claims::CodeCollision | Claims::UnknownDomain | Claims::Repeated(_)) | Err(_) => write.settle(),
            }
            outcome
        })
        .await
    }

    /// Redirects must not contradict what a caller has read: nothing older than that stays cached.
    async fn find(&self, address: &Address) -> Result<Option<Link>, RepositoryError> {
        let found = self.links.find(address).await?;
        if let Some(link) = &found {
            self.cache.read(&link.address(), link.generation);
        }
        Ok(found)
    }

    async fn apply(
        &self,
        change: &Change,
        provenance: &Provenance,
        once: Option<&IdempotentRequest>,
    ) -> Result<Applied, RepositoryError> {
        let (links, cache) = (Arc::clone(&self.links), self.cache.clone());
        let (change, provenance, once) = (change.clone(), provenance.clone(), once.cloned());
        RunToEnd::new(async move {
            let write = cache.begin_write(vec![change.after.address()]);
            let outcome = links.apply(&change, &provenance, once.as_ref()).await;
            match &outcome {
                Ok(Applied::Done) => {
                    write.written(&change.after);
                    write.settle();
                }
                Err(error) if may_have_happened(error) => drop(write),
                Ok(Applied::Stale | Applied::Missing | Applied::Repeated(_)) | Err(_) => write.settle(),
            }
            outcome
        })
        .await
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
