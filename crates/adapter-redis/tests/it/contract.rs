//! The contract of every store, over one whose redirects come from Redis.

use std::sync::{Arc, LazyLock};

use test_support::{Decorated, MemoryStore, RedisServer};

use crate::process::{Process, eventually};

static REDIS: LazyLock<Arc<RedisServer>> = LazyLock::new(RedisServer::start);

async fn fresh() -> (Arc<Decorated>, Process) {
    let process = Process::on(Arc::new(MemoryStore::default()), &REDIS.url());
    let epoch = format!("signpost:4:{}:epoch", process.identity());
    assert!(eventually(async || REDIS.command(&["EXISTS", &epoch]) == "1").await, "it does not use Redis");
    (process.decorated(), process)
}

test_support::contract_suite!(fresh);
