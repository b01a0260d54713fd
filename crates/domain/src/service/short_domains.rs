//! Short domains: adding, changing and removing them, and the list of them that each process holds.

use std::{
    fmt,
    sync::{
        Arc, PoisonError, RwLock,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
};

use super::{Call, LinkService, ServiceError, repeated};
use crate::{
    address::DomainId,
    idempotency::IdempotencyRecord,
    ports::{Adding, Clock, NewShortDomain, Removal, RepositoryError, ShortDomainRepository},
    short_domain::{DomainHost, DomainSettings, ShortDomain, ShortDomains},
};

/// The short domains that this process knows. Its clones share one list.
#[derive(Clone, Debug, Default)]
pub struct KnownDomains(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// One of the constants of [`KnownDomains`], so that the redirect path takes no lock if there is one domain only.
    state: AtomicU8,
    known: RwLock<Known>,
    /// Number of reads of the store that were started.
    asked: AtomicU64,
}

#[derive(Debug, Default)]
struct Known {
    /// The number of the read that gave this state.
    asked: u64,
    domains: Arc<ShortDomains>,
}

impl KnownDomains {
    const PLAIN: u8 = 0;
    const SEVERAL: u8 = 1;
    const UNREAD: u8 = 2;

    /// A list that has not been read yet. Until its first read, it is not known where a link lives.
    pub fn unread() -> Self {
        Self(Arc::new(Shared { state: Self::UNREAD.into(), ..Shared::default() }))
    }

    /// Whether it has not been read yet.
    pub fn is_unread(&self) -> bool {
        self.0.state.load(Ordering::Acquire) == Self::UNREAD
    }

    /// All short domains; `None` if there is only the default one, with the default settings.
    pub fn unless_plain(&self) -> Option<Arc<ShortDomains>> {
        (self.0.state.load(Ordering::Acquire) == Self::SEVERAL).then(|| self.all())
    }

    /// All short domains.
    pub fn all(&self) -> Arc<ShortDomains> {
        Arc::clone(&self.0.known.read().unwrap_or_else(PoisonError::into_inner).domains)
    }

    /// Applies the result of the read `asked`, unless a later read is applied already.
    fn learn(&self, asked: u64, domains: Vec<ShortDomain>) {
        let domains = ShortDomains::new(domains);
        let state = if domains.are_plain() { Self::PLAIN } else { Self::SEVERAL };
        let mut known = self.0.known.write().unwrap_or_else(PoisonError::into_inner);
        if asked > known.asked {
            *known = Known { asked, domains: Arc::new(domains) };
            self.0.state.store(state, Ordering::Release);
        }
    }
}

/// Why a short domain could not be added, changed or removed.
#[derive(Debug, thiserror::Error)]
pub enum DomainError {
    /// A short domain has this host.
    #[error("a short domain with this host exists")]
    Taken,
    /// There are [`ShortDomains::MAX`] of them.
    #[error("there are {} short domains, which is the limit", ShortDomains::MAX)]
    Full,
    /// Links live on it. It can take no new ones instead ([`DomainSettings::accepts_links`]).
    #[error("links live on the short domain")]
    HasLinks,
    /// Codes on it are blocked.
    #[error("codes on the short domain are blocked")]
    HasBlocks,
    /// Another reason.
    #[error(transparent)]
    Service(#[from] ServiceError),
}

impl From<RepositoryError> for DomainError {
    fn from(error: RepositoryError) -> Self {
        Self::Service(error.into())
    }
}

/// All operations on short domains.
#[derive(Clone)]
pub struct DomainService {
    domains: Arc<dyn ShortDomainRepository>,
    known: KnownDomains,
    clock: Arc<dyn Clock>,
}

impl fmt::Debug for DomainService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DomainService").finish_non_exhaustive()
    }
}

impl DomainService {
    /// A service over these ports. It keeps `known` up to date.
    pub fn new(domains: Arc<dyn ShortDomainRepository>, known: KnownDomains, clock: Arc<dyn Clock>) -> Self {
        Self { domains, known, clock }
    }

    /// The short domains that this process knows.
    pub fn known(&self) -> &KnownDomains {
        &self.known
    }

    /// Reads what other processes changed. Call it about once a second. While it fails, the last known short domains
    /// stay.
    pub async fn refresh(&self) -> Result<(), RepositoryError> {
        let asked = self.known.0.asked.fetch_add(1, Ordering::AcqRel) + 1;
        self.known.learn(asked, self.domains.all().await?);
        Ok(())
    }

    /// All short domains, as the store has them now.
    pub async fn all(&self) -> Result<Arc<ShortDomains>, RepositoryError> {
        self.refresh().await?;
        Ok(self.known.all())
    }

