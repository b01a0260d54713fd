//! The shared limiter: quotas that several processes charge together.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use domain::ports::{LimiterReply, LimiterRequest, SharedLimiter};
use futures_util::future::join_all;
use test_support::{MemoryStore, RedisServer};
use tokio::time::{Instant, sleep};

use crate::process::{Process, eventually};

/// `amount` units of a quota of 20, of which one comes back each second.
fn of(account: &str, amount: i64) -> LimiterRequest {
    let burst = NonZeroU32::new(20).expect("not zero");
    LimiterRequest { account: account.to_owned(), interval: Duration::from_secs(1), burst, amount }
}

async fn reply(process: &Process, requests: &[LimiterRequest]) -> LimiterReply {
    process.shared_limiter.acquire(requests).await.expect("Redis answers")
}

async fn two_processes(redis: &RedisServer) -> (Process, Process) {
    let store = Arc::new(MemoryStore::default());
    let (one, other) = (Process::on(Arc::clone(&store), &redis.url()), Process::on(store, &redis.url()));
    for process in [&one, &other] {
        assert!(eventually(async || process.shared_limiter.is_available()).await, "it does not use Redis");
    }
    (one, other)
}

#[tokio::test(flavor = "multi_thread")]
async fn all_processes_charge_the_same_quota() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    let requests = (0..50).map(async |number| {
        let process = if number % 2 == 0 { &one } else { &other };
        reply(process, &[of("client", 1)]).await.refused.is_none()
    });
    let let_in = join_all(requests).await.into_iter().filter(|let_in| *let_in).count();
    assert_eq!(let_in, 20);
    let refused = reply(&one, &[of("client", 1)]).await;
    assert_eq!(refused.refused, Some(0));
    let whole_in = refused.whole_in[0];
    assert!((Duration::from_secs(17)..=Duration::from_secs(20)).contains(&whole_in), "{whole_in:?}");
    assert_eq!(reply(&other, &[of("client else", 20)]).await.refused, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn charged_units_come_back_over_time() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    let fast = |amount| LimiterRequest { interval: Duration::from_millis(100), ..of("fast", amount) };
    assert_eq!(reply(&one, &[fast(20)]).await.refused, None);
    let refused = reply(&other, &[fast(5)]).await;
    assert_eq!(refused.refused, Some(0));
    sleep(refused.whole_in[0].saturating_sub(Duration::from_millis(1_500))).await;
    assert_eq!(reply(&one, &[fast(5)]).await.refused, None);
    assert_eq!(reply(&other, &[fast(5)]).await.refused, Some(0));
}

#[tokio::test(flavor = "multi_thread")]
async fn several_quotas_are_charged_together_or_not_at_all() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    assert_eq!(reply(&one, &[of("key", 15)]).await.refused, None);
    let refused = reply(&other, &[of("address", 6), of("key", 6), of("network", 6)]).await;
    assert_eq!(refused.refused, Some(1));
    assert_eq!((refused.whole_in[0], refused.whole_in[2]), (Duration::ZERO, Duration::ZERO));
    assert_eq!(reply(&one, &[of("address", 20)]).await.refused, None);
    assert_eq!(reply(&one, &[of("key", 5)]).await.refused, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn units_that_are_put_back_can_be_charged_again_and_no_more() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    assert_eq!(reply(&one, &[of("batch", 20)]).await.refused, None);
    other.shared_limiter.record(&[of("batch", -4)]).await.expect("Redis answers");
    assert_eq!(reply(&one, &[of("batch", 4)]).await.refused, None);
    other.shared_limiter.record(&[of("batch", -1_000)]).await.expect("Redis answers");
    assert_eq!(reply(&one, &[of("batch", 21)]).await.refused, Some(0));
    assert_eq!(reply(&one, &[of("batch", 20)]).await.refused, None);
}

