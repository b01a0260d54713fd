//! The resolver: reads Redis first, then the store.

use std::{fmt, sync::Arc};

use async_trait::async_trait;
use domain::{
    address::Address,
    ports::{LinkResolver, RepositoryError, Resolved, Source},
};
use tokio::time::Instant;

use crate::SharedMemory;

/// A resolver that reads the shared cache before it asks the store.
pub struct SharedResolver {
    store: Arc<dyn LinkResolver>,
    shared: SharedMemory,
}

impl fmt::Debug for SharedResolver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedResolver").finish_non_exhaustive()
    }
}

impl SharedResolver {
    /// Reads `shared` first, then `store`.
    pub fn new(store: Arc<dyn LinkResolver>, shared: SharedMemory) -> Self {
        Self { store, shared }
    }
}

#[async_trait]
impl LinkResolver for SharedResolver {
    async fn resolve(&self, address: &Address) -> Result<Resolved, RepositoryError> {
        let Some(handle) = self.shared.0.trusted_handle() else {
            self.shared.0.lookups.skipped();
            return self.store.resolve(address).await;
        };
        if let Some(resolution) = handle.read(address).await {
            self.shared.0.lookups.hit();
            let source = Source::SharedMemory { ago: handle.up_to_date.elapsed() };
            return Ok(Resolved { resolution: Some(resolution), source });
        }
        self.shared.0.lookups.missed();
        let asked = Instant::now();
        let resolved = self.store.resolve(address).await?;
        if let Some(resolution) = &resolved.resolution {
            self.shared.0.fill(handle, address, resolution, asked);
        }
        Ok(resolved)
    }
}
