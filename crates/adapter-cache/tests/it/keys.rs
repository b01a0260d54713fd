//! Guarantees that only a cache of API keys can break.

use std::sync::Arc;

use adapter_cache::CachedApiKeys;
use domain::{
    actor::Actor,
    ports::{ApiKeyRepository, KeyCreation},
};
use test_support::{MemoryStore, contract::Subject};
use tokio::time::advance;

use crate::store::moment;

#[tokio::test(start_paused = true)]
async fn a_revocation_by_another_process_is_seen_within_the_time_to_live() {
    let store = Arc::new(MemoryStore::default());
    let keys = CachedApiKeys::new(store.clone());
    let key = Subject::over(store.clone(), 7).draw_key();
    assert_eq!(keys.create(&key, None).await.expect("the store never fails"), KeyCreation::Done);
    let revoked =
        async || keys.find(&key.key.id).await.expect("the store never fails").expect("it is there").key.revoked_at;
    assert_eq!(revoked().await, None);
    ApiKeyRepository::revoke(store.as_ref(), &key.key.id, moment(), &Actor::System)
        .await
        .expect("the store never fails");
    assert_eq!(revoked().await, None, "it is read again at once");
    advance(CachedApiKeys::TIME_TO_LIVE).await;
    assert_eq!(revoked().await, Some(moment()));
}

#[tokio::test(start_paused = true)]
async fn a_noted_use_is_visible_at_once() {
    let store = Arc::new(MemoryStore::default());
    let keys = CachedApiKeys::new(store.clone());
    let key = Subject::over(store.clone(), 7).draw_key();
    assert_eq!(keys.create(&key, None).await.expect("the store never fails"), KeyCreation::Done);
    let used =
        async || keys.find(&key.key.id).await.expect("the store never fails").expect("it is there").key.last_used_at;
    assert_eq!(used().await, None);
    keys.note_use(&key.key.id, moment()).await.expect("the store never fails");
    assert_eq!(used().await, Some(moment()));
}

#[tokio::test(start_paused = true)]
async fn a_key_that_is_created_after_a_lookup_is_found() {
    let store = Arc::new(MemoryStore::default());
    let keys = CachedApiKeys::new(store.clone());
    let key = Subject::over(store, 7).draw_key();
    assert!(keys.find(&key.key.id).await.expect("the store never fails").is_none());
    assert_eq!(keys.create(&key, None).await.expect("the store never fails"), KeyCreation::Done);
    assert!(keys.find(&key.key.id).await.expect("the store never fails").is_some());
}