/// Requests were admitted before they could be refused: the next ones wait longer.
#[tokio::test(flavor = "multi_thread")]
async fn recorded_amounts_are_charged_whatever_is_left() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    let settled = one.shared_limiter.record(&[of("visitor", 30)]).await.expect("Redis answers");
    assert_eq!(settled.refused, None);
    assert!(settled.whole_in[0] > Duration::from_secs(29));
    let refused = reply(&other, &[of("visitor", 1)]).await;
    assert_eq!(refused.refused, Some(0));
    assert!(refused.whole_in[0] > Duration::from_secs(28), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_invalid_value_under_the_key_is_a_whole_quota() {
    let redis = RedisServer::start();
    let (one, _) = two_processes(&redis).await;
    reply(&one, &[of("client", 20)]).await;
    let keys = redis.command(&["KEYS", "*:quota:*"]);
    let key = keys.trim();
    assert!(!key.contains("client"), "{key}");
    for junk in ["junk", "1e400", "-5", ""] {
        redis.command(&["SET", key, junk]);
        assert_eq!(reply(&one, &[of("client", 1)]).await.refused.is_some(), junk == "1e400", "{junk}");
    }
    redis.command(&["DEL", key]);
    redis.command(&["LPUSH", key, "x"]);
    assert_eq!(reply(&one, &[of("client", 1)]).await.refused, None);
    assert!(one.shared_limiter.is_available());
}

/// As after the clock of Redis was set back by years.
#[tokio::test(flavor = "multi_thread")]
async fn a_quota_is_whole_after_ten_times_its_refill_at_most() {
    let redis = RedisServer::start();
    let (one, _) = two_processes(&redis).await;
    reply(&one, &[of("client", 20)]).await;
    let key = redis.command(&["KEYS", "*:quota:*"]);
    redis.command(&["SET", key.trim(), "1900000000000000"]);
    let refused = reply(&one, &[of("client", 1)]).await;
    assert_eq!((refused.refused, refused.whole_in[0]), (Some(0), Duration::from_secs(200)));
}

#[tokio::test(flavor = "multi_thread")]
async fn whole_quotas_expire_in_redis() {
    let redis = RedisServer::start();
    let (one, _) = two_processes(&redis).await;
    reply(&one, &[of("client", 2)]).await;
    let key = redis.command(&["KEYS", "*:quota:*"]);
    let lives: u64 = redis.command(&["PTTL", key.trim()]).trim().parse().expect("a number");
    assert!((1_000..=2_001).contains(&lives), "{lives}");
}

#[tokio::test(flavor = "multi_thread")]
async fn only_live_processes_are_counted() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    let of_both = async |processes| {
        eventually(async || [&one, &other].iter().all(|process| process.shared_limiter.processes().get() == processes))
            .await
    };
    assert!(of_both(2).await);
    let key = format!("signpost:4:{}:processes", one.identity());
    redis.command(&["ZADD", &key, "1", "one that ended long ago"]);
    redis.command(&["ZADD", &key, "99999999999999", "one from before a clock was set back"]);
    assert!(eventually(async || redis.command(&["ZCARD", &key]).trim() == "2").await);
    // Anything else under the key is replaced.
    redis.command(&["SET", &key, "junk"]);
    assert!(eventually(async || redis.command(&["TYPE", &key]).trim() == "zset").await);
    assert!(of_both(2).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_there_is_no_reply_but_the_process_count_stays() {
    let redis = RedisServer::start();
    let (one, other) = two_processes(&redis).await;
    for process in [&one, &other] {
        assert!(eventually(async || process.shared_limiter.processes().get() == 2).await, "they are not counted");
    }
    redis.freeze();
    let asked = Instant::now();
    assert_eq!(one.shared_limiter.acquire(&[of("client", 1)]).await, None);
    assert!(asked.elapsed() < Duration::from_secs(1));
    assert!(
        eventually(async || one.shared_limiter.acquire(&[of("client", 1)]).await.is_none()
            && !one.shared_limiter.is_available())
        .await
    );
    assert_eq!(one.shared_limiter.processes().get(), 2);
    redis.thaw();
    assert!(eventually(async || one.shared_limiter.acquire(&[of("client", 1)]).await.is_some()).await);
}