    /// The short domains with these numbers are known afterwards, if they exist.
    pub async fn know(&self, ids: impl IntoIterator<Item = DomainId>) -> Result<Arc<ShortDomains>, RepositoryError> {
        let known = self.known.all();
        let is_missing = ids.into_iter().any(|id| known.get(id).is_none());
        if is_missing { self.all().await } else { Ok(known) }
    }

    /// The short domain with this host. The store is asked if this process does not know it.
    pub async fn find(&self, host: &DomainHost) -> Result<Option<Arc<ShortDomain>>, RepositoryError> {
        if let Some(domain) = self.known.all().at(host.as_str()) {
            return Ok(Some(Arc::clone(domain)));
        }
        Ok(self.all().await?.at(host.as_str()).cloned())
    }

    /// Adds a short domain.
    pub async fn add(
        &self,
        call: &Call,
        host: DomainHost,
        settings: DomainSettings,
    ) -> Result<ShortDomain, DomainError> {
        let at = self.clock.now();
        let new = NewShortDomain { host, settings, at };
        let outcome = self.domains.add(&new, call.once(at).as_ref()).await?;
        self.see_it_here().await;
        match outcome {
            Adding::Added(domain) => Ok(domain),
            Adding::Taken => Err(DomainError::Taken),
            Adding::Full => Err(DomainError::Full),
            Adding::Repeated(before) => Ok(repeated(before, recorded_domain)?),
        }
    }

    /// Changes the settings of a short domain.
    pub async fn edit(
        &self,
        id: DomainId,
        edit: impl Fn(&DomainSettings) -> DomainSettings,
    ) -> Result<Arc<ShortDomain>, DomainError> {
        for _ in 0..LinkService::CHANGE_ATTEMPTS {
            let all = self.all().await?;
            let before = all.get(id).ok_or(ServiceError::NotFound)?;
            let settings = edit(&before.settings);
            if settings == before.settings {
                return Ok(Arc::clone(before));
            }
            let (generation, updated_at) = (before.generation.next(), self.clock.now());
            let after = ShortDomain { settings, generation, updated_at, ..ShortDomain::clone(before) };
            let done = self.domains.update(&after, before.generation).await?;
            if done {
                self.see_it_here().await;
                return Ok(Arc::new(after));
            }
        }
        Err(ServiceError::Contended { attempts: LinkService::CHANGE_ATTEMPTS }.into())
    }

    /// Removes a short domain on which no link lives.
    pub async fn remove(&self, id: DomainId) -> Result<(), DomainError> {
        let removal = self.domains.remove(id).await?;
        self.see_it_here().await;
        match removal {
            Removal::Done => Ok(()),
            Removal::HasLinks => Err(DomainError::HasLinks),
            Removal::HasBlocks => Err(DomainError::HasBlocks),
            Removal::Missing => Err(ServiceError::NotFound.into()),
        }
    }

    /// Reads the list after a change. It ignores a failure, because the next refresh follows within a second.
    async fn see_it_here(&self) {
        let _later = self.refresh().await;
    }
}

fn recorded_domain(answer: IdempotencyRecord) -> Option<ShortDomain> {
    match answer {
        IdempotencyRecord::Domain(domain) => Some(domain),
        IdempotencyRecord::Claims(_)
        | IdempotencyRecord::PartlyRefused { .. }
        | IdempotencyRecord::Link(_)
        | IdempotencyRecord::ApiKey { .. }
        | IdempotencyRecord::Block { .. } => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::link::Generation;

    fn domain(number: u16) -> ShortDomain {
        let default = ShortDomains::default().default_domain().clone();
        let host = (number > 0).then(|| format!("go{number}.example").parse().expect("a host"));
        ShortDomain { id: DomainId::new(number).expect("in range"), host, generation: Generation::FIRST, ..default }
    }

    #[test]
    fn short_domains_are_unread_until_the_first_read() {
        let known = KnownDomains::unread();
        assert!(known.is_unread() && !KnownDomains::default().is_unread());
        known.learn(1, vec![domain(0)]);
        assert!(!known.is_unread() && known.unless_plain().is_none());
        known.learn(2, vec![domain(0), domain(3)]);
        assert!(known.unless_plain().is_some_and(|all| all.at("go3.example").is_some()));
    }

    #[test]
    fn the_result_of_an_earlier_read_is_ignored() {
        let known = KnownDomains::default();
        known.learn(2, vec![domain(0), domain(3)]);
        known.learn(1, vec![domain(0)]);
        assert!(known.unless_plain().is_some());
        known.learn(3, vec![domain(0)]);
        assert!(known.unless_plain().is_none());
    }
}
