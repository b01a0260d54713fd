//! The repository as callers use it: every change that is made here is remembered here at once, also when its caller
//! has left before it was done.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use domain::{
    code::Code,
    history::{LinkEvent, Provenance},
    idempotency::IdempotentRequest,
    lifecycle::{Candidate, Change, Claim, Naming},
    link::{Generation, Link},
    ports::{Applied, Claims, LinkRepository, ListQuery, RepositoryError, RepositoryErrorKind},
};

use crate::{CachedResolver, run_to_end::RunToEnd};

/// A repository that tells a memory of every link it creates, finds or changes.
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
    /// Tells `memory` what `links` does. Its futures must be polled and dropped inside a tokio runtime, which goes on
    /// with them when they are dropped.
    pub fn new(links: Arc<dyn LinkRepository>, cache: CachedResolver) -> Self {
        Self { links, cache }
    }
}

/// A code that may be in memory before the claim: one that was drawn for it is in none.
fn chosen_code(candidate: &Candidate) -> Option<Code> {
    match candidate.naming {
        Naming::Alias => Some(candidate.link.code.clone()),
        Naming::Shared | Naming::Separate => None,
    }
}

/// Whether a call that failed may have changed something all the same.
fn may_have_happened(error: &RepositoryError) -> bool {
    match error.kind() {
        RepositoryErrorKind::Indeterminate | RepositoryErrorKind::Corrupt | RepositoryErrorKind::Internal => true,
        RepositoryErrorKind::Unavailable | RepositoryErrorKind::StorageFull => false,
    }
}

#[async_trait]
impl LinkRepository for WriteThroughLinks {
    /// If its outcome is unknown, the links are doubted whose codes are known: a claim by target may also have brought
    /// back a link under a code that only the store knows, which then answers 410 until the history tells of it.
    async fn claim(
        &self,
        candidates: &[Candidate],
        once: Option<&IdempotentRequest>,
    ) -> Result<Claims, RepositoryError> {
        let (links, cache) = (Arc::clone(&self.links), self.cache.clone());
        let (candidates, once) = (candidates.to_vec(), once.cloned());
        RunToEnd::new(async move {
            let write = cache.begin_write(candidates.iter().filter_map(chosen_code).collect());
            let outcome = links.claim(&candidates, once.as_ref()).await;
            match &outcome {
                Ok(Claims::Settled(settled)) => {
                    for claim in settled {
                        match claim {
                            Claim::Created(link) | Claim::Reactivated(link) => write.written(link),
                            // Read, not changed: a newer change may have been heard of before this answer came.
                            Claim::Existing(link) => cache.read(&link.code, link.generation),
                            Claim::AliasTaken => {}
                        }
                    }
                    write.settle();
                }
                Err(error) if may_have_happened(error) => drop(write),
                Ok(Claims::CodeCollision | Claims::Repeated(_)) | Err(_) => write.settle(),
            }
            outcome
        })
        .await
    }

    /// What a caller is told of a link, redirects must not contradict: so nothing older is remembered than was read.
    async fn find(&self, code: &Code) -> Result<Option<Link>, RepositoryError> {
        let found = self.links.find(code).await?;
        if let Some(link) = &found {
            self.cache.read(&link.code, link.generation);
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
            let write = cache.begin_write(vec![change.after.code.clone()]);
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
