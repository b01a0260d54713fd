//! The cache: the contract of every store, over a cached store, and the guarantees that only a cache can break.

mod contract;
mod keys;
mod known_codes;
mod laws;
mod orders;
mod store;

use std::{sync::Arc, time::Duration};

use adapter_cache::{CacheOptions, CachedApiKeys, CachedResolver, WriteThroughLinks};
use domain::ports::LinkResolver;
use slog::{Discard, Logger, o};
use test_support::{Decorated, MemoryStore};
use tokio::runtime::Handle;

const OPTIONS: CacheOptions = CacheOptions {
    capacity: 1_000,
    ttl: Duration::from_secs(10),
    stale_for: Duration::from_mins(10),
    negative_ttl: Duration::from_secs(5),
    known_codes: 1_000_000,
    timeout: Duration::from_millis(900),
};

fn cached(store: Arc<dyn LinkResolver>, options: CacheOptions) -> CachedResolver {
    CachedResolver::new(store, options, Handle::current(), Logger::root(Discard, o!()))
}

/// An empty in-memory store, with the cache in front of it.
async fn fresh() -> (Arc<Decorated>, ()) {
    let store = Arc::new(MemoryStore::default());
    let resolver = cached(store.clone(), OPTIONS);
    let links = WriteThroughLinks::new(store.clone(), resolver.clone());
    let keys = Arc::new(CachedApiKeys::new(store.clone()));
    (Arc::new(Decorated { store, links: Arc::new(links), resolver: Arc::new(resolver), keys }), ())
}
